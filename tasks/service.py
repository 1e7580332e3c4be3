"""Runbook: "start the service", "check its state", and the log."""

from __future__ import annotations

from functools import partial
from itertools import chain
from typing import Any, Unpack

from invoke import Context, task

from .core.config.check import whole
from .core.config.settings import Rollout
from .core.console import report
from .core.errors import StepError
from .core.facts.remedy import brings_up
from .core.results import StepResult
from .core.rollout import status as state
from .core.rollout.activation import Activation, Order
from .core.rollout.preflight import installed, masked, outsider, refuse, startable
from .core.rollout.rolling import orderly, rolling
from .core.run.flags import FLEET_HELP, FleetFlags, RolloutFlags, fleet_task
from .core.run.opening import run
from .core.run.steps import Run
from .core.scripts import commands
from .core.shell.output import BULK
from .core.ssh.node import Node


def _systemctl(r: Run, verb: str, current: Any = lambda facts: False) -> None:
    """The step `systemctl VERB`; a node whose facts are `current` already is left alone."""

    def work(node: Node) -> StepResult[object]:
        facts, proxy = node.survey(r.settings.proxy), r.settings.proxy
        if current(facts):
            return StepResult("ok", "already")
        refuse(() if verb == "stop" else installed(facts))
        refuse(startable(facts, proxy) if verb == "start" else chain(masked(facts), outsider(facts, proxy)))
        r.lock(node)
        try:
            node.sh(commands.systemctl(verb), tail=10)
        except StepError as error:
            error.hint = error.hint or "see why: fab logs --limit {nodes}, fab preflight --limit {nodes}"
            raise
        finally:
            node.invalidate_facts()
        return StepResult("changed")

    r.step(verb, work, finish=True)


@fleet_task()
def daemon_reload(c: Context, **flags: Unpack[FleetFlags]) -> None:
    """9. Have systemd read its unit files again."""
    with run(c, "daemon-reload", **flags) as r:
        r.step("daemon-reload", lambda node: _daemon_reload(r, node), finish=True)


def _daemon_reload(r: Run, node: Node) -> StepResult[object]:
    """ "changed" only if systemd had not read the unit as it is now."""
    r.lock(node)
    ended = node.sh(commands.daemon_reload())
    node.invalidate_facts()
    return StepResult("changed" if ended.changed else "ok")


@fleet_task()
def enable(c: Context, **flags: Unpack[FleetFlags]) -> None:
    """10. Have the service start at boot."""
    with run(c, "enable", **flags) as r:
        _systemctl(r, "enable", lambda facts: facts.enabled)


@fleet_task()
def disable(c: Context, **flags: Unpack[FleetFlags]) -> None:
    """Have the service not start at boot."""
    with run(c, "disable", **flags) as r:
        _systemctl(r, "disable", lambda facts: facts.unit.get("UnitFileState") == "disabled")


@fleet_task()
def restart(c: Context, **flags: Unpack[RolloutFlags]) -> None:
    """11. Stop and start the service, batch by batch: cuts every open connection."""
    with orderly(c, "restart", **flags) as (r, rollout, patience):
        _over_the_fleet(r, "restart", rollout, patience)


def _over_the_fleet(r: Run, action: str, rollout: Rollout, wait: int) -> None:
    """Surveys the fleet, and goes over those on which `action` can work; the others do it no harm."""

    def look(node: Node) -> StepResult[object]:
        facts, proxy = node.survey(r.settings.proxy), r.settings.proxy
        refuse(chain(installed(facts), startable(facts, proxy)))
        if action == "reload" and not facts.active:
            raise StepError(f"the service is {facts.state}, nothing to reload", hint=brings_up(facts, proxy))
        return StepResult("ok", facts.state)

    def work(node: Node) -> StepResult[object]:
        look(node)
        return Activation(node, r.settings, rollout, r.me, go_on=r.go_on).apply(
            Order(action, f"{action}ed", repair=False)
        )

    r.step("survey", look)
    rolling(r, action, work, r.alive, rollout, wait)


@fleet_task()
def start(c: Context, **flags: Unpack[FleetFlags]) -> None:
    """Start the service where it does not run."""
    with run(c, "start", **flags) as r:
        _systemctl(r, "start", lambda facts: facts.active)


@fleet_task()
def stop(c: Context, **flags: Unpack[FleetFlags]) -> None:
    """Stop the service: the node loses its way to the apiservers."""
    with run(c, "stop", **flags) as r:
        _systemctl(r, "stop", lambda facts: facts.unit.get("ActiveState") == "inactive")


@fleet_task()
def reload(c: Context, **flags: Unpack[RolloutFlags]) -> None:
    """Have nginx take its configuration anew, batch by batch, without cutting connections."""
    with orderly(c, "reload", **flags) as (r, rollout, patience):
        _over_the_fleet(r, "reload", rollout, patience)


@fleet_task()
def status(c: Context, **flags: Unpack[FleetFlags]) -> None:
    """12. Show each node's service; exit 1 unless all are active, and an apiserver answers through each."""
    with run(c, "status", **flags) as r:
        r.step("status", lambda node: state.look(r.settings, node))
        seen = {record.host: record.outcome.data for record in r.records if record.step == "status"}
        rows = [state.row(host.label, seen[host.label]) for host in r.fleet if host.label in seen]
        if rows:
            report.table(r.console, state.COLUMNS, rows)


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
        width = max(len(node.label) for node in r.fleet)
        if follow:
            r.fleet.parallel = len(r.fleet)
        work = partial(_logs, r, count, follow, width)
        r.step("logs", work, given_up=lambda: r.console.broken)  # nobody reads: end as any filter would


def _logs(r: Run, lines: int, follow: bool, width: int, node: Node) -> StepResult[object]:
    def show(line: str) -> None:
        r.console.print(f"{node.label:<{width}} | {line}", markup=False, highlight=False, soft_wrap=True)

    bounds: dict[str, Any] = {"timeout": None, "most": None} if follow else {"timeout": 60, "most": BULK}
    node.sh(commands.journal(lines, follow), each_line=show, **bounds)
    return StepResult("ok")
