"""Addresses as people write them: SSH hosts of nodes, and endpoints in nginx's notation."""

import ipaddress
import re
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

APISERVER_PORT = 6443
"""Port of an apiserver that is written without one (kube-apiserver's --secure-port default)."""

REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
"""Where a listener on all addresses is reached from its own host."""

_SELVES = ("localhost", *REACHED_AT, *REACHED_AT.values())
_LABEL = r"[A-Za-z0-9_][A-Za-z0-9_-]{0,62}"
_NAME = re.compile(rf"{_LABEL}(\.{_LABEL})*")
_NUMBERS = re.compile(r"(0[xX][0-9A-Fa-f]+|[0-9]+)(\.(0[xX][0-9A-Fa-f]+|[0-9]*))*")
_USER = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,127}")
_ZONE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,31}")
_BRACKETS = re.compile(r"\[([^\[\]]*)\](?::([^:]*))?")
_LIKELY_PORT = re.compile(r"22|443|[1-9][0-9]{3}")

_NEVER = (
    *(
        (ip_network(network), f"is {why}: no TCP connection can be made to it")
        for network, why in (
            ("224.0.0.0/4", "a multicast address"),
            ("ff00::/8", "a multicast address"),
            ("255.255.255.255/32", "the broadcast address"),
            ("127.255.255.255/32", "the broadcast address of loopback"),
        )
    ),
    (ip_network("fe80::/10"), "is a link-local address: it needs a zone (%eth0), and nginx knows none"),
)
_NOBODY = ip_network("0.0.0.0/8")


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
    """Read `root@10.0.0.12:2222`, `fd00::5`, `[fd00::5]:22`, `worker-1`; the host is the name.

    Raises ValueError with a message for people.
    """
    user, at, rest = text.rpartition("@")
    host, port = _split(rest)
    return NodeSpec(
        name=parse_host(host),
        host=parse_host(host),
        user=parse_user(user) if at else None,
        port=None if port is None else parse_port(port),
    )


def parse_endpoint(text: str, default_port: int | None = None) -> Endpoint:
    """Read `10.0.0.1:6443`, `[fd00::2]:6443`, `api-3`; host names become lower case.

    Without `default_port` a port must be given. Raises ValueError with a message for people.
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


def parse_user(text: str) -> str:
    """A login name; raises ValueError."""
    if not _USER.fullmatch(text):
        raise ValueError("a user is letters, digits and . _ @ + - and does not begin with -")
    return text


def parse_port(text: str) -> int:
    """A port in decimal, 1 to 65535; raises ValueError."""
    if not re.fullmatch(r"[0-9]{1,5}", text) or not 1 <= int(text) <= 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return int(text)


def parse_host(text: str) -> str:
    """A host name, ssh_config alias, IPv4 or bare IPv6 address; addresses are normalised.

    Raises ValueError.
    """
    if ":" in text:
        return _ipv6(text)
    if _NUMBERS.fullmatch(text):
        return _ipv4(text)
    if not _NAME.fullmatch(text) or len(text) > 253:
        raise ValueError(
            "a host is a name of letters, digits and . _ - (none first but a letter, digit or _), "
            "an IPv4 or an IPv6 address"
        )
    return text


def loops(server: Endpoint, listener: Endpoint) -> bool:
    """Whether a proxy that listens on `listener` and connects to `server` would connect to itself."""
    if server.port != listener.port:
        return False
    selves = server.host in _SELVES and listener.host in _SELVES
    caught = listener.host in REACHED_AT and server.host.startswith("127.")
    return server.host == listener.host or selves or caught


def _split(text: str) -> tuple[str, str | None]:
    if text.startswith("["):
        return _split_brackets(text)
    if text.count(":") > 1:
        _refuse_ambiguous(text)
        return text, None
    host, colon, port = text.partition(":")
    return host, port if colon else None


def _split_brackets(text: str) -> tuple[str, str | None]:
    match = _BRACKETS.fullmatch(text)
    if match is None or ":" not in match[1]:
        raise ValueError("brackets are for an IPv6 address: [fd00::1] or [fd00::1]:PORT")
    return match[1], match[2]


def _refuse_ambiguous(text: str) -> None:
    head, _, tail = text.rpartition(":")
    if tail == str(APISERVER_PORT) or (_LIKELY_PORT.fullmatch(tail) and _is_ipv6(head)):
        raise ValueError(
            f"could mean port {tail} or an address that ends so; write brackets: "
            f"[ADDRESS]:{tail} for the port, [{text}] for the address"
        )


def _is_ipv6(text: str) -> bool:
    try:
        ipaddress.IPv6Address(text)
    except ValueError:
        return False
    return True


def _ipv4(text: str) -> str:
    try:
        return str(ipaddress.IPv4Address(text))
    except ValueError:
        raise ValueError("not an IPv4 address: four numbers from 0 to 255, no leading 0") from None


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise ValueError("not an IPv6 address; with a port, write [ADDRESS]:PORT") from None
    if address.scope_id is not None and not _ZONE.fullmatch(address.scope_id):
        raise ValueError("the zone after % is the name of a network interface")
    # Its text differs between Python versions; nginx and ssh reach the same host by IPv4.
    return str(address.ipv4_mapped or address)


def apiserver(text: str) -> Endpoint:
    """Where an apiserver listens; port 6443 if left out. Raises ValueError with a message for people."""
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
    """Where the proxy listens: an IP address and a port. Raises ValueError with a message for people."""
    endpoint = parse_endpoint(text)
    try:
        ip_address(endpoint.host)
    except ValueError:
        raise ValueError("must be an IP address and a port, such as 127.0.0.1:8443") from None
    if endpoint.host not in REACHED_AT and (why := _never(endpoint.host)):
        raise ValueError(f"{why}; write an address that each node has, such as 127.0.0.1:{endpoint.port}")
    return endpoint


def _never(host: str) -> str:
    """Why nobody can ever be reached at `host`; "" for a name, or if somebody may be."""
    try:
        address = ip_address(host)
    except ValueError:
        return ""
    if address in _NOBODY:
        return "is the address of no host"
    return next((why for network, why in _NEVER if address in network), "")
