"""The flags that tasks share: for `fab --help`, and for whoever calls a task as a function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ParamSpec, TypedDict, TypeVar, cast, get_type_hints

from invoke import task

P = ParamSpec("P")
R = TypeVar("R")


class FleetFlags(TypedDict, total=False):
    """Those of a task that goes to nodes."""

    limit: str | None
    json: bool


class RolloutFlags(FleetFlags, total=False):
    """Those of one that goes batch by batch."""

    canary: str | None
    batch: str | None
    max_failures: str | None
    wait: str


_DEFAULTS = {"json": False, "wait": "0"}
FLEET_HELP = {
    "limit": "Only these nodes: names, hosts, groups or globs, separated by commas.",
    "json": "One JSON document on stdout, all else on stderr.",
}
ROLLOUT_HELP = {
    "canary": "How many nodes go first; one of them must work [rollout.canary].",
    "batch": "How many go at a time after the canaries, or a percentage [rollout.batch].",
    "max-failures": "With more failures than this, no further batch begins [rollout.max_failures].",
    "wait": "Seconds to wait for another command that is at work on a node [0: fail at once].",
}


def fleet_task(
    help: Mapping[str, str] = MappingProxyType({}),  # noqa: A002 - as Invoke's own
    optional: Sequence[str] = (),
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Makes a task of a function `f(c, own=..., **flags: Unpack[FleetFlags])`.

    `help` is of its own flags, and of shared ones that mean something else there; those that are `optional`
    may be given without a value.
    """

    def decorate(body: Callable[P, R]) -> Callable[P, R]:
        shared = get_type_hints(body)["flags"].__args__[0].__annotations__
        own = [p for p in inspect.signature(body).parameters.values() if p.kind != p.VAR_KEYWORD]
        flags = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=_DEFAULTS.get(name))
            for name in shared
        ]
        cast(Any, body).__signature__ = inspect.Signature([*own, *flags])
        texts = FLEET_HELP | (ROLLOUT_HELP if "canary" in shared else {}) | dict(help)
        return cast("Callable[P, R]", task(help=texts, optional=optional)(body))

    return decorate
