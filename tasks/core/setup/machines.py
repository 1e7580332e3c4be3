"""Machines of whatever source -> nodes and apiservers of hosts.toml, by the rules of settings."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..config import rules
from ..config.address import Endpoint, NodeSpec
from ..config.model import Settings
from ..config.settings import SettingsError
from ..errors import UsageError
from .initial import checked

_PLACE = re.compile(r"\b(nodes|apiservers)\[(\d+)\](\.\w+)?")


@dataclass(frozen=True, slots=True)
class Machine:
    """A machine as its source names it: how SSH reaches it, and which groups it is in; "": not said."""

    name: str
    host: str
    user: str = ""
    port: str = ""
    groups: tuple[str, ...] = ()


def nodes_of(source: str, machines: Sequence[Machine]) -> tuple[NodeSpec, ...]:
    """The nodes, each with those of its groups that --limit can tell from names, and from all nodes.

    Raises UsageError, which names `source` and the machine.
    """
    counts = Counter(group for machine in machines for group in set(machine.groups))
    names = {word.lower() for machine in machines for word in (machine.name, machine.host)}
    useful = {
        group
        for group, count in counts.items()
        if count < max(2, len(machines)) and group.lower() not in names and is_name(group)
    }
    given = [_table(machine, useful) for machine in machines]
    return _checked(source, [machine.name for machine in machines], "nodes", given).nodes


def apiservers_of(source: str, names: Sequence[str], addresses: Sequence[str]) -> tuple[Endpoint, ...]:
    """The apiservers at these addresses, of machines of these names. Raises UsageError, likewise."""
    return _checked(source, names, "apiservers", addresses).apiservers


def labels_of(names: Iterable[str], servers: Iterable[Endpoint]) -> tuple[str, ...]:
    """The names of the apiservers' machines, where they say more than the address."""
    return tuple("" if name == server.host else name for name, server in zip(names, servers, strict=True))


def endpoint(address: str, port: object) -> str:
    """Both in nginx's notation."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def alone(servers: Sequence[Endpoint]) -> list[str]:
    """What to say of a single apiserver."""
    if len(servers) > 1:
        return []
    return [
        f"{servers[0]} is the only kube-apiserver that was found, and a proxy is of use with several; "
        "if that is a load balancer, name the apiservers behind it: --apiservers"
    ]


def is_name(text: str) -> bool:
    """Whether it can be the name of a node, or of a group."""
    try:
        rules.name(text)
    except ValueError:
        return False
    return True


def _table(machine: Machine, useful: set[str]) -> dict[str, object]:
    table: dict[str, object] = {"host": machine.host}
    if machine.name != machine.host and is_name(machine.name):
        table["name"] = machine.name
    if machine.user:
        table["user"] = machine.user
    if machine.port:
        table["port"] = int(machine.port) if re.fullmatch("[0-9]{1,5}", machine.port) else machine.port
    if groups := sorted(useful.intersection(machine.groups)):
        table["groups"] = groups
    return table


def _checked(source: str, names: Sequence[str], key: str, given: Sequence[object]) -> Settings:
    try:
        return checked(source, **{key: [*given]})
    except SettingsError as error:
        words = _PLACE.sub(lambda at: f"{names[int(at[2])]}{at[3] or ''}", str(error))
        raise UsageError(words) from None
