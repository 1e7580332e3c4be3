"""The lists of hosts.toml: which nodes and which apiservers there are."""

from collections.abc import Iterator, Mapping

from . import address, rules
from .address import Endpoint, NodeSpec, parse_node, parse_user
from .check import Table, kind, parsed, shown
from .model import PORT

MOST_APISERVERS = 50


def apiservers(top: Table) -> tuple[Endpoint, ...]:
    """What `apiservers` names; port 6443 where a name has none."""
    found = top.take_list("apiservers", parsed(address.apiserver), ())
    at_most(top, "apiservers", len(found), MOST_APISERVERS, "the memory zone of 64k is full")
    if "apiservers" not in top:
        top.problem("apiservers", 'missing; name them: apiservers = ["10.0.0.1:6443", "api-2"]')
    return found


def nodes(top: Table, problems: list[str], default_port: int) -> tuple[NodeSpec, ...]:
    """What `nodes` names: strings and tables; `default_port` is that of those without one."""
    found: dict[str, NodeSpec] = {}
    for place, value in top.items("nodes"):
        node = _node(top, place, value, problems)
        if node is not None:
            found[place] = node
    for place, problem in _twins(found, default_port).items():
        top.problem(place, problem)
    if "nodes" not in top:
        top.problem("nodes", 'missing; name them: nodes = ["root@10.0.0.11", "worker-2"]')
    return tuple(found.values())


def _twins(found: Mapping[str, NodeSpec], default_port: int) -> dict[str, str]:
    """What two nodes must not share, as --limit and -H would not know which is meant."""
    places: dict[tuple[str, int], str] = {}
    names: dict[str, str] = {}
    problems = {}
    for place, node in found.items():
        first = places.setdefault((node.host.lower(), node.port or default_port), place)
        named = names.setdefault(node.name.lower(), place)
        if first != place:
            problems[place] = f"is the host and port of {first} again ({shown(node.host)}); remove one"
        elif named != place:
            problems[place] = f"has the name of {named}, {_another(node)}"
    return problems | dict(_borrowed({place: found[place] for place in found if place not in problems}))


def _borrowed(found: Mapping[str, NodeSpec]) -> Iterator[tuple[str, str]]:
    """Names that are another node's host, or a group."""
    hosts: dict[str, list[str]] = {}
    for place, node in found.items():
        hosts.setdefault(node.host.lower(), []).append(place)
    groups = {group.lower(): place for place, node in found.items() for group in node.groups}
    for place, node in found.items():
        name = node.name.lower()
        others = [other for other in hosts.get(name, ()) if other != place]
        if others:
            yield place, f"has the host of {others[0]} for its name, {_another(node)}"
        elif name in groups:
            yield place, f"has the name of a group of {groups[name]}, {_another(node)}"


def _another(node: NodeSpec) -> str:
    return f'{shown(node.name)}; give it another: {{ host = "{node.host}", name = "..." }}'


def _node(top: Table, place: str, value: object, problems: list[str]) -> NodeSpec | None:
    if isinstance(value, Mapping):
        return _node_table(Table(value, f"{place}.", problems))
    if not isinstance(value, str):
        top.problem(place, f'must be a string or a table {{ host = "..." }}, not {kind(value)}')
        return None
    return top.attempt(place, parsed(parse_node), value, None)


def _node_table(table: Table) -> NodeSpec | None:
    node = table.take("host", parsed(parse_node), None)
    name = table.take("name", parsed(rules.name), "")
    user = table.take("user", parsed(parse_user), None)
    port = table.take("port", PORT, None)
    groups = table.take_list("groups", parsed(rules.name), ())
    table.finish()
    if "host" not in table:
        table.problem("host", 'missing; say which: host = "10.0.0.13"')
    if node is None:
        return None
    for key, inside, beside in (("user", node.user, user), ("port", node.port, port)):
        if inside is not None and beside is not None:
            table.problem(key, f"{shown(beside)} beside the {key} in host, {shown(inside)}; keep one")
    return NodeSpec(name or node.name, node.host, node.user or user, node.port or port, groups)


def at_most(table: Table, key: str, count: int, most: int, why: str) -> None:
    """Notes a list that is longer than `most`."""
    if count > most:
        table.problem(key, f"has {count} entries; at most {most} are possible: {why}")
