"""The apiservers as a node reaches them: names become what the node resolves them to. Pure.

nginx itself would resolve a name once, when it starts, and would not start while DNS is down.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from ..config.address import Endpoint, is_address, parse_endpoint

Addresses = Mapping[str, tuple[str, ...]]
"""Of each name, what it resolves to."""

_SERVER = re.compile(r"^[ \t]*server[ \t]+([^\s;{}]+)[^;{}]*;", re.M)
_NGINX_PORT = 80  # of a server that is written without one


def names(apiservers: Sequence[Endpoint]) -> tuple[str, ...]:
    """The hosts among `apiservers` that are no IP addresses, each once."""
    return tuple(dict.fromkeys(server.host for server in apiservers if not is_address(server.host)))


def resolved(apiservers: Sequence[Endpoint], addresses: Addresses) -> tuple[Endpoint, ...]:
    """`apiservers` with all addresses of each name in its place; a name that has none stays. Each once."""
    found = [
        Endpoint(host, server.port)
        for server in apiservers
        for host in addresses.get(server.host) or (server.host,)
    ]
    return tuple(dict.fromkeys(found))


def as_written(text: str, apiservers: Sequence[Endpoint], addresses: Addresses) -> str:
    """`text` with names as hosts.toml has them in place of the addresses to which they alone lead."""
    for server in apiservers:
        found = addresses.get(server.host, ())
        if len(found) == 1:
            text = re.sub(
                rf"(?<![\w.:]){re.escape(str(Endpoint(found[0], server.port)))}\b", str(server), text
            )
    return text


def servers_of(conf: str) -> tuple[list[Endpoint], list[str]]:
    """The servers in the text of a kube-nginx.conf: those with an address or a name, and all others."""
    words = _SERVER.findall(conf)
    found = [server for server in map(_endpoint, words) if server]
    return found, [word for word in words if not _endpoint(word)]


def _endpoint(word: str) -> Endpoint | None:
    """None for unix:/path, and for what nginx would refuse."""
    try:
        return parse_endpoint(word, _NGINX_PORT)
    except ValueError:
        return None
