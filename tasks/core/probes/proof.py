"""What deploy and status conclude from probes, and how often they try: a hung apiserver accepts, too."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..config.address import Endpoint
from ..config.model import Settings
from ..errors import StepError
from ..results import State
from ..ssh.node import Node
from .prober import Depth, Prober
from .result import ProbeResult, Reason

SECONDS = 3.0
_LONGER = 5.0  # seconds, of a try that is to tell a slow answer from none
_FORBIDDEN = Reason.FORBIDDEN.sentence

Results = Mapping[Endpoint, ProbeResult]


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the proxy leads to an apiserver, in words; `untried`: sshd forbids what was to be tried."""

    state: State
    text: str
    untried: bool = False


def prove(
    node: Node, listeners: Sequence[Endpoint], apiservers: Sequence[Endpoint], answered: bool = False
) -> Proof:
    """What `prove_by_ssh` says; where sshd forbids forwarding, curl, openssl or bash on the node ask.

    Raises StepError where the node itself fails.
    """
    proof = prove_by_ssh(node, listeners, apiservers, answered)
    if not proof.untried:
        return proof
    met = Prober(node, SECONDS).by_program([*listeners, *apiservers])
    through = {listener: met[listener] for listener in listeners}
    return conclude(through, {apiserver: met[apiserver] for apiserver in apiservers}, answered)


def prove_by_ssh(
    node: Node,
    listeners: Sequence[Endpoint],
    apiservers: Sequence[Endpoint],
    answered: bool = False,
    timeout: float = SECONDS,
) -> Proof:
    """Tries from the node whether each of `listeners` leads to one of `apiservers`, which are addresses.

    Each listener gets as many new connections at once as there are apiservers, of `timeout` seconds, and
    those that answer directly are looked for beside it. Where none answers through a listener though one
    does directly, or though one `answered` before, all is tried once more, for longer, and is then "failed".
    Where nothing ever answered it is a "warning", since a cluster may be built in that order; so it is where
    sshd forbids trying, and where an apiserver is silent beside others that answer.
    """
    if not listeners:
        return Proof(State.FAILED, "it listens nowhere")
    prober, longer = Prober(node, timeout, Depth.HANDSHAKE), Prober(node, _LONGER, Depth.HANDSHAKE)
    met = {listener: prober.best_of(len(apiservers), listener) for listener in listeners}
    direct = dict(zip(apiservers, prober.by_ssh(apiservers), strict=True))
    missed = _missed(met)
    if missed and (answered or any(result.ok for result in (*met.values(), *direct.values()))):
        # of a hung apiserver and a busy machine the first answers may be late, and going back would do harm
        tries = max(2, 3 * len(apiservers))
        met |= {listener: longer.best_of(tries, listener) for listener in missed}
    return conclude(met, direct, answered, broken=not node.is_connected)


def answers(
    node: Node, listeners: Sequence[Endpoint], apiservers: Sequence[Endpoint], timeout: float = SECONDS
) -> bool:
    """Whether the node has a way to some apiserver now: through one of `listeners`, or directly.

    Raises StepError where the node itself fails.
    """
    prober = Prober(node, timeout, Depth.HANDSHAKE)
    met = [result.ok for result in prober.by_ssh(listeners)]
    if True not in met:
        met += [result.ok for result in prober.by_ssh(apiservers)]
    if True in met:
        return True
    if not node.is_connected:
        raise StepError("the connection broke while apiservers were looked for")
    if None not in met:
        return False
    return any(result.ok for result in prober.by_program([*listeners, *apiservers]).values())


def listener_state(node: Node, settings: Settings, listener: Endpoint) -> tuple[str, str]:
    """What a TLS handshake through a listener meets, in a word or two; and why no apiserver answers.

    Where it cannot be tried, what the kernel lists. Raises StepError where the node itself fails.
    """
    facts = node.survey(settings.proxy)
    if holder := facts.holder(listener):
        return f"is held by {holder}", ""
    prober, listens = Prober(node, settings.check.timeout, Depth.HANDSHAKE), facts.listens(listener)
    (met,) = prober.ask([listener])
    if met.ok is False and not met.program and listens:
        again = prober.best_of(2 * len(settings.apiservers), listener)
        met = again if again.ok else met
    if met.ok is None:
        return "listens" if listens else "nobody listens", ""
    if met.ok:
        return "answers", ""
    return ("accepts", met.text) if listens else ("refuses", "")


def conclude(met: Results, direct: Results, answered: bool, broken: bool = False) -> Proof:
    """What the ways through the listeners, beside those to the apiservers, say of the proxy. Pure.

    `broken`: the SSH connection ended meanwhile.
    """
    missed = _missed(met)
    if not missed:
        return _reached(met, direct)
    through = " and ".join(f"{listener} ({result.text})" for listener, result in missed.items())
    others = met if len(missed) < len(met) else direct
    fails = f"no apiserver answers through {through}"
    for way, result in others.items():
        if result.ok:
            how = f"one does through {way}" if others is met else f"{way} does directly"
            return Proof(State.FAILED, f"{fails}, though {how}")
    if broken:
        return Proof(State.FAILED, fails)
    tried = "; ".join(f"{apiserver} {result.text}" for apiserver, result in others.items())
    if answered:
        return Proof(State.FAILED, f"{fails}, though one answered before; directly: {tried}")
    if any(result.ok is None for result in others.values()):
        unknown = f"not known whether one does directly: {_FORBIDDEN} (PermitOpen)"
        return Proof(State.WARNING, f"{fails}; {unknown}", untried=True)
    return Proof(State.WARNING, f"no apiserver answers, neither through {through} nor directly ({tried})")


def _reached(met: Results, direct: Results) -> Proof:
    if any(result.ok is None for result in met.values()):
        return Proof(State.WARNING, f"not tried: {_FORBIDDEN} (AllowTcpForwarding)", untried=True)
    text = f"an apiserver answers through {' and '.join(map(str, met))}"
    silent = [f"{apiserver} {result.text}" for apiserver, result in _missed(direct).items()]
    return Proof(State.WARNING, f"{text}, but {'; '.join(silent)}") if silent else Proof(State.OK, text)


def _missed(met: Results) -> dict[Endpoint, ProbeResult]:
    return {endpoint: result for endpoint, result in met.items() if result.ok is False}
