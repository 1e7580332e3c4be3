"""Listen addresses as the kernel writes them, and which of them it does not give out at once. Pure."""

from __future__ import annotations

from ipaddress import ip_address
from sys import byteorder

from ..config.address import Endpoint

_ANY = ("0.0.0.0", "::")  # noqa: S104 - a socket on :: takes the port for IPv4 too


def excludes(there: str, wanted: str) -> bool:
    """Whether a listener on one address keeps another from listening on the same port.

    One on :: has IPv4 too, as a rule; nginx's own listener on :: has not (ipv6only).
    """
    same_family = (":" in there) == (":" in wanted)
    return there in (wanted, "::") or (same_family and (there in _ANY or wanted in _ANY))


def overlap(new: Endpoint, old: Endpoint) -> bool:
    """Whether nginx cannot go over from the listener `old` to `new` in a reload.

    A reload opens new sockets before it closes old ones, and of a port the kernel gives either the wildcard
    or single addresses. nginx's own [::] leaves IPv4 alone (ipv6only).
    """
    same = new.port == old.port and (":" in new.host) == (":" in old.host)
    return same and bool({new.host, old.host} & {*_ANY})


def from_kernel(text: str) -> Endpoint:
    """The address of a line of /proc/net/tcp or tcp6: hexadecimal, in words of the host's order."""
    address, _, port = text.partition(":")
    words = [bytes.fromhex(address[i : i + 8]) for i in range(0, len(address), 8)]
    packed = b"".join(word[::-1] if byteorder == "little" else word for word in words)
    host = ip_address(packed)
    return Endpoint(str(getattr(host, "ipv4_mapped", None) or host), int(port, 16))


def as_kernel(endpoint: Endpoint) -> str:
    """The opposite: a listen address as /proc/net/tcp writes it."""
    packed = ip_address(endpoint.host).packed
    words = [packed[i : i + 4] for i in range(0, len(packed), 4)]
    swapped = b"".join(word[::-1] if byteorder == "little" else word for word in words)
    return f"{swapped.hex().upper()}:{endpoint.port:04X}"
