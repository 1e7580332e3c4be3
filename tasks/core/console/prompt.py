"""Questions: of logins, which come from any thread, while a bar may be drawn; and whether to go on."""

from __future__ import annotations

import os
import sys
import termios
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from select import select
from threading import Lock
from typing import Any

from rich.console import Console

from ..errors import NotStarted, UsageError
from .terminal import printable

_IN, _OUT = 0, 2  # stdout may be a document's, and what rich puts in stderr's place waits for whole lines
_LOOK = 0.1  # seconds between two looks whether Ctrl-C came


def can_ask() -> bool:
    """Whether there is a terminal, with somebody who types and reads on it."""
    return os.isatty(_IN) and os.isatty(_OUT) and not os.environ.get("CI")


def confirm(console: Console, what: str, unasked: str) -> None:
    """Tells `what` would happen, and goes on when the answer is yes.

    Raises UsageError: it is not; or there is no terminal to ask on, which `unasked` says.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(unasked)
    console.print(what, markup=False, highlight=False)
    console.print("Type yes to go on: ", end="")
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("nothing was done")


class Prompt:
    """Asks one question at a time. `paused` clears the screen for it; once `given_up`, nobody is asked."""

    def __init__(
        self, paused: Callable[[], AbstractContextManager[None]], given_up: Callable[[], bool]
    ) -> None:
        self._paused, self._given_up = paused, given_up
        self._asking, self._changing = Lock(), Lock()
        self._closed = False
        self._before: list[Any] | None = None  # the terminal's modes, while others hold

    def ask(self, question: str, visible: bool = False) -> str | None:
        """The line that is typed, None at the end of the input. Raises NotStarted: Ctrl-C came."""
        with self._asking, self._paused():
            self._begin(visible)
            rest = b"\n"
            try:
                os.write(_OUT, printable(question).encode(errors="replace"))
                line = self._line()
                rest = b"" if line is not None else rest
                return line
            finally:
                self._end(rest)

    def close(self) -> None:
        """Leaves the terminal as it was, whoever is still being asked."""
        self._closed = True
        self._end(b"\n")

    def _begin(self, visible: bool) -> None:
        with self._changing:
            if self._closed or self._given_up():
                raise NotStarted
            self._before = termios.tcgetattr(_IN)
            modes = list(self._before)
            modes[3] |= termios.ICANON | termios.ISIG | termios.ECHO | termios.ECHONL
            if not visible:
                modes[3] &= ~termios.ECHO
            termios.tcsetattr(_IN, termios.TCSAFLUSH, modes)

    def _end(self, rest: bytes) -> None:
        with self._changing:
            before, self._before = self._before, None
            if before is not None:
                with suppress(termios.error, OSError):  # the terminal is gone
                    termios.tcsetattr(_IN, termios.TCSADRAIN, before)
                    os.write(_OUT, rest)

    def _line(self) -> str | None:
        typed = b""
        while not typed.endswith(b"\n"):
            if self._closed or self._given_up():
                raise NotStarted
            if select([_IN], [], [], _LOOK)[0]:
                part = os.read(_IN, 4096)
                if not part:
                    return None
                typed += part
        return typed.rstrip(b"\r\n").decode(errors="replace")
