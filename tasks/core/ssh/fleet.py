"""Many hosts: which ones a task means, and Fabric's ThreadingGroup with a bound and an order."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, TypeVar

import fabric
import invoke
from fabric.exceptions import GroupException
from fabric.group import GroupResult

from ..config.settings import NodeSpec, Settings, configured, find, load, parse_node
from ..errors import UsageError
from ..shell.pool import fan_out
from .node import Node
from .options import Options, flag, key_files, options_of, unfit
from .session import Session

R = TypeVar("R")


class Fleet(fabric.ThreadingGroup):  # type: ignore[misc]
    """A ThreadingGroup that runs at most `parallel` hosts at a time and keeps the fleet's order."""

    parallel: int = 32

    def each(
        self, work: Callable[[Any], R], given_up: Callable[[], bool] | None = None
    ) -> Iterator[tuple[Any, R | BaseException]]:
        """Yields each host with what `work(host)` returned or raised, as they finish; see `fan_out`."""
        return fan_out(list(self), work, self.parallel, given_up)

    def _do(self, method: str, *args: Any, **kwargs: Any) -> GroupResult:
        seen = dict(self.each(lambda node: getattr(node, method)(*args, **kwargs)))
        results = GroupResult({node: seen[node] for node in self})
        if results.failed:
            raise GroupException(results)
        return results


class _Open:
    """The settings, session and connections that all tasks of one command line share."""

    def __init__(self, settings: Settings, options: Options, config: invoke.Config) -> None:
        self.settings = settings
        self.options = options
        self.session = Session(settings, options, config)
        self.nodes: dict[tuple[NodeSpec, str], Node] = {}

    def node(self, spec: NodeSpec, caller: fabric.Connection | None = None) -> Node:
        """The one connection to a host; `caller` is the Connection whose keys and gateway it takes over."""
        own = {} if caller is None else _own(caller, self.options)
        key = (spec, repr(sorted(own.items(), key=str)))
        if key not in self.nodes:
            self.nodes[key] = Node(spec, self.session, **own)
        return self.nodes[key]

    def close(self) -> None:
        for node in self.nodes.values():
            node.hang_up()
        for node in self.nodes.values():
            node.close()
        self.session.close()


_opened: dict[Path, _Open] = {}


@atexit.register
def close_all() -> None:
    """Closes every connection of this process."""
    with suppress(KeyboardInterrupt):  # a second Ctrl-C only wants to be gone
        while _opened:
            _opened.popitem()[1].close()


def _open(c: invoke.Context) -> _Open:
    options = options_of(c.config)
    path = find(*configured(c.config)).resolve()
    settings = load(path)
    known = _opened.get(path)
    if known is None or (known.settings, known.options) != (settings, options):
        if known:
            known.close()
        known = _opened[path] = _Open(settings, options, c.config)
    return known


def settings_of(c: invoke.Context) -> Settings:
    """The checked settings of the hosts.toml that `c` means. Raises SettingsError."""
    return _open(c).settings


def warnings_of(c: invoke.Context) -> list[str]:
    """What the user should know of the SSH files that were read; each is told once."""
    session = _open(c).session
    told, session.warnings = session.warnings, []
    return told


def fleet_of(c: invoke.Context, limit: str | None = None) -> Fleet:
    """The nodes that a task acts on; nothing is connected yet.

    A Connection (`fab -H`, or a caller's own) means exactly that host; a plain Context means the
    nodes of hosts.toml, narrowed by `limit`: names, hosts, groups or globs, separated by commas.

    Raises UsageError: a limit that matches nothing.
    """
    opened = _open(c)
    settings = opened.settings
    if isinstance(c, fabric.Connection):
        if limit is not None:
            raise UsageError("--limit narrows the fleet of hosts.toml; -H names the host: give one of them")
        nodes = [opened.node(_spec_of(c, settings), c)]
    else:
        nodes = [opened.node(spec) for spec in select(settings.nodes, limit)]
    fleet: Fleet = Fleet.from_connections(nodes)
    fleet.parallel = settings.rollout.parallel
    return fleet


def ssh_host(c: invoke.Context, text: str) -> Node:
    """A host outside the fleet, such as a build host, in a node's notations."""
    return _open(c).node(parse_node(text))


def _own(c: fabric.Connection, options: Options) -> dict[str, Any]:
    """What a caller gave its Connection; what Fabric found in its settings and ssh_config is ours to read."""
    kwargs = dict(c.connect_kwargs)
    if problems := "\n".join(unfit({name: value for name, value in kwargs.items() if name != "timeout"})):
        raise UsageError(problems)
    kwargs["key_filename"] = [
        *key_files(options.connect_kwargs.get("key_filename"), kwargs.get("key_filename"))
    ]
    timeouts = [c.connect_timeout, kwargs.pop("timeout", None)]
    known = {
        c.config.timeouts.connect,
        c.config.connect_kwargs.get("timeout"),
        c.ssh_config.get("connecttimeout"),
    }
    found = {"proxyjump", "proxycommand"} & set(c.ssh_config) or c.gateway == c.config.gateway
    return {
        "gateway": None if found else c.gateway,
        "connect_kwargs": kwargs,
        "connect_timeout": next((t for t in timeouts if t and str(t) not in map(str, known)), None),
        "forward_agent": c.forward_agent or None,
    }


def _spec_of(c: fabric.Connection, settings: Settings) -> NodeSpec:
    """The node of hosts.toml that a Connection names, with the user and port that it was given."""
    try:
        given = parse_node(str(c.original_host))
    except ValueError as error:
        raise UsageError(f"-H {c.original_host}: {error}") from None
    typed = _typed(c, given)
    user = typed.user or (str(c.user) if c.user != c.config.user else None)
    port = typed.port or (int(c.port) if int(c.port) != int(c.config.port) else None)
    if not 1 <= (port or 1) <= 65535:
        raise UsageError(f"-H {c.original_host}:{port}: a port is a number from 1 to 65535")
    named = [spec for spec in settings.nodes if spec.name == given.host]
    hosted = [spec for spec in settings.nodes if spec.host == given.host and port in (None, spec.port)]
    spec = next(iter(named + hosted), NodeSpec(given.host, given.host, None, None, ()))
    return replace(spec, user=user or spec.user, port=port or spec.port)


def _typed(c: fabric.Connection, given: NodeSpec) -> NodeSpec:
    """The word of -H behind `c`, else `given`: in `c`, a default that was typed looks as if it was not."""
    for word in str(flag("hosts") or "").split(","):
        with suppress(ValueError):
            spec = parse_node(word)
            if (spec.host, spec.user or c.user, spec.port or c.port) == (given.host, c.user, c.port):
                return spec
    return given


def select(nodes: Sequence[NodeSpec], limit: str | None) -> list[NodeSpec]:
    """The nodes that `limit` names, in the fleet's order; all of them if it is None."""
    if limit is None:
        return list(nodes)
    patterns = [p.strip() for p in limit.split(",") if p.strip()]
    if not patterns:
        raise UsageError(f"--limit {limit!r} names no node")
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
