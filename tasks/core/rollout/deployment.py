"""What `deploy` does to a node, in three steps: look and plan, stage, activate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

from ..config import rules
from ..config.settings import Rollout, Settings
from ..errors import KubeNginxError, StepError
from ..facts import layout
from ..facts.facts import Facts
from ..nginx import store
from ..probes.prober import Depth, Prober
from ..probes.proof import prove
from ..release import render as rendering
from ..release import servers
from ..release.release import Release, found, name_of, release
from ..results import StepResult
from ..run.steps import Run
from ..scripts import commands
from ..ssh.node import Node
from . import preflight
from .activation import Activation, Order
from .plan import ENABLE, MODE, NOTHING, Plan, diffs, plan
from .staging import stage

_FORGIVES = 10.0
"""Seconds at most that a service which does not serve is given to begin again by itself."""
_SOON = 3.0  # seconds


class Releases:
    """What the nodes are to run: by their architecture, and by what they resolve names to.

    Raises KubeNginxError if no binary has been built for these settings.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._unit = rendering.unit(settings)
        self._binaries = {binary.arch: (binary, binary.read()) for binary in store.kept(settings)}
        self._made: dict[tuple[str, str], Release] = {}
        if not self._binaries:
            version = settings.build.version
            raise KubeNginxError(
                f"no binary of nginx {version} with these flags has been built: run fab build first"
            )

    def for_node(self, facts: Facts) -> Release:
        """Raises StepError: none for the node's architecture."""
        arch = facts.arch
        if arch not in self._binaries:
            raise StepError(
                f"the node is {arch}, and the binaries are for {', '.join(sorted(self._binaries))}",
                hint=f"add a build host that is {arch} to build.hosts, then fab build",
            )
        conf = rendering.conf(self._settings, facts.addresses)
        if (arch, conf) not in self._made:
            binary, content = self._binaries[arch]
            self._made[arch, conf] = release(binary.version, binary.glibc, content, conf, self._unit)
        return self._made[arch, conf]


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
        self._addresses: dict[str, Mapping[str, tuple[str, ...]]] = {}
        self._unproven: dict[str, tuple[str, ...]] = {}

    @property
    def changing(self) -> list[Node]:
        """The nodes that are not as they should be, and can be."""
        return [n for n in self._run.alive if self._plans[n.label].action != NOTHING]

    @property
    def staging(self) -> list[Node]:
        """Those, and the nodes on which a run that was cut off has left files behind."""
        proxy = self._settings.proxy
        return [n for n in self._run.alive if n in self.changing or n.survey(proxy).leftovers]

    def survey(self, node: Node) -> StepResult[object]:
        """Looks at a node; what cannot work is found before anything is written there."""
        plan, facts = self._look(node)
        release = self._releases.for_node(facts)
        data: dict[str, Any] = {
            "action": plan.action,
            "why": list(plan.why),
            "release": release.name,
            "edited": list(plan.edited),
            "diffs": diffs(release.texts, facts, self._settings.proxy),
        }
        notes = [*layout.notes(facts, self._settings.proxy), *self._unproven.get(node.label, ())]
        state = "warning" if notes else "ok"
        if facts.drop_ins:
            data["drop_ins"] = facts.drop_ins
            notes += [f"{path} changes the unit" for path in facts.drop_ins]
        if notes:
            data["notes"] = notes
        if plan.action == NOTHING:
            return StepResult(state, "; ".join(["unchanged", *notes]), data | {"result": plan.result})
        if self._only_looks:
            data["result"] = f"to be {plan.result}"
        return StepResult(state, f"{plan.action}: {'; '.join([*plan.why, *notes])}", data)

    def stage(self, node: Node) -> StepResult[object]:
        """Locks the node, looks again, brings what it lacks, and has it tested there."""
        self._run.lock(node, self._wait)
        node.invalidate_facts()
        plan, facts = self._look(node)
        if not plan.stages:
            return self._tidied(node, plan, facts)
        release = self._releases.for_node(facts)
        stage(node, release, self._settings, facts)
        if not plan.edited:
            return StepResult("changed", f"release {release.name}, tested")
        names = " and ".join(plan.edited)
        where = f"{self._settings.proxy.prefix}/releases/{name_of(found(facts, self._settings.proxy))}"
        kept = f"{names} had been edited there; it will be kept in {where}"
        return StepResult("warning", kept, {"edited": list(plan.edited)})

    def _tidied(self, node: Node, plan: Plan, facts: Facts) -> StepResult[object]:
        """For a node that has all files: what a run that was cut off has left there goes."""
        if facts.leftovers:
            node.sh(commands.tidy(self._settings.proxy))
        detail = "nothing to bring" + (", leftovers removed" if facts.leftovers else "")
        if plan.action != NOTHING:
            return StepResult("ok", detail)
        self._run.unlock(node)
        return StepResult("ok", detail, {"result": plan.result})

    def activate(self, node: Node) -> StepResult[object]:
        """Changes the node over to its release; goes back if that does not work."""
        plan, facts = self._look(node)
        if plan.action == NOTHING:
            return StepResult("ok", plan.result, {"result": plan.result})
        name = self._releases.for_node(facts).name if plan.stages else ""
        action = "restart" if plan.action == "install" else plan.action
        order = Order(action, plan.result, name, unmanaged=plan.unmanaged, boot="1")
        rollout, me = self._rollout, self._run.me
        go_on = self._run.go_on
        return Activation(node, self._settings, rollout, me, facts.addresses, go_on).apply(order)

    def _look(self, node: Node) -> tuple[Plan, Facts]:
        facts = self._facts(node)
        release = self._releases.for_node(facts)
        made = plan(release.sums, facts, self._settings.proxy, self._force, release.version)
        if made.action in (NOTHING, MODE, ENABLE) and (silent := self._silent(node, facts)):
            made = plan(release.sums, facts, self._settings.proxy, self._force, release.version, silent)
        self._plans[node.label] = made
        if errors := list(preflight.obstacles(release, made, facts, self._settings)):
            message = "; ".join(error.message for error in errors)
            raise StepError(message, hint="; ".join(dict.fromkeys(error.hint for error in errors)))
        return made, facts

    def _silent(self, node: Node, facts: Facts) -> str:
        """Why a service that would go on as it is does not serve; "" if it does, or is not to blame."""
        proxy = self._settings.proxy
        self._unproven[node.label] = ()
        if all(met.ok for met in Prober(node, _SOON, Depth.HANDSHAKE).by_ssh(proxy.listen)):
            return ""
        behind = servers.resolved(self._settings.apiservers, facts.addresses)
        # after an outage of all of them, nginx refuses clients for as long as this
        deadline = monotonic() + min(_FORGIVES, rules.seconds(proxy.fail_timeout) + 1)
        while True:
            proof = prove(node, proxy.listen, behind)
            if not node.is_connected:
                raise StepError("the connection broke while apiservers were looked for")
            if proof.state != "failed" or monotonic() >= deadline:
                break
            sleep(0.2)
        text = servers.as_written(proof.text, self._settings.apiservers, facts.addresses)
        self._unproven[node.label] = (text,) if proof.state == "warning" else ()
        return text if proof.state == "failed" else ""

    def _facts(self, node: Node) -> Facts:
        """Names are resolved once: what DNS says later would be a release that nobody has tested."""
        proxy, known = self._settings.proxy, self._addresses.get(node.label)
        if known is not None:
            return replace(node.survey(proxy), addresses=known)
        facts = node.survey(proxy, servers.names(self._settings.apiservers))
        self._addresses[node.label] = facts.addresses
        return facts
