"""The flags that tasks share: for `fab --help`, and for whoever calls a task as a function."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import wraps
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ParamSpec, TypedDict, TypeVar, cast

import invoke

from ..errors import UsageError
from ..late import late

with late():
    from ..config import model, validation
    from ..ssh import options as fabric_options

if TYPE_CHECKING:
    from ..config.model import Rollout

P = ParamSpec("P")
R = TypeVar("R")


LINES = "lines"
Json = bool | str | None
"""The value of --json: True is one document, LINES a line for each node."""


class NodeFlags(TypedDict, total=False):
    """Those of a task that goes to a node."""

    limit: str | None
    json: Json


class FleetFlags(NodeFlags, total=False):
    """Those of one that goes to many."""

    shard: str | None


class RolloutFlags(FleetFlags, total=False):
    """Those of one that goes batch by batch."""

    canary: str | None
    batch: str | None
    max_failures: str | None
    wait: str


_SHARED: dict[str, type] = {
    f"Unpack[{kind.__name__}]": kind for kind in (NodeFlags, FleetFlags, RolloutFlags)
}
_DEFAULTS = {"wait": "0"}
FLEET_HELP = {
    "limit": "Only these nodes: names, hosts, groups or globs, separated by commas, or @FILE of them.",
    "shard": "Only part I of N, such as 1/4, of all nodes or of those of --limit, by a hash of their names.",
    "json": "One JSON document on stdout, all else on stderr; --json=lines: a line for each node as it ends.",
}
ROLLOUT_HELP = {
    "canary": "How many nodes go first; one of them must work [rollout.canary].",
    "batch": "How many go at a time after those, or a percentage; first installs, too [rollout.batch].",
    "max-failures": "With more failures than this, no further batch begins [rollout.max_failures].",
    "wait": "Seconds to wait for another command that is at work on a node [0: fail at once].",
}
ALL_ROWS = {"all-rows": "A row a node, also where more than 50 have them."}
_NUMBER = re.compile(r"-?[0-9]{1,18}")


def fleet_task(
    help: Mapping[str, str] = MappingProxyType({}),  # noqa: A002 - as Invoke's own
    optional: Sequence[str] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a task of a function `f(c, own=..., **flags: Unpack[FleetFlags])`.

    `help` is of its own flags, and of shared ones that mean something else there; those that are `optional`
    may be given without a value.
    """

    def decorate(body: Callable[P, R]) -> Callable[P, R]:
        shared = _SHARED[body.__annotations__["flags"]].__annotations__
        own = [p for p in inspect.signature(body).parameters.values() if p.kind != p.VAR_KEYWORD]
        flags = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name))
            for name in shared
        ]
        cast(Any, body).__signature__ = inspect.Signature([*own, *flags])
        texts = {
            name: text
            for name, text in (FLEET_HELP | ROLLOUT_HELP).items()
            if name.replace("-", "_") in shared
        }
        texts |= help
        return task(help=texts, optional=[*optional, "json"])(body)

    return decorate


def task(
    help: Mapping[str, str] = MappingProxyType({}),  # noqa: A002 - as Invoke's own
    **options: Any,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Invoke's own decorator; for its caller, the function keeps its types. After -H it runs once for all."""

    def decorate(body: Callable[P, R]) -> Callable[P, R]:
        return cast("Callable[P, R]", invoke.task(help=help, **options)(_once(body)))

    return decorate


def _once(body: Callable[P, R]) -> Callable[P, R]:
    """`body` when `fab -H a,b` calls it for the first host, and then acts on all; not for the others."""
    left, result = 0, cast("R", None)

    @wraps(body)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        nonlocal left, result
        hosts = fabric_options.hosts_together(args[0] if args else None)
        if not hosts:
            return body(*args, **kwargs)
        if not left:
            left, result = len(hosts), body(*args, **kwargs)
        left -= 1
        return result

    return call


def given(flags: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    """The flags that somebody gave, by the names under which they are typed."""
    for name, value in flags.items():
        if value not in (None, False) and not (name == "wait" and str(value) == "0"):
            yield name.replace("_", "-"), value


def rollout_of(rollout: Rollout, flags: Mapping[str, Any]) -> Rollout:
    """`rollout` with the values of --canary, --batch and --max-failures where they are given.

    Raises UsageError where hosts.toml would not take the value either.
    """
    typed = {
        key: _checked(key, flags[key])
        for key in ("canary", "batch", "max_failures")
        if flags.get(key) is not None
    }
    return replace(rollout, **typed)


def _checked(key: str, value: object) -> Any:
    """As hosts.toml would; another fabfile may well pass a number where Invoke passes its text."""
    text = str(value)
    try:
        if key != "batch" and not _NUMBER.fullmatch(text):
            raise ValueError("must be a number, such as 1")
        return validation.keys_of(model.Rollout)[key].check(value if key == "batch" else int(text))
    except ValueError as error:
        raise UsageError(f"--{key.replace('_', '-')} {validation.shown(value)}: {error}") from None


def seconds(flag: str, text: object) -> int:
    """The value of a flag that is a number of seconds. Raises UsageError."""
    return validation.whole(flag, text, 86400, "a number of seconds")
