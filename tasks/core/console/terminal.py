"""The one way of text to a person: streams that take every text, and text that no terminal obeys."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO, cast

import invoke

# Control characters of C0 and C1 besides tab and newline, what turns the direction of a line, other ends of
# lines, and what is no character at all.
_OBEYED = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ud800-\udfff]"
)
_SIZE = re.compile("[1-9][0-9]{0,3}")


def printable(text: str) -> str:
    r"""`text` with what a terminal would obey as escapes, such as \x1b; lines and tabs stay."""
    return _OBEYED.sub(lambda found: ascii(found[0])[1:-1], text)


def tell(text: str, end: str = "\n") -> None:
    """Text on stderr, as a line."""
    print(printable(text), end=end, file=sys.stderr, flush=True)


def write(text: str) -> None:
    """A document on stdout; JSON, which has escapes of its own, stays as it is."""
    print(printable(text), flush=True)


def ending(message: str, code: int) -> invoke.Exit:
    """What ends `fab` with this exit status, and with a message on stderr."""
    return invoke.Exit(printable(message), code=code)


class Stream:
    """stdout or stderr that may be full, or left by its reader (`| head`): the work goes on all the same.

    From then on it is `broken`. What a full one loses, stderr says; `full` is then true. With `strict`,
    writing to a full one raises invoke.Exit: status 1.
    """

    strict = False

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self.broken = self.full = False
        if getattr(stream, "errors", "") == "strict" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        with self._working():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._working():
            self._stream.flush()

    @contextmanager
    def _working(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            _stand_in(self._stream.fileno())  # or the interpreter's own flush would fail, too
            self.broken, self.full = True, not isinstance(error, BrokenPipeError)
            lost = f"{self._stream.name.strip('<>')}: {error.strerror}: what belongs there is lost\n"
            with suppress(OSError):
                os.write(2, lost.encode() if self.full else b"")
            if self.full and self.strict:
                raise invoke.Exit(code=1) from None


def _stand_in(number: int) -> None:
    """What is written there from now on goes nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)


def guard() -> None:
    """Has all of this process write to a `Stream`; what was closed is there, and leads nowhere."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            _stand_in(number)  # or the next connection would have its number
        stream = getattr(sys, name) or open(os.devnull, "w" if number else "r", encoding="utf-8")  # noqa: SIM115
        guarded = number == 0 or isinstance(stream, Stream)
        setattr(sys, name, stream if guarded else cast(TextIO, Stream(stream)))
    for name in ("COLUMNS", "LINES"):  # rich takes any digits for a size, and 0 for an order to show nothing
        if not _SIZE.fullmatch(os.environ.get(name, "80")):
            del os.environ[name]


def end_when_full() -> None:
    """For what `fab` itself writes, such as its list: it ends with status 1 if stdout is full."""
    if isinstance(sys.stdout, Stream):
        sys.stdout.strict = True
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(line_buffering=True)


@contextmanager
def working() -> Iterator[None]:
    """Work that goes on though stdout is full; at its end that is a failure.

    Raises invoke.Exit: status 1.
    """
    guard()
    stream = cast(Stream, sys.stdout)
    stream.strict = False
    yield
    stream.flush()
    if stream.full:
        raise invoke.Exit(code=1)
