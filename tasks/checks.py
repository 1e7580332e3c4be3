"""What nodes meet at the apiservers, where their sessions are, and what becomes of them when one dies."""

from __future__ import annotations

from typing import Any, Unpack

import fabric
from invoke import Context

from .core.errors import KubeNginxError, UsageError
from .core.late import late
from .core.results import values
from .core.run.flags import ALL_ROWS, ROLLOUT_HELP, FleetFlags, NodeFlags, fleet_task
from .core.run.flags import seconds as number

with late():
    from .core.check import fleet_check, node_check
    from .core.check import watch as watching
    from .core.drill import drill as drills
    from .core.drill import report
    from .core.run import opening
    from .core.scripts import drill as script
    from .core.ssh import fleet
    from .core.traffic import chart, sessions, target

__all__ = ["check", "connections", "drill"]

_WATCH = "Look again every SECONDS (2), until Ctrl-C; the exit status is that of the last look."
_DRILL = {
    "apiserver": "The apiserver that dies, as hosts.toml names it.",
    "limit": "The one node for which it dies [the first].",
    "hang": "It hangs: it accepts connections, and answers nothing; without, its packets vanish.",
    "seconds": "For how many seconds, 5 to 300 [20].",
    "wait": ROLLOUT_HELP["wait"],
    "yes": "Do not ask, though the node is not in a test network for certain.",
}


@fleet_task({"watch": _WATCH} | ALL_ROWS, optional=["watch"])
def check(
    c: Context, watch: Any = None, all_rows: bool = False, **flags: Unpack[FleetFlags]
) -> dict[str, node_check.NodeCheck]:
    """Show what each node meets at each apiserver and through its kube-nginx; exit 1 if one has no way."""
    with opening.run(c, "check", **flags) as r:
        every = watching.seconds_of(watch)
        if flags.get("json") and every:
            raise UsageError("--json is one document, and --watch many looks: give one of them")
        this = fleet_check.FleetCheck(r, all_rows)
        if not r.fleet:
            return {}
        if every:
            this.watch(every)
        else:
            this.look()(r.console)
    return this.seen


@fleet_task(ALL_ROWS)
def connections(
    c: Context, all_rows: bool = False, **flags: Unpack[FleetFlags]
) -> dict[str, sessions.Sessions]:
    """Show which apiserver each node's sessions are on, and how even that is; changes nothing."""
    with opening.run(c, "connections", **flags) as r:
        found = values(
            r.step("connections", lambda node: sessions.counted(node, r.settings), over=lambda seen: True)
        )
        seen = {node.label: found[node.label] for node in r.fleet if node.label in found}
        if seen:
            r.summary.total = total = sessions.together(seen.values(), r.settings.apiservers)
            chart.show(r.console, seen, total, all_rows)
    return seen


@fleet_task(_DRILL)
def drill(
    c: Context,
    apiserver: str = "",
    seconds: str = "20",
    hang: bool = False,
    wait: str = "0",
    yes: bool = False,
    **flags: Unpack[NodeFlags],
) -> report.DrillReport | None:
    """See what happens when an apiserver dies, or hangs: drops packets on one node for some seconds."""
    given: dict[str, Any] = {"apiserver": apiserver, "seconds": seconds, "hang": hang, "yes": yes}
    given["wait"] = wait
    limit = _one(c, flags.get("limit"))
    with opening.run(c, "drill", limit=limit, json=flags.get("json"), **given) as r:
        fault = script.Fault.HANG if hang else script.Fault.CUT
        this = drills.Drill(r, target.named(r.settings, apiserver), number("--seconds", seconds), fault)
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
        return fleet.settings_of(c).nodes[0].name
    except KubeNginxError:
        return None
