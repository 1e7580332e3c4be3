"""Which nodes of hosts.toml a task means: `--limit` names them, `--shard` takes one part of those."""

from __future__ import annotations

import hashlib
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from ..config.address import NodeSpec
from ..config.validation import nearest, shown
from ..errors import UsageError

_SHARD = re.compile("([1-9][0-9]{0,5})/([1-9][0-9]{0,5})")


@dataclass(frozen=True, slots=True)
class Shard:
    """Part `number` of `count`, from 1 on."""

    number: int
    count: int

    def holds(self, name: str) -> bool:
        """Whether the node of this name is in it; the others of the fleet have no say in that."""
        digest = hashlib.sha256(name.encode()).digest()
        return int.from_bytes(digest) % self.count == self.number - 1


def shard_of(text: str) -> Shard:
    """The shard that `I/N` means. Raises UsageError."""
    found = _SHARD.fullmatch(text)
    shard = Shard(int(found[1]), int(found[2])) if found else None
    if shard is None or shard.number > shard.count:
        raise UsageError(f"--shard {shown(text)}: part I of N is wanted, with I from 1 to N, such as 1/4")
    return shard


def select(nodes: Sequence[NodeSpec], limit: str | None, shard: str | None = None) -> list[NodeSpec]:
    """The nodes that are meant, in the fleet's order; there may be none in a shard. Raises UsageError."""
    part = None if shard is None else shard_of(shard)
    return [node for node in limited(nodes, limit) if part is None or part.holds(node.name)]


def limited(nodes: Sequence[NodeSpec], limit: str | None) -> list[NodeSpec]:
    """The nodes that `limit` names, in the fleet's order; all of them if it is None. Raises UsageError."""
    if limit is None:
        return list(nodes)
    patterns = [p.strip() for p in limit.split(",") if p.strip()]
    if not patterns:
        raise UsageError(f"--limit {limit!r} names no node")
    named: defaultdict[str, set[NodeSpec]] = defaultdict(set)
    for node in nodes:
        for name in (node.name, node.host, *node.groups):
            named[name].add(node)
    chosen: set[NodeSpec] = set()
    for pattern in patterns:
        glob = any(sign in pattern for sign in "*?[")
        found = [name for name in named if fnmatchcase(name, pattern)] if glob else [pattern]
        hits = set[NodeSpec]().union(*(named[name] for name in found if name in named))
        if not hits:
            known = sorted(named)
            near = nearest(pattern, known)
            hint = f"did you mean {near}?" if near else f"known are {', '.join(known[:12])}"
            raise UsageError(f"--limit {pattern}: no node, host or group matches; {hint}")
        chosen |= hits
    return [node for node in nodes if node in chosen]
