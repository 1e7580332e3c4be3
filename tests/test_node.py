"""A node's shell, against SSH servers of the test's own that run its commands here."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import monotonic
from typing import cast

import pytest
from invoke import Config, Context

from tasks.core.config.model import Proxy
from tasks.core.errors import StepError
from tasks.core.scripts.survey import Survey
from tasks.core.shell.command import CommandResult, kill_on_disconnect
from tasks.core.shell.piped import Piped
from tasks.core.ssh.fleet import Connections, fleet_of
from tasks.core.ssh.node import Node
from tests.scripts import facts
from tests.sshd import listening
from tests.test_remote import BROKE, SUDO, Shells, eventually

LOGIN = {"password": "any", "allow_agent": False, "look_for_keys": False}
Reach = Callable[..., Node]


@pytest.fixture
def shells(tmp_path: Path) -> Shells:
    (tmp_path / "bin").mkdir()
    return Shells(tmp_path / "bin")


@pytest.fixture
def reach(shells: Shells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Reach]:
    """Gives the node of a hosts.toml with these lines in [ssh]."""
    monkeypatch.delenv("KUBE_NGINX_HOSTS", raising=False)

    def reached(*lines: str, **overrides: object) -> Node:
        return node_of(tmp_path / "hosts.toml", port, *lines, **overrides)

    with listening(shells.serve) as port, Connections():
        yield reached


def node_of(path: Path, port: int, *lines: str, **overrides: object) -> Node:
    path.with_suffix(".ssh").write_text(f"UserKnownHostsFile {path}.known\nGlobalKnownHostsFile none\n")
    ssh = ["[ssh]", f'config = "{path.with_suffix(".ssh")}"', 'host_keys = "accept-new"', *lines]
    node = f'nodes = [{{ host = "127.0.0.1:{port}", name = "{path.stem}" }}]'
    path.write_text("\n".join([node, 'apiservers = ["10.0.1.1"]', *ssh]))
    given = {"connect_kwargs": LOGIN, "kube_nginx": {"hosts_file": str(path)}, **overrides}
    (found,) = fleet_of(Context(Config(overrides=given)))
    assert isinstance(found, Node)
    return found


@pytest.fixture
def node(reach: Reach) -> Node:
    return reach()


def refusal(act: Callable[[], object]) -> StepError:
    with pytest.raises(StepError) as caught:
        act()
    return caught.value


@pytest.mark.parametrize(
    ("script", "ended"),
    [
        ("", CommandResult(0, "", "")),
        ("echo one; echo two >&2; exit 3", CommandResult(3, "one\n", "two\n")),
        ("printf 'no newline'", CommandResult(0, "no newline", "")),
        ("exec >&- 2>&-; sleep 0.3; exit 4", CommandResult(4, "", "")),
        ("echo 'é 漢'; printf '\\377' >&2", CommandResult(0, "é 漢\n", "\ufffd")),
    ],
)
def test_status_and_output(node: Node, script: str, ended: CommandResult) -> None:
    assert node.sh(script, check=False) == ended


@pytest.mark.parametrize("stream", [1, 2])
def test_much_output(node: Node, stream: int) -> None:
    """More than a channel's window holds."""
    ended = node.sh(f"seq 500000 >&{stream}")
    assert [*map(len, (ended.stdout, ended.stderr))][stream - 1] == 3388895


@pytest.mark.parametrize("stream", [1, 2])
def test_more_than_it_may_write(node: Node, stream: int) -> None:
    error = refusal(lambda: node.sh(f"yes 'no end' >&{stream}"))
    assert error.message == "it wrote more than 4 MiB, and was ended"
    assert error.tail.splitlines()[1:] == ["no end"] * 4


def test_of_what_has_no_bound_the_end_is_kept(node: Node) -> None:
    lines: list[str] = []
    ended = node.sh("seq 500000", most=None, each_line=lines.append)
    assert len(lines) == 500000
    assert len(ended.stdout) < 1_000_000
    assert ended.stdout.endswith("\n499999\n500000\n")


def test_a_script_that_fails(node: Node) -> None:
    error = refusal(lambda: node.sh("seq 9 >&2; exit 4", tail=2))
    assert (error.message, error.command) == ("ended with status 4", "seq 9 >&2; exit 4")
    assert (error.status, error.tail) == (4, "8\n9")


def test_a_script_that_does_not_end(node: Node, tmp_path: Path) -> None:
    began = monotonic()
    script = kill_on_disconnect(
        f"trap 'touch {tmp_path}/over' EXIT; trap exit TERM; echo last; sleep 60 & wait"
    )
    error = refusal(lambda: node.sh(script, timeout=1))
    assert monotonic() - began < 20
    assert (error.message, error.tail) == ("did not end within 1 s", "last")
    eventually((tmp_path / "over").exists)


def test_the_connection_breaks(node: Node, shells: Shells) -> None:
    node.open()
    threading.Timer(0.3, shells.transport.close).start()
    assert refusal(lambda: node.sh("sleep 60")).message == BROKE
    assert node.sh("echo again").stdout == "again\n"


def test_it_cannot_begin(node: Node, shells: Shells) -> None:
    program(shells, "sh", "echo 'This account is not available.'; exit 1")
    error = refusal(lambda: node.sh("echo x"))
    assert error.message == "the login shell of root ran nothing, and ended with status 1"
    assert (error.status, error.tail) == (1, "This account is not available.")
    assert "nologin" in error.hint


def program(shells: Shells, name: str, script: str) -> None:
    (shells.folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (shells.folder / name).chmod(0o755)


class TestSudo:
    """With a password that sudo asks for, and one that it does not."""

    @pytest.fixture(autouse=True)
    def sudo(self, shells: Shells) -> None:
        program(shells, "sudo", SUDO)

    @pytest.mark.parametrize("asks", [True, False])
    def test_it_is_let_through(self, reach: Reach, shells: Shells, asks: bool) -> None:
        if asks:
            (shells.folder / "password").write_text("right\n")
        node = reach("sudo = true", sudo={"password": "right"})
        assert node.sh("echo x; echo y >&2") == CommandResult(0, "x\n", "y\n")
        assert "right" not in "".join(shells.commands)

    def test_a_wrong_one_is_sent_once(self, reach: Reach, shells: Shells) -> None:
        (shells.folder / "password").write_text("right\n")
        node = reach("sudo = true", sudo={"password": "wrong"})
        for _ in range(2):
            error = refusal(lambda: node.sh("echo x"))
            assert error.message == "sudo refused the password (tried once, on hosts)"
            assert error.hint == "give the right one: fab --prompt-for-sudo-password TASK"
        assert len(shells.commands) == 1

    def test_one_is_refused_whatever_sudo_says(self, reach: Reach, shells: Shells) -> None:
        """With badpass_message or insults, say."""
        (shells.folder / "password").write_text("right\n")
        (shells.folder / "silent").touch()
        error = refusal(lambda: reach("sudo = true", sudo={"password": "wrong"}).sh("echo x"))
        assert error.message == "sudo refused the password (tried once, on hosts)"

    def test_it_is_not_sent_to_what_does_not_ask(self, reach: Reach, shells: Shells) -> None:
        program(shells, "sudo", "timeout 0.3 cat >&2; echo over >&2; exit 1")
        error = refusal(lambda: reach("sudo = true", sudo={"password": "s3cret"}).sh("echo x"))
        assert error.tail == "over"

    def test_without_one(self, reach: Reach, shells: Shells) -> None:
        program(shells, "sudo", "echo 'sudo: a password is required' >&2; exit 1")
        error = refusal(lambda: reach("sudo = true").sh("echo x"))
        assert error.message == "sudo refused: sudo: a password is required"
        assert error.hint == "let root use sudo without a password, or fab --prompt-for-sudo-password"

    def test_for_root_alone(self, reach: Reach, shells: Shells) -> None:
        reach("sudo = true").sh("echo x", root=False)
        assert not (shells.folder / "asked").exists()


def test_two_fleets_in_two_threads(shells: Shells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each has its own connections, and is closed by itself."""
    monkeypatch.delenv("KUBE_NGINX_HOSTS", raising=False)
    both = threading.Barrier(2, timeout=20)

    def work(name: str, port: int) -> tuple[str, bool]:
        with Connections():
            node = node_of(tmp_path / f"{name}.toml", port)
            both.wait()
            seen = node.sh(f"echo {name}").stdout
            both.wait()
        return seen, node.is_connected

    others = Shells(shells.folder)
    with listening(shells.serve) as one, listening(others.serve) as two, ThreadPoolExecutor() as pool:
        found = [*pool.map(work, ("a", "b"), (one, two))]
    assert found == [("a\n", False), ("b\n", False)]
    assert [b"echo a" in shells.heard, b"echo b" in others.heard] == [True, True]


def test_a_survey_goes_through_the_session_of_the_lock(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    """That which the lock was told of, for as long as its session answers."""

    class Held:
        answers = True

        def ask(self, question: bytes, end: str, seconds: float) -> CommandResult:
            return CommandResult(0, "kn.uid=0\nkn.arch=lock\n")

    def surveyed(proxy: Proxy, *names: str) -> str:
        node.invalidate_facts()
        return node.survey(proxy, names).arch

    monkeypatch.setattr(Node, "do", lambda self, script: facts("kn.uid=0\nkn.arch=own\nkn.address.a=::1\n"))
    proxy, lock = Proxy(), Held()
    assert surveyed(proxy) == "own"
    node.survey_through(cast(Piped, lock), Survey(proxy))
    assert surveyed(proxy) == "lock"
    assert (surveyed(proxy, "a"), surveyed(replace(proxy, prefix="/other"))) == ("own", "own")
    lock.answers = False
    assert surveyed(proxy) == "own"
