"""Commands whose standard input is ours, against an SSH server of the test's own that runs them here."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Any, cast

import paramiko
import pytest

from tasks.core.config.model import Proxy
from tasks.core.errors import NotStarted, StepError
from tasks.core.run import locks
from tasks.core.scripts.lock import LOCK, Lock
from tasks.core.scripts.survey import Survey
from tasks.core.shell import remote
from tasks.core.shell.command import CommandResult
from tasks.core.shell.piped import Piped
from tasks.core.shell.remote import RemoteCommand
from tasks.core.ssh.node import Node

from .sshd import listening

_GONE = (OSError, EOFError, paramiko.SSHException)
BROKE = "the connection broke while the command ran"


class Shells(paramiko.ServerInterface):  # type: ignore[misc]
    """A server that accepts everybody and gives each command to this machine's sh, as sshd does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.commands: list[str] = []
        self.heard = bytearray()
        self._key = paramiko.ECDSAKey.generate()

    def serve(self, connection: socket.socket) -> None:
        """One connection, to its end."""
        self.transport = paramiko.Transport(connection)
        self.transport.add_server_key(self._key)
        self.transport.start_server(server=self, event=threading.Event())
        self.transport.join()

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)

    def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
        self.commands.append(command.decode())
        threading.Thread(target=self._run, args=(channel, command), daemon=True).start()
        return True

    def _run(self, channel: paramiko.Channel, command: bytes) -> None:
        environment = {**os.environ, "PATH": f"{self.folder}:{os.environ['PATH']}"}
        pipe = subprocess.PIPE
        arguments = {"stdin": pipe, "stdout": pipe, "stderr": pipe, "bufsize": 0}
        with subprocess.Popen(["sh", "-c", command], env=environment, **cast(Any, arguments)) as process:
            threading.Thread(target=self._feed, args=(channel, process), daemon=True).start()
            relay = threading.Thread(target=_relay, args=(process.stderr, channel.sendall_stderr))
            relay.start()
            _relay(process.stdout, channel.sendall)
            relay.join()
            status = process.wait()
        with suppress(*_GONE):
            channel.send_exit_status(status)
            channel.close()

    def _feed(self, channel: paramiko.Channel, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        with suppress(*_GONE, ValueError), process.stdin as stdin:  # it may have ended, and been closed
            while words := channel.recv(32768):
                self.heard += words
                stdin.write(words)


def _relay(stream: IO[bytes] | None, send: Callable[[bytes], None]) -> None:
    with suppress(*_GONE):
        while stream and (words := stream.read(4096)):
            send(words)


@pytest.fixture
def shells(tmp_path: Path) -> Shells:
    folder = tmp_path / "bin"
    folder.mkdir()
    return Shells(folder)


@pytest.fixture
def transport(shells: Shells) -> Iterator[paramiko.Transport]:
    with connected(shells) as transport:
        yield transport


@contextmanager
def connected(shells: Shells) -> Iterator[paramiko.Transport]:
    with listening(shells.serve) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        transport = paramiko.Transport(connection)
        transport.connect(username="root", password="any")
        try:
            yield transport
        finally:
            transport.close()


def test_nobody_looks_while_nothing_comes(
    transport: paramiko.Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each look costs: at a thousand nodes that take 8 s, five a second were most of what all cost."""
    looks = []

    class Counted(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            looks.append(timeout)
            return super().wait(timeout)

    monkeypatch.setattr(remote, "Event", Counted)
    command = RemoteCommand(transport.open_session, "root", "sleep 1; echo x; echo y >&2", timeout=30)
    assert command.result().stdout == "x\n"
    assert len(looks) <= 8  # one for what each stream brings: it begins, speaks, ends


def piped(transport: Any, script: str, **kwargs: Any) -> Piped:
    kwargs = {"timeout": 30} | kwargs
    open_session = partial(transport.open_session, timeout=kwargs["timeout"])
    return Piped(open_session, transport.get_username(), script, **kwargs)


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until something is true."""
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end
        sleep(0.01)


def refusal(act: Callable[[], object]) -> StepError:
    with pytest.raises(StepError) as caught:
        act()
    return caught.value


@pytest.mark.parametrize(
    "content",
    [
        random.Random(1).randbytes(300_000),
        b"\0" * 70_000,
        b"kn.begin\nkn.begin\n\r\n\x03\x04\x1a\n",
        b"no newline",
        b"",
    ],
    ids=["random", "zeros", "words of ours", "no newline", "nothing"],
)
def test_bytes_arrive_exactly(transport: paramiko.Transport, tmp_path: Path, content: bytes) -> None:
    arrived = tmp_path / "arrived"
    command = piped(transport, f"cat > {arrived}; echo kn.sum=$(sha256sum < {arrived} | cut -c1-64)")
    command.send(content)
    assert command.ended().status == 0
    assert rest_of(command, "kn.sum=") == sha256(content).hexdigest()
    assert arrived.read_bytes() == content


def rest_of(command: Piped, word: str) -> str:
    """The rest of the first line so far that begins with `word`; "" if there is none."""
    lines = command._out.own.split("\n")
    return next((line.removeprefix(word) for line in lines if line.startswith(word)), "")


def test_a_conversation(transport: paramiko.Transport) -> None:
    command = piped(
        transport, "echo hello; echo kn.one=1; read -r word; echo kn.two=$word; cat >&2; echo end; exit 3"
    )
    command.until("kn.one")
    assert (rest_of(command, "kn.one="), rest_of(command, "kn.two=")) == ("1", "")
    command.send(b"second\n")
    command.until("kn.two=")
    command.until("kn.one=")  # it came long ago
    assert rest_of(command, "kn.two=") == "second"
    command.send(b"to stderr\n")
    ended = command.ended()
    assert ended.status == 3
    assert ended == CommandResult(3, "hello\nkn.one=1\nkn.two=second\nend\n", "to stderr\n")


def test_a_word_counts_when_its_line_is_whole(transport: paramiko.Transport, tmp_path: Path) -> None:
    """What was cut in two on the way must not be read by halves."""
    go = tmp_path / "go"
    os.mkfifo(go)
    command = piped(transport, f"printf kn.half=whole; read -r more < {go}; echo -$more")
    waiting = threading.Thread(target=command.until, args=("kn.half=",), daemon=True)
    waiting.start()
    eventually(lambda: rest_of(command, "kn.half=") == "whole")
    assert waiting.is_alive()
    go.write_text("more\n")
    waiting.join(20)
    assert rest_of(command, "kn.half=") == "whole-more"


def test_what_the_login_shell_says_is_not_ours(transport: paramiko.Transport, shells: Shells) -> None:
    (shells.folder / "sh").write_text('#!/bin/sh\necho Welcome; echo kn >&2\nexec /bin/sh "$@"\n')
    (shells.folder / "sh").chmod(0o755)
    command = piped(transport, "echo kn.x=1; cat")
    command.send(b"content")
    ended = command.ended()
    assert ended.stdout == "kn.x=1\ncontent"
    assert rest_of(command, "kn.x=") == "1"


class TestEndsEarly:
    """A command that is over before all was sent."""

    def test_what_was_still_to_be_sent_does_not_matter(self, transport: paramiko.Transport) -> None:
        command = piped(transport, "echo why >&2; exit 66")
        command.send(b"x" * 5_000_000)
        command.send(b"more")
        ended = command.ended()
        assert (ended.status, ended.stderr) == (66, "why\n")

    def test_while_a_word_is_waited_for(self, transport: paramiko.Transport) -> None:
        command = piped(transport, "echo kn.held=somebody; echo why >&2; exit 75")
        error = refusal(lambda: command.until("kn.locked=1"))
        assert (error.message, error.status, error.tail) == ("ended with status 75", 75, "why")
        assert error.command == "echo kn.held=somebody; echo why >&2; exit 75"
        assert rest_of(command, "kn.held=") == "somebody"

    def test_before_it_began(self, transport: paramiko.Transport, shells: Shells) -> None:
        (shells.folder / "sudo").write_text("#!/bin/sh\necho 'sudo: a password is required' >&2; exit 1\n")
        (shells.folder / "sudo").chmod(0o755)
        error = refusal(lambda: piped(transport, "echo began", sudo=True))
        assert (error.status, error.message) == (1, "sudo refused: sudo: a password is required")


class TestBreaks:
    """A connection that is lost, and a host that says nothing."""

    def test_no_session_is_opened(
        self, transport: paramiko.Transport, shells: Shells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        over = threading.Event()
        opened = int(paramiko.OPEN_SUCCEEDED)
        monkeypatch.setattr(shells, "check_channel_request", lambda *asked: opened if over.wait(20) else 1)
        error = refusal(lambda: piped(transport, "cat", timeout=0.2))
        over.set()
        assert (error.message, error.command) == ("sshd opened no session in time", "cat")

    def test_sshd_does_not_say_that_it_began(
        self, transport: paramiko.Transport, shells: Shells, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        over = threading.Event()
        monkeypatch.setattr(shells, "check_channel_exec_request", lambda *asked: over.wait(20))
        error = refusal(lambda: Piped(transport.open_session, "root", "cat", timeout=0.2))
        over.set()
        assert (error.message, error.command) == ("no answer within 0.2 s", "cat")

    def test_silence(self, transport: paramiko.Transport) -> None:
        command = piped(transport, "cat")
        command._timeout = 0.05  # not earlier: it takes a while to begin
        error = refusal(lambda: command.until("kn.never"))
        assert (error.message, error.command, error.status) == ("no answer within 0.05 s", "cat", None)

    def test_silence_at_the_end(self, transport: paramiko.Transport, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "never")
        command = piped(transport, f"read -r word < {tmp_path}/never")
        command._timeout = 0.05
        assert refusal(command.ended).message == "no answer within 0.05 s"
        (tmp_path / "never").write_text("\n")

    def test_a_word_now_and_then_is_no_end(self, transport: paramiko.Transport) -> None:
        command = piped(transport, "while echo here; do sleep 0.02; done")
        command._timeout = 0.3
        assert refusal(lambda: command.until("kn.never")).message == "no answer within 0.3 s"
        assert refusal(command.ended).message == "no answer within 0.3 s"

    def test_more_words_than_anybody_wants(self, transport: paramiko.Transport) -> None:
        command = piped(transport, "yes 'no end'")
        error = refusal(command.ended)
        assert error.message == "it wrote more than 4 MiB, and was ended"
        assert error.tail.splitlines()[1:] == ["no end"] * 4

    def test_nobody_takes_what_is_sent(self, transport: paramiko.Transport, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "never")
        command = piped(transport, f"read -r word < {tmp_path}/never")
        command._timeout = 0.05
        assert refusal(lambda: command.send(b"x" * 9_000_000)).message == "no answer within 0.05 s"
        (tmp_path / "never").write_text("\n")

    def test_it_breaks_while_a_word_is_waited_for(
        self, transport: paramiko.Transport, shells: Shells
    ) -> None:
        command = piped(transport, "cat")
        shells.transport.close()
        error = refusal(lambda: command.until("kn.never"))
        assert error.message == BROKE
        assert (error.command, error.status) == ("cat", None)

    def test_it_breaks_before_the_end(self, transport: paramiko.Transport, shells: Shells) -> None:
        command = piped(transport, "cat")
        command.send(b"hello")
        shells.transport.close()
        assert refusal(command.ended).message == BROKE

    def test_it_breaks_while_much_is_sent(
        self, transport: paramiko.Transport, shells: Shells, tmp_path: Path
    ) -> None:
        os.mkfifo(tmp_path / "never")
        command = piped(transport, f"read -r word < {tmp_path}/never")
        threading.Thread(target=shells.transport.close).start()
        with suppress(StepError):  # it depends on where it is
            command.send(b"x" * 9_000_000)
        assert refusal(command.ended).message == BROKE
        (tmp_path / "never").write_text("\n")

    def test_it_was_broken_before(self, transport: paramiko.Transport) -> None:
        transport.close()
        assert refusal(lambda: piped(transport, "cat")).message == BROKE

    def test_a_beat_does_not_mind(self, transport: paramiko.Transport, shells: Shells) -> None:
        command = piped(transport, "cat")
        shells.transport.close()
        eventually(lambda: not transport.is_active())
        command.beat()
        command.close()


class Sessions:
    """A transport that remembers what it opened."""

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport
        self.opened: list[paramiko.Channel] = []

    def get_username(self) -> str:
        return str(self._transport.get_username())

    def open_session(self, timeout: float) -> paramiko.Channel:
        self.opened.append(self._transport.open_session(timeout=timeout))
        return self.opened[-1]


class TestDoesNotBegin:
    """What fails before the command begins leaves no session open: sshd allows a connection only ten."""

    @pytest.fixture
    def sessions(self, transport: paramiko.Transport) -> Sessions:
        return Sessions(transport)

    def sudo(self, shells: Shells, script: str) -> None:
        (shells.folder / "sudo").write_text(f"#!/bin/sh\n{script}\n")
        (shells.folder / "sudo").chmod(0o755)

    def test_it_may_not(self, sessions: Sessions, shells: Shells) -> None:
        self.sudo(shells, "echo 'sudo: a password is required' >&2; exit 1")
        error = refusal(lambda: piped(sessions, "cat", sudo=True))
        assert error.message == "sudo refused: sudo: a password is required"
        assert [channel.closed for channel in sessions.opened] == [True]

    @pytest.mark.parametrize(
        ("said", "reason", "helps"),
        [
            (
                "sudo: unable to resolve host n1: Name or service not known\nsudo: a password is required",
                "sudo: a password is required",
                "fab --prompt-for-sudo-password",
            ),
            (
                "sudo: setrlimit(RLIMIT_CORE): Operation not permitted\n"
                "Sorry, user root is not allowed to execute 'sh -c x' as root on n1.",
                "Sorry, user root is not allowed",
                "root ALL=(ALL) NOPASSWD: ALL",
            ),
            ("root is not in the sudoers file.", "root is not in the sudoers file.", "NOPASSWD: ALL"),
            (
                "sudo: sorry, you must have a tty to run sudo",
                "sudo: sorry, you must have a tty to run sudo",
                "Defaults:root !requiretty",
            ),
            (
                "sudo: unable to change directory to /x: No such file or directory\n"
                "sudo: unable to execute /bin/sh: No such file or directory",
                "sudo: unable to change directory to /x: No such file or directory",
                "Defaults:root !runcwd",
            ),
            ("sudo: sh: command not found", "sudo: sh: command not found", "secure_path"),
            ("sudo: what", "sudo: what", "sudo -n sh -c true"),
        ],
    )
    def test_sudos_own_reason(
        self, sessions: Sessions, shells: Shells, said: str, reason: str, helps: str
    ) -> None:
        self.sudo(shells, f"cat >&2 <<'END'\n{said}\nEND\nexit 1")
        error = refusal(lambda: piped(sessions, "cat", sudo=True))
        assert error.message == f"sudo refused: {reason}"
        assert helps in error.hint

    def test_a_sh_that_may_start_nothing(self, sessions: Sessions, shells: Shells) -> None:
        (shells.folder / "dd").write_text("#!/bin/sh\necho 'sh: 1: dd: Permission denied' >&2\n")
        (shells.folder / "dd").chmod(0o755)
        self.sudo(shells, 'shift; exec "$@"')
        error = refusal(lambda: piped(sessions, "cat", sudo=True))
        assert error.message == "sh ran nothing there, and ended with status 0"
        assert "dd: Permission denied" in error.tail
        assert "Defaults:root !noexec" in error.hint

    def test_the_password_is_wrong(self, sessions: Sessions, shells: Shells) -> None:
        self.sudo(shells, "echo 'Sorry, try again.'; cat")
        error = refusal(lambda: piped(sessions, "cat", sudo=True, password="wrong"))
        assert error.message == "sudo refused the password"
        assert [channel.closed for channel in sessions.opened] == [True]

    def test_it_says_nothing(self, sessions: Sessions, shells: Shells, tmp_path: Path) -> None:
        self.sudo(shells, f"cat; touch {tmp_path}/over")
        error = refusal(lambda: piped(sessions, "cat", sudo=True, timeout=2))
        assert error.message == "no answer within 2 s"
        assert [channel.closed for channel in sessions.opened] == [True]
        eventually((tmp_path / "over").exists)

    def test_what_begins_stays_open(self, sessions: Sessions) -> None:
        command = piped(sessions, "cat")
        assert [channel.closed for channel in sessions.opened] == [False]
        command.close()
        assert [channel.closed for channel in sessions.opened] == [True]


def test_its_input_ends_when_it_is_let_go(transport: paramiko.Transport, tmp_path: Path) -> None:
    command = piped(transport, f"cat > {tmp_path}/said; touch {tmp_path}/over")
    command.beat()
    command.beat()
    eventually(lambda: (tmp_path / "said").exists() and (tmp_path / "said").read_bytes() == b"..")
    assert not (tmp_path / "over").exists()
    command.close()
    eventually((tmp_path / "over").exists)


class TestRelease:
    """It is let go, and has ended when we go on."""

    def test_it_is_waited_for(self, transport: paramiko.Transport, tmp_path: Path) -> None:
        command = piped(transport, f"cat; sleep 0.2; touch {tmp_path}/over")
        command.release(2)
        assert (tmp_path / "over").exists()
        assert command._channel.closed

    def test_for_a_moment_only(self, transport: paramiko.Transport, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "never")
        command = piped(transport, f"read -r word < {tmp_path}/never")
        began = monotonic()
        command.release(2)
        assert monotonic() - began < 10
        assert command._channel.closed
        (tmp_path / "never").write_text("\n")

    def test_a_broken_connection_does_not_mind(self, transport: paramiko.Transport, shells: Shells) -> None:
        command = piped(transport, "cat")
        shells.transport.close()
        eventually(lambda: not transport.is_active())
        command.release(2)
        command.release(2)


SUDO = r"""#!/bin/sh
# asks for the password, or does not, as sudo does
echo "$LC_ALL $*" > "${0%/*}/asked"
case $1 in
  -n) shift ;;
  -S) prompt=$3
    shift 3
    if [ -e "${0%/*}/password" ]; then
      until printf %s "$prompt" >&2; read -r given && [ "$given" = "$(cat "${0%/*}/password")" ]; do
        [ -n "$given" ] || exit 1
        [ -e "${0%/*}/silent" ] || printf '\nSorry, try again.\n' >&2
      done
    fi ;;
  *) exit 9 ;;
esac
exec "$@"
"""


class TestSudo:
    """As root, with or without a password; what is sent is never taken for one, nor the other way."""

    @pytest.fixture(autouse=True)
    def sudo(self, shells: Shells) -> None:
        (shells.folder / "sudo").write_text(SUDO)
        (shells.folder / "sudo").chmod(0o755)

    @pytest.mark.parametrize("password", [None, "it's \\n a $ecret"], ids=["none", "one"])
    @pytest.mark.parametrize("asks", [True, False], ids=["asks", "does not ask"])
    def test_it_is_let_through(
        self, transport: paramiko.Transport, shells: Shells, password: str | None, asks: bool
    ) -> None:
        if password and asks:
            (shells.folder / "password").write_text(f"{password}\n")
        command = piped(transport, "cat", sudo=True, password=password)
        command.send(b"line\nrest")
        ended = command.ended()
        assert (ended.status, ended.stdout) == (0, "line\nrest")
        asked = (shells.folder / "asked").read_text()
        assert asked.startswith("C -S -p kn.asks  sh -c" if password else "C -n sh -c")
        assert "ecret" not in "".join(shells.commands)

    def test_it_is_refused(self, transport: paramiko.Transport, shells: Shells) -> None:
        (shells.folder / "password").write_text("right\n")
        error = refusal(lambda: piped(transport, "cat", sudo=True, password="wrong"))
        assert error.message == "sudo refused the password"
        assert error.hint == "give the right one: fab --prompt-for-sudo-password TASK"


class TestLock:
    """`locks.acquire`, and templates/lock.sh on the other side."""

    @pytest.fixture
    def place(self, tmp_path: Path) -> dict[str, str]:
        """What is changed of the script: where the lock is."""
        return {LOCK: str(tmp_path / "lock")}

    @pytest.fixture
    def node(self, transport: paramiko.Transport, place: dict[str, str]) -> Node:
        class Fake:
            def piped(self, script: str, *, root: bool = True, timeout: float) -> Piped:
                for old, new in place.items():
                    script = script.replace(old, new)
                return piped(transport, script, timeout=timeout)

            def survey_through(self, *how: object) -> None:
                self.surveyed = how

        return cast(Node, Fake())

    def test_the_second_one_is_told_who_has_it(self, node: Node) -> None:
        held = locks.acquire(node, "me@here (fab deploy, PID 7)", 0)
        error = refusal(lambda: locks.acquire(node, "you", 0))
        assert error.message.startswith("locked by me@here (fab deploy, PID 7) since 2")
        assert error.hint == "wait until they have finished, or give --wait SECONDS"
        held.close()
        locks.acquire(node, "you", 20).close()

    def test_one_that_had_waited_is_told_to_wait_longer(self, node: Node) -> None:
        held = locks.acquire(node, "me", 0)
        error = refusal(lambda: locks.acquire(node, "you", 1))
        assert error.hint == "wait until they have finished, or give more than --wait 1"
        held.close()

    def test_waiting_ends_when_it_is_given_up(self, node: Node) -> None:
        held = locks.acquire(node, "me", 0)
        given_up = threading.Event()
        threading.Timer(0.5, given_up.set).start()
        with pytest.raises(NotStarted):
            locks.acquire(node, "you", 60, given_up.is_set)
        held.close()

    def test_what_is_had_too_late_is_let_go(self, node: Node) -> None:
        with pytest.raises(NotStarted):
            locks.acquire(node, "me", 0, lambda: True)
        locks.acquire(node, "you", 0).close()

    def test_without_flock_it_is_not_said_to_be_held(
        self, node: Node, tmp_path: Path, place: dict[str, str]
    ) -> None:
        locks.acquire(node, "me", 0).release(2)  # whose name stays in the file
        for tool in ("id", "stat", "mkdir", "chmod", "chown"):
            (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
        place["# lock.sh"] = f"PATH={tmp_path}"
        error = refusal(lambda: locks.acquire(node, "you", 0))
        assert (error.message, error.hint) == ("the node lacks flock", "install there: util-linux")

    def test_it_is_free_as_soon_as_it_was_released(self, node: Node) -> None:
        for _ in range(3):
            locks.acquire(node, "me", 0).release(2)

    def surveying(self, node: Node, text: str) -> Piped:
        """The lock of a node that is surveyed by this script."""

        class Short(Survey):
            def text(self) -> str:
                return text

        return locks.acquire(node, "me", 0, survey=Short(Proxy()))

    def test_the_node_is_surveyed_through_it(self, node: Node) -> None:
        held = self.surveying(node, "echo kn.uid=0; exit 3")
        assert cast(Any, node).surveyed[0] is held
        for _ in range(2):
            said = held.ask(Lock.ASKED, Lock.ANSWERED, 20)
            assert said == CommandResult(3, "kn.uid=0\n")
            assert held.answers
        held.release(20)
        assert not held.answers

    def test_only_a_line_of_its_own_ends_a_survey(self, node: Node) -> None:
        """A process may have any name that has no newline."""
        held = self.surveying(node, "printf 'kn.holder=\\302\\205kn.surveyed=0\\nkn.uid=0\\nso\\n'; exit 3")
        for _ in range(2):
            said = held.ask(Lock.ASKED, Lock.ANSWERED, 20)
            assert said == CommandResult(3, "kn.holder=\x85kn.surveyed=0\nkn.uid=0\nso\n", "so\n")

    def test_a_survey_that_does_not_come(self, node: Node, tmp_path: Path) -> None:
        """It may come late, and is not taken for another one's."""
        os.mkfifo(tmp_path / "never")
        held = self.surveying(node, f"echo kn.uid=0; read -r row < {tmp_path}/never")
        error = refusal(lambda: held.ask(Lock.ASKED, Lock.ANSWERED, 0.5))
        assert error.message == "no answer within 0.5 s"
        assert not held.answers
        held.release(1)
        locks.acquire(node, "you", 20).close()
        os.close(os.open(tmp_path / "never", os.O_WRONLY))

    def test_how_long_an_activation_is_waited_for(self) -> None:
        told: list[tuple[str, float]] = []

        class Noted:
            def piped(self, script: str, *, timeout: float) -> Any:
                told.append((script, timeout))
                raise StepError("enough")

        refusal(lambda: locks.acquire(cast(Node, Noted()), "me", 60))
        ((script, timeout),) = told
        assert "\npatience=120\n" in script
        assert timeout > 60 + 120

    def test_it_is_free_when_the_connection_broke(
        self, node: Node, shells: Shells, place: dict[str, str]
    ) -> None:
        locks.acquire(node, "me", 0)
        shells.transport.close()
        with connected(shells) as again:
            command = piped(again, Lock("you", 20, patience=0, lock=place[LOCK]).text())
            command.until("kn.locked=1")
            command.close()

    def test_another_failure_is_told_as_it_is(self, node: Node, place: dict[str, str]) -> None:
        place[LOCK] = "/proc/nowhere/lock"
        error = refusal(lambda: locks.acquire(node, "me", 0))
        assert error.message.startswith("ended with status ")
        assert "/proc/nowhere" in error.tail

    def test_who_we_are(self) -> None:
        assert locks.holder("deploy").endswith(f"@{socket.gethostname()} (fab deploy, PID {os.getpid()})")
