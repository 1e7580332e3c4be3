"""What a person reads while it happens: live lines, plain lines, tables."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import Lock
from time import monotonic
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table
from rich.text import Text

from ..results import State
from .summary import Record
from .terminal import printable

MARKS = {
    State.OK: "[green]✔[/]",
    State.CHANGED: "[yellow]●[/]",
    State.FAILED: "[red]✘[/]",
    State.WARNING: "[yellow]![/]",
}


class Reporter(Protocol):
    """Is told what happens, in this order; asks nothing."""

    def step_begins(self, step: str, hosts: Sequence[str], title: str = "") -> None: ...
    def progress(self, host: str, text: str, done: int = 0, total: int | None = None) -> None: ...
    def done(self, record: Record) -> None: ...
    def step_ends(self) -> None: ...
    def paused(self) -> AbstractContextManager[None]: ...


class Plain:
    """One line a host and step, without control codes: for pipes, CI, and beside JSON."""

    def __init__(self, console: Console) -> None:
        self._console = console

    def step_begins(self, step: str, hosts: Sequence[str], title: str = "") -> None:
        self._heard = monotonic()
        self._step = step

    def progress(self, host: str, text: str, done: int = 0, total: int | None = None) -> None:
        if monotonic() - self._heard >= 10:
            self._heard = monotonic()
            self._print(f"{self._step} {host} ... {text}")

    def done(self, record: Record) -> None:
        words = [record.step, record.host, record.outcome.state, f"{record.seconds:.1f}s"]
        detail = "; ".join(filter(None, (record.outcome.detail, record.slow)))
        self._print(" ".join([*words, detail]).rstrip())

    def step_ends(self) -> None:
        pass

    def paused(self) -> AbstractContextManager[None]:
        return nullcontext()

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)


class Silent:
    """Says nothing: for tasks whose own output is all that is wanted."""

    def step_begins(self, step: str, hosts: Sequence[str], title: str = "") -> None: ...
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
        self._records: list[Record] = []

    def step_begins(self, step: str, hosts: Sequence[str], title: str = "") -> None:
        self._step, self._began = title or step, monotonic()
        self._records, self._hosts = [], len(hosts)
        columns = (
            SpinnerColumn(),
            TextColumn("{task.description:<14}", markup=False),
            BarColumn(bar_width=20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}", style="dim", markup=False),
        )
        self._bar = Progress(*columns, console=self._console, transient=True)
        self._bar.start()
        self._task = self._bar.add_task(self._step, total=len(hosts), text=", ".join(hosts[:3]))

    def progress(self, host: str, text: str, done: int = 0, total: int | None = None) -> None:
        """What a host is doing; with `total`, how much of it, which the bar then shows."""
        if self._bar:
            room = max(8, self._console.width - 60)
            self._bar.update(self._task, text=f"{host}: {text}"[:room])
            if total:
                self._bar.update(self._task, completed=done / total * self._hosts)

    def done(self, record: Record) -> None:
        self._records.append(record)
        if self._bar:
            self._bar.update(self._task, completed=len(self._records))

    def step_ends(self) -> None:
        with self._changing:
            if self._bar:
                self._bar.stop()
                self._bar = None
        self._console.print(self._summary(), no_wrap=True, overflow="ellipsis", highlight=False)
        noted: dict[tuple[State, str], list[str]] = {}
        for record in self._records:
            if record.outcome.state in (State.FAILED, State.WARNING):
                noted.setdefault((record.outcome.state, record.outcome.detail), []).append(record.host)
            if record.slow:
                noted.setdefault((State.WARNING, record.slow), []).append(record.host)
        for (state, detail), hosts in noted.items():
            self._console.print(
                f"  {MARKS[state]} {escape(', '.join(hosts))}: {escape(detail)}", highlight=False
            )

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
        states = [record.outcome.state for record in self._records]
        left = self._hosts - len(states)  # Ctrl-C came before they were done
        worst = next((s for s in (State.FAILED, State.WARNING, State.CHANGED) if s in states), State.OK)
        worst = State.WARNING if left and worst != State.FAILED else worst
        counts = ", ".join(f"{states.count(s)} {s}" for s in MARKS if s in states)
        counts = ", ".join(filter(None, (counts, f"{left} not done" if left else "")))
        detail = _in_common(
            {r.host: r.outcome.detail for r in self._records if r.outcome.state in (State.OK, State.CHANGED)}
        )
        seconds = f"{monotonic() - self._began:.1f}s"
        line = f"{MARKS[worst]} {self._step:<14} {counts:<22} [dim]{seconds:>6}[/]"
        return f"{line}  [dim]{escape(detail)}[/]" if detail else line


def _in_common(details: Mapping[str, str]) -> str:
    """What the hosts of a step did, in one line: all the same, or which (or how many) did what."""
    if len(set(details.values())) <= 1:
        return "".join(set(details.values()))
    heads: dict[str, list[str]] = {}
    for host, detail in sorted(details.items()):
        heads.setdefault(re.split("[:,;]", detail)[0], []).append(host)
    if len(heads) > 4:
        return ""
    return "; ".join(f"{', '.join(h) if len(h) <= 2 else len(h)} {head}" for head, h in heads.items())


def table(console: Console, columns: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> None:
    """Prints a table that fits the terminal; in a pipe, the same columns without lines and colours.

    What is no Text is shown as it is: brackets and colons mean nothing to rich there.
    """
    if console.is_terminal:
        drawn = Table(box=None, header_style="bold", pad_edge=False)
        for column in columns:
            drawn.add_column(Text(printable(column)), overflow="fold")
        for row in rows:
            drawn.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
        console.print(drawn, highlight=False)
        return
    plain = [[printable(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    for cells in plain:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        console.print(line.rstrip(), markup=False, emoji=False, highlight=False, soft_wrap=True)


def reporter_for(console: Console) -> Reporter:
    """Live on a terminal that can show it, plain lines elsewhere."""
    able = console.is_terminal and not console.is_dumb_terminal and console.encoding.startswith("utf")
    return Live(console) if able else Plain(console)
