"""A node cut off from one apiserver: the packets vanish for a while, and the node itself sees to the end."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from ipaddress import ip_address, ip_network
from socket import socket
from time import monotonic

from ..config.settings import Endpoint
from ..errors import StepError
from ..run.lock import LOCK
from ..scripts import commands
from ..shell.command import CommandResult
from ..ssh.node import Node

_LATER = 5  # seconds after its end that a cut is undone by the node's own timer
_TRIES = 3
_UNIT = "kube-nginx-drill.timer"
_TEST_NETWORKS = tuple(map(ip_network, ("198.18.0.0/15", "2001:2::/48")))
_NO_TOOL = "the node has no firewall tool that works: neither nft, nor iptables (for IPv6: ip6tables)"


class Cut:
    """The packets between `node` and the addresses `servers`; for whoever has the node's lock."""

    def __init__(self, node: Node, servers: Sequence[Endpoint]) -> None:
        self._node = node
        self._flows = "\n".join(f"{ip_address(a.host).version} {a.host} {a.port}" for a in servers)
        self._tools = ""
        self._undo = ""
        self._timer = ""
        self._over = 0.0
        self._healed: list[float] = []

    @property
    def tool(self) -> str:
        """The firewall tool that `look` found to work."""
        return "nft" if self._tools.endswith("/nft") else "iptables"

    def look(self) -> bool:
        """Sees whether it can be done, and removes what an earlier drill has left: true if there was any.

        Raises StepError: there is no tool for it.
        """
        ended = self._run("look")
        self._tools, self._undo = ended.value("tools"), ended.value("undo")
        if ended.status == 70:
            hint = "install nftables there, or iptables"
            raise StepError(_NO_TOOL, status=70, tail=ended.stderr, hint=hint)
        if ended.status:
            what = "what an earlier drill left cannot be removed"
            raise StepError(what, status=ended.status, tail=ended.stderr, hint=self._by_hand())
        return bool(ended.value("healed"))

    def begin(self, seconds: float) -> float:
        """Cuts, for `seconds` unless `end` is called before; gives the time (`monotonic`) at which it did.

        A timer on the node that ends it, whatever becomes of us, is armed first. Raises StepError.
        """
        at: list[float] = []
        whole = round(seconds + _LATER)
        self._over = monotonic() + whole
        self._timer = f"the node's own timer removes them at {_clock(whole)}; if not: "
        nothing = "and nothing is left of it"  # or `end`, which follows, says so
        try:
            ended = self._run("cut", whole, _at("cut", at))
        except StepError as error:
            raise StepError(f"the cut was not seen to be made, {nothing}: {error.message}") from None
        if ended.status:
            what = f"the cut could not be made, {nothing}"
            raise StepError(what, status=ended.status, tail=ended.stderr)
        return at[0] if at else monotonic()

    def end(self) -> float | None:
        """Removes the rules and the timer, and looks that they are gone.

        Gives the time (`monotonic`) at which they were, None if they were gone already. Raises StepError
        that says how to do it by hand, if they are still there or cannot be looked at.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._end()
            except StepError as error:
                if error.status is not None:
                    raise
        return self._end()

    def left_so(self) -> StepError:
        """How the node is left by whoever cannot wait for `end`."""
        if self._healed or not self._timer:
            return StepError(f"interrupted; {'healed' if self._healed else 'nothing was cut'}")
        left = max(0, round(self._over - monotonic()))
        error = self._left_behind(f"were not seen to be gone; the node heals itself within {left} s")
        error.hint = f"see whether it has, there: systemctl list-timers {_UNIT}; {error.hint}"
        return error

    def _end(self) -> float | None:
        try:
            ended = self._run("heal", each_line=_at("healed", self._healed))
        except StepError as error:
            raise self._left_behind(f"could not be looked at again: {error.message}") from None
        if ended.status:
            raise self._left_behind("are still there, or were not looked at", ended)
        return self._healed[0] if self._healed else None

    def _left_behind(self, what: str, ended: CommandResult | None = None) -> StepError:
        return StepError(
            f"the firewall rules of the drill {what}",
            status=ended.status if ended else None,
            tail=ended.stderr if ended else "",
            hint=self._by_hand(),
        )

    def _by_hand(self) -> str:
        return f"{self._timer}by hand, as root there: {self._undo}" if self._undo else ""

    def _run(
        self, action: str, seconds: int = 0, each_line: Callable[[str], None] | None = None
    ) -> CommandResult:
        script = commands.drill(action, self._flows, LOCK, self._tools, seconds)
        return self._node.sh(script, timeout=30, check=False, each_line=each_line)


def in_test_network(node: Node, servers: Sequence[Endpoint]) -> bool:
    """Whether the SSH connection goes straight to a network that only tests use, and `servers` are in one.

    These are 198.18.0.0/15 (RFC 2544) and 2001:2::/48 (RFC 5180). Behind a gateway nobody knows. Some
    proxies answer names here with such addresses: so the node is asked, too, at which one it was reached.
    Raises StepError.
    """
    sock = node.transport.sock
    here = str(sock.getpeername()[0]) if isinstance(sock, socket) else ""
    if not all(map(is_for_tests, [here, *(server.host for server in servers)])):
        return False
    told = node.sh('echo "kn.ssh=${SSH_CONNECTION-}"', root=False, timeout=30).value("ssh").split()
    return len(told) == 4 and is_for_tests(told[2])


def is_for_tests(address: str) -> bool:
    """Whether an IP address is of a network that only tests use."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in _TEST_NETWORKS)


def _at(key: str, times: list[float]) -> Callable[[str], None]:
    """What notes the time at which a line `kn.KEY=` comes."""

    def hear(line: str) -> None:
        if line.startswith(f"kn.{key}="):
            times.append(monotonic())

    return hear


def _clock(seconds: float) -> str:
    """The time of day, `seconds` from now."""
    return (datetime.now() + timedelta(seconds=seconds)).strftime("%H:%M:%S")
