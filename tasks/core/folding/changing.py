"""What a node says, without what differs from one look to the next: times, sizes, processes, sums."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

OWN, CHANGES, SIZE = "\x00", "\x01", "\x02"  # stand where something was left out
_KEY = r"SHA256:[\w+/]+"
_CHANGING = re.compile(
    r"(?P<size>(?<![\w.:-])\d+(?:\.\d+)?)"
    r"(?=%| ?(?:ms|s|min|h|d|days?|hours?|minutes?|seconds?|[kMGT]?i?B|bytes|sessions?)\b)"
    r"|\d{4}[-/]\d\d[-/]\d\d(?:[T ]\d\d:\d\d:\d\d\S*)?"  # dates
    r"|(?<![\w:.])\d?\d:\d\d:\d\d(?:[.,]\d+)?(?![\w:])"  # times
    r"|\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b"
    r"|\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) +\d{1,2}\b"
    r"|(?<=PID )\d+|(?<=pid )\d+|(?<=ps -fp )\d+|(?<=\[)\d+(?=\]:)|\b\d+#\d+(?=:)"  # processes
    rf"|\b[0-9a-f]{{12,}}\b|{_KEY}|(?<=known_hosts:)\d+"  # sums, keys
)


@lru_cache(maxsize=4096)
def skeleton(text: str) -> tuple[str, tuple[str, ...]]:
    """`text` without what differs from one look to the next (times, sizes, PIDs, sums), and that."""
    found: list[str] = []

    def out(match: re.Match[str]) -> str:
        found.append(match[0])
        return SIZE if match["size"] else CHANGES

    return _CHANGING.sub(out, text), tuple(found)


def fingerprints(text: str) -> tuple[str, ...]:
    """Those of keys, as OpenSSH writes them."""
    return tuple(re.findall(_KEY, text))


def sizes(texts: Iterable[tuple[str, Iterable[str]]]) -> tuple[str, ...]:
    """The sizes in skeletons, each given with what was left out of it."""
    return tuple(
        value
        for text, changes in texts
        for mark, value in zip(re.findall(f"[{CHANGES}{SIZE}]", text), changes, strict=True)
        if mark == SIZE
    )


def near(sizes: Sequence[Sequence[str]]) -> list[list[int]]:
    """Which nodes, by number, have sizes that may be told as one range, as none is far out."""
    sides = [_sides([float(size) for size in column]) for column in zip(*sizes, strict=True)]
    parts: dict[tuple[int, ...], list[int]] = {}
    for at in range(len(sizes)):
        parts.setdefault(tuple(side[at] for side in sides), []).append(at)
    if len(parts) == 1:
        return [*parts.values()]
    return [
        [part[at] for at in inner] for part in parts.values() for inner in near([sizes[at] for at in part])
    ]


def _sides(numbers: Sequence[float]) -> list[int]:
    """Where each is far out: above three times the middle one and 10, or below a third of it less 10."""
    middle = sorted(numbers)[len(numbers) // 2]
    return [(number > 3 * middle + 10) - (number < middle / 3 - 10) for number in numbers]


def spread(numbers: Iterable[str]) -> str:
    """`3 to 5`; `3` if there is no other."""
    ordered = sorted(numbers, key=float)
    return ordered[0] if ordered[0] == ordered[-1] else f"{ordered[0]} to {ordered[-1]}"
