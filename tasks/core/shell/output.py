"""What a command writes to one stream: within a bound, and whole lines of it as they come."""

from __future__ import annotations

from codecs import getincrementaldecoder
from collections import deque
from collections.abc import Callable

from . import frame

MOST = 4 << 20
"""Bytes that a command may write to each of its streams."""
BULK = 64 << 20
"""The same, of what is long by its nature."""

FOREVER = 1e9
"""Seconds, where there is no time limit."""
CHUNK = 1 << 15
"""Bytes that are read at a time."""
_KEPT = 8  # chunks of the output of a command that has no bound
_OVERLAP = 32  # characters: a mark may come in two parts


class TooMuch(Exception):  # noqa: N818 - it is caught where its text goes into a StepError
    """A command has written more than `most` bytes; `last` is what came last."""

    def __init__(self, most: int, last: str) -> None:
        super().__init__(f"it wrote more than {most / (1 << 20):g} MiB, and was ended")
        self.last = last


class Output:
    """One stream. At most `most` bytes may come; None: any number, and the end is kept."""

    def __init__(self, most: int | None = MOST, each_line: Callable[[str], None] | None = None) -> None:
        self._most = most
        self._size = 0
        self._chunks: deque[str] = deque(maxlen=_KEPT if most is None else None)
        self._decode = getincrementaldecoder("utf-8")("replace").decode
        self._lines = frame.Lines(each_line) if each_line else None
        self.end = "\n"

    def add(self, chunk: bytes) -> None:
        """Takes what has come. Raises TooMuch."""
        text = self._decode(chunk)
        self.end = self.end[-_OVERLAP:] + text
        self._size += len(chunk)
        if self._most is not None and self._size > self._most:
            raise TooMuch(self._most, text.rpartition("\n")[0])
        self._chunks.append(text)
        if self._lines:
            self._lines.write(text)

    @property
    def text(self) -> str:
        """All that is kept."""
        return "".join(self._chunks)

    @property
    def own(self) -> str:
        """The script's own part of it: see `frame`."""
        return frame.own(self.text)
