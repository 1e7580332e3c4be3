"""Whether an apiserver is reached from a node, seen through SSH alone: nothing is run on the node for it."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from time import monotonic

import paramiko

from .address import Endpoint

REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
_TLS_RECORDS = (b"\x15\x03", b"\x16\x03")  # how an alert and a handshake message begin
_FORBIDDEN = "sshd there forbids forwarding"
_CLOSED = "accepted the connection and closed it before TLS"


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
    ok, text = _attempt(transport, endpoint, timeout)
    seconds = monotonic() - began
    if ok:
        text = f"TLS handshake in {max(seconds * 1000, 1):.0f} ms"
    elif not transport.is_active():
        ok, text = False, "could not be tried: the SSH connection broke"
    return Reached(ok, text, seconds)


def proof(
    transport: paramiko.Transport,
    listeners: Sequence[Endpoint],
    apiservers: Sequence[Endpoint],
    timeout: float = 3,
) -> Proof:
    """Tries from the node whether each of `listeners` leads to an apiserver.

    A try takes at most `timeout` seconds; a listener gets one more of them than there are apiservers.
    "failed" is what only the proxy can be blamed for. Where no apiserver answers directly either it is
    a "warning", since a cluster may be built in that order; so it is where sshd forbids trying.
    """
    if not listeners:
        return Proof("failed", "it listens nowhere")
    met = {listener: _through(transport, listener, len(apiservers) + 1, timeout) for listener in listeners}
    missed = [f"{listener} ({reached.text})" for listener, reached in met.items() if reached.ok is False]
    if not missed:
        if any(reached.ok is None for reached in met.values()):
            return Proof("warning", f"not tried: {_FORBIDDEN} (AllowTcpForwarding)")
        return Proof("ok", f"an apiserver answers through {' and '.join(map(str, listeners))}")
    through = " and ".join(missed)
    for listener, reached in met.items():
        if reached.ok:
            return _failed(through, f", though one does through {listener}")
    return _compared(transport, through, _directly(transport, apiservers, timeout))


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
    with ThreadPoolExecutor(len(apiservers)) as pool:
        tries = pool.map(lambda apiserver: handshake(transport, apiserver, timeout), apiservers)
        met = dict(zip(apiservers, tries, strict=True))
    if any(reached.ok for reached in met.values()):
        return met
    # paramiko keeps one error a connection: who failed while others did is asked again, alone, for the reason
    return {a: handshake(transport, a, timeout) if met[a].seconds < timeout else met[a] for a in apiservers}


def _compared(transport: paramiko.Transport, through: str, direct: dict[Endpoint, Reached]) -> Proof:
    for apiserver, reached in direct.items():
        if reached.ok:
            return _failed(through, f", though {apiserver} does directly")
    if not transport.is_active():
        return _failed(through)
    tried = "; ".join(f"{apiserver} {reached.text}" for apiserver, reached in direct.items())
    if any(reached.ok is None for reached in direct.values()):
        unknown = f"not known whether one does directly: {_FORBIDDEN} (PermitOpen)"
        return Proof("warning", f"no apiserver answers through {through}; {unknown}")
    return Proof("warning", f"no apiserver answers, neither through {through} nor directly ({tried})")


def _failed(through: str, though: str = "") -> Proof:
    return Proof("failed", f"no apiserver answers through {through}{though}")


def _attempt(transport: paramiko.Transport, endpoint: Endpoint, timeout: float) -> tuple[bool | None, str]:
    deadline = monotonic() + timeout
    silent = f"did not answer within {timeout:g} s"
    address = (REACHED_AT.get(endpoint.host, endpoint.host), endpoint.port)
    transport.get_exception()  # forgets that of an earlier channel
    try:
        channel = transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=timeout)
        with closing(channel):
            obstacle = _shake_hands(channel, endpoint.host, deadline)
        return not obstacle, obstacle
    except paramiko.ChannelException as error:
        if error.code == 1:
            return None, _FORBIDDEN
        return False, _refused(endpoint) if error.code == 2 else f"sshd there did not connect: {error.text}"
    except TimeoutError:
        return False, silent
    except (paramiko.SSHException, OSError, EOFError):
        # without a code it was opened, and closed before paramiko came to look at it
        return False, silent if monotonic() >= deadline else _CLOSED


def _refused(endpoint: Endpoint) -> str:
    # sshd says which it was, but paramiko keeps the code alone: "connect failed"
    named = ":" not in endpoint.host and not endpoint.host.replace(".", "").isdigit()
    return "has no address there, or refused the connection" if named else "refused the connection"


def _shake_hands(channel: paramiko.Channel, host: str, deadline: float) -> str:
    """What kept the handshake from being done, in words, or "". Raises TimeoutError at `deadline`."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = _context().wrap_bio(incoming, outgoing, server_hostname=host)  # of an address Python makes no SNI
    heard = b""
    while True:
        try:
            done = _step(tls)
        except ssl.SSLError as error:
            return _not_tls(heard, error)
        channel.settimeout(max(deadline - monotonic(), 0))
        with suppress(OSError):  # closed over there: what was said before is still to be read
            channel.sendall(outgoing.read())
        if done:
            return ""
        data = channel.recv(16384)
        if not data:
            return "closed the connection during the TLS handshake" if heard else _CLOSED
        heard += data
        incoming.write(data)


def _context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _step(tls: ssl.SSLObject) -> bool:
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        return False
    return True


def _not_tls(heard: bytes, error: ssl.SSLError) -> str:
    if heard.startswith(_TLS_RECORDS):
        return f"answered in TLS, but the handshake failed: {str(error.reason).lower().replace('_', ' ')}"
    line = heard.partition(b"\n")[0].strip().decode(errors="replace")
    return f"answered, but not in TLS: {line[:60]!r}"
