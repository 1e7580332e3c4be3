"""What programs of a node meet, by the script that runs there, with this machine's shell and programs."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.core.config.address import Endpoint
from tasks.core.probes import fallback
from tasks.core.probes.classify import classify
from tasks.core.probes.result import ProbeResult
from tasks.core.scripts.reach import Check
from tasks.core.shell.command import CommandResult, with_defaults
from tests.sshd import listening
from tests.tls import answer, https, identity

ALWAYS = ("sh", "base64", "date", "head", "tail", "timeout", "tr")
SECONDS = 20  # for what will answer: a busy machine is no failure
DATE = "Thu, 01 Jan 1970 00:00:00 GMT"
BY = "sshd there forbids forwarding"


@pytest.fixture
def apiserver(tmp_path: Path) -> Iterator[Endpoint]:
    context = identity("apiserver").server(tmp_path)

    def serve(connection: socket.socket) -> None:
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(answer("500 Oh", "[-]etcd failed\n", DATE))

    with listening(serve) as port:
        yield Endpoint("127.0.0.1", port)


@pytest.fixture
def closed() -> Iterator[Endpoint]:
    with socket.socket() as bound:  # bound, so that nobody else gets the port
        bound.bind(("127.0.0.1", 0))
        yield Endpoint("127.0.0.1", bound.getsockname()[1])


@pytest.fixture
def hung() -> Iterator[Endpoint]:
    with listening(lambda connection: None) as port:
        yield Endpoint("127.0.0.1", port)


def run(
    folder: Path, tools: tuple[str, ...], *endpoints: Endpoint, seconds: int = SECONDS
) -> list[ProbeResult]:
    """What is met on a machine that has only these tools."""
    bin_ = folder / "bin"
    bin_.mkdir()
    for tool in (*ALWAYS, *tools):
        there = shutil.which(tool)
        if there is None:
            pytest.skip(f"{tool} is not here")
        (bin_ / tool).symlink_to(Path(there).resolve())
    check = Check(endpoints, seconds)
    script = with_defaults(check.text()).replace("PATH=$PATH:/usr/sbin:/sbin", ":")
    ended = subprocess.run(
        ["/bin/sh", "-c", script],
        env={"PATH": str(bin_), "OPENSSL_CONF": os.devnull},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    met = check.parse(CommandResult(0, ended.stdout))
    return [fallback.result_of(met.get(endpoint)) for endpoint in endpoints]


@pytest.mark.parametrize("tool", ["curl", "openssl"])
def test_what_speaks_tls_sees_the_answer(tmp_path: Path, apiserver: Endpoint, tool: str) -> None:
    (seen,) = run(tmp_path, (tool, "bash"), apiserver)
    assert (seen.ok, seen.status, seen.body.strip(), seen.program) == (True, 500, "[-]etcd failed", tool)
    assert seen.clock is not None
    assert seen.clock < -1e9
    cell = classify(seen)
    assert (cell.state, cell.word) == ("failed", "not ready")
    assert cell.detail.endswith(f"{BY}: {tool} on the node asked, and the certificate was not looked at")


@pytest.mark.parametrize("tool", ["curl", "openssl"])
def test_why_there_is_no_tls(tmp_path: Path, closed: Endpoint, tool: str) -> None:
    with listening(says(b"SSH-2.0-x\r\n")) as plain, listening(says(b"")) as closing:
        there = [closed, *(Endpoint("127.0.0.1", port) for port in (plain, closing))]
        found = run(tmp_path, (tool,), *there, Endpoint("api.invalid", 6443))
    assert [(seen.ok, word_of(seen), seen.program) for seen in found] == [
        (False, word, tool) for word in ("refused", "not TLS", "closed", "no address")
    ]
    by = f"; {BY}, so this is what {tool} on the node met"
    assert [seen.text.removesuffix(by) for seen in found] == [
        "refused the connection",
        "answered, but not in TLS",
        "accepted the connection and closed it before TLS",
        "does not resolve",
    ]


def word_of(result: ProbeResult) -> str:
    return result.reason.word if result.reason else ""


def says(text: bytes) -> Callable[[socket.socket], None]:
    """A server that says this to whoever begins, and hangs up."""

    def serve(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(text)
        connection.close()

    return serve


@pytest.mark.parametrize("tool", ["curl", "openssl"])
def test_what_speaks_tls_waits_no_longer_than_it_may(tmp_path: Path, hung: Endpoint, tool: str) -> None:
    (seen,) = run(tmp_path, (tool,), hung, seconds=1)
    assert (seen.ok, word_of(seen)) == (False, "no answer")


def test_bash_only_sees_who_is_there(
    tmp_path: Path, apiserver: Endpoint, closed: Endpoint, hung: Endpoint
) -> None:
    found = run(tmp_path, ("bash",), apiserver, closed, hung)
    assert [(seen.ok, classify(seen).word) for seen in found] == [
        (None, "open (bash)"),
        (False, "refused (bash)"),
        (None, "open (bash)"),
    ]
    assert found[0].text == f"{BY}: bash on the node could connect, and what answers is not known"


def test_a_name_that_does_not_resolve(tmp_path: Path) -> None:
    (seen,) = run(tmp_path, ("bash",), Endpoint("api.invalid", 6443))
    assert (seen.ok, word_of(seen)) == (False, "no address")


def test_a_node_that_has_nothing(tmp_path: Path, apiserver: Endpoint) -> None:
    (seen,) = run(tmp_path, (), apiserver)
    assert (seen.ok, word_of(seen)) == (None, "forbidden")
    assert seen.text.endswith("and the node has no curl, openssl or bash to try with")


def test_a_long_answer_is_cut_and_mixed_with_no_other(tmp_path: Path) -> None:
    context = identity("apiserver").server(tmp_path)
    with listening(https(context, answer("200 OK", "x" * 100_000))) as port:
        found = run(tmp_path, ("curl",), Endpoint("127.0.0.1", port), Endpoint("localhost", port))
    assert [(seen.status, set(seen.body.strip())) for seen in found] == [(200, {"x"})] * 2


def test_wildcards_and_ipv6_are_asked_as_they_are_reached() -> None:
    text = Check((Endpoint("0.0.0.0", 8443), Endpoint("fd00::2", 6443)), 3).text()
    assert "seconds=3\ntargets='0,127.0.0.1,8443 1,fd00::2,6443'\n" in text


def test_a_script_that_was_cut_off_is_no_answer() -> None:
    there = Endpoint("10.0.0.1", 6443)
    seen = fallback.result_of(Check((there,), 3).parse(CommandResult(0, "kn.tool=curl\n")).get(there))
    assert (seen.ok, word_of(seen)) == (None, "forbidden")
