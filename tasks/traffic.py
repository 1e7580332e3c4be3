"""Which apiserver the nodes' sessions are on, and what becomes of them when it dies."""

from __future__ import annotations

from typing import Any, Unpack

import fabric
from invoke import Context, task

from .core import consent, report
from .core.errors import KubeNginxError, UsageError
from .core.flags import FLEET_HELP, ROLLOUT_HELP, FleetFlags, fleet_task
from .core.remote.fleet import settings_of
from .core.remote.node import Node
from .core.report import Outcome
from .core.rollout.rolling import as_given
from .core.rollout.rolling import seconds as number
from .core.run import run
from .core.steps import Run
from .core.traffic import chart, damage
from .core.traffic.drill import Drill, named
from .core.traffic.sessions import Sessions, look, together

_SECONDS = range(5, 301)


@fleet_task()
def connections(c: Context, **flags: Unpack[FleetFlags]) -> None:
    """Show which apiserver each node's sessions are on, and how even that is; changes nothing."""
    with run(c, "connections", **flags) as r:
        seen: dict[str, Sessions] = {}

        def count(node: Node) -> Outcome:
            _, sessions = look(node, r.settings)
            seen[node.label] = sessions
            return Outcome("ok", f"{sessions.total} sessions", _data(sessions))

        r.step("connections", count)
        if seen:
            total = together(seen.values(), r.settings.apiservers)
            r.summary |= _data(total)
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
    flags = {"apiserver": apiserver, "seconds": seconds, "yes": yes} | as_given(None, None, None, wait)
    with run(c, "drill", limit=_one(c, limit), json=json, flags=flags) as r:
        dying = named(r.settings, apiserver)
        duration, patience = number("--seconds", seconds), number("--wait", wait)
        if duration not in _SECONDS:
            raise UsageError(f"--seconds {seconds}: from {_SECONDS[0]} to {_SECONDS[-1]}")
        if len(r.fleet) != 1:
            raise UsageError(f"a drill is for one node, and --limit {limit} names {len(r.fleet)}")
        this = Drill(r, dying, duration, patience)
        r.step("survey", this.survey)
        for node in r.alive:
            if not (yes or this.for_tests):
                _ask(r, node, f"{dying} for {duration} s")
        r.step("drill", this.carry_out, finish=True, left_so=this.left_so)
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
