"""The lists of hosts.toml: which nodes and which apiservers there are."""

from collections.abc import Mapping

from . import rules
from .address import APISERVER_PORT, Endpoint, NodeSpec, parse_endpoint, parse_node, parse_user
from .check import Table, integer, kind, parsed, shown

MOST_APISERVERS = 50

PORT = integer(1, 65535)


def apiservers(top: Table) -> tuple[Endpoint, ...]:
    """What `apiservers` names; port 6443 where a name has none."""

    def apiserver(text: str) -> Endpoint:
        return parse_endpoint(text, APISERVER_PORT)

    found = top.take_list("apiservers", parsed(apiserver), ())
    at_most(top, "apiservers", len(found), MOST_APISERVERS, "the memory zone of 64k is full")
    if "apiservers" not in top:
        top.problem("apiservers", 'missing; name them: apiservers = ["10.0.0.1:6443", "api-2"]')
    return found


def nodes(top: Table, problems: list[str], default_port: int) -> tuple[NodeSpec, ...]:
    """What `nodes` names: strings and tables; `default_port` is that of those without one."""
    found: dict[str, NodeSpec] = {}
    for place, value in top.items("nodes"):
        node = _node(top, place, value, problems)
        if node is None:
            continue
        if twin := _twin(node, found, default_port):
            top.problem(place, twin)
        found[place] = node
    if "nodes" not in top:
        top.problem("nodes", 'missing; name them: nodes = ["root@10.0.0.11", "worker-2"]')
    return tuple(found.values())


def _twin(node: NodeSpec, others: Mapping[str, NodeSpec], default_port: int) -> str:
    for place, other in others.items():
        same_host = node.host.lower() == other.host.lower()
        if same_host and (node.port or default_port) == (other.port or default_port):
            return f"is the host and port of {place} again ({shown(node.host)}); remove one"
        if node.name.lower() == other.name.lower():
            return (
                f"has the name of {place}, {shown(node.name)}; give it another: "
                f'{{ host = "{node.host}", name = "..." }}'
            )
    return ""


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
