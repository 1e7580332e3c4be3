"""The tables and lists of hosts.toml, each read with the checks of its keys."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import address, conflicts, rules
from .address import NodeSpec, parse_node, parse_user
from .model import KEYS, PORT, PROFILES, SECTIONS, Build, Settings
from .validation import Problems, choice, keys_of, kind, parsed, shown

_NEEDED = {"nodes": '"root@10.0.0.11", "worker-2"', "apiservers": '"10.0.0.1:6443", "api-2"'}
_NODE_KEYS = ("host", "name", "user", "port", "groups")


def read(data: Mapping[str, object], path: Path, problems: Problems) -> Settings:
    """The settings in `data`; defaults stand in for what is wrong, which is added to `problems`."""
    profile = problems.value("profile", choice(*PROFILES), data.get("profile"), "recommended")
    bases = {name: cls() for name, cls in SECTIONS.items()} | PROFILES[profile]
    tables = {
        name: problems.table(f"{name}.", data.get(name, {}), keys_of(cls), KEYS)
        for name, cls in SECTIONS.items()
    }
    sections = {name: _section(name, tables[name], bases[name], path.parent, problems) for name in SECTIONS}
    settings = Settings(
        path=path,
        profile=profile,
        nodes=_nodes(data.get("nodes"), sections["ssh"].port or 22, problems),
        apiservers=problems.values("apiservers", parsed(address.apiserver), data.get("apiservers"), ()),
        given=frozenset(f"{name}.{key}" for name, table in tables.items() for key in table),
        **sections,
    )
    for key, example in _NEEDED.items():
        if key not in data:
            problems.add(key, f"missing; name them: {key} = [{example}]")
    problems.table("", data, [key for key in KEYS if "." not in key], KEYS)
    conflicts.collect(settings, problems)
    return settings


def _section(name: str, table: Mapping[str, object], base: Any, folder: Path, problems: Problems) -> Any:
    """A table's values; what it leaves out is as in `base`, and files are in `folder`."""
    values: dict[str, Any] = {}
    for key, (check, _) in keys_of(type(base)).items():
        default = getattr(base, key)
        read = problems.values if isinstance(default, tuple) else problems.value
        value = read(f"{name}.{key}", check, table.get(key), default)
        values[key] = folder / value if isinstance(value, Path) else value
    if isinstance(base, Build):
        values["sha256"] = values["sha256"] if table.get("sha256") else rules.PINS.get(values["version"], "")
        values["work_dir"] = values["work_dir"] or base.work_dir
    return replace(base, **values)


def _nodes(given: object, default_port: int, problems: Problems) -> tuple[NodeSpec, ...]:
    """Strings and tables; `default_port` is that of those without one."""
    read = {place: _node(place, value, problems) for place, value in problems.items("nodes", given).items()}
    nodes = {place: node for place, node in read.items() if node is not None}
    for place, problem in conflicts.between_nodes(nodes, default_port).items():
        problems.add(place, problem)
    return tuple(nodes.values())


def _node(place: str, given: object, problems: Problems) -> NodeSpec | None:
    if isinstance(given, str):
        return problems.value(place, parsed(parse_node), given, None)
    if not isinstance(given, Mapping):
        problems.add(place, f'must be a string or a table {{ host = "..." }}, not {kind(given)}')
        return None
    table = problems.table(f"{place}.", given, _NODE_KEYS)
    node = problems.value(f"{place}.host", parsed(parse_node), table.get("host"), None)
    name = problems.value(f"{place}.name", rules.name, table.get("name"), "")
    user = problems.value(f"{place}.user", parse_user, table.get("user"), None)
    port = problems.value(f"{place}.port", PORT, table.get("port"), None)
    groups = problems.values(f"{place}.groups", rules.name, table.get("groups"), ())
    if "host" not in table:
        problems.add(f"{place}.host", 'missing; say which: host = "10.0.0.13"')
    if node is None:
        return None
    for key, inside, beside in (("user", node.user, user), ("port", node.port, port)):
        if inside is not None and beside is not None:
            problems.add(
                f"{place}.{key}", f"{shown(beside)} beside the {key} in host, {shown(inside)}; keep one"
            )
    return NodeSpec(name or node.name, node.host, node.user or user, node.port or port, groups)
