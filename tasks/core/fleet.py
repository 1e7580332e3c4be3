"""Many hosts: which ones a task means, and Fabric's ThreadingGroup with a bound and an order."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import fabric
import invoke
from fabric.exceptions import GroupException
from fabric.group import GroupResult

from .errors import UsageError
from .node import Node
from .pool import fan_out
from .settings import NodeSpec, Settings, find, load, parse_node
from .ssh import Session

R = TypeVar("R")


class Fleet(fabric.ThreadingGroup):  # type: ignore[misc]
    """A ThreadingGroup that runs at most `parallel` hosts at a time and keeps the fleet's order."""

    parallel: int = 32

    def each(self, work: Callable[[Any], R]) -> Iterator[tuple[Any, R | BaseException]]:
        """Yields each host with what `work(host)` returned or raised, as they finish."""
        return fan_out(list(self), work, self.parallel)

    def _do(self, method: str, *args: Any, **kwargs: Any) -> GroupResult:
        seen = dict(self.each(lambda node: getattr(node, method)(*args, **kwargs)))
        results = GroupResult({node: seen[node] for node in self})
        if results.failed:
            raise GroupException(results)
        return results


class _Open:
    """The settings, session and connections that all tasks of one command line share."""

    def __init__(self, settings: Settings, config: fabric.Config) -> None:
        self.settings = settings
        self.session = Session(settings, config)
        self.nodes: dict[tuple[NodeSpec, str | None], Node] = {}

    def node(self, spec: NodeSpec, user: str | None = None) -> Node:
        key = (spec, user)
        if key not in self.nodes:
            self.nodes[key] = Node(spec, self.session, user=user)
        return self.nodes[key]

    def close(self) -> None:
        for node in self.nodes.values():
            node.close()
        self.session.close()


_opened: dict[Path, _Open] = {}


@atexit.register
def close_all() -> None:
    """Closes every connection of this process."""
    while _opened:
        _opened.popitem()[1].close()


def _open(c: invoke.Context) -> _Open:
    options = c.config.get("kube_nginx", {})
    project = getattr(c.config, "_project_prefix", None)
    path = find(options.get("hosts_file"), Path(project) if project else None).resolve()
    settings = load(path)
    known = _opened.get(path)
    if known is None or known.settings != settings:
        if known:
            known.close()
        config = c.config if isinstance(c.config, fabric.Config) else c.config.clone(into=fabric.Config)
        known = _opened[path] = _Open(settings, config)
    return known


def settings_of(c: invoke.Context) -> Settings:
    """The checked settings of the hosts.toml that `c` means. Raises SettingsError."""
    return _open(c).settings


def fleet_of(c: invoke.Context, limit: str = "") -> Fleet:
    """The nodes that a task acts on; nothing is connected yet.

    A Connection (`fab -H`, or a caller's own) means exactly that host; a plain Context means the
    nodes of hosts.toml, narrowed by `limit`: names, hosts, groups or globs, separated by commas.

    Raises UsageError: a limit that matches nothing.
    """
    opened = _open(c)
    settings = opened.settings
    if isinstance(c, fabric.Connection):
        if limit:
            raise UsageError("--limit narrows the fleet of hosts.toml; -H names the host: give one of them")
        nodes = [opened.node(_spec_of(c, settings), _given_user(c))]
    else:
        nodes = [opened.node(spec) for spec in select(settings.nodes, limit)]
    fleet: Fleet = Fleet.from_connections(nodes)
    fleet.parallel = settings.rollout.parallel
    return fleet


def ssh_host(c: invoke.Context, text: str) -> Node:
    """A host outside the fleet, such as a build host, in a node's notations."""
    return _open(c).node(parse_node(text))


def _given_user(c: fabric.Connection) -> str | None:
    return str(c.user) if c.user != c.config.user else None


def _spec_of(c: fabric.Connection, settings: Settings) -> NodeSpec:
    for spec in settings.nodes:
        if c.original_host in (spec.name, spec.host):
            return spec
    port = int(c.port) if int(c.port) != 22 else None
    return NodeSpec(str(c.original_host), str(c.original_host), _given_user(c), port, ())


def select(nodes: Sequence[NodeSpec], limit: str) -> list[NodeSpec]:
    """The nodes that `limit` names, in the fleet's order; all of them if it is empty."""
    patterns = [p.strip() for p in limit.split(",") if p.strip()]
    if not patterns:
        if limit:
            raise UsageError(f"--limit {limit!r} names no node")
        return list(nodes)
    chosen: set[NodeSpec] = set()
    for pattern in patterns:
        hits = [n for n in nodes if any(fnmatchcase(t, pattern) for t in (n.name, n.host, *n.groups))]
        if not hits:
            raise UsageError(_no_match(pattern, nodes))
        chosen.update(hits)
    return [node for node in nodes if node in chosen]


def _no_match(pattern: str, nodes: Sequence[NodeSpec]) -> str:
    names = sorted({name for node in nodes for name in (node.name, node.host, *node.groups)})
    near = get_close_matches(pattern, names, n=1)
    known = f"did you mean {near[0]}?" if near else f"known are {', '.join(names[:12])}"
    return f"--limit {pattern}: no node, host or group matches; {known}"
