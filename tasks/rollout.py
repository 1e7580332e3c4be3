"""The whole fleet at once: deploy, what it would do, the way back, and the end."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Unpack

from invoke import Context, Exit

from .core.errors import StepError
from .core.late import late
from .core.results import Result, State, StepResult, values
from .core.run.flags import FleetFlags, RolloutFlags, fleet_task

with late():
    from .core.console import prompt
    from .core.facts import facts as known
    from .core.folding import alike
    from .core.rollout import activation, deployment, plan, rolling
    from .core.rollout import diff as plans
    from .core.rollout import preflight as check
    from .core.run import opening
    from .core.scripts import files

if TYPE_CHECKING:
    from .core.config.model import Settings
    from .core.run.run import Run
    from .core.ssh.node import Node

__all__ = ["deploy", "diff", "preflight", "rollback", "uninstall"]


@fleet_task({"force": "Restart also where nothing differs."})
def deploy(c: Context, force: bool = False, **flags: Unpack[RolloutFlags]) -> dict[str, str]:
    """5-12. Bring every node to what hosts.toml says, the least disruptive way, and prove that it works."""
    with opening.run(c, "deploy", counts=True, force=force, **flags) as r:
        this = deployment.Deployment(r, force)
        r.step("survey", this.survey, over=lambda seen: seen.result is not None)
        r.step("stage", this.stage, this.staging, patient=True)
        rolling.rolling(r, "activate", this.activate, this.changing, this.new)
        return r.summary.results()


@fleet_task({"exit-code": "Exit with 3 if anything would change."})
def diff(c: Context, exit_code: bool = False, **flags: Unpack[FleetFlags]) -> dict[str, plans.NodePlan]:
    """Show what deploy would do to each node, and how its files differ; writes nothing anywhere."""
    with opening.run(c, "diff", counts=True, **flags) as r:
        this = deployment.Deployment(r)
        found = values(r.step("diff", this.would, over=lambda seen: True))
        changing = {node.label: found[node.label] for node in this.changing}
        if not r.as_json:
            plans.show(r.console, changing)
    if exit_code and changing:
        raise Exit(code=3)
    return found


@fleet_task()
def preflight(c: Context, **flags: Unpack[FleetFlags]) -> dict[str, plans.NodePlan]:
    """See whether deploy could work on each node: libc, room, mounts, ports; writes nothing."""
    with opening.run(c, "preflight", **flags) as r:
        able = deployment.Deployment(r).able
        return values(r.step("preflight", able, over=lambda seen: True))


@fleet_task()
def rollback(c: Context, **flags: Unpack[RolloutFlags]) -> dict[str, str]:
    """Go back to the release before, on every node that has one; once more goes forward again."""
    with opening.run(c, "rollback", counts=True, **flags) as r:
        found = r.step("survey", lambda node: _way_back(r.settings, node))
        if len({seen.detail for seen in found.values() if not (seen.error or seen.result)}) > 1:
            r.console.print("the nodes do not all go the same way: see above, and --limit", markup=False)
        able = [node for node in r.alive if not found[node.label].result]
        rolling.rolling(r, "rollback", lambda node: _rollback(r, node), able)
        return r.summary.results()


def _way_back(settings: Settings, node: Node) -> StepResult[None]:
    """Where a node goes; what cannot work is found before the first one has gone."""
    facts = node.survey(settings.proxy)
    releases = facts.releases
    if known.PREVIOUS not in releases:
        return StepResult(State.OK, "no release before this one", result=Result.UNCHANGED)
    check.refuse(chain(check.in_the_way(facts), check.startable(facts, settings.proxy)))
    return StepResult(State.OK, f"from {releases.get(known.CURRENT, '-')} to {releases[known.PREVIOUS]}")


def _rollback(r: Run, node: Node) -> StepResult[None]:
    if _way_back(r.settings, node).result:
        raise StepError("somebody has removed the release before this one", hint="fab status --limit {nodes}")
    facts = node.survey(r.settings.proxy)
    action = plan.returning(facts, r.settings.proxy)
    order = activation.Order(action, Result.ROLLED_BACK, facts.releases[known.PREVIOUS], listen=())
    return activation.Activation(r, node).apply(order)


@fleet_task({"yes": "Do not ask."})
def uninstall(c: Context, yes: bool = False, **flags: Unpack[FleetFlags]) -> dict[str, StepResult[None]]:
    """Stop and remove the service, its unit and its files."""
    with opening.run(c, "uninstall", **flags) as r:
        if r.fleet and not yes:
            _ask(r)
        return r.step("uninstall", lambda node: _uninstall(r, node), finish=True)


def _ask(r: Run) -> None:
    names = alike.listed([node.label for node in r.fleet])
    what = f"This stops kube-nginx and removes it from {names}."
    prompt.confirm(r.console, what, f"uninstall would stop kube-nginx on {names}: say --yes to do it unasked")


def _uninstall(r: Run, node: Node) -> StepResult[None]:
    check.refuse(check.outsider(node.survey(r.settings.proxy), r.settings.proxy))
    r.lock(node)
    removed = node.do(files.Uninstall(r.settings.proxy))
    if removed.kept:
        return StepResult(State.WARNING, f"{removed.kept[0]} holds files that are not ours and stays")
    return (
        StepResult(State.CHANGED, "removed") if removed.changed else StepResult(State.OK, "nothing was there")
    )
