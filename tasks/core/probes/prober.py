"""What answers, asked from a node: the one prober of verify, status, check and drill."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import Enum
from hashlib import sha256
from time import monotonic, time
from typing import TYPE_CHECKING

from ..config.address import Endpoint
from ..errors import StepError
from ..late import late
from ..release.servers import Addresses
from ..shell.pool import together
from ..ssh.node import Node
from . import fallback
from .result import ProbeResult, Reason, Unreached
from .tunnel import Tunnel

with late():
    from . import certificate

if TYPE_CHECKING:
    from .certificate import Trust

PATH = "/readyz"
_NOBODY = (
    *(Reason.REFUSED, Reason.NO_ROUTE, Reason.NO_NETWORK, Reason.FIREWALL, Reason.DENIED),
    *(Reason.KERNEL, Reason.TIMED_OUT, Reason.NOT_CONNECTED),
)
"""Nobody is at that address of several: the next one is tried, as sshd would."""


class Depth(Enum):
    """How much of an answer is wanted."""

    HANDSHAKE = "a TLS handshake: that there is a TLS server, no more"
    READYZ = f"GET {PATH}, and who it is that answers"


@dataclass(frozen=True, slots=True)
class Prober:
    """Asks endpoints from `node`; all of one try may take `timeout` seconds.

    sshd makes the connections (direct-tcpip), so nothing is run on the node. It is asked for the `addresses`
    to which the node resolves names, since while it resolves one itself, it does nothing else. A wildcard
    address is asked at its loopback address. `trust` verifies certificates; who is not trusted is asked all
    the same. `clock` is by how many seconds the node's clock is ahead of this machine's. Whatever the
    network does, a broken SSH connection included, is in the results and not raised.
    """

    node: Node
    timeout: float
    depth: Depth = Depth.READYZ
    trust: Trust | None = None
    clock: float = 0.0
    addresses: Addresses = field(default_factory=dict)

    def ask(self, endpoints: Sequence[Endpoint]) -> list[ProbeResult]:
        """What is met at each, all at once; where sshd forbids it, what a program on the node meets.

        Raises StepError: the connection to the node broke, or what its programs are run by fails.
        """
        met = self.by_ssh(endpoints)
        if not self.node.is_connected:
            raise StepError("the connection broke while apiservers were asked")
        pairs = list(zip(endpoints, met, strict=True))
        forbidden = [endpoint for endpoint, result in pairs if result.ok is None]
        instead = self.by_program(forbidden) if forbidden else {}
        return [instead[endpoint] if result.ok is None else result for endpoint, result in pairs]

    def by_ssh(self, endpoints: Sequence[Endpoint]) -> list[ProbeResult]:
        """What is met at each through sshd alone, all at once."""
        return together(endpoints, self._one)

    def by_program(self, endpoints: Sequence[Endpoint]) -> dict[Endpoint, ProbeResult]:
        """What curl, openssl or bash on the node meet at each. Raises StepError."""
        return fallback.ask(self.node, endpoints, self.timeout)

    def best_of(self, tries: int, endpoint: Endpoint) -> ProbeResult:
        """The best of so many tries at once: a hung apiserver still accepts, and swallows those it gets."""
        found = self.by_ssh([endpoint] * max(1, tries))
        return next((result for result in found if result.ok is not False), found[0])

    def _one(self, endpoint: Endpoint) -> ProbeResult:
        began = monotonic()
        result = ProbeResult(at=datetime.now(UTC) + timedelta(seconds=self.clock))
        try:
            with self._tunnel(endpoint) as tunnel:
                result = replace(result, connected=tunnel.seconds)
                if self.depth is Depth.HANDSHAKE:
                    return result
                result = self._identified(result, tunnel.chain)
                answer = tunnel.get(PATH, self.timeout, began)
        except Unreached as error:
            text = error.text
            if error.reason is Reason.SILENT and result.connected is not None:
                text = f"{text}, though TLS stood after {milliseconds(result.connected)} ms"
            return replace(result, reason=error.reason, text=text, seconds=monotonic() - began)
        return replace(
            result,
            seconds=monotonic() - began,
            status=answer.status,
            body=answer.body.decode(errors="replace"),
            clock=fallback.ahead(answer.headers.get("Date", ""), time() - answer.seconds / 2 + self.clock),
        )

    def _tunnel(self, endpoint: Endpoint) -> Tunnel:
        """To the first of its addresses that can be connected to. Raises Unreached."""
        deadline = monotonic() + self.timeout
        last = Unreached(Reason.NO_ADDRESS)
        for host in self.addresses.get(endpoint.host, (endpoint.host,)):
            address, left = Endpoint(host, endpoint.port), deadline - monotonic()
            try:
                return Tunnel(self.node.transport, endpoint, max(left, 0), address)
            except Unreached as error:
                late = error.reason is Reason.SILENT
                last = Unreached(Reason.SILENT, self.timeout) if late else error
                if error.reason not in _NOBODY:
                    break
        raise last

    def _identified(self, result: ProbeResult, chain: Sequence[bytes]) -> ProbeResult:
        """With who answered in TLS."""
        refusal = self.trust.refusal(chain, result.at) if self.trust else None
        return replace(
            result,
            certificate=certificate.parse(chain[0]) if chain else None,
            peer=sha256(chain[0]).hexdigest() if chain else "",
            trusted=refusal is None if self.trust else None,
            distrust=refusal or "",
        )


def milliseconds(seconds: float) -> int:
    """In whole milliseconds, 1 at the least."""
    return max(1, round(seconds * 1000))
