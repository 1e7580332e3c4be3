"""Figures out of measurements. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


def spread(counts: Sequence[int]) -> float:
    """The most that one server has of a fair share: max / mean, 1.0 at best; raises ValueError for none."""
    if not sum(counts):
        raise ValueError("nothing was counted")
    return max(counts) * len(counts) / sum(counts)


def most_within(times: Sequence[float], window: float) -> int:
    """The greatest number of `times` within any `window`, both in seconds."""
    ordered = sorted(times)
    most = first = 0
    for last, time in enumerate(ordered):
        while time - ordered[first] >= window:
            first += 1
        most = max(most, last - first + 1)
    return most


def percentile(values: Sequence[float], share: float) -> float:
    """The least value that `share` (0 to 1) of all values do not exceed."""
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
