"""What nodes meet at the apiservers, where their sessions are, and what becomes of them when one dies."""

from __future__ import annotations

from typing import Any, Unpack

import fabric
from invoke import Context

from .core.check.fleet_check import FleetCheck
from .core.check.node_check import NodeCheck
from .core.check.watch import seconds_of
from .core.errors import KubeNginxError, UsageError
from .core.results import values
from .core.run.flags import ROLLOUT_HELP, FleetFlags, fleet_task
from .core.run.flags import seconds as number
from .core.run.opening import run
from .core.ssh.fleet import settings_of
from .core.traffic import chart
from .core.traffic.drill import Drill
from .core.traffic.report import DrillReport
from .core.traffic.sessions import Sessions, counted, together
from .core.traffic.target import named

__all__ = ["check", "connections", "drill"]

_WATCH = "Look again every SECONDS (2), until Ctrl-C; the exit status is that of the last look."
_DRILL = {
    "apiserver": "The apiserver that dies, as hosts.toml names it.",
    "limit": "The one node for which it dies [the first].",
    "seconds": "For how many seconds, 5 to 300 [20].",
    "wait": ROLLOUT_HELP["wait"],
    "yes": "Do not ask, though the node is not in a test network for certain.",
}


@fleet_task({"watch": _WATCH}, optional=["watch"])
def check(c: Context, watch: Any = None, **flags: Unpack[FleetFlags]) -> dict[str, NodeCheck]:
    """Show what each node meets at each apiserver and through its kube-nginx; exit 1 if one has no way."""
    with run(c, "check", **flags) as r:
        every = seconds_of(watch)
        if flags.get("json") and every:
            raise UsageError("--json is one document, and --watch many looks: give one of them")
        fleet = FleetCheck(r)
        if every:
            fleet.watch(every)
        else:
            fleet.look()(r.console)
    return fleet.seen


@fleet_task()
def connections(c: Context, **flags: Unpack[FleetFlags]) -> dict[str, Sessions]:
    """Show which apiserver each node's sessions are on, and how even that is; changes nothing."""
    with run(c, "connections", **flags) as r:
        found = values(r.step("connections", lambda node: counted(node, r.settings), over=lambda seen: True))
        seen = {node.label: found[node.label] for node in r.fleet if node.label in found}
        if seen:
            r.summary.total = total = together(seen.values(), r.settings.apiservers)
            chart.show(r.console, seen, total)
    return seen


@fleet_task(_DRILL)
def drill(
    c: Context,
    apiserver: str = "",
    seconds: str = "20",
    wait: str = "0",
    yes: bool = False,
    **flags: Unpack[FleetFlags],
) -> DrillReport | None:
    """See what happens when an apiserver dies: drops the packets to it on one node for some seconds."""
    given: dict[str, Any] = {"apiserver": apiserver, "seconds": seconds, "yes": yes, "wait": wait}
    limit = _one(c, flags.get("limit"))
    with run(c, "drill", limit=limit, json=flags.get("json", False), **given) as r:
        this = Drill(r, named(r.settings, apiserver), number("--seconds", seconds))
        this.refuse_unusual(limit)
        r.step("survey", this.survey)
        this.ask_first(yes)
        r.step("drill", this.apply, finish=True, left_behind=this.left_behind)
        this.show()
    return this.report


def _one(c: Context, limit: str | None) -> str | None:
    """The node that is meant when none is named; what is wrong with hosts.toml is for `run` to say."""
    if limit is not None or isinstance(c, fabric.Connection):
        return limit
    try:
        return settings_of(c).nodes[0].name
    except KubeNginxError:
        return None
