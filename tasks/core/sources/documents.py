"""An Ansible inventory in YAML, and what `ansible-inventory --list` writes, which is JSON."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from .inventory import Groups, Inventory, Value, hosts_of

PARTS = ("hosts", "children", "vars")
"""What a group may have."""
_LIBRARY = "PyYAML is not installed: pip install pyyaml, or kube-nginx with its extra, kube-nginx[import]"


def from_yaml(text: str) -> Inventory:
    """The inventory of a YAML file. Raises UsageError: it is not YAML, or nothing here can read it."""
    groups = Groups()
    for name, group in _mapping(_yaml(text), "the file").items():
        _read_group(groups, str(name), group)
    return groups.inventory()


def from_list(text: str) -> Inventory:
    """The inventory that was listed. Raises UsageError: it is no such list."""
    try:
        data = _mapping(json.loads(text), "what is listed")
    except (ValueError, RecursionError) as error:
        raise UsageError(f"not JSON: {error}") from None
    groups = Groups()
    hosts = _mapping(_mapping(data.get("_meta"), "_meta").get("hostvars"), "_meta.hostvars")
    for name, group in data.items():
        if name != "_meta":
            _read_listed(groups, name, group)
    for host, variables in hosts.items():
        groups.add("all", str(host), _variables(variables, str(host)))
    return groups.inventory()


def _read_listed(groups: Groups, name: str, given: object) -> None:
    group = groups[name]
    parts = {"hosts": given} if isinstance(given, list) else _mapping(given, "a group")
    group.variables.update(_variables(parts.get("vars"), "vars"))
    for host in _names(parts.get("hosts")):
        groups.add(name, host, {})
    group.children.update(dict.fromkeys(_names(parts.get("children"))))


def _names(given: object) -> list[str]:
    if not isinstance(given, list | None):
        raise UsageError(f"hosts and children of a group are lists, not {str(given)[:40]!r}")
    return [*map(str, given or ())]


def _read_group(groups: Groups, name: str, given: object) -> None:
    group = groups[name]
    parts = _mapping(given, f"group {name}")
    if unknown := [str(part) for part in parts if part not in PARTS]:
        raise UsageError(f"group {name} has {unknown[0]!r}: hosts, children and vars are what a group has")
    group.variables.update(_variables(parts.get("vars"), f"vars of group {name}"))
    hosts = parts.get("hosts")
    for pattern, variables in _mapping({hosts: None} if isinstance(hosts, str) else hosts, "hosts").items():
        own = _variables(variables, f"host {pattern}")
        try:
            found, port = hosts_of(str(pattern))
            for host in found:
                groups.add(name, host, port | own)
        except ValueError as error:
            raise UsageError(f"group {name}: {error}") from None
    for child, inside in _mapping(parts.get("children"), f"children of group {name}").items():
        group.children[str(child)] = None
        _read_group(groups, str(child), inside)


def _mapping(given: object, what: str) -> Mapping[Any, object]:
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise UsageError(f"{what}: names with a colon are wanted here (NAME:), not {str(given)[:40]!r}")
    return given


def _variables(given: object, what: str) -> dict[str, Value]:
    return {str(key): _plain(value) for key, value in _mapping(given, what).items()}


def _plain(value: object) -> Value:
    if isinstance(value, Mapping):
        value = value.get("__ansible_unsafe")  # how what is !unsafe is listed
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, str | int | float) else None


def _yaml(text: str) -> object:
    """What a YAML text has; a value with a tag, such as !vault, is None."""
    try:
        yaml = importlib.import_module("yaml")
    except ImportError:
        raise UsageError(_LIBRARY) from None

    class Loader(yaml.SafeLoader):  # type: ignore[name-defined, misc]
        """As the safe one, and for the tags that are Ansible's."""

    def of_a_tag(loader: Any, tag: str, node: Any) -> Value:
        return loader.construct_scalar(node) if tag == "unsafe" and node.id == "scalar" else None

    Loader.add_multi_constructor("!", of_a_tag)
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise UsageError(f"not YAML: {' '.join(str(error).split())}") from None
    except (RecursionError, ValueError) as error:
        raise UsageError(f"not YAML that can be read: {error}") from None
