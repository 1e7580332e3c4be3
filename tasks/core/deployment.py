"""What `deploy` does to a node, in three steps: look and plan, stage, activate."""

from __future__ import annotations

from typing import Any

from . import commands, preflight, store
from . import render as rendering
from .activation import Activation, Order, stage
from .errors import KubeNginxError, StepError
from .facts import Facts
from .node import Node
from .plan import NOTHING, Plan, diffs, plan
from .release import CONF, UNIT, Release, found, name_of, release
from .report import Outcome
from .run import Run
from .settings import Rollout, Settings


class Releases:
    """What the nodes are to run, by architecture; read and rendered once.

    Raises KubeNginxError if no binary has been built for these settings.
    """

    def __init__(self, settings: Settings) -> None:
        self.texts = {CONF: rendering.conf(settings), UNIT: rendering.unit(settings)}
        self.by_arch = {
            binary.arch: release(binary.version, binary.glibc, binary.read(), *self.texts.values())
            for binary in store.kept(settings)
        }
        if not self.by_arch:
            version = settings.build.version
            raise KubeNginxError(
                f"no binary of nginx {version} with these flags has been built: run fab build first"
            )

    def for_arch(self, arch: str) -> Release:
        """Raises StepError: none for this architecture."""
        if arch not in self.by_arch:
            raise StepError(
                f"the node is {arch}, and the binaries are for {', '.join(sorted(self.by_arch))}",
                hint=f"add a build host that is {arch} to build.hosts, then fab build",
            )
        return self.by_arch[arch]


class Deployment:
    """One deploy over a run's fleet, or, without `rollout`, a look at what it would do."""

    def __init__(self, r: Run, rollout: Rollout | None = None, force: bool = False, wait: int = 0) -> None:
        self._run = r
        self._settings = r.settings
        self._rollout = rollout or r.settings.rollout
        self._only_looks = rollout is None
        self._releases = Releases(r.settings)
        self._force = force
        self._wait = wait
        self._plans: dict[str, Plan] = {}

    @property
    def changing(self) -> list[Node]:
        """The nodes that are not as they should be, and can be."""
        return [n for n in self._run.alive if self._plans[n.label].action != NOTHING]

    @property
    def staging(self) -> list[Node]:
        """Those, and the nodes on which a run that was cut off has left files behind."""
        proxy = self._settings.proxy
        return [n for n in self._run.alive if n in self.changing or n.survey(proxy).leftovers]

    def survey(self, node: Node) -> Outcome:
        """Looks at a node; what cannot work is found before anything is written there."""
        plan, facts = self._look(node)
        release = self._releases.for_arch(facts.arch)
        data: dict[str, Any] = {
            "action": plan.action,
            "why": list(plan.why),
            "release": release.name,
            "edited": list(plan.edited),
            "diffs": diffs(self._releases.texts, facts, self._settings.proxy),
        }
        if plan.action == NOTHING:
            return Outcome("ok", "unchanged", data | {"result": plan.result})
        if drop_ins := facts.unit.get("DropInPaths"):
            data["drop_ins"] = drop_ins.split()
        if self._only_looks:
            data["result"] = f"to be {plan.result}"
        return Outcome("ok", f"{plan.action}: {'; '.join(plan.why)}", data)

    def stage(self, node: Node) -> Outcome:
        """Locks the node, looks again, brings what it lacks, and has it tested there."""
        self._run.lock(node, self._wait)
        node.forget()
        plan, facts = self._look(node)
        if not plan.files:
            return self._tidied(node, plan, facts)
        release = self._releases.for_arch(facts.arch)
        stage(node, release, self._settings, facts)
        if not plan.edited:
            return Outcome("changed", f"release {release.name}, tested")
        names = " and ".join(plan.edited)
        where = f"{self._settings.proxy.prefix}/releases/{name_of(found(facts, self._settings.proxy))}"
        kept = f"{names} had been edited there; it will be kept in {where}"
        return Outcome("warning", kept, {"edited": list(plan.edited)})

    def _tidied(self, node: Node, plan: Plan, facts: Facts) -> Outcome:
        """For a node that has all files: what a run that was cut off has left there goes."""
        if facts.leftovers:
            node.sh(commands.tidy(self._settings.proxy))
        detail = "nothing to bring" + (", leftovers removed" if facts.leftovers else "")
        if plan.action != NOTHING:
            return Outcome("ok", detail)
        self._run.unlock(node)
        return Outcome("ok", detail, {"result": plan.result})

    def activate(self, node: Node) -> Outcome:
        """Changes the node over to its release; goes back if that does not work."""
        plan, facts = self._look(node)
        if plan.action == NOTHING:
            return Outcome("ok", plan.result, {"result": plan.result})
        name = self._releases.for_arch(facts.arch).name if plan.files else ""
        action = "restart" if plan.action == "install" else plan.action
        order = Order(action, plan.result, name, strays=plan.strays, boot="1")
        return Activation(node, self._settings, self._rollout, self._run.me).carry_out(order)

    def _look(self, node: Node) -> tuple[Plan, Facts]:
        facts = node.survey(self._settings.proxy)
        release = self._releases.for_arch(facts.arch)
        made = plan(release.sums, facts, self._settings.proxy, self._force, release.version)
        self._plans[node.label] = made
        if errors := list(preflight.obstacles(release, made, facts, self._settings.proxy)):
            message = "; ".join(error.message for error in errors)
            raise StepError(message, hint="; ".join(dict.fromkeys(error.hint for error in errors)))
        return made, facts
