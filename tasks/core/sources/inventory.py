"""An Ansible inventory as Ansible sees it: hosts, groups, and the variables that hold for a host."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, product

from ..errors import UsageError

Value = str | None
"""A variable's value as text; None: no plain one, such as one of a vault, which only Ansible knows."""

_RANGE = re.compile(r"\[(\w+):(\w+)(?::(\d+))?\]")
_PORT = re.compile(
    r"(?:\[(?P<ipv6>[^\[\]]*:[^\[\]]*:[^\[\]]*)\]|(?P<host>(?:[^:\[\]]|\[[^\]]*\])+)):(?P<port>\d{1,5})"
)
"""An address of IPv6 without brackets has no port, whatever its last part looks like."""
_MOST = 100_000
"""Hosts that ranges such as node[1:9] may stand for."""


@dataclass(frozen=True, slots=True)
class Inventory:
    """Hosts with their variables, and groups with all hosts in them, also those of their children."""

    hosts: Mapping[str, Mapping[str, Value]]
    groups: Mapping[str, tuple[str, ...]]

    def groups_of_hosts(self) -> Mapping[str, tuple[str, ...]]:
        """The groups of each host that say something of it."""
        found: dict[str, list[str]] = {host: [] for host in self.hosts}
        for name, hosts in self.groups.items():
            for host in hosts if name not in ("all", "ungrouped") else ():
                found[host].append(name)
        return {host: tuple(names) for host, names in found.items()}


@dataclass(slots=True)
class Group:
    """What is written of one group."""

    hosts: dict[str, None] = field(default_factory=dict)
    children: dict[str, None] = field(default_factory=dict)
    variables: dict[str, Value] = field(default_factory=dict)


class Groups:
    """What was read so far; a group is there once somebody names it."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {"all": Group()}
        self._own: dict[str, dict[str, Value]] = {}

    def __getitem__(self, name: str) -> Group:
        return self._groups.setdefault(name, Group())

    def add(self, group: str, host: str, variables: Mapping[str, Value]) -> None:
        """A host, with the variables that stand there: what is read last counts, in whatever group."""
        self[group].hosts[host] = None
        self._own.setdefault(host, {}).update(variables)

    def inventory(self) -> Inventory:
        """All of it together: a host's own variables count most, then those of the innermost group.

        Raises UsageError: a group is in itself.
        """
        depths = self._depths()
        own = self._own
        members: dict[str, tuple[str, ...]] = {}
        for name in self._groups:
            self._members(name, members)
        members["all"] = tuple(own)
        found: dict[str, dict[str, Value]] = {host: {} for host in own}
        for name in sorted(self._groups, key=lambda name: (depths[name], name)):
            for host in members[name]:
                found[host].update(self._groups[name].variables)
        return Inventory({host: found[host] | own[host] for host in own}, members)

    def _members(self, name: str, known: dict[str, tuple[str, ...]]) -> tuple[str, ...]:
        if name not in known:
            known[name] = ()  # `all` may be in a group that is in it
            group = self._groups[name]
            inside = (self._members(child, known) for child in group.children if child in self._groups)
            known[name] = tuple(dict.fromkeys(chain(group.hosts, *inside)))
        return known[name]

    def _depths(self) -> dict[str, int]:
        """How many groups each is in, one in the other; `all` is in none."""
        above: defaultdict[str, list[str]] = defaultdict(list)
        for name, group in self._groups.items():
            for child in group.children:
                above[child].append(name)
        known = {"all": 0}

        def depth(name: str, below: tuple[str, ...] = ()) -> int:
            if name in below:
                raise UsageError(f"group {name} is in itself: {' > '.join((*reversed(below), name))}")
            if name not in known:
                known[name] = 1 + max((depth(other, (name, *below)) for other in above[name]), default=0)
            return known[name]

        return {name: depth(name) for name in self._groups}


def hosts_of(pattern: str) -> tuple[Sequence[str], dict[str, Value]]:
    """The hosts that are written as HOST or HOST:PORT, and what is said of them by that.

    Raises ValueError, as `expanded`.
    """
    if not (found := _PORT.fullmatch(pattern)):
        return expanded(pattern), {}
    return expanded(found["ipv6"] or found["host"]), {"ansible_port": found["port"]}


def expanded(pattern: str) -> Sequence[str]:
    """The hosts that a pattern such as `node[01:12].example`, `rack-[a:c]` stands for.

    Raises ValueError: it is none, or stands for too many.
    """
    parts: list[list[str]] = []
    end = 0
    for found in _RANGE.finditer(pattern):
        parts += [[pattern[end : found.start()]], [*_ranged(found[1], found[2], int(found[3] or 1))]]
        end = found.end()
    parts.append([pattern[end:]])
    count = 1
    for part in parts:
        count *= len(part)
    if count > _MOST:
        raise ValueError(f"{pattern}: stands for more than {_MOST:,} hosts")
    return ["".join(words) for words in product(*parts)]


def _ranged(first: str, last: str, step: int) -> Iterator[str]:
    if first.isdecimal() and last.isdecimal() and len(last) < 7 and step:
        width = len(first) if first.startswith("0") else 0
        return (f"{number:0{width}}" for number in range(int(first), int(last) + 1, step))
    if len(first) == len(last) == 1 and first.isalpha() and last.isalpha() and first.isascii() and step:
        return map(chr, range(ord(first), ord(last) + 1, step))
    raise ValueError(f"[{first}:{last}] is no range of numbers or of letters")
