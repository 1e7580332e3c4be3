"""The lab's network: a switch, and for each host a namespace with an IPv4 and an IPv6 address on it."""

import ipaddress
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.machine import LabError, run

# The ranges of RFC 2544 and RFC 5180, which no real network uses.
BENCHMARK = ipaddress.IPv4Network("198.18.0.0/15")
BENCHMARK6 = ipaddress.IPv6Network("2001:2::/48")
# The labs that are up at the same time as a matter of course: pytest has one for each of its workers.
NAMES = "lab", "test", *(f"testgw{number}" for number in range(16))
RESERVED = {name: index for index, name in enumerate(NAMES)}
NAMESPACES = Path("/run/netns")
BRIDGE = "bridge"
UPLINK = "uplink"
# Neighbours are still found, as they would be behind a router that drops.
CUT = """\
table inet cut {
    chain in { type filter hook input priority 0; policy drop; iif lo accept; meta l4proto icmpv6 accept; }
    chain out { type filter hook output priority 0; policy drop; oif lo accept; meta l4proto icmpv6 accept; }
}
"""


@dataclass(frozen=True)
class Subnet:
    """A lab's two networks: an IPv4 /24 and an IPv6 /64."""

    v4: ipaddress.IPv4Network
    v6: ipaddress.IPv6Network

    def __getitem__(self, number: int) -> tuple[ipaddress.IPv4Address, ipaddress.IPv6Address]:
        """Give the two addresses of a host."""
        return self.v4[number], self.v6[number]


def subnet(lab: str) -> Subnet:
    """Give the networks of a lab, out of those for benchmarks."""
    free = 2 ** (24 - BENCHMARK.prefixlen) - len(RESERVED)
    index = RESERVED.get(lab, len(RESERVED) + zlib.crc32(lab.encode()) % free)
    return Subnet(
        ipaddress.IPv4Network((int(BENCHMARK.network_address) + (index << 8), 24)),
        ipaddress.IPv6Network((int(BENCHMARK6.network_address) + (index << 64), 64)),
    )


def namespaces(prefix: str) -> set[str]:
    """Name the network namespaces that begin with prefix."""
    return {path.name for path in NAMESPACES.glob(f"{prefix}*")}


@dataclass(frozen=True)
class Switch:
    """A bridge in a namespace of its own, and the interface by which this machine is on it.

    In its own namespace no firewall of this machine, a container engine's say, filters it.
    """

    interface: str
    network: Subnet

    @property
    def netns(self) -> str:
        """The switch's network namespace."""
        return f"{self.interface}-switch"

    def ensure(self) -> None:
        """Make what is missing; this machine gets the network's first address.

        Raises LabError if another interface has an address in the network.
        """
        for link in _show("addr"):
            if link["ifname"] != self.interface and self._is_mine(link):
                raise LabError(f"{link['ifname']} is in {self.network.v4}: choose another lab name")
        if not self._is_whole():
            self.remove()
            self._make()
        _ip("-n", self.netns, "link", "set", BRIDGE, "up")
        _ip("-n", self.netns, "link", "set", UPLINK, "master", BRIDGE, "up")
        _ip("link", "set", self.interface, "up")
        for address in self.network[1]:
            _ip("address", "replace", _with_prefix(address), "dev", self.interface, *_at_once(address))

    def remove(self) -> None:
        """Remove it, and with it the near ends of all ports; fine if it is not there."""
        run(["ip", "link", "delete", self.interface], check=False)
        _delete_namespace(self.netns)

    def _is_mine(self, link: dict[str, Any]) -> bool:
        return any(ipaddress.ip_address(a) in self.network.v4 for a in _addresses(link))

    def _is_whole(self) -> bool:
        inside = {link["ifname"] for link in _show("link", self.netns)}
        outside = {link["ifname"] for link in _show("link")}
        return {BRIDGE, UPLINK} <= inside and self.interface in outside

    def _make(self) -> None:
        _ip("netns", "add", self.netns)
        _ip("-n", self.netns, "link", "add", BRIDGE, "type", "bridge")
        peer = ["peer", "name", UPLINK, "netns", self.netns]
        _ip("link", "add", self.interface, "type", "veth", *peer)


@dataclass(frozen=True)
class Port:
    """A host's place on the switch: a veth pair whose far end is eth0 in the host's namespace."""

    switch: Switch
    netns: str
    near: str
    addresses: tuple[ipaddress.IPv4Address, ipaddress.IPv6Address]

    def is_wired(self) -> bool:
        """Tell whether the pair is there and has its addresses, which `wire` gives last."""
        wanted = {str(address) for address in self.addresses}
        far = any(wanted <= set(_addresses(link)) for link in _show("addr", self.netns))
        return far and bool(self._near_end())

    def is_plugged(self) -> bool:
        """Tell whether the near end is up and on the bridge."""
        link = self._near_end()
        return link.get("master") == BRIDGE and "UP" in link["flags"]

    def wire(self) -> None:
        """Make the namespace and its veth pair from nothing."""
        self.unwire()
        _ip("netns", "add", self.netns)
        _ip("-n", self.netns, "link", "set", "lo", "up")
        # The same hardware address every time: neighbours need not learn a new one.
        mac = ":".join(f"{byte:02x}" for byte in b"\x02\x6b" + self.addresses[0].packed)
        peer = ["peer", "name", "eth0", "address", mac, "netns", self.netns]
        _ip("-n", self.switch.netns, "link", "add", self.near, "type", "veth", *peer)
        self.plug()
        _ip("-n", self.netns, "link", "set", "eth0", "up")
        for address in self.addresses:
            there = "-n", self.netns, "address", "add", _with_prefix(address), "dev", "eth0"
            _ip(*there, *_at_once(address))

    def unwire(self) -> None:
        """Remove both; the veth first, as a namespace would drop it only a moment later."""
        run(["ip", "-n", self.switch.netns, "link", "delete", self.near], check=False)
        _delete_namespace(self.netns)

    def plug(self) -> None:
        """Connect the near end to the bridge."""
        _ip("-n", self.switch.netns, "link", "set", self.near, "master", BRIDGE, "up")

    def unplug(self) -> None:
        """Pull the plug: the address answers no more, not even with a refusal."""
        run(["ip", "-n", self.switch.netns, "link", "set", self.near, "down"], check=False)

    def cut_off(self) -> None:
        """Drop all packets from and to it, both ways: nobody gets an answer, not even a refusal."""
        run(["ip", "netns", "exec", self.netns, "nft", "-f", "-"], stdin=CUT)

    def let_back(self) -> None:
        """Undo `cut_off`; fine if it was not."""
        run(["ip", "netns", "exec", self.netns, "nft", "delete", "table", "inet", "cut"], check=False)

    def is_cut_off(self) -> bool:
        """Tell whether `cut_off` holds."""
        show = ["ip", "netns", "exec", self.netns, "nft", "list", "table", "inet", "cut"]
        return run(show, check=False).returncode == 0

    def _near_end(self) -> dict[str, Any]:
        links = _show("link", self.switch.netns)
        return next((link for link in links if link["ifname"] == self.near), {})


def _delete_namespace(name: str) -> None:
    if (NAMESPACES / name).exists():
        _ip("netns", "delete", name)


def _ip(*arguments: str) -> None:
    run(["ip", *arguments])


def _show(what: str, netns: str | None = None) -> list[dict[str, Any]]:
    where = ["-n", netns] if netns else []
    result = run(["ip", "-json", *where, what, "show"], check=not netns)
    return list(json.loads(result.stdout or "[]"))


def _addresses(link: dict[str, Any]) -> list[str]:
    return [a["local"] for a in link.get("addr_info", ()) if a.get("scope") == "global"]


def _with_prefix(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> str:
    return f"{address}/{24 if address.version == 4 else 64}"


def _at_once(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> list[str]:
    """The option for an address that is of use at once: nobody else can have it."""
    return ["nodad"] if address.version == 6 else []
