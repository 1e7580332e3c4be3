"""What nodes meet at the apiservers, where their sessions are, and what becomes of them when one dies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Unpack

import fabric
from invoke import Context
from rich.console import Console

from .core.check import matrix
from .core.check.watch import Draw, Patience, seconds_of
from .core.check.watch import watch as watching
from .core.check.ways import Row, Ways
from .core.console import confirm as consent
from .core.console import report
from .core.errors import KubeNginxError, StepError, UsageError
from .core.probes.certificate import Trust, trusting
from .core.results import StepResult
from .core.run.flags import FLEET_HELP, ROLLOUT_HELP, FleetFlags, fleet_task, task
from .core.run.flags import seconds as number
from .core.run.opening import run
from .core.run.run import Run
from .core.ssh.fleet import settings_of
from .core.ssh.node import Node
from .core.traffic import chart, damage
from .core.traffic.drill import Drill, named
from .core.traffic.sessions import Sessions, look, together

__all__ = ["check", "connections", "drill"]

_WATCH = "Look again every SECONDS (2), until Ctrl-C; the exit status is that of the last look."
_SECONDS = range(5, 301)


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

        def work(node: Node) -> StepResult[object]:
            try:
                row = rows[node.label] = (ways or self._ways)(node).row()
            except StepError as broken:
                return StepResult("failed", broken.message, {**matrix.UNSEEN}, broken)
            error, data = row.failure, matrix.document(row)
            return StepResult(row.state, error.message if error else matrix.summary(row), data, error)

        r.step("check", work)
        unseen = {
            record.host: record.error
            for record in r.summary.records
            if record.error and record.host not in rows
        }
        return lambda console: self._draw(console, rows, matrix.unseen(unseen) if ways else [])

    def _ways(self, node: Node) -> Ways:
        return Ways(node, self._run.settings, self._trust)

    def again_and_again(self, seconds: float) -> None:
        """Looks until Ctrl-C; the run is then what the last look was."""
        r = self._run
        r.reporter = report.Silent()
        last = r.summary.records
        patience = Patience(self._anew, r.settings.check.timeout)

        def look() -> Draw:
            nonlocal last
            r.summary.records = []
            draw = self.look(patience.answer)
            last = r.summary.records
            return draw

        draw = watching(r.console, seconds, look)
        r.interrupt.forgive()
        r.summary.records = last
        if r.console.is_terminal:  # in its place is nothing now
            draw(r.console)

    def _anew(self, node: Node) -> Ways:
        node.invalidate_facts()
        return self._ways(node)

    def _draw(self, console: Console, rows: dict[str, Row], unseen: Sequence[str]) -> None:
        nodes = [node.label for node in self._run.fleet]
        apiservers = self._run.settings.apiservers
        report.table(console, matrix.columns(apiservers), matrix.lines(nodes, rows, apiservers))
        for line in [*unseen, *matrix.notes([rows[node] for node in nodes if node in rows])]:
            console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)


@fleet_task()
def connections(c: Context, **flags: Unpack[FleetFlags]) -> None:
    """Show which apiserver each node's sessions are on, and how even that is; changes nothing."""
    with run(c, "connections", **flags) as r:
        seen: dict[str, Sessions] = {}

        def count(node: Node) -> StepResult[object]:
            _, sessions = look(node, r.settings)
            seen[node.label] = sessions
            return StepResult("ok", f"{sessions.total} sessions", _data(sessions))

        r.step("connections", count)
        if seen:
            total = together(seen.values(), r.settings.apiservers)
            r.summary.total = _data(total)
            chart.show(
                r.console, {node.label: seen[node.label] for node in r.fleet if node.label in seen}, total
            )


def _data(sessions: Sessions) -> dict[str, Any]:
    even = sessions.imbalance
    return {
        "sessions": {str(peer): count for peer, count in sessions.counts.items()},
        "others": {str(peer): count for peer, count in sessions.others.items()},
        "total": sessions.total,
        "imbalance": None if even is None else round(even, 3),
    }


@task(
    positional=[],
    help=FLEET_HELP
    | {
        "apiserver": "The apiserver that dies, as hosts.toml names it.",
        "limit": "The one node for which it dies [the first].",
        "seconds": "For how many seconds, 5 to 300 [20].",
        "wait": ROLLOUT_HELP["wait"],
        "yes": "Do not ask, though the node is not in a test network for certain.",
    },
)
def drill(
    c: Context,
    apiserver: str = "",
    limit: str | None = None,
    seconds: str = "20",
    wait: str = "0",
    yes: bool = False,
    json: bool = False,
) -> None:
    """See what happens when an apiserver dies: drops the packets to it on one node for some seconds."""
    flags: dict[str, Any] = {"apiserver": apiserver, "seconds": seconds, "yes": yes, "wait": wait}
    with run(c, "drill", limit=_one(c, limit), json=json, **flags) as r:
        dying = named(r.settings, apiserver)
        duration = number("--seconds", seconds)
        if duration not in _SECONDS:
            raise UsageError(f"--seconds {seconds}: from {_SECONDS[0]} to {_SECONDS[-1]}")
        if len(r.fleet) != 1:
            raise UsageError(f"a drill is for one node, and --limit {limit} names {len(r.fleet)}")
        this = Drill(r, dying, duration)
        r.step("survey", this.survey)
        for node in r.alive:
            if not (yes or this.for_tests):
                _ask(r, node, f"{dying} for {duration} s")
        r.step("drill", this.apply, finish=True, left_behind=this.left_so)
        _show(r, this)


def _one(c: Context, limit: str | None) -> str | None:
    """The node that is meant when none is named; what is wrong with hosts.toml is for `run` to say."""
    if limit is not None or isinstance(c, fabric.Connection):
        return limit
    try:
        return settings_of(c).nodes[0].name
    except KubeNginxError:
        return None


def _ask(r: Run, node: Node, what: str) -> None:
    would = f"cuts {node.label}, and all that uses its host network, off from {what}"
    unasked = f"drill {would}, and that is not in a test network for certain: say --yes to do it unasked"
    consent.ask(r.console, f"This {would}.", unasked)


def _show(r: Run, this: Drill) -> None:
    if this.damage is None:
        return
    report.table(r.console, ("NEW CONNECTIONS", "BEFORE", "FROM THE CUT ON"), damage.rows(this.damage))
    lines = [f"sessions of the node's own that were on it: {this.on_it}", *damage.of_connections(this.damage)]
    for line in (*lines, damage.means(this.damage, r.settings.proxy, this.on_it)):
        r.console.print(line, markup=False, highlight=False, soft_wrap=not r.console.is_terminal)
