"""What a step found out on one host, and how that is told to programs: one key of JSON for each field."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from datetime import datetime
from enum import Enum, StrEnum
from typing import Any, Generic, TypeVar, cast

from .errors import StepError

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class State(StrEnum):
    """How one step went on one host."""

    OK = "ok"
    CHANGED = "changed"
    WARNING = "warning"
    FAILED = "failed"


class Result(StrEnum):
    """What became of a node in a task that goes over the fleet."""

    UNCHANGED = "unchanged"
    CORRECTED = "corrected"
    ENABLED = "enabled"
    RELOADED = "reloaded"
    UPGRADED = "upgraded"
    RESTARTED = "restarted"
    INSTALLED = "installed"
    ROLLED_BACK = "rolled back"  # by `fab rollback`, or by itself where a change did not work
    RESTORED = "restored"  # where it was the rollback that did not work
    FAILED = "failed"
    NOT_STARTED = "not started"


@dataclass(frozen=True, slots=True)
class StepResult(Generic[T_co]):
    """How a step went on a host, and the `value` that it found there; `error` explains a failed one.

    `result` is what became of the node, for tasks that say so.
    """

    state: State
    detail: str = ""
    value: T_co | None = None
    error: StepError | None = None
    result: Result | str | None = None


def values(found: Mapping[str, StepResult[T]]) -> dict[str, T]:
    """What was found, by host; hosts on which nothing was are left out."""
    return {host: seen.value for host, seen in found.items() if seen.value is not None}


def output(
    meaning: str,
    default: Any = MISSING,
    *,
    key: str = "",
    digits: int | None = None,
    optional: bool = False,
) -> Any:
    """A field that programs are told, and what it means; docs/json.md is written from it.

    `key` is its name in JSON, if that is another. A float is rounded to `digits`; an `optional` field is left
    out while it is empty.
    """
    given: Any = {} if default is MISSING else {"default": default}
    return field(**given, metadata={"meaning": meaning, "key": key, "digits": digits, "optional": optional})


def json_key(item: Field[Any]) -> str:
    """The name of an output in JSON."""
    return str(item.metadata["key"] or item.name)


def outputs(kind: type) -> list[Field[Any]]:
    """The fields of a dataclass that programs are told."""
    return [item for item in fields(kind) if "meaning" in item.metadata]


def as_json(value: object) -> Any:
    """What json.dumps takes, of a dataclass with `output` fields and of all that can be in one."""
    if is_dataclass(value) and not isinstance(value, type) and outputs(type(value)):
        told = {item: getattr(value, item.name) for item in outputs(type(value))}
        return {
            json_key(item): _rounded(found, item.metadata["digits"])
            for item, found in told.items()
            if found or not item.metadata["optional"]
        }
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_json(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def _rounded(value: object, digits: int | None) -> Any:
    return round(cast(float, value), digits) if digits is not None and value is not None else as_json(value)
