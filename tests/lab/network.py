"""The lab's network: a bridge, and for each host a namespace with one address on it."""

import ipaddress
import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.lab.machine import LabError, run

BENCHMARK = ipaddress.IPv4Network("198.18.0.0/15")
RESERVED = {"lab": 0, "test": 1}
NAMESPACES = Path("/run/netns")


def subnet(lab: str) -> ipaddress.IPv4Network:
    """Give the /24 of a lab, out of the range of RFC 2544 that no real network uses."""
    free = 2 ** (24 - BENCHMARK.prefixlen) - len(RESERVED)
    index = RESERVED.get(lab, len(RESERVED) + zlib.crc32(lab.encode()) % free)
    return ipaddress.IPv4Network((int(BENCHMARK.network_address) + (index << 8), 24))


def links(prefix: str) -> list[str]:
    """Name this machine's network interfaces that begin with prefix."""
    return [link["ifname"] for link in _show("link") if link["ifname"].startswith(prefix)]


def namespaces(prefix: str) -> set[str]:
    """Name the network namespaces that begin with prefix."""
    return {path.name for path in NAMESPACES.glob(f"{prefix}*")}


def ensure_bridge(name: str, network: ipaddress.IPv4Network) -> None:
    """Make the bridge, with the network's first address for this machine.

    Raises LabError if another interface has an address in the network.
    """
    address = f"{network[1]}/{network.prefixlen}"
    interfaces = {link["ifname"]: link for link in _show("addr")}
    for other, link in interfaces.items():
        if other != name and any(ipaddress.IPv4Address(a) in network for a in _addresses(link)):
            raise LabError(f"{other} has an address in {network} already: choose another lab name")
    if name not in interfaces:
        run(["ip", "link", "add", name, "type", "bridge"])
    bridge = interfaces.get(name, {})
    if "UP" not in bridge.get("flags", ()) or str(network[1]) not in _addresses(bridge):
        run(["ip", "link", "set", name, "up"])
        run(["ip", "address", "replace", address, "dev", name])


def remove_link(name: str) -> None:
    """Remove a network interface; fine if it is not there."""
    run(["ip", "link", "delete", name], check=False)


@dataclass(frozen=True)
class Port:
    """A host's place on the bridge: a veth pair whose far end is eth0 in its namespace."""

    bridge: str
    netns: str
    veth: str
    address: ipaddress.IPv4Address

    def is_wired(self) -> bool:
        """Tell whether the namespace has its address, which `wire` gives last."""
        return any(str(self.address) in _addresses(link) for link in _show("addr", self.netns))

    def is_plugged(self) -> bool:
        """Tell whether the near end is up and on the bridge."""
        return any(link["ifname"] == self.veth and "UP" in link["flags"] for link in self._on_bridge())

    def wire(self) -> None:
        """Make the namespace and its veth pair from nothing."""
        self.unwire()
        run(["ip", "netns", "add", self.netns])
        self._ip("link", "set", "lo", "up")
        # The same hardware address every time: neighbours need not learn a new one.
        mac = ":".join(f"{byte:02x}" for byte in b"\x02\x6b" + self.address.packed)
        peer = ["peer", "name", "eth0", "address", mac, "netns", self.netns]
        run(["ip", "link", "add", self.veth, "type", "veth", *peer])
        self.plug()
        self._ip("link", "set", "eth0", "up")
        self._ip("address", "add", f"{self.address}/24", "dev", "eth0")

    def unwire(self) -> None:
        """Remove both; the veth first, as a namespace would drop it only a moment later."""
        remove_link(self.veth)
        if (NAMESPACES / self.netns).exists():
            run(["ip", "netns", "delete", self.netns], check=False)

    def plug(self) -> None:
        """Connect the near end to the bridge."""
        run(["ip", "link", "set", self.veth, "master", self.bridge, "up"])

    def unplug(self) -> None:
        """Pull the plug: the address answers no more, not even with a refusal."""
        run(["ip", "link", "set", self.veth, "down"], check=False)

    def _ip(self, *arguments: str) -> None:
        run(["ip", "-n", self.netns, *arguments])

    def _on_bridge(self) -> list[dict[str, Any]]:
        return [link for link in _show("link") if link.get("master") == self.bridge]


def _show(what: str, netns: str | None = None) -> list[dict[str, Any]]:
    where = ["-n", netns] if netns else []
    result = run(["ip", "-json", *where, what, "show"], check=not netns)
    return list(json.loads(result.stdout or "[]"))


def _addresses(link: dict[str, Any]) -> list[str]:
    return [a["local"] for a in link.get("addr_info", ()) if a.get("family") == "inet"]
