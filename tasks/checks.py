"""What nodes meet at the apiservers, where their sessions are, and what becomes of them when one dies."""

from __future__ import annotations

from typing import Any, Unpack

import fabric
from invoke import Context

from .core.check.fleet_check import FleetCheck
from .core.check.node_check import NodeCheck
from .core.check.watch import seconds_of
from .core.config.check import whole
from .core.errors import KubeNginxError, UsageError
from .core.results import as_json
from .core.run.flags import ROLLOUT_HELP, FleetFlags, fleet_task
from .core.run.opening import run
from .core.ssh.fleet import settings_of
from .core.traffic import chart
from .core.traffic.drill import Drill
from .core.traffic.report import DrillReport
from .core.traffic.sessions import Sessions, counted, together
from .core.traffic.target import named

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
        seconds = seconds_of(watch)
        if flags.get("json") and seconds:
            raise UsageError("--json is one document, and --watch many looks: give one of them")
        fleet = FleetCheck(r)
        if seconds:
            fleet.watch(seconds)
        else:
            fleet.look()(r.console)
    return fleet.seen


@fleet_task()
def connections(c: Context, **flags: Unpack[FleetFlags]) -> dict[str, Sessions]:
    """Show which apiserver each node's sessions are on, and how even that is; changes nothing."""
    with run(c, "connections", **flags) as r:
        results = r.step("connections", lambda node: counted(node, r.settings))
        found = {node: result.value for node, result in results.items()}
        seen = {n.label: s for n in r.fleet if isinstance(s := found.get(n.label), Sessions)}
        if seen:
            total = together(seen.values(), r.settings.apiservers)
            r.summary |= as_json(total)
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
    limit = _one(c, flags.get("limit"))
    waits = None if str(wait) == "0" else wait
    typed = {"apiserver": apiserver, "seconds": seconds, "yes": yes, "wait": waits}
    with run(c, "drill", limit=limit, json=flags.get("json", False), flags=typed) as r:
        this = Drill(
            r, named(r.settings, apiserver), _seconds("--seconds", seconds), _seconds("--wait", wait)
        )
        this.refuse_unusual(limit)
        r.step("survey", this.survey)
        this.ask_first(yes)
        r.step("drill", this.apply, finish=True, left_so=this.left_so)
        this.show()
    return this.report


def _seconds(flag: str, text: str) -> int:
    return whole(flag, text, 86400, "a number of seconds")


def _one(c: Context, limit: str | None) -> str | None:
    """The node that is meant when none is named; what is wrong with hosts.toml is for `run` to say."""
    if limit is not None or isinstance(c, fabric.Connection):
        return limit
    try:
        return settings_of(c).nodes[0].name
    except KubeNginxError:
        return None
