"""Looking again and again, until Ctrl-C."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import contextmanager
from datetime import datetime
from io import StringIO
from threading import Thread
from time import sleep
from typing import Generic, TypeVar, cast

from rich.console import Console
from rich.live import Live
from rich.text import Text

from ..config.validation import shown
from ..console.screen import Output
from ..errors import StepError, UsageError
from ..ssh.node import Node

T = TypeVar("T")

EVERY = 2.0


def seconds_of(watch: object) -> float | None:
    """The pause between two looks that `--watch [SECONDS]` asks for; None: it was not given.

    Raises UsageError.
    """
    if watch in (None, False):
        return None
    if watch is True:
        return EVERY
    given = re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,9})?|\.[0-9]{1,9}", str(watch))
    seconds = float(given[0]) if given else 0.0
    if not 0.1 <= seconds <= 3600:
        raise UsageError(
            f"--watch {shown(str(watch))}: seconds are wanted, from 0.1 to 3600, such as --watch 5"
        )
    return seconds


class Poller(Generic[T]):
    """Asks nodes look after look, and keeps those that answer from waiting for those that do not.

    `ask` is what may take long. A node that does not answer within `seconds` is asked on, and so is one that
    failed before: what comes of it is for a later look, and until then the last that is known is told.
    """

    def __init__(self, ask: Callable[[Node], T], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._asked: dict[str, Future[T]] = {}
        self._failed: dict[str, StepError] = {}

    def answer(self, node: Node) -> T:
        """What the node answered. Raises StepError: why it did not, or that it has not yet."""
        new = node.label not in self._asked and node.label not in self._failed
        future = self._asked.get(node.label) or self._begin(node)
        done, _ = wait([future], self._seconds if new else 0)
        if not done:
            late = StepError(f"has not answered within {self._seconds:g} s; still trying", unreachable=True)
            raise self._failed.get(node.label, late).with_traceback(None)  # which would grow, look by look
        del self._asked[node.label]
        self._failed.pop(node.label, None)
        try:
            return future.result()
        except StepError as error:
            self._failed[node.label] = error
            raise

    def _begin(self, node: Node) -> Future[T]:
        future = self._asked[node.label] = Future[T]()

        def work() -> None:
            try:
                future.set_result(self._ask(node))
            except BaseException as error:  # handed over to whoever looks
                future.set_exception(error)

        Thread(target=work, daemon=True).start()
        return future


Draw = Callable[[Console], None]
"""Draws what a look saw."""


def watch(console: Console, seconds: float, look: Callable[[], Draw]) -> Draw:
    """Looks and draws until Ctrl-C; in place on a terminal, else one picture below the other.

    What draws the last look that was finished is returned; before the first one is, KeyboardInterrupt
    goes on to the caller.
    """
    last = None
    with pictures(console) as show:
        try:
            while True:
                draw = last = look()
                show(f"{datetime.now():%H:%M:%S}, every {seconds:g} s, until Ctrl-C", draw)
                if getattr(console, "broken", False):  # nobody reads
                    return draw
                sleep(seconds)
        except KeyboardInterrupt:
            if last is None:
                raise
            return last


@contextmanager
def pictures(console: Console) -> Iterator[Callable[[str, Draw], None]]:
    """Gives what shows a picture below its head: on a terminal where the last one was, until the end."""

    def below(head: str, draw: Draw, paper: Console = console) -> None:
        paper.print(head, highlight=False, markup=False)
        draw(paper)
        if not paper.is_terminal:
            paper.print()

    def in_place(head: str, draw: Draw) -> None:
        # drawn elsewhere: what is printed on the console itself would come above the picture, and stay
        paper = Output(file=StringIO(), force_terminal=True, width=console.width, no_color=console.no_color)
        below(head, draw, paper)
        live.update(Text.from_ansi(cast(StringIO, paper.file).getvalue().rstrip("\n")), refresh=True)

    if not console.is_terminal:
        yield below
        return
    with Live(Text("looking ..."), console=console, auto_refresh=False, transient=True) as live:
        yield in_place
