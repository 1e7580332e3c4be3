"""What hosts.toml and a cluster do not have alike. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass

from ..config.address import Endpoint, is_address, parse_host
from ..results import output
from ..sources.kubectl import Cluster, Machine

_NAMED = 20  # nodes


@dataclass(frozen=True, slots=True)
class Known:
    """What hosts.toml names; `hosts` are all names and addresses of its nodes, None: not of all of them.

    `addresses` are those to which nodes resolve the names of apiservers.
    """

    apiservers: Sequence[Endpoint]
    hosts: Iterable[str] | None
    addresses: Mapping[str, Iterable[str]]


@dataclass(frozen=True, slots=True)
class Difference:
    """What hosts.toml and the cluster do not have alike."""

    error: str | None = output("why they were not compared; null: they were", None)
    missing_apiservers: tuple[Endpoint, ...] | None = output(
        "those of the cluster that hosts.toml lacks", None
    )
    unknown_apiservers: tuple[Endpoint, ...] | None = output(
        "those of hosts.toml that do not serve there", None
    )
    missing_nodes: tuple[str, ...] | None = output("nodes of the cluster that hosts.toml lacks", None)
    source: str = "EndpointSlices"  # of default/kubernetes, or its Endpoints


def difference(known: Known, cluster: Cluster) -> Difference:
    """Apiservers are compared by address and port; one whose name does not resolve is none of the unknown.

    Nor is any where the cluster names none, as with --endpoint-reconciler-type=none.
    """
    serving = _serving(cluster)
    there = {*serving}
    ours = {server: {*_resolved(server, known.addresses)} for server in known.apiservers}
    named = {endpoint for endpoints in ours.values() for endpoint in endpoints}
    nodes = None
    if known.hosts is not None:
        hosts = {host.lower() for host in known.hosts}
        short = {_short(host) for host in hosts}
        linux = (node for node in cluster.machines if node.system == "linux")
        nodes = tuple(printable(node.name) for node in linux if not _is_in(node, hosts, short))
    return Difference(
        missing_apiservers=tuple(server for server in serving if server not in named),
        unknown_apiservers=tuple(server for server, at in ours.items() if there and at and not at & there),
        missing_nodes=nodes,
        source=cluster.source,
    )


def sentences(found: Difference) -> Iterator[str]:
    """In words."""
    where = f"{found.source} of default/kubernetes"
    for server in found.missing_apiservers or ():
        yield f"{server} is an apiserver of the cluster ({where}), and hosts.toml does not name it"
    for server in found.unknown_apiservers or ():
        yield f"{server} is in hosts.toml, and no apiserver that serves is there ({where})"
    if nodes := found.missing_nodes:
        more = f" and {len(nodes) - _NAMED} more" if len(nodes) > _NAMED else ""
        which = f"{', '.join(nodes[:_NAMED])}{more}"
        yield f"{len(nodes)} of the cluster's nodes are not in hosts.toml: {which}"


def _serving(cluster: Cluster) -> tuple[Endpoint, ...]:
    """Where apiservers are; what is no address is left out."""
    found = (
        Endpoint(host, s.port) for s in cluster.servers if (host := _host(s.address)) and 0 < s.port < 65536
    )
    return tuple(dict.fromkeys(found))


def _is_in(node: Machine, hosts: Set[str], short: Set[str]) -> bool:
    """Whether it is one of `hosts`, by an address, or its name; one side may have its first label only."""
    name = node.name.lower()
    if hosts & {name, *map(_host, node.addresses)}:
        return True
    return _short(name) in hosts or ("." not in name and name in short)


def _host(text: str) -> str:
    """A name or an address in its usual form; "" for what is neither."""
    try:
        return parse_host(text).lower()
    except ValueError:
        return ""


def printable(text: str) -> str:
    """What a cluster says, and may not write to a terminal with."""
    return "".join(c if c.isprintable() else "?" for c in text)


def _short(host: str) -> str:
    return host if is_address(host) else host.partition(".")[0]


def _resolved(server: Endpoint, addresses: Mapping[str, Iterable[str]]) -> Iterator[Endpoint]:
    hosts = [server.host] if is_address(server.host) else addresses.get(server.host, ())
    yield from (Endpoint(host, server.port) for host in hosts)
