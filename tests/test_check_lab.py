"""`fab check` on the lab: what each node meets, one fault at a time."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from ipaddress import IPv4Address
from itertools import islice
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from tests.conftest import ROOT, Ran, run_fab
from tests.lab import faults, keys
from tests.lab.faults import faulty
from tests.lab.lab import Lab
from tests.lab.servers import Apiserver

pytestmark = pytest.mark.lab

NAMES = [f"lab-api-{number}:6443" for number in (1, 2, 3)]
LISTENER = "127.0.0.1:8443"
Toml = Callable[..., Path]
Fault = Callable[[Apiserver], None]

FOREIGN = """
import socket, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(*sys.argv[1:])
listener = socket.create_server(("127.0.0.1", 8443))
print("listens", flush=True)
while True:
    try:
        with context.wrap_socket(listener.accept()[0], server_side=True) as tls:
            tls.recv(65536)
            tls.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 2\\r\\n\\r\\nok")
    except OSError:
        pass
"""


def states(ran: Ran) -> list[list[str]]:
    """The state of each cell, one list a node: apiservers, then through kube-nginx."""
    nodes = ran.json["nodes"]
    return [[*(n["apiservers"][name]["state"] for name in NAMES), n["through"]["state"]] for n in nodes]


def words(ran: Ran, name: str) -> list[str]:
    """The word of each node about one apiserver."""
    return [node["apiservers"][name]["word"] for node in ran.json["nodes"]]


@pytest.fixture
def trusting(lab: Lab, deployed: Path, hosts_toml: Toml, tmp_path: Path) -> Path:
    """The deployed fleet's hosts.toml, with the certificates of the apiservers as [check] ca."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(b"".join((server.folder / "tls.crt").read_bytes() for server in lab.apiservers))
    return hosts_toml(("[build]", f'[check]\nca = "{ca}"\n\n[build]'))


@pytest.fixture(scope="module")
def begun(deployed: Path) -> None:
    """A fleet on which all is well."""
    forgiven(deployed)


@pytest.fixture(autouse=True)
def healthy(begun: None, deployed: Path) -> Iterator[None]:
    """A fleet on which all is well must be one again for the next test, of other files, too."""
    yield
    forgiven(deployed)


def forgiven(deployed: Path) -> None:
    """Waits: nginx forgives after fail_timeout, and the watch lets in again who has answered for a while."""
    deadline = monotonic() + 90
    while (ran := run_fab("check", hosts=deployed)).status or "ejected" in ran.text:
        assert monotonic() < deadline, ran.out + ran.err


def test_all_is_well(trusting: Path) -> None:
    ran = run_fab("check", "--json", hosts=trusting)
    assert (ran.status, ran.json["ok"]) == (0, True)
    assert states(ran) == [["ok"] * 4] * 3
    for node in ran.json["nodes"]:
        assert (node["way"], node["drift"]) == (True, [])
        for name, cell in node["apiservers"].items():
            assert (cell["reachable"], cell["ready"], cell["trusted"], cell["by"]) == (
                True,
                True,
                True,
                "ssh",
            )
            assert cell["certificate"]["issuer"] == f"CN={name.partition(':')[0]}"
            assert abs(cell["clock_seconds"]) < 5
        assert node["through"]["listeners"][LISTENER]["ready"] is True


def test_the_table(deployed: Path) -> None:
    ran = run_fab("check", hosts=deployed)
    assert ran.status == 0
    *_, told = lines = ran.out.splitlines()
    assert told.startswith("warning: all 3 nodes: version: nginx 1.26.3 has CVE-2026-42533 (")
    table = lines[-5:-1]
    heads = ["NODE", "lab-api-1", "lab-api-2", "lab-api-3", "THROUGH", "DRIFT", "USERS"]
    assert table[0].split() == heads
    for line, node in zip(table[1:], ("lab-node-1", "lab-node-2", "lab-node-3"), strict=True):
        assert line.split()[0] == node
        assert line.count("ready ") == 4
        assert line.split()[-3:] == ["none", "no", "kubelet"]


@pytest.mark.parametrize(
    ("inject", "undo", "word", "why"),
    [
        (Apiserver.cut_off, Apiserver.let_back, "no answer", "did not answer within 3 s"),
        (Apiserver.stop, Apiserver.start, "refused", "refused the connection (198."),
    ],
)
def test_one_apiserver_is_gone(
    lab: Lab, deployed: Path, inject: Fault, undo: Fault, word: str, why: str
) -> None:
    with faulty([lab.apiservers[1]], inject, undo):
        ran, plain = run_fab("check", "--json", hosts=deployed), run_fab("check", hosts=deployed)
    assert (ran.status, plain.status) == (0, 0)
    # nginx may have to find out first, which takes proxy.connect_timeout
    assert [row[:3] for row in states(ran)] == [["ok", "failed", "ok"]] * 3
    assert {row[3] for row in states(ran)} <= {"ok", "warning"}
    assert [told.removesuffix(", ejected") for told in words(ran, NAMES[1])] == [word] * 3
    assert [node["steps"][0]["state"] for node in ran.json["nodes"]] == ["warning"] * 3
    assert f"bad: all 3 nodes: {NAMES[1]}: {why}" in plain.out


def test_a_hung_apiserver_may_swallow_tries_through_the_proxy(lab: Lab, deployed: Path) -> None:
    with faulty([lab.apiservers[0]], Apiserver.pause, Apiserver.resume):
        ran = run_fab("check", "--json", hosts=deployed)
    assert ran.status == 0
    for first, second, third, through in states(ran):
        assert (first, second, third) == ("failed", "ok", "ok")
        assert through in ("ok", "warning")


def test_no_apiserver_is_left(lab: Lab, deployed: Path) -> None:
    with faulty(lab.apiservers, Apiserver.cut_off, Apiserver.let_back):
        ran = run_fab("check", "--json", hosts=deployed)
    assert (ran.status, ran.json["ok"]) == (1, False)
    assert states(ran) == [["failed"] * 4] * 3
    assert [node["way"] for node in ran.json["nodes"]] == [False] * 3
    assert f"no way to any ready apiserver, neither directly nor through {LISTENER}" in ran.err


def test_where_sshd_forbids_forwarding_programs_of_the_node_look(lab: Lab, deployed: Path) -> None:
    with ExitStack() as stack:
        for node in lab.nodes[:2]:
            stack.enter_context(faults.no_forwarding(node))
        ran = run_fab("check", "--json", hosts=deployed)
        assert ran.status == 0
        with faulty(lab.apiservers, Apiserver.stop, Apiserver.start):
            stopped = run_fab("check", "--json", hosts=deployed)
    assert words(ran, NAMES[0])[:2] == ["open (bash)", "ready (curl)"]
    assert states(ran) == [["warning"] * 4, ["ok"] * 4, ["ok"] * 4]
    assert [node["way"] for node in ran.json["nodes"]] == [None, True, True]
    assert "sshd there forbids forwarding" in ran.json["nodes"][0]["apiservers"][NAMES[0]]["detail"]
    assert stopped.status == 1
    assert words(stopped, NAMES[0])[:2] == ["refused (bash)", "refused (curl)"]
    assert not any(node["ok"] for node in stopped.json["nodes"])


def test_a_service_that_is_stopped(lab: Lab, deployed: Path) -> None:
    limit = ("--limit", "lab-node-1")
    assert run_fab("stop", *limit, hosts=deployed).status == 0
    try:
        ran = run_fab("check", hosts=deployed)
    finally:
        assert run_fab("start", *limit, hosts=deployed).status == 0
    assert ran.status == 1
    assert f"no ready apiserver answers through {LISTENER}: the service is inactive (dead)" in ran.err
    assert "hint: fab start --limit lab-node-1" in ran.err
    assert "check: 1 of 3 failed" in ran.err


def test_somebody_else_has_the_port(lab: Lab, trusting: Path, tmp_path: Path) -> None:
    node = lab.nodes[0]
    assert run_fab("stop", "--limit", node.name, hosts=trusting).status == 0
    try:
        with foreign(node.netns, tmp_path):
            ran = run_fab("check", "--json", hosts=trusting)
    finally:
        assert run_fab("start", "--limit", node.name, hosts=trusting).status == 0
    assert ran.status == 1
    assert states(ran) == [["ok", "ok", "ok", "failed"], ["ok"] * 4, ["ok"] * 4]
    through = ran.json["nodes"][0]["through"]
    assert (through["word"], through["trusted"], through["status"]) == ("untrusted", False, 200)
    assert "not by kube-nginx; its certificate does not verify" in through["detail"]


@contextmanager
def foreign(netns: str, folder: Path) -> Iterator[None]:
    """A TLS server that is no apiserver, on 127.0.0.1:8443 in a network namespace."""
    keys.certificate(folder, "foreign", IPv4Address("127.0.0.1"))
    files = [str(folder / name) for name in ("tls.crt", "tls.key")]
    command = ["ip", "netns", "exec", netns, sys.executable, "-c", FOREIGN, *files]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "listens\n"
            yield
        finally:
            server.kill()


def test_drift(deployed: Path, hosts_toml: Toml) -> None:
    other = hosts_toml(('"lab-api-3:6443"', '"lab-api-3:6444"'), ('version = "1.26.3"', 'version = "1.22.1"'))
    ran = run_fab("check", "--json", hosts=other)
    assert ran.status == 0
    for node in ran.json["nodes"]:
        servers, version = node["drift"]
        assert servers["what"] == "servers"
        assert servers["detail"].startswith("its kube-nginx.conf lacks 198.")
        assert "6444 and has 198." in servers["detail"]
        assert version == {"what": "version", "detail": "nginx 1.26.3 is installed, not 1.22.1"}
        assert node["steps"][0]["state"] == "warning"


def test_this_machines_clock_is_nothing_to_the_nodes(deployed: Path, tmp_path: Path) -> None:
    command = [*faults.clock(2, tmp_path), sys.executable, "-m", "fabric", "check", "--json"]
    environment = {**os.environ, "KUBE_NGINX_HOSTS": str(deployed)}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    for node in Ran(done.returncode, done.stdout, done.stderr).json["nodes"]:
        assert abs(node["clock_seconds"] + 7200) < 60
        assert [cell["state"] for cell in node["apiservers"].values()] == ["ok"] * 3


def test_watching_until_ctrl_c(lab: Lab, deployed: Path) -> None:
    command = [sys.executable, "-m", "fabric", "check", "--watch=0.2", "--limit", "lab-node-1"]
    with subprocess.Popen(
        ["env", f"KUBE_NGINX_HOSTS={deployed}", *command],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout is not None
        try:
            until(watching.stdout, "lab-node-1  ready")
            with faulty(lab.apiservers, Apiserver.stop, Apiserver.start):
                until(watching.stdout, "lab-node-1  refused    refused    refused")
                watching.send_signal(signal.SIGINT)
                _, err = watching.communicate(timeout=60)
        finally:
            watching.kill()
    assert watching.returncode == 1
    assert "no way to any ready apiserver" in err
    assert "Traceback" not in err


def test_watching_a_fleet_with_a_node_that_is_off(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    off = lab.nodes[2]
    slow = hosts_toml(("[ssh]", "[ssh]\nconnect_timeout = 12"))
    seen: list[list[str]] = []
    off.stop()
    try:
        with watching_of(slow) as pictures:
            for picture in pictures:
                seen.append(picture)
                if "timed out" in picture[5]:
                    break
    finally:
        off.start()
    first, *_, last = seen
    # the others were looked at again and again while it was tried once
    assert len(seen) > 2
    for picture in seen:
        assert [row.split()[:2] for row in picture[2:5]] == [
            ["lab-node-1", "ready"],
            ["lab-node-2", "ready"],
            ["lab-node-3", "not"],
        ]
    assert first[5] == "bad: lab-node-3: has not answered within 3 s; still trying"
    assert last[5] == f"bad: lab-node-3: cannot connect to {off.address}:22: timed out"


def test_watching_through_a_gateway_that_comes_back(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    gateway = lab.nodes[0]
    gateway.stop()
    with watching_of(hosts_toml(("[ssh]", '[ssh]\ngateway = "lab-node-1"\nconnect_timeout = 1'))) as pictures:
        looks = islice(pictures, 200)
        try:
            assert any("the gateway lab-node-1: cannot connect" in line for look in looks for line in look)
        finally:
            gateway.start()
        assert any(line.startswith("lab-node-3  ready") for look in looks for line in look)


@contextmanager
def watching_of(hosts: Path) -> Iterator[Iterator[list[str]]]:
    """The pictures of `fab check --watch`, as they come."""
    command = ["env", f"KUBE_NGINX_HOSTS={hosts}", sys.executable, "-m", "fabric", "check", "--watch=0.5"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as watching:
        assert watching.stdout is not None
        try:
            yield _pictures(watching.stdout)
        finally:
            watching.kill()


def _pictures(lines: Iterable[str]) -> Iterator[list[str]]:
    picture: list[str] = []
    for line in lines:
        if line.strip():
            picture.append(line.rstrip())
        else:
            yield picture
            picture = []


def until(lines: Any, text: str) -> None:
    """Reads until a line begins so."""
    assert any(line.startswith(text) for line in lines), text
