"""Checks of values read from TOML: every one either returns the value or raises ValueError.

`Table` runs them and collects what they say, so that all mistakes are reported at once.
"""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

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
    """Any string without control characters; raises ValueError."""
    if not isinstance(value, str):
        raise ValueError(f"must be a string in quotes, not {kind(value)}")
    if not value.isprintable():
        raise ValueError("must not hold control characters, line breaks or invisible ones")
    return value


def boolean(value: object) -> bool:
    """true or false; raises ValueError."""
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


def parsed(parse: Callable[[str], T]) -> Check[T]:
    """A check for a string that `parse` accepts."""
    return lambda value: parse(string(value))


def optional(check: Check[str]) -> Check[str]:
    """Like `check`, but accepts "" too."""
    return lambda value: "" if value == "" else check(value)


def whole(flag: str, text: object, most: int, what: str = "a number") -> int:
    """The value of a flag that is a number, from 0 to `most`. Raises UsageError."""
    if not re.fullmatch("[0-9]{1,9}", str(text)) or int(str(text)) > most:
        raise UsageError(f"{flag} {shown(str(text))}: must be {what} from 0 to {most}, such as 60")
    return int(str(text))


def nearest(word: str, known: Iterable[str]) -> str:
    """The one of `known` that is spelt most like `word`, or ""."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), "")


class Table:
    """One TOML table under check; problems go to the list that all tables share.

    `at` is the prefix of its keys: "", "proxy.", "nodes[2].".
    """

    def __init__(self, data: object, at: str, problems: list[str]) -> None:
        self._at = at
        self._problems = problems
        self._asked: list[str] = []
        self._failed: set[str] = set()
        self._data: Mapping[object, object] = {}
        if isinstance(data, Mapping):
            self._data = data
        else:
            self.problem("", f"must be a table, not {kind(data)}")

    def __contains__(self, key: str) -> bool:
        return key in self._data

    def problem(self, key: str, text: str) -> None:
        """Record that the value of `key` is wrong."""
        self._failed.add(key)
        self._problems.append(f"{(self._at + key).rstrip('.')}: {text}")

    def sound(self, *keys: str) -> bool:
        """Whether no problem is known of any of `keys`."""
        return self._failed.isdisjoint(keys)

    def take(self, key: str, check: Check[T], default: T) -> T:
        """The checked value of `key`; `default` if it is missing or wrong."""
        self._asked.append(key)
        if key not in self._data:
            return default
        return self.attempt(key, check, self._data[key], default)

    def attempt(self, key: str, check: Check[T], value: object, default: T) -> T:
        """`check` applied to `value`; a problem of `key` and `default` if it is wrong."""
        try:
            return check(value)
        except ValueError as error:
            given = f"{shown(value)} " if isinstance(value, str | int | float) else ""
            self.problem(key, f"{given}{error}")
            return default

    def items(self, key: str) -> list[tuple[str, object]]:
        """The list at `key` as (`key[0]`, item), ...; [] if it is missing or no list."""
        self._asked.append(key)
        values = self._data.get(key, [])
        if not isinstance(values, list):
            self.problem(key, f"must be a list in [ ], not {kind(values)}")
            return []
        if key in self._data and not values:
            self.problem(key, "must name at least one")
        return [(f"{key}[{index}]", value) for index, value in enumerate(values)]

    def take_list(self, key: str, check: Check[T], default: tuple[T, ...]) -> tuple[T, ...]:
        """The checked items of the list at `key`; an empty list, or an item twice, is wrong."""
        found: dict[T, str] = {}
        for place, value in self.items(key):
            item = self.attempt(place, check, value, None)
            if item is None:
                self._failed.add(key)
            elif item in found:
                self.problem(place, f"{shown(value)} is the same as {found[item]}; remove one")
            else:
                found[item] = place
        return tuple(found) or default

    def table(self, key: str) -> "Table":
        """The table at `key`; an empty one if it is missing or wrong."""
        self._asked.append(key)
        return Table(self._data.get(key, {}), f"{self._at}{key}.", self._problems)

    def finish(self, elsewhere: Iterable[str] = ()) -> None:
        """Report keys that nobody asked for; `elsewhere` are dotted keys of other tables."""
        others = {dotted.rpartition(".")[2]: dotted for dotted in elsewhere}
        for key in self._data:
            if key in self._asked:
                continue
            name = key if isinstance(key, str) and _BARE_KEY.fullmatch(key) else shown(key)
            self.problem(name, f"unknown key; {self._advice(str(key), others)}")

    def _advice(self, key: str, others: Mapping[str, str]) -> str:
        if close := nearest(key, self._asked):
            return f"did you mean {self._at}{close}?"
        if close := nearest(key, others):
            return f"did you mean {others[close]}?"
        return "known here: " + ", ".join(self._asked)
