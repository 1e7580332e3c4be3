"""The whole fleet at once: deploy, what it would do, the way back, and the end."""

from __future__ import annotations

from itertools import chain
from typing import Unpack

from invoke import Context, Exit

from .core.config.settings import Rollout, Settings
from .core.console import recap
from .core.console.confirm import ask
from .core.errors import StepError
from .core.facts.facts import CURRENT, PREVIOUS
from .core.results import StepResult
from .core.rollout.activation import Activation, Order
from .core.rollout.deployment import Deployment
from .core.rollout.plan import returning
from .core.rollout.preflight import in_the_way, outsider, refuse, startable
from .core.rollout.rolling import orderly, rolling
from .core.run.flags import FleetFlags, RolloutFlags, fleet_task
from .core.run.opening import run
from .core.run.steps import Run
from .core.scripts.files import Uninstall
from .core.ssh.node import Node


@fleet_task({"force": "Restart also where nothing differs."})
def deploy(c: Context, force: bool = False, **flags: Unpack[RolloutFlags]) -> None:
    """5-12. Bring every node to what hosts.toml says, by the gentlest way, and prove that it works."""
    with orderly(c, "deploy", force=force, **flags) as (r, rollout, patience):
        deployment = Deployment(r, rollout, force, patience)
        r.step("survey", deployment.survey)
        r.step("stage", deployment.stage, deployment.staging)
        rolling(r, "activate", deployment.activate, deployment.changing, rollout)


@fleet_task({"exit-code": "Exit with 3 if anything would change."})
def diff(c: Context, exit_code: bool = False, **flags: Unpack[FleetFlags]) -> None:
    """Show what deploy would do to each node, and how its files differ; writes nothing anywhere."""
    with run(c, "diff", **flags) as r:
        deployment = Deployment(r)
        r.step("diff", deployment.survey)
        if not r.as_json:
            seen = {record.host: record.outcome.data for record in r.records}
            recap.show_plans(r.console, {node.label: seen[node.label] for node in deployment.changing})
    if exit_code and deployment.changing:
        raise Exit(code=3)


@fleet_task()
def preflight(c: Context, **flags: Unpack[FleetFlags]) -> None:
    """See whether deploy could work on each node: libc, room, mounts, ports; writes nothing."""
    with run(c, "preflight", **flags) as r:
        look = Deployment(r).survey
        r.step("preflight", lambda node: _able(look(node)))


def _able(seen: StepResult[object]) -> StepResult[object]:
    return StepResult(seen.state, f"deploy can work: {seen.detail}", {"action": seen.data["action"]})


@fleet_task()
def rollback(c: Context, **flags: Unpack[RolloutFlags]) -> None:
    """Go back to the release before, on every node that has one; once more goes forward again."""
    with orderly(c, "rollback", **flags) as (r, rollout, patience):
        r.step("survey", lambda node: _way_back(r.settings, node))
        _warn(r)
        able = [node for node in r.alive if node.survey(r.settings.proxy).releases.get(PREVIOUS)]
        rolling(r, "rollback", lambda node: _rollback(r, node, rollout), able, rollout, patience)


def _warn(r: Run) -> None:
    """Nodes may have come from different releases, and go to different ones."""
    going = [record.outcome for record in r.records if not record.error]
    if len({outcome.detail for outcome in going if "result" not in outcome.data}) > 1:
        r.console.print("the nodes do not all go the same way: see above, and --limit", markup=False)


def _way_back(settings: Settings, node: Node) -> StepResult[object]:
    """Where a node goes; what cannot work is found before the first one has gone."""
    facts = node.survey(settings.proxy)
    releases = facts.releases
    if PREVIOUS not in releases:
        return StepResult("ok", "no release before this one", {"result": "unchanged"})
    refuse(chain(in_the_way(facts), startable(facts, settings.proxy)))
    return StepResult("ok", f"from {releases.get(CURRENT, '-')} to {releases[PREVIOUS]}")


def _rollback(r: Run, node: Node, rollout: Rollout) -> StepResult[object]:
    facts = node.survey(r.settings.proxy)
    refuse(chain(in_the_way(facts), startable(facts, r.settings.proxy)))
    if PREVIOUS not in facts.releases:
        raise StepError("somebody has removed the release before this one", hint="fab status --limit {nodes}")
    order = Order(returning(facts, r.settings.proxy), "went back", facts.releases[PREVIOUS], listen=())
    return Activation(node, r.settings, rollout, r.me, go_on=r.go_on).apply(order)


@fleet_task({"yes": "Do not ask."})
def uninstall(c: Context, yes: bool = False, **flags: Unpack[FleetFlags]) -> None:
    """Stop and remove the service, its unit and its files."""
    with run(c, "uninstall", **flags) as r:
        if not yes:
            _ask(r)
        r.step("uninstall", lambda node: _uninstall(r, node), finish=True)


def _ask(r: Run) -> None:
    names = ", ".join(node.label for node in r.fleet)
    what = f"This stops kube-nginx and removes it from {names}."
    ask(r.console, what, f"uninstall would stop kube-nginx on {names}: say --yes to do it unasked")


def _uninstall(r: Run, node: Node) -> StepResult[object]:
    refuse(outsider(node.survey(r.settings.proxy), r.settings.proxy))
    r.lock(node)
    removed = node.do(Uninstall(r.settings.proxy))
    if removed.kept:
        return StepResult("warning", f"{removed.kept[0]} holds files that are not ours and stays")
    return StepResult("changed", "removed") if removed.changed else StepResult("ok", "nothing was there")
