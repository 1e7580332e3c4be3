"""The lab's network: a switch, and for each host a namespace with one address on it."""

import ipaddress
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.machine import LabError, run

BENCHMARK = ipaddress.IPv4Network("198.18.0.0/15")
# The labs that are up at the same time as a matter of course: pytest has one for each of its workers.
NAMES = "lab", "test", *(f"testgw{number}" for number in range(16))
RESERVED = {name: index for index, name in enumerate(NAMES)}
NAMESPACES = Path("/run/netns")
BRIDGE = "bridge"
UPLINK = "uplink"


def subnet(lab: str) -> ipaddress.IPv4Network:
    """Give the /24 of a lab, out of the range of RFC 2544 that no real network uses."""
    free = 2 ** (24 - BENCHMARK.prefixlen) - len(RESERVED)
    index = RESERVED.get(lab, len(RESERVED) + zlib.crc32(lab.encode()) % free)
    return ipaddress.IPv4Network((int(BENCHMARK.network_address) + (index << 8), 24))


def namespaces(prefix: str) -> set[str]:
    """Name the network namespaces that begin with prefix."""
    return {path.name for path in NAMESPACES.glob(f"{prefix}*")}


@dataclass(frozen=True)
class Switch:
    """A bridge in a namespace of its own, and the interface by which this machine is on it.

    In its own namespace no firewall of this machine, a container engine's say, filters it.
    """

    interface: str
    network: ipaddress.IPv4Network

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
                raise LabError(f"{link['ifname']} is in {self.network}: choose another lab name")
        if not self._is_whole():
            self.remove()
            self._make()
        _ip("-n", self.netns, "link", "set", BRIDGE, "up")
        _ip("-n", self.netns, "link", "set", UPLINK, "master", BRIDGE, "up")
        _ip("link", "set", self.interface, "up")
        address = f"{self.network[1]}/{self.network.prefixlen}"
        _ip("address", "replace", address, "dev", self.interface)

    def remove(self) -> None:
        """Remove it, and with it the near ends of all ports; fine if it is not there."""
        run(["ip", "link", "delete", self.interface], check=False)
        _delete_namespace(self.netns)

    def _is_mine(self, link: dict[str, Any]) -> bool:
        return any(ipaddress.IPv4Address(a) in self.network for a in _addresses(link))

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
    address: ipaddress.IPv4Address

    def is_wired(self) -> bool:
        """Tell whether the pair is there and has its address, which `wire` gives last."""
        far = any(str(self.address) in _addresses(link) for link in _show("addr", self.netns))
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
        mac = ":".join(f"{byte:02x}" for byte in b"\x02\x6b" + self.address.packed)
        peer = ["peer", "name", "eth0", "address", mac, "netns", self.netns]
        _ip("-n", self.switch.netns, "link", "add", self.near, "type", "veth", *peer)
        self.plug()
        _ip("-n", self.netns, "link", "set", "eth0", "up")
        address = f"{self.address}/{self.switch.network.prefixlen}"
        _ip("-n", self.netns, "address", "add", address, "dev", "eth0")

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
    return [a["local"] for a in link.get("addr_info", ()) if a.get("family") == "inet"]
