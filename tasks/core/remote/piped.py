"""A command on a host whose standard input is ours, byte for byte: what Fabric's text streams are not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from time import monotonic
from typing import Any

import paramiko

from ..errors import NotBegun, StepError
from . import commands
from .host import Ended

_CHUNK = 65536
_ASK = 0.2  # seconds between two looks whether somebody still waits
_READY, _BEGIN = "kn.ready", "kn.begin"
# A password that sudo did not ask for is still there; what is sent begins after this word.
_AWAIT = f'echo {_READY}\nwhile IFS= read -r word && [ "$word" != {_BEGIN} ]; do :; done\n'


class Piped:
    """Begins `script`, through sudo if `sudo` is true; what is sent is its standard input.

    It must not be silent for more than `timeout` seconds. Raises StepError: it was, the connection broke,
    or sudo refused.
    """

    def __init__(
        self, transport: Any, script: str, *, sudo: bool, password: str | None, timeout: float
    ) -> None:
        self._script = script
        self._timeout = timeout
        self._said = b""
        command = commands.shell(_AWAIT + script)
        if sudo:
            ask = "-n" if password is None else "-S -p ''"
            command = f"env LC_ALL=C sudo {ask} {command}"
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
        self.until(_READY)
        self.send(f"{_BEGIN}\n".encode())

    def send(self, content: bytes) -> None:
        """Hands `content` over; a command that has ended already does not mind."""
        with self._told():
            try:
                for at in range(0, len(content), _CHUNK):
                    self._channel.settimeout(self._timeout)
                    self._channel.sendall(content[at : at + _CHUNK])
            except OSError:
                if not self._channel.exit_status_ready() and not self._channel.eof_received:
                    raise

    def until(self, word: str, given_up: Callable[[], bool] | None = None) -> None:
        """Waits for a line that begins with `word`.

        Raises StepError if none comes, NotBegun when `given_up` says that nobody waits any more.
        """
        while True:
            lines = self._said.decode(errors="replace").splitlines(keepends=True)
            if any(line.startswith(word) and line.endswith("\n") for line in lines):
                return
            if "Sorry, try again.\n" in lines:
                self.close()
                raise StepError("sudo refused the password", hint="fab --prompt-for-sudo-password TASK")
            if not self._read(given_up):
                ended = self.ended()
                raise StepError(
                    f"ended with status {ended.status}",
                    command=self._script,
                    status=ended.status,
                    tail=ended.stderr,
                )

    def said(self, word: str) -> str:
        """The rest of the first line so far that begins with `word`; "" if there is none."""
        lines = self._said.decode(errors="replace").splitlines()
        return next((line.removeprefix(word).strip() for line in lines if line.startswith(word)), "")

    def beat(self) -> None:
        """One byte, to say that we are still there; a broken connection is for others to notice."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.settimeout(1)
            self._channel.send(b".")

    def ended(self) -> Ended:
        """Ends its standard input and waits for it; what it wrote to either stream is in both."""
        with self._told():
            self._channel.shutdown_write()
            while self._read():
                pass
            status = self._status()
        text = self._said.decode(errors="replace")
        words = "".join(line for line in text.splitlines(keepends=True) if not line.startswith("kn."))
        return Ended(status, text, words)

    def release(self) -> None:
        """Ends its standard input, and waits for a moment until it has ended."""
        with suppress(OSError, EOFError, paramiko.SSHException):
            self._channel.shutdown_write()
            self._channel.status_event.wait(2)
        self.close()

    def close(self) -> None:
        """Lets go of the command."""
        self._channel.close()

    def _read(self, given_up: Callable[[], bool] | None = None) -> bool:
        with self._told():
            more = self._channel_says(given_up)
        self._said += more
        return bool(more)

    def _channel_says(self, given_up: Callable[[], bool] | None) -> bytes:
        late = monotonic() + self._timeout
        self._channel.settimeout(_ASK if given_up else self._timeout)
        while True:
            try:
                return bytes(self._channel.recv(32768))
            except TimeoutError:
                if given_up and given_up():
                    raise NotBegun from None
                if not given_up or monotonic() > late:
                    raise

    def _status(self) -> int:
        if not self._channel.status_event.wait(self._timeout) or self._channel.exit_status < 0:
            raise EOFError
        return int(self._channel.exit_status)

    @contextmanager
    def _told(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            message = f"no answer for {self._timeout:g} s"
            raise StepError(message, command=self._script) from None
        except (paramiko.SSHException, OSError, EOFError):
            raise StepError("the connection broke while the command ran", command=self._script) from None
