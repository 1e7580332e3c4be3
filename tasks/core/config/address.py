"""Addresses as people write them: SSH hosts of nodes, and endpoints in nginx's notation.

Every function that reads one raises ValueError with a message for people.
"""

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from .validation import matching

APISERVER_PORT = 6443
"""Port of an apiserver that is written without one (kube-apiserver's --secure-port default)."""

REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
"""Where a listener on all addresses is reached from its own host."""

_SELVES = ("localhost", *REACHED_AT, *REACHED_AT.values())
_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_NUMBERS = re.compile(r"(0[xX][0-9A-Fa-f]+|[0-9]+)(\.(0[xX][0-9A-Fa-f]+|[0-9]*))*")
_ZONE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}")
_BRACKETS = re.compile(r"\[([^\[\]]*:[^\[\]]*)\](?::([^:]*))?")
_LIKELY_PORT = re.compile(r"22|443|[1-9][0-9]{3}")

_NO_TCP = ": no TCP connection can be made to it"
_NEVER = {
    ip_network("0.0.0.0/8"): "is the address of no host",
    ip_network("224.0.0.0/4"): f"is a multicast address{_NO_TCP}",
    ip_network("ff00::/8"): f"is a multicast address{_NO_TCP}",
    ip_network("255.255.255.255/32"): f"is the broadcast address{_NO_TCP}",
    ip_network("127.255.255.255/32"): f"is the broadcast address of loopback{_NO_TCP}",
    ip_network("fe80::/10"): "is a link-local address: it needs a zone (%eth0), and nginx knows none",
}

parse_user = matching(
    r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,127}",
    "a user is letters, digits and . _ @ + - and does not begin with -",
)
_name = matching(
    rf"(?=.{{1,253}}\Z){_LABEL}(\.{_LABEL})*",
    "a host is a name of letters, digits and . _ - (none first but a letter, digit or _), "
    "an IPv4 or an IPv6 address",
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A TCP address. `host` has no brackets and is normalised by `parse_endpoint`."""

    host: str
    port: int

    def __str__(self) -> str:
        """nginx's notation: `10.0.0.1:6443`, `[fd00::2]:6443`."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class NodeSpec:
    """One SSH host. `user` and `port` are None where the text names none."""

    name: str
    host: str
    user: str | None = None
    port: int | None = None
    groups: tuple[str, ...] = ()


def parse_node(text: str) -> NodeSpec:
    """Read `root@10.0.0.12:2222`, `fd00::5`, `[fd00::5]:22`, `worker-1`; the host is the name."""
    user, at, rest = text.rpartition("@")
    host, port = _split(rest)
    name = parse_host(host)
    return NodeSpec(name, name, parse_user(user) if at else None, None if port is None else parse_port(port))


def parse_endpoint(text: str, default_port: int | None = None) -> Endpoint:
    """Read `10.0.0.1:6443`, `[fd00::2]:6443`, `api-3`; host names become lower case.

    Without `default_port` a port must be given.
    """
    if "://" in text:
        raise ValueError("write the address alone, without https:// and path")
    host, port = _split(text)
    number = default_port if port is None else parse_port(port)
    if number is None:
        raise ValueError("has no port; write ADDRESS:PORT, such as 127.0.0.1:8443")
    name = parse_host(host)
    if "%" in name:
        raise ValueError("nginx knows no zone (%...) in an address; write another of its addresses")
    return Endpoint(name.lower(), number)


def parse_port(text: str) -> int:
    """A port in decimal, 1 to 65535."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return int(text)


def parse_host(text: str) -> str:
    """A host name, ssh_config alias, IPv4 or bare IPv6 address; addresses are normalised."""
    address = _ip(text)
    if isinstance(address, IPv6Address):
        if address.scope_id is not None and not _ZONE.fullmatch(address.scope_id):
            raise ValueError("the zone after % is the name of a network interface")
        # Its text differs between Python versions; nginx and ssh reach the same host by IPv4.
        return str(address.ipv4_mapped or address)
    if ":" in text:
        raise ValueError("not an IPv6 address; with a port, write [ADDRESS]:PORT")
    if address is None and _NUMBERS.fullmatch(text):
        raise ValueError("not an IPv4 address: four numbers from 0 to 255, no leading 0")
    return str(address or _name(text))


def apiserver(text: str) -> Endpoint:
    """Where an apiserver listens; port 6443 if left out."""
    server = parse_endpoint(text, APISERVER_PORT)
    if server.host in REACHED_AT:
        raise ValueError(
            "is no address of an apiserver: it stands for all addresses of the node itself; "
            "write the apiserver's own, such as 10.0.0.1:6443"
        )
    if why := _never(server.host):
        raise ValueError(f"{why}; write another address of the apiserver, such as 10.0.0.1:6443")
    return server


def listener(text: str) -> Endpoint:
    """Where the proxy listens: an IP address and a port."""
    endpoint = parse_endpoint(text)
    if _ip(endpoint.host) is None:
        raise ValueError("must be an IP address and a port, such as 127.0.0.1:8443")
    if endpoint.host not in REACHED_AT and (why := _never(endpoint.host)):
        raise ValueError(f"{why}; write an address that each node has, such as 127.0.0.1:{endpoint.port}")
    return endpoint


def loops(server: Endpoint, listener: Endpoint) -> bool:
    """Whether a proxy that listens on `listener` and connects to `server` would connect to itself."""
    if server.port != listener.port:
        return False
    selves = server.host in _SELVES and listener.host in _SELVES
    caught = listener.host in REACHED_AT and server.host.startswith("127.")
    return server.host == listener.host or selves or caught


def _split(text: str) -> tuple[str, str | None]:
    """The host, without brackets, and the port if there is one."""
    if text.startswith("["):
        if match := _BRACKETS.fullmatch(text):
            return match[1], match[2]
        raise ValueError("brackets are for an IPv6 address: [fd00::1] or [fd00::1]:PORT")
    head, colon, tail = text.rpartition(":")
    if ":" not in head:
        return (head, tail) if colon else (text, None)
    if tail == str(APISERVER_PORT) or (_LIKELY_PORT.fullmatch(tail) and _ip(head)):
        raise ValueError(
            f"could mean port {tail} or an address that ends so; write brackets: "
            f"[ADDRESS]:{tail} for the port, [{text}] for the address"
        )
    return text, None


def is_address(text: str) -> bool:
    """Whether it is an IP address, and no name."""
    return _ip(text) is not None


def _ip(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _never(host: str) -> str:
    """Why nobody can ever be reached at `host`; "" for a name, or if somebody may be."""
    address = _ip(host)
    return next((why for network, why in _NEVER.items() if address and address in network), "")
