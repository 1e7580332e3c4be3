"""Runbook: "start the service", "check its state", and the log."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Unpack

from invoke import Context

from .core.config.validation import whole
from .core.console.report import table
from .core.errors import StepError
from .core.facts.facts import Facts
from .core.facts.remedy import brings_up
from .core.results import Result, State, StepResult
from .core.rollout.activation import Activation, Order
from .core.rollout.plan import Action
from .core.rollout.preflight import installed, masked, outsider, refuse, startable
from .core.rollout.rolling import rolling
from .core.rollout.status import COLUMNS, NodeStatus, rows, status_of
from .core.run.flags import FLEET_HELP, FleetFlags, RolloutFlags, fleet_task, task
from .core.run.opening import run
from .core.run.run import Run
from .core.scripts.service import DaemonReload, Journal, Systemctl
from .core.ssh.node import Node

__all__ = ["daemon_reload", "disable", "enable", "logs", "reload", "restart", "start", "status", "stop"]

Done = dict[str, StepResult[None]]


@fleet_task()
def daemon_reload(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """9. Have systemd read its unit files again."""
    with run(c, "daemon-reload", **flags) as r:
        return r.step("daemon-reload", lambda node: _daemon_reload(r, node), finish=True)


def _daemon_reload(r: Run, node: Node) -> StepResult[None]:
    """Changed only if systemd had not read the unit as it is now."""
    r.lock(node)
    return StepResult(State.CHANGED if node.do(DaemonReload()).changed else State.OK)


@fleet_task()
def enable(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """10. Have the service start at boot."""
    with run(c, "enable", **flags) as r:
        return _systemctl(r, "enable", lambda facts: facts.enabled)


@fleet_task()
def disable(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """Have the service not start at boot."""
    with run(c, "disable", **flags) as r:
        return _systemctl(r, "disable", lambda facts: facts.unit.get("UnitFileState") == "disabled")


@fleet_task()
def start(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """Start the service where it does not run."""
    with run(c, "start", **flags) as r:
        return _systemctl(r, "start", lambda facts: facts.active)


@fleet_task()
def stop(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """Stop the service: the node loses its way to the apiservers."""
    with run(c, "stop", **flags) as r:
        return _systemctl(r, "stop", lambda facts: facts.unit.get("ActiveState") == "inactive")


def _systemctl(r: Run, verb: str, is_done: Callable[[Facts], bool]) -> Done:
    """The step `systemctl VERB`; a node on which it `is_done` is left alone."""

    def work(node: Node) -> StepResult[None]:
        facts, proxy = node.survey(r.settings.proxy), r.settings.proxy
        if is_done(facts):
            return StepResult(State.OK, "already")
        refuse(() if verb == "stop" else installed(facts))
        refuse(startable(facts, proxy) if verb == "start" else chain(masked(facts), outsider(facts, proxy)))
        r.lock(node)
        try:
            node.do(Systemctl(verb))
        except StepError as error:
            error.hint = error.hint or "see why: fab logs --limit {nodes}, fab preflight --limit {nodes}"
            raise
        return StepResult(State.CHANGED)

    return r.step(verb, work, finish=True)


@fleet_task()
def restart(c: Context, **flags: Unpack[RolloutFlags]) -> dict[str, str]:
    """11. Stop and start the service, batch by batch: cuts every open connection."""
    with run(c, "restart", **flags) as r:
        return _over_the_fleet(r, Order(Action.RESTART, Result.RESTARTED, repair=False))


@fleet_task()
def reload(c: Context, **flags: Unpack[RolloutFlags]) -> dict[str, str]:
    """Have nginx take its configuration anew, batch by batch, without cutting connections."""
    with run(c, "reload", **flags) as r:
        return _over_the_fleet(r, Order(Action.RELOAD, Result.RELOADED, repair=False))


def _over_the_fleet(r: Run, order: Order) -> dict[str, str]:
    """Surveys the fleet, and goes over those on which `order` can work; the others do it no harm."""

    def look(node: Node) -> StepResult[None]:
        facts, proxy = node.survey(r.settings.proxy), r.settings.proxy
        refuse(chain(installed(facts), startable(facts, proxy)))
        if order.action == Action.RELOAD and not facts.active:
            raise StepError(f"the service is {facts.state}, nothing to reload", hint=brings_up(facts, proxy))
        return StepResult(State.OK, facts.state)

    def work(node: Node) -> StepResult[None]:
        look(node)
        return Activation(r, node).apply(order)

    r.step("survey", look)
    rolling(r, order.action, work, r.alive)
    return r.summary.results()


@fleet_task()
def status(c: Context, **flags: Unpack[FleetFlags]) -> dict[str, NodeStatus | None]:
    """12. Show each node's service; exit 1 unless all are active, and an apiserver answers through each."""
    with run(c, "status", **flags) as r:
        found = r.step("status", lambda node: status_of(r.settings, node), over=lambda seen: True)
        seen = {node: result.value for node, result in found.items()}
        if seen:
            table(r.console, COLUMNS, rows(r.summary.hosts, seen))
        return seen


@task(
    help={
        "limit": FLEET_HELP["limit"],
        "lines": "How many of the last lines.",
        "follow": "Go on with new lines until Ctrl-C.",
    }
)
def logs(c: Context, limit: str | None = None, lines: str = "20", follow: bool = False) -> None:
    """13. Show the service's journal, each line after its node's name."""
    with run(c, "logs", limit=limit, quiet=True) as r:
        count = whole("--lines", lines, 10_000_000)
        if follow:
            r.fleet.parallel = len(r.fleet)
        # once nobody reads, it ends as any filter would
        r.step("logs", lambda node: _logs(r, node, count, follow), given_up=lambda: r.console.broken)


def _logs(r: Run, node: Node, lines: int, follow: bool) -> StepResult[None]:
    width = max(map(len, r.summary.hosts))

    def show(line: str) -> None:
        r.console.print(f"{node.label:<{width}} | {line}", markup=False, highlight=False, soft_wrap=True)

    node.do(Journal(lines, follow), each_line=show)
    return StepResult(State.OK)
