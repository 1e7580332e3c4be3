"""How Invoke runs a command for us: with a bound on what it may write, and with an eye on when it begins."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator
from time import monotonic
from typing import Any

import invoke

from .frame import BEGINS, note

MOST = 4 << 20
"""Characters that a command may write to each of its streams."""
BULK = 64 << 20
"""The same, of what is long by its nature."""

_KEPT = 8  # chunks of the output of a command that has no bound
_OVERLAP = 32  # characters: a mark may come in two parts


class TooMuch(Exception):  # noqa: N818 - it tells, and is caught where it is told
    """A command has written more than it may; `last` is what came last."""

    def __init__(self, most: float, last: str = "") -> None:
        super().__init__(f"it wrote more than {most / (1 << 20):g} MiB, and was ended")
        self.last = last


class Bounded(invoke.Runner):
    """A runner whose `run` takes `most`: so much may be written. None: any amount, and the end is kept."""

    def run(self, command: str, *, most: float | None = math.inf, **kwargs: Any) -> Any:
        """The result has in `seen` after how many seconds each mark of the frame came."""
        self._most = most
        self._began = monotonic()
        self.seen: dict[str, float] = {}
        return super().run(command, **kwargs)

    def read_proc_output(self, reader: Callable[[int], bytes]) -> Generator[str, None, None]:
        """Raises TooMuch."""
        size, last = 0, "\n"
        for text in super().read_proc_output(reader):
            if BEGINS not in self.seen:
                last = last[-_OVERLAP:] + text
                note(self.seen, last, monotonic() - self._began)
            size += len(text)
            if self._most is not None and size > self._most:
                self.kill()
                raise TooMuch(self._most, text.rpartition("\n")[0])
            yield text

    def _handle_output(self, buffer_: list[str], hide: bool, output: Any, reader: Any) -> None:
        kept: Any = deque(maxlen=_KEPT) if self._most is None else buffer_
        super()._handle_output(kept, hide, output, reader)
        if kept is not buffer_:
            buffer_.extend(kept)

    def generate_result(self, **kwargs: Any) -> Any:
        """Invoke's, with `seen`."""
        result: Any = super().generate_result(**kwargs)
        result.seen = self.seen
        return result
