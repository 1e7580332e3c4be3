"""What a person reads while it happens: live lines, plain lines."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from threading import Event, Lock, Thread
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    SpinnerColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from ..folding.alike import MANY, told
from ..results import State
from .summary import Record
from .tally import Tally

MARKS = {
    State.OK: "[green]✔[/]",
    State.CHANGED: "[yellow]●[/]",
    State.FAILED: "[red]✘[/]",
    State.WARNING: "[yellow]![/]",
}
QUIET = 30.0
"""Seconds after which a pipe is told that the step still goes on."""
_WIDE = 100  # columns of a terminal with room for a long bar, and for the time since the beginning


class Reporter(Protocol):
    """Is told what happens, in this order; asks nothing. Hosts begin in any thread."""

    def step_begins(self, step: str, hosts: Sequence[str], title: str = "") -> None: ...
    def begins(self, host: str) -> None: ...
    def progress(self, host: str, text: str, done: int = 0, total: int | None = None) -> None: ...
    def done(self, record: Record) -> None: ...
    def step_ends(self) -> None: ...
    def paused(self) -> AbstractContextManager[None]: ...


class Plain:
    """Lines without control codes, for pipes, CI, and beside JSON: one a host and step.

    In a fleet of `many` hosts it is one for each tenth of them, and one at the end of the step.
    """

    def __init__(self, console: Console, fleet: int = 0) -> None:
        self._console = console
        self._many = fleet > MANY
        self._each = -(-fleet // 10)
        self._tally = Tally("", 0)
        self._over = Event()

    def step_begins(self, step: str, hosts: Sequence[str], title: str = "") -> None:
        self._tally, self._over, self._next = Tally(title or step, len(hosts)), Event(), self._each
        self._heard = self._shown = monotonic()
        self._step = step
        with suppress(RuntimeError):  # no thread can be had
            Thread(target=self._goes_on, args=(self._over,), daemon=True).start()

    def begins(self, host: str) -> None:
        self._tally.begins(host)

    def progress(self, host: str, text: str, done: int = 0, total: int | None = None) -> None:
        if not self._many and monotonic() - self._heard >= 10:
            self._heard = monotonic()
            self._print(f"{self._step} {host} ... {text}")

    def done(self, record: Record) -> None:
        self._tally.ends(record)
        if not self._many:
            words = [record.step, record.host, record.outcome.state, f"{record.seconds:.1f}s"]
            detail = "; ".join(filter(None, (record.outcome.detail, record.slow)))
            self._print(" ".join([*words, detail]).rstrip())
        elif self._next <= len(self._tally.records) < self._tally.total:
            self._next += self._each
            self._print(self._tally.so_far())

    def step_ends(self) -> None:
        self._over.set()
        if self._many:
            self._print("; ".join(filter(None, (self._tally.so_far(), self._tally.in_common()))))
            for state, text, hosts in self._tally.noted():
                self._print(f"  {state}: {told(text, hosts)}")

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _goes_on(self, over: Event) -> None:
        """Tells how far the step is when nothing has been told for long."""
        while not over.wait(max(0.0, self._shown + QUIET - monotonic())):
            if monotonic() >= self._shown + QUIET:
                self._print(self._tally.so_far())

    def _print(self, text: str) -> None:
        self._shown = monotonic()
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Silent:
    """Says nothing: for tasks whose own output is all that is wanted."""

    def step_begins(self, step: str, hosts: Sequence[str], title: str = "") -> None: ...
    def begins(self, host: str) -> None: ...
    def progress(self, host: str, text: str, done: int = 0, total: int | None = None) -> None: ...
    def done(self, record: Record) -> None: ...
    def step_ends(self) -> None: ...

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()


class Live:
    """One line a step, a bar over its hosts while it runs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._changing = Lock()
        self._tally = Tally("", 0)

    def step_begins(self, step: str, hosts: Sequence[str], title: str = "") -> None:
        self._tally = Tally(title or step, len(hosts))
        wide = self._console.width >= _WIDE
        self._rest = _Rest(self._tally, max(8, self._console.width - (57 if wide else 37)))
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<14}", markup=False),
            BarColumn(bar_width=20 if wide else 8),
            MofNCompleteColumn(),
            *([TimeElapsedColumn()] if wide else []),
            self._rest,
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._bar.start()
        self._task = self._bar.add_task(self._tally.step, total=len(hosts))

    def begins(self, host: str) -> None:
        self._tally.begins(host)

    def progress(self, host: str, text: str, done: int = 0, total: int | None = None) -> None:
        """What a host is doing; with `total`, how much of it, which the bar then shows."""
        if self._bar:
            self._rest.doing[host] = text
            if total:
                self._bar.update(self._task, completed=done / total * self._tally.total)

    def done(self, record: Record) -> None:
        self._tally.ends(record)
        if self._bar:
            self._bar.update(self._task, completed=len(self._tally.records))

    def step_ends(self) -> None:
        with self._changing:
            if self._bar:
                self._bar.stop()
                self._bar = None
        self._console.print(self._summary(), no_wrap=True, overflow="ellipsis", highlight=False)
        for state, text, hosts in self._tally.noted():
            self._console.print(f"  {MARKS[state]} {escape(told(text, hosts))}", highlight=False)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Has no bar on the screen meanwhile; any thread may ask for it."""
        with self._changing:
            bar = self._bar
            if bar:
                bar.stop()
        try:
            yield
        finally:
            with self._changing:
                if bar and bar is self._bar:
                    bar.start()

    def _summary(self) -> str:
        tally = self._tally
        left = tally.total - len(tally.records)  # Ctrl-C came before they were done
        counts = ", ".join(filter(None, (tally.counts(), f"{left} not done" if left else "")))
        detail = tally.in_common()
        line = f"{MARKS[tally.worst()]} {tally.step:<14} {counts:<22} [dim]{f'{tally.seconds:.1f}s':>6}[/]"
        return f"{line}  [dim]{escape(detail)}[/]" if detail else line


class _Rest(ProgressColumn):
    """Of a step under way: the time that is left, what did not go well, who is out longest."""

    def __init__(self, tally: Tally, room: int) -> None:
        super().__init__()
        self._tally, self._room = tally, room
        self.doing: dict[str, str] = {}

    def render(self, task: Task) -> Text:
        left = self._tally.left((task.completed or 0) / (task.total or 1))
        host, seconds = self._tally.slowest()
        told = [f"{_clock(left)} left" if left else "", self._tally.counts(State.OK)]
        known = "".join(f"{part}; " for part in told if part)
        room = max(8, self._room - len(known) - 5)
        name = host if len(host) <= room else f"{host[: room - 1]}…"
        out = f"{name} {seconds:.0f}s" if host else ""
        text = f"{out}: {self.doing[host]}" if host in self.doing else out
        return Text(f"{known}{text}"[: self._room].removesuffix("; "), "dim", no_wrap=True)


def _clock(seconds: float) -> str:
    """`1:05`, as the time beside it."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02}"


def reporter_for(console: Console, fleet: int) -> Reporter:
    """Live on a terminal that can show it, plain lines elsewhere; `fleet` is how many hosts there are."""
    able = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
    return Live(console) if able else Plain(console, fleet)
