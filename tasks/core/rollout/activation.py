"""One node changes over: the script that does it, the proof, the way back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from ..config.address import Endpoint
from ..config.model import Settings
from ..errors import StepError
from ..facts.facts import PREVIOUS, Facts
from ..facts.paths import UNIT_PATH, conf_path
from ..facts.sockets import as_kernel
from ..probes.proof import Proof, answers, prove
from ..release import servers
from ..release.release import serving
from ..release.servers import servers_of
from ..results import Result, State, StepResult
from ..run.run import Run
from ..scripts.activate import Activate, Activated, ActivateStatus, Outcome
from ..scripts.service import LastLines
from ..shell.pool import waiting
from ..ssh.node import Node
from .plan import Action

_UNKNOWN = (
    "the node finishes by itself, with the new release or the old one; see which: fab status --limit {nodes}"
)
_REFUSED = "correct it there, or bring what hosts.toml says: fab diff, fab deploy --limit {nodes}"
_LOST = "; and what was there before does not come back: "
_WATCH = "see why: fab logs --limit {nodes}; or do without: [watch] enabled = false, fab deploy"
_BEFORE = {
    "1": "",
    "0": "; nothing ran there before, so it is stopped",
    "trying": "; systemd goes on trying to start what was there before",
}
# a second upgrade would wait until the sessions of the first have ended, and this one leads nowhere
_BACK_BY = {Action.UPGRADE: Action.RESTART}


Watch = Literal["", "1", "0", "back"]


@dataclass(frozen=True, slots=True)
class Order:
    """What a node is to do: `action` of the plan, `result` as the recap words it.

    `release` is put in place first ("": the files stay as they are). `previous` is what `fab rollback`
    goes to afterwards: "-" is what is there now, "" nothing. `boot` is "1" or "0" if it is to start at
    boot, or not. `was` overrides what the node finds of itself, when it goes back. `listen` is None for the
    addresses of hosts.toml, which another release may not have. `repair`: user, folders and modes are put
    right, too. `watch` as templates/watch.sh is given it.
    """

    action: Action
    result: Result
    release: str = ""
    previous: str = "-"
    unmanaged: tuple[int, ...] = ()
    boot: str = ""
    was: Mapping[str, str] = field(default_factory=dict)
    listen: tuple[Endpoint, ...] | None = None
    repair: bool = True
    watch: Watch = ""

    @property
    def undone(self) -> Result:
        """What the node is where it did not work, and what was there before is back."""
        return Result.RESTORED if self.result == Result.ROLLED_BACK else Result.ROLLED_BACK


@dataclass(frozen=True, slots=True)
class Activation:
    """A node, which the run has locked, changes over; `addresses` is what names resolved to, if known."""

    run: Run
    node: Node
    addresses: servers.Addresses = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        """Those of the run."""
        return self.run.settings

    def apply(self, order: Order) -> StepResult[None]:
        """Does what `order` says, and proves that an apiserver is reached through it, or goes back."""
        facts = self.node.survey(self.settings.proxy)
        with waiting():
            served, (behind, known) = answers(self.node, _own(facts), ()), self._apiservers(facts)
            answered = served or answers(self.node, (), known)
        self.run.interrupt.check()
        ended = self._script(order, facts)
        if ended.outcome != Outcome.DONE:
            return _went_back(order, ended, self.settings)
        proof = self._prove(order, behind, answered)
        if proof.state == "failed":
            return self._go_back(order, facts, ended, proof.text, served)
        if ended.watch:
            message = f"{order.result}, {proof.text}; but kube-nginx-watch: {ended.watch}"
            raise StepError(message, tail=ended.stderr.strip(), hint=_WATCH)
        state = State.WARNING if proof.state == "warning" else State.CHANGED
        return StepResult(state, f"{order.result}, {proof.text}", result=order.result)

    def _apiservers(self, facts: Facts) -> tuple[Sequence[Endpoint], Sequence[Endpoint]]:
        """Those of hosts.toml; and with them those of the configuration that is there.

        Of names that were not resolved the latter has the addresses; sshd would resolve them, too, and do
        nothing else meanwhile.
        """
        wanted = servers.resolved(self.settings.apiservers, self.addresses)
        there, _ = servers_of(facts.texts.get(conf_path(self.settings.proxy), ""))
        known = tuple(dict.fromkeys([*wanted, *there]))
        addresses = tuple(server for server in known if not servers.names([server])) or known
        return (addresses if servers.names(wanted) else wanted), addresses

    @waiting()
    def _prove(self, order: Order, behind: Sequence[Endpoint], answered: bool) -> Proof:
        def look() -> Proof:
            proof = prove(self.node, listen, behind, answered)
            text = servers.as_written(proof.text, self.settings.apiservers, self.addresses)
            return replace(proof, text=text)

        proxy = self.settings.proxy
        listen = proxy.listen if order.listen is None else _own(self.node.survey(proxy))
        proof = look()
        if proof.state == "ok":
            return proof
        connected = self.node.is_connected
        self._still_there(order)
        # what a broken connection kept from being seen is looked at again
        return proof if connected else look()

    def _still_there(self, order: Order) -> None:
        """A node that has gone away is not one that reaches no apiserver."""
        try:
            self.node.sh("true", root=False, timeout=10)  # sudo may take longer than that
        except StepError as error:
            message = f"{order.result}, and then the node went away: {error.message}"
            raise StepError(message, hint=_UNKNOWN, unreachable=error.unreachable) from None

    def _script(self, order: Order, facts: Facts) -> Activated:
        """Runs the script that does it; the node goes on with it when we are gone."""
        proxy = self.settings.proxy
        script = Activate(
            proxy,
            self.run.rollout,
            self.run.locks.holder,
            order.action,
            order.release,
            order.previous,
            order.repair,
            order.boot,
            listen=proxy.listen if order.listen is None else order.listen,
            listened=_own(facts),
            unmanaged=order.unmanaged,
            served=serving(facts, proxy),
            began_by=facts.loaded(UNIT_PATH, "unit"),
            watch=order.watch,
            **order.was,
        )
        try:
            with waiting(after=0):
                return self.node.do(script)
        except StepError as error:
            if error.status == ActivateStatus.NOT_STARTED:
                raise
            raise StepError(f"{order.action}: {error.message}", tail=error.tail, hint=_UNKNOWN) from None

    def _go_back(
        self, order: Order, facts: Facts, ended: Activated, why: str, served: bool
    ) -> StepResult[None]:
        """Puts back what was there before, after a proof that failed; what `served` then must serve again."""
        was = {"was_active": ended.was_active, "was_enabled": ended.was_enabled}
        ran, release = ended.was_active == "1", ended.before
        if ran and (loaded := serving(facts, self.settings.proxy)) in facts.releases.values():
            release = loaded
        if not order.release and release == ended.before:
            return _failed(why)
        back = replace(
            order,
            action=_BACK_BY.get(order.action, order.action) if ran else Action.STOP,
            release=release,
            previous=facts.releases.get(PREVIOUS, ""),
            boot=ended.was_enabled,
            was=was,
            listen=_own(facts),
            repair=True,
            watch="back" if order.watch else "",
        )
        log = self.node.do(LastLines(8))
        again = self._script(back, facts)
        if again.outcome not in (Outcome.DONE, Outcome.BACK):
            return _failed(f"{why}{_LOST}{again.why}", Result.FAILED, log)
        behind, _ = self._apiservers(facts)
        if served and (proof := self._prove(back, behind, answered=False)).state == "failed":
            return _failed(f"{why}{_LOST}{proof.text}", Result.FAILED, log)
        return _failed(f"{order.undone}: {why}{_BEFORE[ended.was_active]}", order.undone, log)


def _own(facts: Facts) -> tuple[Endpoint, ...]:
    return tuple(address for address in facts.listening if facts.listens(address))


def _went_back(order: Order, ended: Activated, settings: Settings) -> StepResult[None]:
    """What is told when the script on the node found that it does not work."""
    why = _readable(ended.why, settings.proxy.listen)
    match ended.outcome:
        case Outcome.LOST:
            return _failed(f"{why}{_LOST}{ended.still}", tail=ended.stderr)
        case Outcome.FAILED:
            return _failed(f"{why}: it is down" if order.action == Action.RESTART else why, tail=ended.stderr)
        case Outcome.REFUSED:
            kept = f"nothing was {'put in place or stopped' if order.repair else 'changed'}"
            return _failed(f"{why}; {kept}", tail=ended.stderr, hint=_REFUSED)
    return _failed(f"{order.undone}: {why}{_BEFORE[ended.was_active]}", order.undone, ended.stderr)


def _failed(message: str, result: Result = Result.FAILED, tail: str = "", hint: str = "") -> StepResult[None]:
    hint = hint or ("" if result != Result.FAILED else "see why: fab logs --limit {nodes}")
    error = StepError(message, tail=tail.strip(), hint=hint)
    return StepResult(State.FAILED, message, error=error, result=result)


def _readable(why: str, listen: Sequence[Endpoint]) -> str:
    """The addresses as people write them."""
    for address in listen:
        why = why.replace(as_kernel(address), str(address))
    return why
