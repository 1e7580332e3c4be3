"""Checks all nodes of a run, once or again and again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from os.path import isfile

from rich.console import Console

from ..cluster import asking
from ..cluster.difference import Difference, Known, difference, printable, sentences
from ..console import report
from ..console.table import table as draw_table
from ..errors import StepError, UsageError
from ..probes.certificate import trusting
from ..results import State, StepResult, output, values
from ..run.run import Run
from ..ssh.node import Node
from . import table
from .checker import NodeChecker
from .node_check import UNSEEN, NodeCheck
from .watch import Draw, Poller, watch


@dataclass(frozen=True, slots=True)
class FleetFound:
    """What was found beside the nodes."""

    cluster: Difference = output("hosts.toml beside the cluster of [check] kubeconfig")


class FleetCheck:
    """`seen` is what the last look saw, of the nodes that could be looked from.

    `all_rows` has each shown where they are many.

    Raises UsageError: [check] ca or kubeconfig names a file that is of no use.
    """

    def __init__(self, r: Run, all_rows: bool = False) -> None:
        ca, kubeconfig = r.settings.check.ca, r.settings.check.kubeconfig
        self._run, self._all_rows = r, all_rows
        self._trust = trusting(ca) if ca else None
        if kubeconfig and not isfile(kubeconfig):
            raise UsageError(
                f'[check] kubeconfig = "{kubeconfig}": there is no such file, or it cannot be read'
            )
        self._compares = bool(kubeconfig and r.fleet)
        self._cluster = asking.begin(kubeconfig) if kubeconfig and r.fleet and asking.is_possible() else None
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
        more = self._beside_cluster(seen)
        return lambda console: self._draw(console, seen, failures if checker else {}, more)

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

    def _beside_cluster(self, seen: Mapping[str, NodeCheck]) -> list[str]:
        """What hosts.toml and the cluster do not have alike, in lines; it was asked while nodes were."""
        if not (self._compares and seen):
            return []
        kind, why = "note", "kubectl is not installed here, or not in PATH"
        try:
            found = difference(self._known(seen), self._cluster.result()) if self._cluster else None
        except UsageError as error:
            found, kind, why = None, "warning", printable(str(error).replace("\n", " "))
        if not found:
            self._run.summary.total = FleetFound(Difference(why))
            return [f"{kind}: cluster: not compared with hosts.toml: {why}"]
        self._run.summary.total = FleetFound(found)
        return [f"warning: cluster: {sentence}" for sentence in sentences(found)]

    def _known(self, seen: Mapping[str, NodeCheck]) -> Known:
        """What hosts.toml names, with what nodes say: their own names, and to what those of others lead."""
        r, addresses = self._run, defaultdict[str, set[str]](set)
        for name, there in (item for check in seen.values() for item in check.addresses.items()):
            addresses[name].update(there)
        if r.summary.limit or r.summary.shard:
            return Known(r.settings.apiservers, None, addresses)
        hosts = {host for spec in r.settings.nodes for host in (spec.name, spec.host)}
        hosts |= {node.host for node in r.fleet}
        hosts |= {check.users.hostname for check in seen.values() if check.users}
        return Known(r.settings.apiservers, hosts - {""}, addresses)

    def _checker(self, node: Node) -> NodeChecker:
        return NodeChecker(node, self._run.settings, self._trust)

    def _anew(self, node: Node) -> NodeChecker:
        node.invalidate_facts()
        return self._checker(node)

    def _draw(
        self,
        console: Console,
        seen: Mapping[str, NodeCheck],
        failures: Mapping[str, StepError],
        more: Sequence[str],
    ) -> None:
        nodes, apiservers = [node.label for node in self._run.fleet], self._run.settings.apiservers
        lines = table.lines(nodes, seen, apiservers)
        draw_table(console, table.columns(apiservers), lines, self._all_rows, gives_way=table.USERS)
        in_order = {node: seen[node] for node in nodes if node in seen}
        addresses = {node.label: f"{node.host}:{node.port}" for node in self._run.fleet}
        for line in [*table.unseen(failures, addresses), *table.notes(in_order), *more]:
            console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)
