"""Whether an apiserver is reached from a node, seen through SSH alone: nothing is run on the node for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from time import monotonic

import paramiko

from ..config.address import Endpoint
from .tunnel import FORBIDDEN, Tunnel, Unreached, each

_MORE = 3


@dataclass(frozen=True, slots=True)
class Reached:
    """What one try met, in words, after how many seconds; `ok` is None where sshd forbids trying."""

    ok: bool | None
    text: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Proof:
    """Whether the proxy leads to an apiserver, in words. `state` is "ok", "warning" or "failed"."""

    state: str
    text: str


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


def proof(
    transport: paramiko.Transport,
    listeners: Sequence[Endpoint],
    apiservers: Sequence[Endpoint],
    timeout: float = 3,
    behind: int | None = None,
) -> Proof:
    """Tries from the node whether each of `listeners` leads to an apiserver.

    A try takes at most `timeout` seconds; a listener gets one more of them than there are servers `behind`
    it (None: as many as `apiservers`, of which a name may have several addresses), and three times as many
    again where one apiserver answers directly and another hangs.
    "failed" is what only the proxy can be blamed for. Where no apiserver answers directly either it is
    a "warning", since a cluster may be built in that order; so it is where sshd forbids trying.
    """
    if not listeners:
        return Proof("failed", "it listens nowhere")
    tries = (behind or len(apiservers)) + 1
    met = {listener: _through(transport, listener, tries, timeout) for listener in listeners}
    if not (missed := _missed(met)):
        return _reached(met)
    direct = _directly(transport, apiservers, timeout)
    if any(reached.ok for reached in direct.values()) and _hung(direct, timeout):
        # with one of two hung, four tries in vain are no rarity, and going back for them would do harm
        met |= {listener: _through(transport, listener, _MORE * tries, timeout) for listener in missed}
        if not (missed := _missed(met)):
            return _reached(met)
    return _compared(transport, missed, met if any(reached.ok for reached in met.values()) else direct)


def _missed(met: Mapping[Endpoint, Reached]) -> dict[Endpoint, Reached]:
    return {listener: reached for listener, reached in met.items() if reached.ok is False}


def _hung(direct: Mapping[Endpoint, Reached], timeout: float) -> bool:
    """Whether some apiserver was silent for all of the time that it had."""
    return any(reached.ok is False and reached.seconds >= timeout for reached in direct.values())


def _reached(met: Mapping[Endpoint, Reached]) -> Proof:
    if any(reached.ok is None for reached in met.values()):
        return Proof("warning", f"not tried: {FORBIDDEN} (AllowTcpForwarding)")
    return Proof("ok", f"an apiserver answers through {' and '.join(map(str, met))}")


def _through(transport: paramiko.Transport, listener: Endpoint, tries: int, timeout: float) -> Reached:
    # a hung apiserver still accepts, which is all that the proxy looks at, so it may swallow a try or two
    for _ in range(tries):
        reached = handshake(transport, listener, timeout)
        if reached.ok is not False:
            break
    return reached


def _directly(
    transport: paramiko.Transport, apiservers: Sequence[Endpoint], timeout: float
) -> dict[Endpoint, Reached]:
    def ask(apiserver: Endpoint) -> Reached:
        return handshake(transport, apiserver, timeout)

    return each(apiservers, ask, lambda reached: reached.ok is not True and reached.seconds < timeout)


def _compared(
    transport: paramiko.Transport, missed: Mapping[Endpoint, Reached], others: Mapping[Endpoint, Reached]
) -> Proof:
    """What it means that nothing answers through `missed`, seeing what the other ways met."""
    through = " and ".join(f"{listener} ({reached.text})" for listener, reached in missed.items())
    for way, reached in others.items():
        if reached.ok:
            how = f"one does through {way}" if missed.keys() & others.keys() else f"{way} does directly"
            return _failed(through, f", though {how}")
    if not transport.is_active():
        return _failed(through)
    tried = "; ".join(f"{apiserver} {reached.text}" for apiserver, reached in others.items())
    if any(reached.ok is None for reached in others.values()):
        unknown = f"not known whether one does directly: {FORBIDDEN} (PermitOpen)"
        return Proof("warning", f"no apiserver answers through {through}; {unknown}")
    return Proof("warning", f"no apiserver answers, neither through {through} nor directly ({tried})")


def _failed(through: str, though: str = "") -> Proof:
    return Proof("failed", f"no apiserver answers through {through}{though}")
