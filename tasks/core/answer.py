"""What a script answers in its lines `kn.KEY=VALUE`, as a dataclass whose fields say how each is read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import field, fields
from typing import Any, TypeVar

T = TypeVar("T")


class Lines(dict[str, str]):
    """The values by KEY; one pass puts together those of all keys `PREFIX.NAME`."""

    def __init__(self, values: Mapping[str, str]) -> None:
        super().__init__(values)
        self._below: defaultdict[str, dict[str, str]] = defaultdict(dict)
        for key, value in values.items():
            prefix, dot, name = key.partition(".")
            if dot:
                self._below[prefix][name] = value

    def below(self, prefix: str) -> Mapping[str, str]:
        """The values of all keys `PREFIX.NAME`, by NAME; there is no dot in PREFIX."""
        return self._below.get(prefix, {})


def answer(read: Callable[[Lines], T]) -> T:
    """A field that `read` makes of all lines; its default is what it makes of none."""
    default = read(Lines({}))
    given: Any = {"default_factory": dict} if default == {} else {"default": default}
    made: T = field(**given, metadata={"read": read})
    return made


def one(key: str, convert: Callable[[str], T], default: T) -> T:
    """The value of one key; the default where there is none, or nothing in it."""
    return answer(lambda lines: convert(lines[key]) if lines.get(key) else default)


def text(key: str) -> str:
    """The value of one key as it is."""
    return one(key, str, "")


def flag(key: str) -> bool:
    """Whether the value of one key is 1."""
    return one(key, "1".__eq__, False)


def each(prefix: str, convert: Callable[[str], T | None]) -> Mapping[str, T]:
    """The values of all keys `PREFIX.NAME`, by NAME.

    Without those of which `convert` makes None: what goes away while it is looked at gives half a line.
    """

    def read(lines: Lines) -> dict[str, T]:
        found = {name: convert(value) for name, value in lines.below(prefix).items()}
        return {name: value for name, value in found.items() if value is not None}

    return answer(read)


def strings(prefix: str) -> Mapping[str, str]:
    """The values of all keys `PREFIX.NAME` as they are, by NAME."""
    return each(prefix, str)


def names(prefix: str) -> tuple[str, ...]:
    """The NAME of each key `PREFIX.NAME`."""
    return answer(lambda lines: tuple(lines.below(prefix)))


def read_answer(kind: type[T], values: Mapping[str, str]) -> T:
    """A dataclass of such fields, of values by KEY."""
    lines = Lines(values)
    declared: Any = fields(kind)  # type: ignore[arg-type]
    return kind(**{item.name: item.metadata["read"](lines) for item in declared if "read" in item.metadata})
