"""A command on a host, over an SSH connection."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from threading import Event
from time import monotonic
from typing import Any

import paramiko

from ..errors import NotStarted, StepError, last_lines, reason
from ..gate import PasswordRefusedError
from . import frame
from .command import CommandResult, failure, framed
from .delays import Delays
from .output import CHUNK, FOREVER, MOST, Output, TooMuch

BROKE = "the connection broke while the command ran"
_NO_SESSION, _IS_LATE = "sshd opened no session in time", "Timeout opening channel"  # as paramiko says it
GONE = (paramiko.SSHException, OSError, EOFError)
_LOOK = 0.2  # seconds between two looks whether somebody still waits
_ASKS = "kn.asks"  # sudo's question: a password is only sent when it comes, and once
_AGAIN = "give the right one: fab --prompt-for-sudo-password TASK"
_MAY = "let {user} use sudo without a password, or fab --prompt-for-sudo-password"
_ALL = "in its sudoers: {user} ALL=(ALL) NOPASSWD: ALL"
_SUDO = {
    "a password is required": _MAY,
    "Sorry, user|sudoers file|not allowed": f"all is run by sh, as root; {_ALL}",
    "must have a tty": "no command has a terminal; in its sudoers: Defaults:{user} !requiretty",
    "change directory": "in its sudoers: Defaults:{user} !runcwd",
    "sh: command not found": "where is sh there? see secure_path in its sudoers",
}
"""What helps against what sudo says; see sudoers(5)."""
_SUDO_ELSE = "see what sudo itself says there, as {user}: sudo -n sh -c true"
_BESIDE = re.compile("sudo: (unable to resolve host|setrlimit)")
"""What sudo says besides, and goes on."""
_NO_SHELL = "is it nologin or false? set ssh.user in hosts.toml to a user whose shell runs commands"


class _Reply(Event):
    """sshd's answer to a request, which paramiko itself would await without end."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def wait(self, timeout: float | None = None) -> bool:
        if not super().wait(self._seconds):
            raise TimeoutError
        return True


class RemoteCommand:
    """Begins `script` for `user`, through sudo if `sudo` is true, with `password` if sudo may ask for one.

    It must end within `timeout` seconds (None: any time), and write at most `most` bytes to each stream
    (None: any number, of which the end is kept). `delays` gets how long it took to begin.
    Raises StepError: it took longer, wrote too much, did not begin, the connection broke, or sudo refused.
    """

    _late, _not_opened = "did not end", "the connection broke: {}"

    def __init__(
        self,
        open_session: Callable[[], Any],
        user: str,
        script: str,
        *,
        sudo: bool = False,
        password: str | None = None,
        timeout: float | None,
        most: int | None = MOST,
        each_line: Callable[[str], None] | None = None,
        tail: int = 5,
        delays: Delays | None = None,
    ) -> None:
        self._script = script
        self._timeout = FOREVER if timeout is None else timeout
        self._tail = tail
        self._out, self._err = Output(most, each_line), Output(most)
        self._seen: dict[str, float] = {}
        self._began = monotonic()
        self._sudo, self._password = sudo, password if sudo else None
        self._unsent = _sent(script)
        command, asks = frame.command(len(self._unsent)), "-n" if password is None else f"-S -p '{_ASKS} '"
        command = f"{frame.SUDO} {asks} {command}" if sudo else command
        with self._explained(self._not_opened):
            self._channel = open_session()
        begun = False
        try:
            with self._explained(self._not_opened):
                self._channel.event = _Reply(self._timeout)
                self._channel.exec_command(command)
            begun = True
            self._came = Event()  # something, or the end, on either stream
            self._channel.in_buffer.set_event(self._came)
            self._channel.in_stderr_buffer.set_event(self._came)
            self._begin(user)
        except BaseException:
            self.close()  # sshd allows a connection only ten sessions
            raise
        finally:
            if delays and begun:
                delays.add_start(self._seen, monotonic() - self._began)

    def _begin(self, user: str) -> None:
        deadline, asked = self._began + self._timeout, 0
        while frame.BEGINS not in self._seen:
            # a sudo that may ask for a password would take the script for it
            if self._unsent and (self._password is None or frame.READS in self._seen):
                script, self._unsent = self._unsent, b""
                self.send(script)
            more = self._read(deadline)
            frame.note(self._seen, self._out.end, monotonic() - self._began)
            if frame.BEGINS not in self._seen:
                asked = self._answer(asked)
                if not more:
                    raise self._not_begun(user, self._wait(deadline).status)

    def _answer(self, asked: int) -> int:
        """Gives sudo the password if it has asked for the first time; how often it has. Raises StepError."""
        asks = frame.CALLS in self._seen and self._password is not None
        questions = self._err.text.count(_ASKS) if asks else 0
        if questions > 1 or "\nSorry, try again.\n" in self._out.end + self._err.end:
            raise PasswordRefusedError("sudo refused the password", hint=_AGAIN)
        if questions > asked:
            self.send(f"{self._password}\n".encode())
        return questions

    def _not_begun(self, user: str, status: int) -> StepError:
        """Why it ended before it began."""
        text = self._out.text + self._err.text
        lines = [line for line in text.splitlines() if not line.startswith("kn.")]
        words = ("sudo: ", "Sorry, user ", f"{user} is not ")
        refused = next((w for w in lines if w.startswith(words) and not _BESIDE.match(w)), "")
        tail, hint = last_lines("\n".join(lines)), ""
        if frame.READS in self._seen:  # sh began, and dd and sh below it did not
            message = f"sh ran nothing there, and ended with status {status}"
            if self._sudo:
                hint = f"may it start programs? in its sudoers: Defaults:{user} !noexec"
        elif self._sudo and refused:
            message, tail = f"sudo refused: {refused.partition(' to execute ')[0]}", ""
            hint = next((helps for sign, helps in _SUDO.items() if re.search(sign, refused)), _SUDO_ELSE)
        elif self._sudo and frame.CALLS in self._seen:
            message, hint = f"sudo ran nothing, and ended with status {status}", _SUDO_ELSE
        else:
            message, hint = (
                f"the login shell of {user} ran nothing, and ended with status {status}",
                _NO_SHELL,
            )
        return StepError(message, status=status, tail=tail, hint=hint.format(user=user))

    def result(self, check: bool = True) -> CommandResult:
        """Waits for its end. Raises StepError, also for another status than 0 unless `check` is false."""
        try:
            ended = self._wait(self._began + self._timeout)
        finally:
            self.close()
        if check and ended.status:
            raise failure(self._script, ended, self._tail)
        return ended

    def _wait(self, deadline: float) -> CommandResult:
        while self._read(deadline):
            pass
        with self._explained(BROKE):
            if not self._channel.status_event.wait(max(deadline - monotonic(), 0)):
                raise TimeoutError
            if self._channel.exit_status < 0:
                raise EOFError
        return CommandResult(int(self._channel.exit_status), self._out.own, self._err.own)

    def send(self, content: bytes) -> None:
        """Hands `content` over; a command that has ended already does not mind."""
        with self._explained(BROKE):
            try:
                for at in range(0, len(content), CHUNK):
                    self._send(content[at : at + CHUNK])
            except OSError:
                if not self._channel.exit_status_ready() and not self._channel.eof_received:
                    raise

    def _send(self, chunk: bytes) -> None:
        deadline = monotonic() + self._timeout
        while chunk:
            self._channel.settimeout(max(deadline - monotonic(), 0))
            chunk = chunk[self._channel.send(chunk) :]

    def close(self) -> None:
        """Lets go of the command."""
        with suppress(*GONE):
            self._channel.close()

    def _read(self, deadline: float, given_up: Callable[[], bool] | None = None) -> bool:
        """Waits until something has come; false at the end of all output."""
        with self._explained(BROKE):
            while True:
                self._channel.settimeout(0)
                with suppress(TimeoutError):  # nothing is there
                    out = self._channel.recv(CHUNK)
                    self._out.add(out)
                    return bool(out) or self._read_stderr()
                if self._read_stderr():
                    return True
                if given_up and given_up():
                    raise NotStarted
                left = deadline - monotonic()
                if left <= 0:
                    raise TimeoutError
                self._came.wait(min(left, _LOOK) if given_up else left)

    def _read_stderr(self) -> bool:
        ready = self._channel.recv_stderr_ready()
        if ready:
            self._err.add(self._channel.recv_stderr(MOST))
        return bool(ready)

    @contextmanager
    def _explained(self, broke: str) -> Iterator[None]:
        try:
            yield
        except TooMuch as error:
            self.close()
            tail = last_lines(error.last, self._tail)
            raise StepError(str(error), command=self._script, tail=tail) from None
        except TimeoutError:
            message = f"{self._late} within {self._timeout:g} s"
            raise StepError(message, command=self._script, tail=self._last_lines()) from None
        except GONE as error:
            message = _NO_SESSION if _IS_LATE in str(error) else broke.format(reason(error))
            raise StepError(message, command=self._script) from None

    def _last_lines(self) -> str:
        return CommandResult(-1, self._out.own, self._err.own).last_lines(self._tail)


@lru_cache(maxsize=8)  # many nodes are sent one script at the same time
def _sent(script: str) -> bytes:
    return frame.sent(framed(script))
