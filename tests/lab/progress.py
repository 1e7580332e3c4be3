"""What takes time says so: live lines on a terminal, plain lines in a pipe."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

HEARTBEAT = 10.0


class Progress:
    """Reports steps, which may run in several threads at once; silent without a console."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._lock = threading.Lock()
        self._open = 0
        self._bars: Bars | None = None

    def say(self, text: str) -> None:
        """Print one line."""
        if self._console:
            self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def step(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show text for as long as the block runs, then a line with its seconds if it succeeds.

        The block gets a function that shows another text instead.
        """
        started = time.monotonic()
        live = self._console and self._console.is_terminal
        with self._live(text) if live else self._plain(text) as show:
            yield show
        self.say(f"{text}: {time.monotonic() - started:.1f} s")

    @contextmanager
    def _plain(self, text: str) -> Iterator[Callable[[str], None]]:
        done = threading.Event()
        now = text

        def show(text: str) -> None:
            nonlocal now
            now = text

        def beat() -> None:
            seconds = 0.0
            while not done.wait(HEARTBEAT):
                seconds += HEARTBEAT
                self.say(f"{now} ... {seconds:.0f} s")

        self.say(f"{text} ...")
        if self._console:
            threading.Thread(target=beat, daemon=True).start()
        try:
            yield show
        finally:
            done.set()

    @contextmanager
    def _live(self, text: str) -> Iterator[Callable[[str], None]]:
        bars = self._enter()
        row = bars.add_task(text, total=None)
        try:
            yield lambda now: bars.update(row, description=now)
        finally:
            bars.remove_task(row)
            self._leave()

    def _enter(self) -> Bars:
        with self._lock:
            if self._bars is None:
                columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
                self._bars = Bars(*columns, console=self._console, transient=True)
                self._bars.start()
            self._open += 1
            return self._bars

    def _leave(self) -> None:
        with self._lock:
            self._open -= 1
            if self._bars and not self._open:
                self._bars.stop()
                self._bars = None
