"""Where a proxy can listen and what it can connect to, each address by itself."""

from ipaddress import ip_address, ip_network

from .address import APISERVER_PORT, REACHED_AT, Endpoint, parse_endpoint

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
