"""A command on a host whose standard input is ours, byte for byte: what Fabric's text streams are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import paramiko

from ..errors import NotStarted, StepError, last_lines
from . import frame
from .bounded import MOST, TooMuch
from .command import framed
from .host import CommandResult, not_begun

_CHUNK = 65536
_ASK = 0.2  # seconds between two looks whether somebody still waits
_GO = "kn.go"
# A password that sudo did not ask for is still there; what is sent begins after this word.
_AWAIT = f'while IFS= read -r word && [ "$word" != {_GO} ]; do :; done\n'


class Piped:
    """Begins `script`, through sudo if `sudo` is true; what is sent is its standard input.

    Whatever is waited for must come within `timeout` seconds, and what is sent be taken: no pause may be
    longer. `seen` is told after how many seconds each mark of the frame came.
    Raises StepError: it took longer, wrote too much, did not begin, the connection broke, or sudo refused.
    """

    def __init__(
        self,
        transport: Any,
        script: str,
        *,
        sudo: bool,
        password: str | None,
        timeout: float,
        seen: dict[str, float] | None = None,
    ) -> None:
        self._seen = {} if seen is None else seen
        self._script = script
        self._timeout = timeout
        self._said = b""
        self._user = transport.get_username()
        self._sudo = sudo
        self._began = monotonic()
        command = framed(_AWAIT + script, errors=False)
        if sudo:
            ask = "-n" if password is None else "-S -p ''"
            command = f"{frame.SUDO} {ask} {command}"
        with self._told():
            self._channel = transport.open_session(timeout=timeout)
        try:
            self._begin(command, password if sudo else None)
        except StepError:
            self.close()
            raise

    def _begin(self, command: str, password: str | None) -> None:
        with self._told():
            self._channel.set_combine_stderr(True)
            self._channel.exec_command(command)
        if password is not None:
            self.send(f"{password}\n".encode())
        self._until_it_begins()
        self.send(f"{_GO}\n".encode())

    def _until_it_begins(self) -> None:
        late = monotonic() + self._timeout
        while frame.BEGINS not in self._seen:
            text = self._said.decode(errors="replace")
            if "Sorry, try again.\n" in text.splitlines(keepends=True):
                raise StepError("sudo refused the password", hint="fab --prompt-for-sudo-password TASK")
            frame.note(self._seen, f"\n{text}", monotonic() - self._began)
            if frame.BEGINS not in self._seen and not self._read(late):
                with self._told():
                    raise not_begun(self._user, self._status(late), text, self._sudo)

    def send(self, content: bytes) -> None:
        """Hands `content` over; a command that has ended already does not mind."""
        with self._told():
            try:
                for at in range(0, len(content), _CHUNK):
                    self._send(content[at : at + _CHUNK])
            except OSError:
                if not self._channel.exit_status_ready() and not self._channel.eof_received:
                    raise

    def _send(self, chunk: bytes) -> None:
        late = monotonic() + self._timeout
        while chunk:
            self._channel.settimeout(max(late - monotonic(), 0))
            chunk = chunk[self._channel.send(chunk) :]

    def until(self, word: str, given_up: Callable[[], bool] | None = None) -> None:
        """Waits for a line that begins with `word`.

        Raises StepError if none comes, NotStarted when `given_up` says that nobody waits any more.
        """
        late = monotonic() + self._timeout
        while not any(line.startswith(word) and line.endswith("\n") for line in self._lines()):
            if not self._read(late, given_up):
                ended = self.ended()
                raise StepError(
                    f"ended with status {ended.status}",
                    command=self._script,
                    status=ended.status,
                    tail=ended.stderr,
                )

    def rest_of(self, word: str) -> str:
        """The rest of the first line so far that begins with `word`; "" if there is none."""
        return next((line.removeprefix(word).strip() for line in self._lines() if line.startswith(word)), "")

    def _lines(self) -> list[str]:
        return frame.own(self._said.decode(errors="replace")).splitlines(keepends=True)

    def beat(self) -> None:
        """One byte, to say that we are still there; a broken connection is for others to notice."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.settimeout(1)
            self._channel.send(b".")

    def ended(self) -> CommandResult:
        """Ends its standard input and waits for it; what it wrote to either stream is in both."""
        late = monotonic() + self._timeout
        with self._told():
            self._channel.shutdown_write()
            while self._read(late):
                pass
            status = self._status(late)
        lines = self._lines()
        return CommandResult(
            status, "".join(lines), "".join(line for line in lines if not line.startswith("kn."))
        )

    def release(self, patience: float) -> None:
        """Ends its standard input, and waits for so many seconds, at the most, until it has ended."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()
            self._channel.status_event.wait(patience)
        self.close()

    def close(self) -> None:
        """Lets go of the command."""
        self._channel.close()

    def _read(self, late: float, given_up: Callable[[], bool] | None = None) -> bool:
        with self._told():
            more = self._channel_says(late, given_up)
        self._said += more
        if len(self._said) > MOST:
            self.close()
            last = last_lines(more.rpartition(b"\n")[0].decode(errors="replace"))
            raise StepError(str(TooMuch(MOST)), command=self._script, tail=last)
        return bool(more)

    def _channel_says(self, late: float, given_up: Callable[[], bool] | None) -> bytes:
        while True:
            left = max(late - monotonic(), 0)
            self._channel.settimeout(min(_ASK, left) if given_up else left)
            try:
                return bytes(self._channel.recv(32768))
            except TimeoutError:
                if given_up and given_up():
                    raise NotStarted from None
                if monotonic() >= late:
                    raise

    def _status(self, late: float) -> int:
        if not self._channel.status_event.wait(max(late - monotonic(), 0)) or self._channel.exit_status < 0:
            raise EOFError
        return int(self._channel.exit_status)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            message = f"no answer within {self._timeout:g} s"
            raise StepError(message, command=self._script) from None
        except (paramiko.SSHException, OSError, EOFError):
            raise StepError("the connection broke while the command ran", command=self._script) from None
