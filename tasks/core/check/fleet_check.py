"""Checks all nodes of a run, once or again and again."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console

from ..console import report
from ..console.table import table as draw_table
from ..errors import StepError
from ..probes.certificate import trusting
from ..results import State, StepResult, values
from ..run.run import Run
from ..ssh.node import Node
from . import table
from .checker import NodeChecker
from .node_check import UNSEEN, NodeCheck
from .watch import Draw, Poller, watch


class FleetCheck:
    """`seen` is what the last look saw, of the nodes that could be looked from.

    `all_rows` has each shown where they are many.

    Raises UsageError: [check] ca names a file that is of no use.
    """

    def __init__(self, r: Run, all_rows: bool = False) -> None:
        ca = r.settings.check.ca
        self._run, self._all_rows = r, all_rows
        self._trust = trusting(ca) if ca else None
        self.seen: dict[str, NodeCheck] = {}

    def look(self, checker: Callable[[Node], NodeChecker] | None = None) -> Draw:
        """Looks once; gives what draws what was seen.

        `checker` finds a node's in one of many looks: no recap comes after each, so the picture says why a
        node is not in it.
        """

        def work(node: Node) -> StepResult[NodeCheck]:
            try:
                check = (checker or self._checker)(node).check()
            except StepError as error:
                return StepResult(State.FAILED, error.message, error=error, value=UNSEEN)
            detail = check.error.message if check.error else table.summary(check)
            return StepResult(check.state, detail, error=check.error, value=check)

        results = self._run.step("check", work)
        seen = {node: check for node, check in values(results).items() if check is not UNSEEN}
        failures = {n: result.error for n, result in results.items() if result.error and n not in seen}
        self.seen = seen
        return lambda console: self._draw(console, seen, failures if checker else {})

    def watch(self, seconds: float) -> None:
        """Looks every so many seconds until Ctrl-C; the run is then what the last look was."""
        r = self._run
        r.reporter = report.Silent()
        last = (r.summary.records, self.seen)
        poller = Poller(self._anew, r.settings.check.timeout)

        def look() -> Draw:
            nonlocal last
            r.summary.records = []
            draw = self.look(poller.answer)
            last = (r.summary.records, self.seen)
            return draw

        draw = watch(r.console, seconds, look)
        r.interrupt.forgive()
        r.summary.records, self.seen = last
        if r.console.is_terminal:  # in its place is nothing now
            draw(r.console)

    def _checker(self, node: Node) -> NodeChecker:
        return NodeChecker(node, self._run.settings, self._trust)

    def _anew(self, node: Node) -> NodeChecker:
        node.invalidate_facts()
        return self._checker(node)

    def _draw(self, console: Console, seen: dict[str, NodeCheck], failures: dict[str, StepError]) -> None:
        nodes, apiservers = [node.label for node in self._run.fleet], self._run.settings.apiservers
        lines = table.lines(nodes, seen, apiservers)
        draw_table(console, table.columns(apiservers), lines, self._all_rows, gives_way=table.USERS)
        in_order = {node: seen[node] for node in nodes if node in seen}
        addresses = {node.label: f"{node.host}:{node.port}" for node in self._run.fleet}
        for line in [*table.unseen(failures, addresses), *table.notes(in_order)]:
            console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)
