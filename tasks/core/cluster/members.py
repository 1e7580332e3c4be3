"""The nodes and apiservers of a cluster, out of what kubectl prints. Pure; what is none is left out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ..config.address import Endpoint, parse_host

_ROLE = "node-role.kubernetes.io/"
_IPS = ("InternalIP", "ExternalIP")


@dataclass(frozen=True, slots=True)
class ClusterNode:
    """A node as the cluster knows it; `addresses` are IP addresses, its internal ones first.

    `names` are its own and those under which it is known besides, `roles` what its labels call it.
    """

    name: str
    addresses: tuple[str, ...] = ()
    names: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


def node(item: object) -> ClusterNode | None:
    """A Node of the core API; None if it has no name."""
    metadata = mapping(mapping(item).get("metadata"))
    if not (name := _host(metadata.get("name"))):
        return None
    told = [*map(mapping, sequence(mapping(mapping(item).get("status")).get("addresses")))]
    of_kind = {kind: [_host(at.get("address")) for at in told if at.get("type") == kind] for kind in _IPS}
    names = [_host(at.get("address")) for at in told if at.get("type") not in _IPS]
    labels = map(str, mapping(metadata.get("labels")))
    return ClusterNode(
        name=name,
        addresses=_each_once(address for kind in _IPS for address in of_kind[kind]),
        names=_each_once([name, *names]),
        roles=_each_once(label.removeprefix(_ROLE) for label in labels if label.startswith(_ROLE)),
    )


def endpoints(item: object) -> Iterator[Endpoint]:
    """Those of an EndpointSlice that are ready."""
    ports = [port.get("port") for port in map(mapping, sequence(mapping(item).get("ports")))]
    for entry in map(mapping, sequence(mapping(item).get("endpoints"))):
        if mapping(entry.get("conditions")).get("ready") is False:
            continue
        for host in filter(None, map(_host, sequence(entry.get("addresses")))):
            yield from (Endpoint(host, port) for port in ports if isinstance(port, int) and 0 < port < 65536)


def mapping(value: object) -> dict[str, Any]:
    """`value` if it is an object of JSON, else an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> list[Any]:
    """`value` if it is a list, else an empty one."""
    return value if isinstance(value, list) else []


def _each_once(found: Iterator[str] | list[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, found)))


def _host(value: object) -> str:
    """A name or an address in its usual form; "" for what is neither."""
    try:
        return parse_host(value).lower() if isinstance(value, str) else ""
    except ValueError:
        return ""
