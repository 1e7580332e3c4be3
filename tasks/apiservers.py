"""What the nodes meet at the apiservers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from invoke import Context, task
from rich.console import Console

from .core import report
from .core.errors import StepError, UsageError
from .core.flags import FLEET_HELP
from .core.probes import matrix
from .core.probes.certificate import Trust, trusting
from .core.probes.watch import Draw, Patience, seconds_of
from .core.probes.watch import watch as watching
from .core.probes.ways import Row, Ways
from .core.remote.node import Node
from .core.report import Outcome
from .core.run import run
from .core.steps import Run

_WATCH = "Look again every SECONDS (2), until Ctrl-C; the exit status is that of the last look."


@task(help=FLEET_HELP | {"watch": _WATCH}, optional=["watch"])
def check(c: Context, limit: str | None = None, json: bool = False, watch: Any = None) -> None:
    """Show what each node meets at each apiserver and through its kube-nginx; exit 1 if one has no way."""
    with run(c, "check", limit=limit, json=json) as r:
        seconds = seconds_of(watch)
        if json and seconds:
            raise UsageError("--json is one document, and --watch many looks: give one of them")
        ca = r.settings.check.ca
        looker = _Looker(r, trusting(ca) if ca else None)
        if seconds:
            looker.again_and_again(seconds)
        else:
            looker.look()(r.console)


class _Looker:
    """Looks from all nodes of a run."""

    def __init__(self, r: Run, trust: Trust | None) -> None:
        self._run = r
        self._trust = trust

    def look(self, ways: Callable[[Node], Ways] | None = None) -> Draw:
        """Looks once; gives what draws what was seen.

        `ways` finds a node's ways in one of many looks: no recap comes after each, so the picture says why a
        node is not in it.
        """
        r, rows = self._run, dict[str, Row]()

        def work(node: Node) -> Outcome:
            try:
                row = rows[node.label] = (ways or self._ways)(node).row()
            except StepError as broken:
                return Outcome("failed", broken.message, {**matrix.UNSEEN}, broken)
            error, data = row.failure, matrix.document(row)
            return Outcome(row.state, error.message if error else matrix.summary(row), data, error)

        r.step("check", work)
        unseen = {
            record.host: record.error for record in r.records if record.error and record.host not in rows
        }
        return lambda console: self._draw(console, rows, matrix.unseen(unseen) if ways else [])

    def _ways(self, node: Node) -> Ways:
        return Ways(node, self._run.settings, self._trust)

    def again_and_again(self, seconds: float) -> None:
        """Looks until Ctrl-C; the run is then what the last look was."""
        r = self._run
        r.reporter = report.Silent()
        last = (r.records, r.alive)
        patience = Patience(self._anew, r.settings.check.timeout)

        def look() -> Draw:
            nonlocal last
            r.records, r.alive = [], list(r.fleet)
            draw = self.look(patience.answer)
            last = (r.records, r.alive)
            return draw

        draw = watching(r.console, seconds, look)
        r.interrupted = False
        r.records, r.alive = last
        if r.console.is_terminal:  # in its place is nothing now
            draw(r.console)

    def _anew(self, node: Node) -> Ways:
        node.forget()
        return self._ways(node)

    def _draw(self, console: Console, rows: dict[str, Row], unseen: Sequence[str]) -> None:
        nodes = [node.label for node in self._run.fleet]
        apiservers = self._run.settings.apiservers
        report.table(console, matrix.columns(apiservers), matrix.lines(nodes, rows, apiservers))
        for line in [*unseen, *matrix.notes([rows[node] for node in nodes if node in rows])]:
            console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)
