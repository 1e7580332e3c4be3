"""Whether an apiserver is reached from a node, seen through SSH alone: nothing is run on the node for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import paramiko

from ..config.address import Endpoint
from ..shell.pool import together
from .tunnel import FORBIDDEN, Tunnel, Unreached, each

_LONGER = 5.0  # seconds, of a try that is to tell a slow answer from none


@dataclass(frozen=True, slots=True)
class Reached:
    """What one try met, in words, after how many seconds; `ok` is None where sshd forbids trying."""

    ok: bool | None
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the proxy leads to an apiserver, in words. `state` is "ok", "warning" or "failed".

    `untried`: sshd forbids what was to be tried.
    """

    state: str
    text: str
    untried: bool = False


def handshake(transport: paramiko.Transport, endpoint: Endpoint, timeout: float = 5) -> Reached:
    """A TLS handshake from the node to `endpoint`, within `timeout` seconds in all.

    sshd connects (direct-tcpip), so names are resolved there; a wildcard is tried at its loopback
    address. No certificate is checked: it proves a TLS server, no more. Whatever the network does,
    a broken SSH connection included, is told in the result and not raised.
    """
    began = monotonic()
    try:
        with Tunnel(transport, endpoint, timeout) as tunnel:
            return Reached(True, f"TLS handshake in {max(tunnel.seconds * 1000, 1):.0f} ms", tunnel.seconds)
    except Unreached as unreached:
        return Reached(unreached.ok, unreached.text, monotonic() - began)


def answered(
    transport: paramiko.Transport,
    listeners: Sequence[Endpoint],
    apiservers: Sequence[Endpoint],
    timeout: float = 3,
) -> bool | None:
    """Whether the node has a way to some apiserver: through one of its own `listeners`, or directly.

    None: sshd forbids trying.
    """
    met = [through(transport, listener, 1, timeout).ok for listener in listeners]
    if True in met:
        return True
    met += [reached.ok for reached in _directly(transport, apiservers, timeout).values()]
    return True if True in met else None if None in met else False


def proof(
    transport: paramiko.Transport,
    listeners: Sequence[Endpoint],
    apiservers: Sequence[Endpoint],
    timeout: float = 3,
    answered: bool = False,
) -> Proof:
    """Tries from the node whether each of `listeners` leads to one of `apiservers`, which are addresses.

    Each listener gets as many new connections at once as there are apiservers, of `timeout` seconds, and
    those that answer directly are looked for beside it. Where none answers through a listener though one
    does directly, or though one `answered` before, all is tried once more, for longer, and is then "failed".
    Where nothing ever answered it is a "warning", since a cluster may be built in that order; so it is where
    sshd forbids trying, and where an apiserver is silent beside others that answer.
    """
    if not listeners:
        return Proof("failed", "it listens nowhere")
    met = {listener: through(transport, listener, len(apiservers), timeout) for listener in listeners}
    direct = _directly(transport, apiservers, timeout)
    if _missed(met) and _could_answer(met, direct, answered):
        # of a hung apiserver and a busy machine the first answers may be late, and going back would do harm
        tries = max(2, 3 * len(apiservers))
        met |= {listener: through(transport, listener, tries, _LONGER) for listener in _missed(met)}
    return conclude(met, direct, answered, broken=not transport.is_active())


def conclude(
    met: Mapping[Endpoint, Reached],
    direct: Mapping[Endpoint, Reached],
    answered: bool,
    broken: bool = False,
) -> Proof:
    """What the ways through the listeners, beside those to the apiservers, say of the proxy.

    `broken`: the SSH connection ended meanwhile.
    """
    if missed := _missed(met):
        return _compared(missed, met if len(missed) < len(met) else direct, answered, broken)
    return _reached(met, direct)


def _missed(met: Mapping[Endpoint, Reached]) -> dict[Endpoint, Reached]:
    return {listener: reached for listener, reached in met.items() if reached.ok is False}


def _could_answer(
    met: Mapping[Endpoint, Reached], direct: Mapping[Endpoint, Reached], answered: bool
) -> bool:
    """Whether a second look may find what the first has missed."""
    others = [*met.values(), *direct.values()]
    return answered or any(reached.ok for reached in others)


def _reached(met: Mapping[Endpoint, Reached], direct: Mapping[Endpoint, Reached]) -> Proof:
    if any(reached.ok is None for reached in met.values()):
        return Proof("warning", f"not tried: {FORBIDDEN} (AllowTcpForwarding)", untried=True)
    text = f"an apiserver answers through {' and '.join(map(str, met))}"
    silent = [f"{apiserver} {reached.text}" for apiserver, reached in _missed(direct).items()]
    return Proof("warning", f"{text}, but {'; '.join(silent)}") if silent else Proof("ok", text)


def through(transport: paramiko.Transport, listener: Endpoint, tries: int, timeout: float) -> Reached:
    """The best of so many tries at once: a hung apiserver still accepts, and swallows those that it gets."""
    found = together(range(max(1, tries)), lambda _: handshake(transport, listener, timeout))
    return next((reached for reached in found if reached.ok is not False), found[0])


def _directly(
    transport: paramiko.Transport, apiservers: Sequence[Endpoint], timeout: float
) -> dict[Endpoint, Reached]:
    return each(apiservers, lambda apiserver: handshake(transport, apiserver, timeout))


def _compared(
    missed: Mapping[Endpoint, Reached], others: Mapping[Endpoint, Reached], answered: bool, broken: bool
) -> Proof:
    """What it means that nothing answers through `missed`, seeing what the other ways met."""
    through = " and ".join(f"{listener} ({reached.text})" for listener, reached in missed.items())
    for way, reached in others.items():
        if reached.ok:
            how = f"one does through {way}" if missed.keys() & others.keys() else f"{way} does directly"
            return _failed(through, f", though {how}")
    if broken:
        return _failed(through)
    tried = "; ".join(f"{apiserver} {reached.text}" for apiserver, reached in others.items())
    if answered:
        return _failed(through, f", though one answered before; directly: {tried}")
    if any(reached.ok is None for reached in others.values()):
        unknown = f"not known whether one does directly: {FORBIDDEN} (PermitOpen)"
        return Proof("warning", f"no apiserver answers through {through}; {unknown}", untried=True)
    return Proof("warning", f"no apiserver answers, neither through {through} nor directly ({tried})")


def _failed(through: str, though: str = "") -> Proof:
    return Proof("failed", f"no apiserver answers through {through}{though}")
