"""What `deploy` does to a node, in three steps: look and plan, stage, activate."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import replace
from time import monotonic, sleep

from ..config import rules
from ..config.model import Settings
from ..errors import KubeNginxError, StepError
from ..facts import layout
from ..facts.facts import Facts
from ..facts.paths import WATCH, WATCH_UNIT
from ..nginx import store
from ..probes.prober import Depth, Prober
from ..probes.proof import prove
from ..release import render as rendering
from ..release import servers
from ..release.release import Release, found, name_of, release
from ..results import State, StepResult
from ..run.run import Run
from ..scripts.files import Tidy
from ..shell.pool import waiting
from ..ssh.node import Node
from ..watch import needs
from . import preflight
from .activation import Activation, Order, Watch
from .diff import NodePlan, diffs
from .plan import Action, Plan, plan
from .staging import stage

_FORGIVES = 10.0
"""Seconds at most that a service which does not serve is given to begin again by itself."""
_SOON = 3.0  # seconds
_WATCH: Mapping[bool | None, Watch] = {True: "1", False: "0", None: ""}
_LEAVES_IT_RUNNING = (Action.NOTHING, Action.MODE, Action.ENABLE)


class Releases:
    """What the nodes are to run: by their architecture, and by what they resolve names to.

    Raises KubeNginxError if no binary has been built for these settings, and one is `needed`: by any node.
    """

    def __init__(self, settings: Settings, needed: bool = True) -> None:
        self._settings = settings
        self._unit, self._watch_unit = rendering.unit(settings), rendering.watch_unit(settings)
        self._binaries = {binary.arch: (binary, binary.read()) for binary in store.kept(settings)}
        watches = {arch: store.find_watch(settings, arch) for arch in self._binaries}
        self._watches = {arch: watch.read() for arch, watch in watches.items() if watch}
        self._made: dict[Hashable, Release] = {}
        if needed and not self._binaries:
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
        watched = needs.wanted(facts, self._settings.proxy, self._settings.watch)
        if watched and arch not in self._watches:
            raise StepError(
                f"no kube-nginx-watch for {arch} has been built",
                hint="fab build, which keeps nginx as it is; or do without: [watch] enabled = false",
            )
        key = (arch, watched, frozenset(facts.addresses.items()))
        if key not in self._made:
            binary, content = self._binaries[arch]
            conf = rendering.conf(self._settings, facts.addresses)
            watch = {WATCH: self._watches[arch], WATCH_UNIT: self._watch_unit.encode()} if watched else {}
            self._made[key] = release(binary.version, binary.glibc, content, conf, self._unit, watch)
        return self._made[key]


class Deployment:
    """One deploy over a run's fleet, or a look at what it would do; `force` restarts whatever the plan is."""

    def __init__(self, r: Run, force: bool = False) -> None:
        self._run = r
        self._settings = r.settings
        self._names = servers.names(r.settings.apiservers)
        self._releases = Releases(r.settings, needed=bool(r.fleet))
        self._force = force
        self._plans: dict[str, Plan] = {}
        self._addresses: dict[str, servers.Addresses] = {}
        self._unproven: dict[str, tuple[str, ...]] = {}
        self._untidy: set[str] = set()

    @property
    def changing(self) -> list[Node]:
        """The nodes that are not as they should be, and can be."""
        return [n for n in self._run.alive if self._plans[n.label].action != Action.NOTHING]

    @property
    def new(self) -> list[Node]:
        """Of those the nodes that have nothing of it yet."""
        return [n for n in self.changing if self._plans[n.label].first]

    @property
    def staging(self) -> list[Node]:
        """Those, and the nodes on which a run that was cut off has left files behind."""
        changing = set(self.changing)
        return [n for n in self._run.alive if n in changing or n.label in self._untidy]

    def survey(self, node: Node) -> StepResult[NodePlan]:
        """Looks at a node; what cannot work is found before anything is written there."""
        made, facts = self._look(node)
        if facts.leftovers:
            self._untidy.add(node.label)
        release, settings = self._releases.for_node(facts), self._settings
        notes = [*layout.notes(facts, self._settings.proxy), *self._unproven.get(node.label, ())]
        state = State.WARNING if notes else State.OK
        notes += [f"{path} changes the unit" for path in facts.drop_ins]
        if settings.watch.enabled and (why := needs.impossible(facts, settings.proxy)):
            notes.append(f"watch: not possible here: {why}")
        found = NodePlan(
            made.action,
            made.why,
            release.name,
            made.edited,
            diffs(release.texts, facts, self._settings.proxy),
            tuple(facts.drop_ins),
            tuple(notes),
        )
        if made.action == Action.NOTHING:
            over = made.result if not facts.leftovers else None  # which `stage` removes
            return StepResult(state, "; ".join(["unchanged", *notes]), value=found, result=over)
        return StepResult(state, f"{made.action}: {'; '.join([*made.why, *notes])}", value=found)

    def would(self, node: Node) -> StepResult[NodePlan]:
        """What `survey` finds; the result is what the node would be."""
        seen, made = self.survey(node), self._plans[node.label]
        return replace(seen, result=made.result if made.action == Action.NOTHING else f"to be {made.result}")

    def able(self, node: Node) -> StepResult[NodePlan]:
        """What `survey` finds; that it found nothing which cannot work is the result."""
        seen = self.survey(node)
        return replace(seen, detail=f"deploy can work: {seen.detail}", result=None)

    def stage(self, node: Node) -> StepResult[None]:
        """Locks the node, looks again, brings what it lacks, and has it tested there."""
        self._run.lock(node)
        node.invalidate_facts()
        made, facts = self._look(node)
        if not made.stages:
            return self._tidied(node, made, facts)
        release = self._releases.for_node(facts)
        stage(node, release, self._settings, facts)
        if not made.edited:
            return StepResult(State.CHANGED, f"release {release.name}, tested")
        names = " and ".join(made.edited)
        where = f"{self._settings.proxy.prefix}/releases/{name_of(found(facts, self._settings.proxy))}"
        return StepResult(State.WARNING, f"{names} had been edited there; it will be kept in {where}")

    def _tidied(self, node: Node, made: Plan, facts: Facts) -> StepResult[None]:
        """For a node that has all files: what a run that was cut off has left there goes."""
        if facts.leftovers:
            node.do(Tidy(self._settings.proxy))
        detail = "nothing to bring" + (", leftovers removed" if facts.leftovers else "")
        if made.action != Action.NOTHING:
            return StepResult(State.OK, detail)
        self._run.locks.release(node)
        return StepResult(State.OK, detail, result=made.result)

    def activate(self, node: Node) -> StepResult[None]:
        """Changes the node over to its release; goes back if that does not work."""
        made, facts = self._look(node)
        if made.action == Action.NOTHING:
            return StepResult(State.OK, made.result, result=made.result)
        name = self._releases.for_node(facts).name if made.stages else ""
        action = Action.RESTART if made.action == Action.INSTALL else made.action
        order = Order(action, made.result, name, unmanaged=made.unmanaged, boot="1", watch=_WATCH[made.watch])
        return Activation(self._run, node, facts.addresses).apply(order)

    def _look(self, node: Node) -> tuple[Plan, Facts]:
        facts = self._facts(node)
        release = self._releases.for_node(facts)
        of_release = (release.sums, facts, self._settings.proxy, self._force, release.version)
        made = plan(*of_release, watch=release.watch_sums)
        if made.action in _LEAVES_IT_RUNNING and (silent := self._silent(node, facts)):
            made = plan(*of_release, silent, release.watch_sums)
        self._plans[node.label] = made
        if errors := list(preflight.obstacles(release, made, facts, self._settings)):
            message = "; ".join(error.message for error in errors)
            raise StepError(message, hint="; ".join(dict.fromkeys(error.hint for error in errors)))
        return made, facts

    @waiting()
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
        facts = node.survey(proxy, self._names)
        self._addresses[node.label] = facts.addresses
        return facts
