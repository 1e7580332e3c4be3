"""The consoles of rich's that people read: no text of theirs is one that a terminal obeys."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from .terminal import printable


class Output(Console):
    """A console of rich's on which all text is `printable`; by default on stdout."""

    def __init__(self, **options: Any) -> None:
        super().__init__(emoji=False, **options)  # fd00:a:b::1 is an address

    @property
    def encoding(self) -> str:
        """That of the stream; rich's own is always UTF-8."""
        return (getattr(self.file, "encoding", None) or "utf-8").lower()

    @property
    def broken(self) -> bool:
        """Whether nobody reads any more."""
        return bool(getattr(self.file, "broken", False))

    def render_str(self, text: str, **options: Any) -> Text:
        """As rich does, which would leave out the bell."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich renders it; only what is rich's own controls anything."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=printable(segment.text))


def console_for(as_json: bool) -> Output:
    """Where people read: stdout, or stderr when stdout belongs to a JSON document."""
    return Output(stderr=as_json)
