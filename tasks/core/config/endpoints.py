"""Where a proxy can listen and what it can connect to, each by itself and all of them together."""

from collections.abc import Iterator, Sequence
from ipaddress import ip_address, ip_network
from itertools import permutations, product

from .address import APISERVER_PORT, REACHED_AT, Endpoint, NodeSpec, loops, parse_endpoint
from .check import Table
from .model import Settings

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


def check(settings: Settings, top: Table, proxy: Table) -> None:
    """Notes what cannot be together: listeners, apiservers and nodes."""
    listen = settings.proxy.listen
    if not proxy.sound("listen"):
        return
    for server, own in product(settings.apiservers, listen):
        if loops(server, own):
            top.problem(
                "apiservers",
                f"{server} is the proxy's own listener {own}, so that it would connect to "
                "itself; name the apiserver's address, or change proxy.listen",
            )
    for problem in (*_covered(listen), *_taken(settings), *_privileged(settings, proxy)):
        proxy.problem("listen", problem)


def _covered(listen: Sequence[Endpoint]) -> Iterator[str]:
    for wide, other in permutations(listen, 2):
        same_family = (":" in wide.host) == (":" in other.host)
        if wide.host in REACHED_AT and same_family and wide.port == other.port:
            yield (
                f"{wide} is {other}, too: all addresses of a node with port {wide.port}, so that nginx "
                f'listens on {wide} alone; write one of them: "{wide}" or "{other}"'
            )


def _taken(settings: Settings) -> Iterator[str]:
    """Wildcard listeners on a port that an apiserver on one of the nodes has already."""
    for wide in settings.proxy.listen:
        if wide.host not in REACHED_AT:
            continue
        ports = {server.host: server for server in settings.apiservers if server.port == wide.port}
        own = next(((node, server) for node in settings.nodes if (server := _of(node, ports))), None)
        if own:
            yield (
                f"{wide} is all addresses of a node with port {wide.port}, and on {own[0].name} the "
                f"apiserver {own[1]} has that port; choose another one, such as 127.0.0.1:8443"
            )


def _of(node: NodeSpec, apiservers: dict[str, Endpoint]) -> Endpoint | None:
    return apiservers.get(node.host.lower()) or apiservers.get(node.name.lower())


def _privileged(settings: Settings, proxy: Table) -> Iterator[str]:
    user = settings.proxy.user
    for own in settings.proxy.listen if user and proxy.sound("user") else ():
        if own.port < 1024:
            yield (
                f"{own}: only root may listen below port 1024, and the proxy runs as "
                f'{user}; choose a port from 1024 on, or write user = ""'
            )
