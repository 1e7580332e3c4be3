"""Runbook: "start the service", "check its state", and the log."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Unpack

from invoke import Context

from .core.errors import StepError
from .core.late import late
from .core.results import Result, State, StepResult
from .core.run.flags import ALL_ROWS, FLEET_HELP, FleetFlags, RolloutFlags, fleet_task, task

with late():
    from .core.config import validation
    from .core.console import table
    from .core.facts import remedy
    from .core.rollout import activation, plan, rolling
    from .core.rollout import preflight as check
    from .core.rollout import status as seeing
    from .core.run import opening
    from .core.scripts import service as scripts

if TYPE_CHECKING:
    from .core.facts.facts import Facts
    from .core.rollout.activation import Order
    from .core.run.run import Run
    from .core.ssh.node import Node

__all__ = ["daemon_reload", "disable", "enable", "logs", "reload", "restart", "start", "status", "stop"]

Done = dict[str, StepResult[None]]


@fleet_task()
def daemon_reload(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """9. Have systemd read its unit files again."""
    with opening.run(c, "daemon-reload", **flags) as r:
        return r.step("daemon-reload", lambda node: _daemon_reload(r, node), finish=True)


def _daemon_reload(r: Run, node: Node) -> StepResult[None]:
    """Changed only if systemd had not read the unit as it is now."""
    r.lock(node)
    return StepResult(State.CHANGED if node.do(scripts.DaemonReload()).changed else State.OK)


@fleet_task()
def enable(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """10. Have the service start at boot."""
    with opening.run(c, "enable", **flags) as r:
        return _systemctl(r, "enable", lambda facts: facts.enabled)


@fleet_task()
def disable(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """Have the service not start at boot."""
    with opening.run(c, "disable", **flags) as r:
        return _systemctl(r, "disable", lambda facts: facts.unit.get("UnitFileState") == "disabled")


@fleet_task()
def start(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """Start the service where it does not run."""
    with opening.run(c, "start", **flags) as r:
        return _systemctl(r, "start", lambda facts: facts.active)


@fleet_task()
def stop(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """Stop the service: the node loses its way to the apiservers."""
    with opening.run(c, "stop", **flags) as r:
        return _systemctl(r, "stop", lambda facts: facts.unit.get("ActiveState") == "inactive")


def _systemctl(r: Run, verb: str, is_done: Callable[[Facts], bool]) -> Done:
    """The step `systemctl VERB`; a node on which it `is_done` is left alone."""

    def work(node: Node) -> StepResult[None]:
        facts, proxy = node.survey(r.settings.proxy), r.settings.proxy
        if is_done(facts):
            return StepResult(State.OK, "already")
        check.refuse(() if verb == "stop" else check.installed(facts))
        others = chain(check.masked(facts), check.outsider(facts, proxy))
        check.refuse(check.startable(facts, proxy) if verb == "start" else others)
        r.lock(node)
        try:
            node.do(scripts.Systemctl(verb))
        except StepError as error:
            error.hint = error.hint or "see why: fab logs --limit {nodes}, fab preflight --limit {nodes}"
            raise
        return StepResult(State.CHANGED)

    return r.step(verb, work, finish=True)


@fleet_task()
def restart(c: Context, **flags: Unpack[RolloutFlags]) -> dict[str, str]:
    """11. Stop and start the service, batch by batch: cuts every open connection."""
    with opening.run(c, "restart", counts=True, **flags) as r:
        order = activation.Order(plan.Action.RESTART, Result.RESTARTED, repair=False)
        return _over_the_fleet(r, order)


@fleet_task()
def reload(c: Context, **flags: Unpack[RolloutFlags]) -> dict[str, str]:
    """Have nginx take its configuration anew, batch by batch, without cutting connections."""
    with opening.run(c, "reload", counts=True, **flags) as r:
        order = activation.Order(plan.Action.RELOAD, Result.RELOADED, repair=False)
        return _over_the_fleet(r, order)


def _over_the_fleet(r: Run, order: Order) -> dict[str, str]:
    """Surveys the fleet, and goes over those on which `order` can work; the others do it no harm."""

    def look(node: Node) -> StepResult[None]:
        facts, proxy = node.survey(r.settings.proxy), r.settings.proxy
        check.refuse(chain(check.installed(facts), check.startable(facts, proxy)))
        if order.action == plan.Action.RELOAD and not facts.active:
            hint = remedy.brings_up(facts, proxy)
            raise StepError(f"the service is {facts.state}, nothing to reload", hint=hint)
        return StepResult(State.OK, facts.state)

    def work(node: Node) -> StepResult[None]:
        look(node)
        return activation.Activation(r, node).apply(order)

    r.step("survey", look)
    rolling.rolling(r, order.action, work, r.alive)
    return r.summary.results()


@fleet_task(ALL_ROWS)
def status(
    c: Context, all_rows: bool = False, **flags: Unpack[FleetFlags]
) -> dict[str, seeing.NodeStatus | None]:
    """12. Show each node's service; exit 1 unless all are active, and an apiserver answers through each."""
    with opening.run(c, "status", **flags) as r:
        found = r.step("status", lambda node: seeing.status_of(r.settings, node), over=lambda seen: True)
        seen = {node: result.value for node, result in found.items()}
        if seen:
            table.table(r.console, seeing.COLUMNS, seeing.rows(r.summary.hosts, seen), all_rows)
        return seen


@task(
    help={
        "limit": FLEET_HELP["limit"],
        "shard": FLEET_HELP["shard"],
        "lines": "How many of the last lines.",
        "follow": "Go on with new lines until Ctrl-C.",
    }
)
def logs(
    c: Context, limit: str | None = None, shard: str | None = None, lines: str = "20", follow: bool = False
) -> None:
    """13. Show the service's journal, each line after its node's name."""
    with opening.run(c, "logs", limit=limit, shard=shard, quiet=True) as r:
        count = validation.whole("--lines", lines, 10_000_000)
        if follow:
            r.fleet.parallel = len(r.fleet)
        # once nobody reads, it ends as any filter would
        r.step("logs", lambda node: _logs(r, node, count, follow), given_up=lambda: r.console.broken)


def _logs(r: Run, node: Node, lines: int, follow: bool) -> StepResult[None]:
    width = max(map(len, r.summary.hosts))

    def show(line: str) -> None:
        r.console.print(f"{node.label:<{width}} | {line}", markup=False, highlight=False, soft_wrap=True)

    node.do(scripts.Journal(lines, follow), each_line=show)
    return StepResult(State.OK)
