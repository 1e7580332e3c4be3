"""An Ansible inventory in INI, as Ansible's own plugin reads it ("How to build your inventory")."""

from __future__ import annotations

import ast
import re
import shlex

from ..errors import UsageError
from .inventory import Groups, Inventory, Value, hosts_of

_HEAD = re.compile(r"\[([^:\]\s]+)(?::(\w+))?\]\s*(?:#.*)?")
_KINDS = (None, "children", "vars")
_LONGEST = 1 << 16
"""Characters of a line; shlex takes the square of a word's length."""
_NO_LITERAL = (ValueError, SyntaxError, MemoryError, RecursionError)


def read(text: str) -> Inventory:
    """The inventory. Raises UsageError: a line that it cannot be sure of."""
    groups = Groups()
    name, kind = "ungrouped", None
    for number, written in enumerate(text.splitlines(), 1):
        line = written.strip()
        if not line or line[0] in "#;":
            continue
        try:
            if len(line) > _LONGEST:
                raise ValueError(f"has {len(line):,} characters; is this an inventory?")
            if head := _HEAD.fullmatch(line):
                name, kind = head[1], head[2]
                groups[name]  # it is there, though nothing be in it
                if kind not in _KINDS:
                    raise ValueError(f"[{name}:{kind}] is neither of hosts, nor children, nor vars")
            elif kind == "children":
                groups[name].children[_alone(line)] = None
            elif kind == "vars":
                key, value = _assigned(line)
                groups[name].variables[key] = value
            else:
                _read_host(groups, name, line)
        except ValueError as error:
            raise UsageError(f"line {number}: {error}") from None
    return groups.inventory()


def _read_host(groups: Groups, group: str, line: str) -> None:
    pattern, *assigned = shlex.split(line, comments=True)
    hosts, port = hosts_of(pattern)
    if "=" in pattern or any(host.startswith("[") for host in hosts):
        raise ValueError(f"{line[:60]!r}: neither a [group] nor a host with NAME=VALUE after it")
    variables = port | dict(map(_assigned, assigned))
    for host in hosts:
        groups.add(group, host, variables)


def _alone(line: str) -> str:
    name, *more = shlex.split(line, comments=True)
    if more:
        raise ValueError(f"{line[:60]!r}: one group a line is wanted here")
    return name


def _assigned(text: str) -> tuple[str, Value]:
    """NAME=VALUE; a value is a literal of Python's where it can be one, such as "a" in quotes."""
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not key:
        raise ValueError(f"{text[:60]!r}: NAME=VALUE is wanted here")
    try:
        literal = ast.literal_eval(value)
    except _NO_LITERAL:
        return key, value
    if isinstance(literal, int):
        return key, str(literal)  # behind which there may be a comment
    return key, literal if isinstance(literal, str) else None if isinstance(literal, list | dict) else value
