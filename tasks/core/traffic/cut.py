"""A node cut off from one apiserver: the packets vanish for a while, and the node itself sees to the end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from socket import socket
from time import monotonic

from ..config.settings import Endpoint
from ..errors import StepError
from ..remote import commands
from ..remote.host import Ended
from ..remote.node import Node

_LATER = 5  # seconds after its end that a cut is undone by the node's own timer
_TRIES = 3
_TEST_NETWORKS = tuple(map(ip_network, ("198.18.0.0/15", "2001:2::/48")))
_NO_TOOL = "the node has no firewall tool that works: neither nft, nor iptables (for IPv6: ip6tables)"


class Cut:
    """The packets between `node` and the addresses `servers`; for whoever has the node's lock."""

    def __init__(self, node: Node, servers: Sequence[Endpoint]) -> None:
        self.tool = ""
        self._node = node
        self._flows = "\n".join(f"{ip_address(a.host).version} {a.host} {a.port}" for a in servers)
        self._undo = ""
        self._timer = ""

    def look(self) -> bool:
        """Sees whether it can be done, and removes what an earlier drill has left: true if there was any.

        Raises StepError: there is no tool for it.
        """
        ended = self._run("look")
        if ended.status == 70:
            hint = "install nftables there, or iptables"
            raise StepError(_NO_TOOL, status=70, tail=ended.stderr, hint=hint)
        self._check(ended, "what an earlier drill left cannot be removed")
        self.tool, self._undo = _said(ended, "tool"), _said(ended, "undo")
        return bool(_said(ended, "leftover"))

    def begin(self, seconds: float) -> float:
        """Cuts, for `seconds` unless `end` is called before; gives the time (`monotonic`) at which it did.

        A timer on the node that ends it, whatever becomes of us, is armed first. Raises StepError.
        """
        at: list[float] = []

        def hear(line: str) -> None:
            if line.startswith("kn.cut="):
                at.append(monotonic())

        whole = round(seconds + _LATER)
        self._timer = f"the node's own timer removes them at {_clock(whole)}; if not: "
        script = commands.drill("cut", self._flows, whole)
        ended = self._node.sh(script, timeout=30, check=False, each_line=hear)
        self._check(ended, "the cut could not be made, and nothing is left of it")
        return at[0] if at else monotonic()

    def end(self) -> bool:
        """Removes the rules and the timer, and looks that they are gone; false if the timer had come first.

        Raises StepError that says how to do it by hand, if they are still there or cannot be looked at.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._end()
            except StepError as error:
                if error.status is not None:
                    raise
        return self._end()

    def _end(self) -> bool:
        try:
            ended = self._run("heal")
        except StepError as error:
            raise self._left_behind(f"could not be looked at again: {error.message}") from None
        if ended.status:
            raise self._left_behind("are still there", ended)
        return bool(_said(ended, "healed"))

    def _left_behind(self, what: str, ended: Ended | None = None) -> StepError:
        return StepError(
            f"the firewall rules of the drill {what}",
            status=ended.status if ended else None,
            tail=ended.stderr if ended else "",
            hint=f"{self._timer}by hand, as root there: {self._undo}",
        )

    def _run(self, action: str) -> Ended:
        return self._node.sh(commands.drill(action, self._flows), timeout=30, check=False)

    def _check(self, ended: Ended, what: str) -> None:
        if ended.status:
            raise StepError(what, status=ended.status, tail=ended.stderr)


def in_test_network(node: Node) -> bool:
    """Whether the SSH connection to an open `node` goes straight to a network that only tests use.

    These are 198.18.0.0/15 (RFC 2544) and 2001:2::/48 (RFC 5180). Behind a gateway nobody knows.
    """
    sock = node.transport.sock
    return isinstance(sock, socket) and is_for_tests(str(sock.getpeername()[0]))


def is_for_tests(address: str) -> bool:
    """Whether an IP address is of a network that only tests use."""
    found = ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in _TEST_NETWORKS)


def _clock(seconds: float) -> str:
    """The time of day, `seconds` from now."""
    return (datetime.now() + timedelta(seconds=seconds)).strftime("%H:%M:%S")


def _said(ended: Ended, key: str) -> str:
    lines = (line.partition("=") for line in ended.stdout.splitlines())
    return next((value for name, _, value in lines if name == f"kn.{key}"), "")
