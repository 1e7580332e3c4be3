"""Many hosts: those that a task acts on, and the connections that tasks share."""

from __future__ import annotations

import atexit
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import replace
from pathlib import Path
from threading import Lock
from types import MappingProxyType
from typing import Any, Self, TypeVar

import fabric
import invoke
from fabric.exceptions import GroupException
from fabric.group import GroupResult

from ..config.address import Endpoint, NodeSpec, parse_node
from ..config.model import Settings
from ..config.settings import configured, find, load
from ..errors import UsageError
from ..shards.selection import select
from ..shell.pool import fan_out
from .node import Node
from .options import flag, hosts_together, key_files, options_of, unfit
from .session import Session

R = TypeVar("R")


class Fleet(fabric.ThreadingGroup):  # type: ignore[misc]
    """A ThreadingGroup that runs at most `parallel` hosts at a time and keeps the fleet's order.

    `typed` is how hosts that were named by -H are named so again, by their labels.
    """

    parallel: int = 32
    typed: Mapping[str, str] = MappingProxyType({})

    def each(
        self, work: Callable[[Any], R], given_up: Callable[[], bool] | None = None, patient: bool = False
    ) -> Iterator[tuple[Any, R | BaseException]]:
        """Yields each host with what `work(host)` returned or raised, as they finish; see `fan_out`."""
        return fan_out(list(self), work, self.parallel, given_up, patient)

    def _do(self, method: str, *args: Any, **kwargs: Any) -> GroupResult:
        found = dict(self.each(lambda node: getattr(node, method)(*args, **kwargs)))
        results = GroupResult({node: found[node] for node in self})
        if results.failed:
            raise GroupException(results)
        return results


class Connections:
    """The connections that tasks share: one a node, closed at the end.

        with Connections():
            deploy(c)
            status(c)

    What runs outside of such a block shares those of the process, as all tasks of one `fab` command line do.
    """

    def __init__(self) -> None:
        self._sessions: dict[Path, Session] = {}
        self._lock = Lock()
        self._tokens: list[Token[Connections]] = []

    def __enter__(self) -> Self:
        self._tokens.append(_current.set(self))
        return self

    def __exit__(self, *error: object) -> None:
        _current.reset(self._tokens.pop())
        self.close()

    def close(self) -> None:
        """Closes every connection; whoever connects again opens new ones."""
        with suppress(KeyboardInterrupt):  # a second Ctrl-C only wants to be gone
            while self._sessions:
                self._sessions.popitem()[1].close()

    def session(self, c: invoke.Context) -> Session:
        """What is shared by the connections of the hosts.toml that `c` means. Raises UsageError."""
        options = options_of(c.config)
        path = find(*configured(c.config)).resolve()
        settings = load(path)
        with self._lock:
            known = self._sessions.get(path)
            if known is None or (known.settings, known.options) != (settings, options):
                if known:
                    known.close()
                known = self._sessions[path] = Session(settings, options, c.config)
            return known


_of_the_process = Connections()
atexit.register(_of_the_process.close)
_current: ContextVar[Connections] = ContextVar("kube_nginx_connections", default=_of_the_process)


def session_of(c: invoke.Context) -> Session:
    """The session of the hosts.toml that `c` means. Raises UsageError."""
    return _current.get().session(c)


def settings_of(c: invoke.Context) -> Settings:
    """The checked settings of the hosts.toml that `c` means. Raises UsageError."""
    return session_of(c).settings


def fleet_of(c: invoke.Context, limit: str | None = None, shard: str | None = None) -> Fleet:
    """The nodes that a task acts on; nothing is connected yet.

    A Connection (`fab -H`, or a caller's own) means exactly that host, or those of -H where it stands for
    all of them; a plain Context means the nodes of hosts.toml, narrowed by `limit`: names, hosts, groups or
    globs, separated by commas, and then to one `shard` of them, such as 1/4, which may be empty.

    Raises UsageError: a limit that matches nothing, or a shard that is none.
    """
    session = session_of(c)
    if isinstance(c, fabric.Connection):
        for name, text in (("--limit", limit), ("--shard", shard)):
            if text is not None:
                raise UsageError(
                    f"{name} narrows the fleet of hosts.toml; -H names the host: give one of them"
                )
        several = [fabric.Connection(word, config=c.config) for word in hosts_together(c)]
        fleet = _of_connections(session, several or [c])
    else:
        chosen = select(session.settings.nodes, limit, shard)
        session.prepare(chosen)
        fleet = Fleet.from_connections([_node(session, spec) for spec in chosen])
    fleet.parallel = session.settings.rollout.parallel
    return fleet


def _of_connections(session: Session, connections: Sequence[fabric.Connection]) -> Fleet:
    """Exactly these hosts, each once; two that would have one name are told apart by how they were typed."""
    found: dict[NodeSpec, tuple[fabric.Connection, str]] = {}
    for c in connections:
        spec, word = _spec_of(c, session.settings)
        found.setdefault(spec, (c, word))
    names = Counter(spec.name for spec in found)
    told = {replace(s, name=word) if names[s.name] > 1 else s: (c, word) for s, (c, word) in found.items()}
    session.prepare([*told])
    nodes = [_node(session, spec, **_own(c, session)) for spec, (c, _) in told.items()]
    fleet: Fleet = Fleet.from_connections(nodes)
    fleet.typed = {spec.name: word for spec, (_, word) in told.items()}
    return fleet


def ssh_host(c: invoke.Context, text: str) -> Node:
    """A host outside the fleet, such as a build host, in a node's notations."""
    return _node(session_of(c), parse_node(text))


def _node(session: Session, spec: NodeSpec, **own: Any) -> Node:
    """The one connection to a host; `own` is what the caller's Connection sets for it."""
    key = (spec, repr(sorted(own.items())))
    with session.gateways_lock:
        if key not in session.nodes:
            session.nodes[key] = Node(spec, session, **own)
        node: Node = session.nodes[key]
    return node


def _own(c: fabric.Connection, session: Session) -> dict[str, Any]:
    """What a caller gave its Connection; what Fabric found in its settings and ssh_config is ours to read."""
    kwargs = dict(c.connect_kwargs)
    timeouts = [c.connect_timeout, kwargs.pop("timeout", None)]
    if problems := "\n".join(unfit(kwargs)):
        raise UsageError(problems)
    kwargs["key_filename"] = key_files(
        session.options.connect_kwargs.get("key_filename"), kwargs.get("key_filename")
    )
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
        "forward_agent": None if "forwardagent" in c.ssh_config else c.forward_agent or None,
    }


def _spec_of(c: fabric.Connection, settings: Settings) -> tuple[NodeSpec, str]:
    """The node of hosts.toml that a Connection names, with the user and port that it was given; its word."""
    try:
        given = parse_node(str(c.original_host))
    except ValueError as error:
        raise UsageError(f"-H {c.original_host}: {error}") from None
    word = _typed(c, given)
    # what Fabric found in ssh_config is ours to read
    user = word.user or (str(c.user) if c.user not in (c.config.user, c.ssh_config.get("user")) else None)
    found = map(str, (c.config.port, c.ssh_config.get("port")))
    port = word.port or (int(c.port) if str(c.port) not in found else None)
    if not 1 <= (port or 1) <= 65535:
        raise UsageError(f"-H {c.original_host}:{port}: a port is a number from 1 to 65535")
    named = [spec for spec in settings.nodes if spec.name == given.host]
    hosted = [spec for spec in settings.nodes if spec.host == given.host and port in (None, spec.port)]
    spec = next(iter(named + hosted), NodeSpec(given.host, given.host, None, None, ()))
    address = str(Endpoint(given.host, port)) if port else given.host
    typed = f"{user}@{address}" if user else address
    return replace(spec, user=user or spec.user, port=port or spec.port), typed


def _typed(c: fabric.Connection, given: NodeSpec) -> NodeSpec:
    """The word of -H behind `c`, else `given`: in `c`, a default that was typed looks as if it was not."""
    for word in str(flag("hosts") or "").split(","):
        with suppress(ValueError):
            spec = parse_node(word)
            if (spec.host, spec.user or c.user, spec.port or c.port) == (given.host, c.user, c.port):
                return spec
    return given
