"""Checks of values read from TOML, and `Problems`, which runs them and keeps all that is wrong.

A check returns the value in its normal form or raises ValueError with a message for people.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import field, fields
from typing import Any, NamedTuple, TypeVar, cast

from ..errors import UsageError

T = TypeVar("T")
Check = Callable[[object], T]

_BARE_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")

_KINDS: tuple[tuple[type, str], ...] = (
    (bool, "a boolean"),
    (int, "an integer"),
    (float, "a float"),
    (str, "a string"),
    (list, "a list"),
    (dict, "a table"),
)


class Key(NamedTuple):
    """How a value of hosts.toml is checked (each item, where it is a list), and what it means."""

    check: Callable[[object], Any]
    meaning: str


def key(default: T, check: Callable[[object], object], meaning: str) -> T:
    """A key of a table; a default that can be called makes the value anew each time."""
    given: Any = {"default_factory": default} if callable(default) else {"default": default}
    return cast(T, field(**given, metadata={"key": Key(check, meaning)}))


def keys_of(table: type) -> dict[str, Key]:
    """The keys of a table, in their order."""
    return {item.name: item.metadata["key"] for item in fields(table)}


def shown(value: object) -> str:
    """`value` on one line, short, without control characters; never raises."""
    if isinstance(value, str):
        return repr(value if len(value) <= 60 else value[:57] + "...")
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value) if value.bit_length() <= 64 else "a number of more than 64 bits"
    return repr(value) if isinstance(value, float) else kind(value)


def kind(value: object) -> str:
    """What TOML calls the type of `value`."""
    return next((name for cls, name in _KINDS if isinstance(value, cls)), "a date or time")


def string(value: object) -> str:
    """Any string without control characters."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string in quotes, not {kind(value)}")
    if not value.isprintable():
        raise ValueError("must not hold control characters, line breaks or invisible ones")
    return value


def parsed(parse: Callable[[str], T]) -> Check[T]:
    """A check for a string that `parse` accepts; as a decorator, it makes a check of `parse`."""
    return lambda value: parse(string(value))


def matching(pattern: str, otherwise: str) -> Check[str]:
    """A check for a string that is as `pattern` from end to end; `otherwise` says what it must be."""
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        if not compiled.fullmatch(text := string(value)):
            raise ValueError(otherwise)
        return text

    return check


def optional(check: Check[str]) -> Check[str]:
    """Like `check`, but accepts "" too."""
    return lambda value: "" if value == "" else check(value)


def boolean(value: object) -> bool:
    """true or false."""
    if not isinstance(value, bool):
        raise ValueError(f"must be true or false, not {kind(value)}")
    return value


def integer(low: int, high: int, why: str = "") -> Check[int]:
    """A check for an integer from `low` to `high`; booleans are not integers."""

    def check(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"must be an integer from {low} to {high}, not {kind(value)}")
        if not low <= value <= high:
            raise ValueError(f"must be from {low} to {high}{why}")
        return value

    return check


def choice(*allowed: str) -> Check[str]:
    """A check for one of the strings in `allowed`."""

    def check(value: object) -> str:
        if value not in allowed:
            raise ValueError("must be " + " or ".join(f'"{item}"' for item in allowed))
        return str(value)

    return check


def whole(flag: str, text: object, most: int, what: str = "a number") -> int:
    """The value of a flag that is a number, from 0 to `most`. Raises UsageError."""
    if not re.fullmatch("[0-9]{1,9}", str(text)) or int(str(text)) > most:
        raise UsageError(f"{flag} {shown(str(text))}: must be {what} from 0 to {most}, such as 60")
    return int(str(text))


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of `known` that is spelt most like `word`, or ""."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


class Problems:
    """What is wrong in a file, each with its dotted key; wrong values are replaced by defaults."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._wrong: list[str] = []

    def add(self, key: str, text: str) -> None:
        """Records that the value of `key` is wrong: what it is, and what to write instead."""
        self.lines.append(f"{key}: {text}")
        self._wrong.append(key)

    def sound(self, *keys: str) -> bool:
        """Whether no problem is known of any of `keys`, nor of what is in them."""
        inside = tuple(f"{key}{sign}" for key in keys for sign in ".[")
        return not any(key in keys or key.startswith(inside) for key in self._wrong)

    def value(self, key: str, check: Check[T], given: object, default: T) -> T:
        """The checked value of `key`, or `default`; None is none given, as TOML has no None."""
        try:
            return default if given is None else check(given)
        except ValueError as error:
            named = f"{shown(given)} " if isinstance(given, str | int | float) else ""
            self.add(key, f"{named}{error}")
            return default

    def items(self, key: str, given: object) -> dict[str, object]:
        """A list's items as {`key[0]`: item}; an empty list is wrong."""
        if given is None:
            return {}
        if not isinstance(given, list):
            self.add(key, f"must be a list in [ ], not {kind(given)}")
            return {}
        if not given:
            self.add(key, "must name at least one")
        return {f"{key}[{index}]": item for index, item in enumerate(given)}

    def values(self, key: str, check: Check[T], given: object, default: tuple[T, ...]) -> tuple[T, ...]:
        """The checked items of a list, or `default`; an item that is there twice is wrong."""
        found: dict[T, str] = {}
        for place, value in self.items(key, given).items():
            item = self.value(place, check, value, None)
            if item in found:
                self.lines.append(f"{place}: {shown(value)} is the same as {found[item]}; remove one")
            elif item is not None:
                found[item] = place
        return tuple(found) or default

    def table(
        self, at: str, given: object, known: Iterable[str], elsewhere: Iterable[str] = ()
    ) -> Mapping[str, object]:
        """A table, whose keys begin with `at` ("", "proxy.", "nodes[2]."); an unknown key is wrong.

        `elsewhere` are the dotted keys of all tables.
        """
        if not isinstance(given, Mapping):
            self.add(at.rstrip("."), f"must be a table, not {kind(given)}")
            return {}
        here = {key: f"{at}{key}" for key in known}
        others = {dotted.rpartition(".")[2]: dotted for dotted in elsewhere}
        for key in given:
            if key not in here:
                close = here.get(nearest(str(key), here)) or others.get(nearest(str(key), others))
                advice = f"did you mean {close}?" if close else f"known here: {', '.join(here)}"
                name = key if isinstance(key, str) and _BARE_KEY.fullmatch(key) else shown(key)
                self.add(f"{at}{name}", f"unknown key; {advice}")
        return given
