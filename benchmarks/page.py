"""docs/behaviour.md out of the raw results and behaviour.md.j2. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from benchmarks.alternatives import ALTERNATIVES
from benchmarks.configurations import CHOICES, CONFIGURATIONS, DEFAULTS, OURS, VARIANTS, variant
from benchmarks.silence import EJECTED, SPREAD_AFTER
from tasks.core.config import model

Results = Mapping[str, Mapping[str, Any]]
RESULTS = Path(__file__).with_name("behaviour.json")
TEMPLATE = Path(__file__).with_name("behaviour.md.j2")
PAGE = Path(__file__).parents[1] / "docs" / "behaviour.md"
SPREAD, RECOVERY, GRACE = 1.25, 3.5, 0.2


def text(results: Results) -> str:
    """The whole page, from results that are complete."""
    page = Page(results)
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters |= {"seconds": seconds, "mb": megabytes, "n": "{:,}".format}
    environment.globals |= {"names": CONFIGURATIONS, "variants": VARIANTS, "recovery_target": RECOVERY}
    environment.globals |= {"alternatives": ALTERNATIVES, "ejected": EJECTED, "spread_after": SPREAD_AFTER}
    figures = {
        row: results[row][OURS] for row in ("kill", "pause", "cut", "reload", "upgrade", "cost", "speed")
    }
    methods = {name: getattr(page, name) for name in dir(page) if not name.startswith("_")}
    template = environment.from_string(TEMPLATE.read_text())
    return template.render(environment=results["environment"], results=results, **figures, **methods)


def seconds(value: float | None, cap: float = 60) -> str:
    """Seconds for people; None: it had not come after `cap` seconds."""
    if value is None:
        return f"> {cap:.0f} s"
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 9.95 else f"{value:.0f} s"


def megabytes(size: float) -> str:
    """Bytes for people."""
    return f"{size / 1e6:.1f} MB"


def spread(counts: Sequence[int]) -> float:
    """The most that one server has of a fair share: max / mean, 1.0 at best; raises ValueError for none."""
    if not sum(counts):
        raise ValueError("nothing was counted")
    return max(counts) * len(counts) / sum(counts)


class Page:
    """The page's figures, each a method that the template calls."""

    def __init__(self, results: Results) -> None:
        self._results = results

    def of(self, row: str, name: str) -> Any:
        """What was measured for a configuration."""
        return self._results[row][name]

    def default(self, setting: str) -> Any:
        """The default of a setting of [proxy]."""
        return getattr(model.Proxy(), setting)

    def by(self, figure: Callable[[str], object], setting: str) -> str:
        """A figure for each value of a setting that was tried."""
        return ", ".join(f"{value}: {figure(variant(setting, value))}" for value in CHOICES[setting])

    def targets(self) -> list[tuple[str, object, bool]]:
        """What was to be reached, what was measured, and whether that is good."""
        cut, failed = self.of("cut", OURS), self.of("kill", OURS)["failed"]
        share = spread(self.of("first", OURS)["counts"])
        outage = self._longest("outage", OURS)
        most = float(self.default("connect_timeout").removesuffix("s")) + GRACE
        fails = self.default("max_fails")
        slower = f"none of them is slower than `connect_timeout` + {GRACE} s, {most} s"
        slow = f"at most `max_fails`, {fails}, of them are slow in each `fail_timeout`"
        back = f"the first good answer at most {RECOVERY} s after they are back"
        return [
            (f"first sessions of 300 starts: max / mean at most {SPREAD}", f"{share:.2f}", share <= SPREAD),
            ("kill -9: no request fails that begins after it", failed, not failed),
            ("silent cut: no request with a new connection fails", cut["failed"], not cut["failed"]),
            (f"silent cut: {slower}", seconds(cut["slowest"]), cut["slowest"] <= most),
            (f"silent cut: {slow}", cut["slow_in_window"], cut["slow_in_window"] <= fails),
            (f"total outage: {back}", seconds(outage), outage is not None and outage <= RECOVERY),
        ]

    def ended(self, seen: Mapping[str, Any]) -> str:
        """How many watches a change has ended."""
        when = f", after {seen['first']:.1f} to {seen['last']:.1f} s" if seen["ended"] else ""
        errors = sum(seen["errors"].values())
        return f"{seen['ended']}{when}{f', {errors} with an error' if errors else ''}"

    def spread(self, row: str, name: str) -> str:
        """Max / mean of a row of counts; a row of variants has not the defaults, which are ours."""
        row, name = ("first", OURS) if name == DEFAULTS else (row, name)
        return f"{spread(self.of(row, name)['counts']):.2f}"

    def first(self, name: str) -> str:
        """Max / mean of the first sessions of a variant."""
        return self.spread("variant-first", name)

    def slow(self, name: str) -> int:
        """How many requests a variant has slow."""
        return int(self.of("variant-cut", name)["slow"])

    def slowest(self, name: str) -> str:
        """A variant's slowest request."""
        return seconds(self.of("variant-cut", name)["slowest"])

    def recovery(self, name: str) -> str:
        """A variant's longest time after a total outage."""
        return seconds(self._longest("variant-outage", name))

    def recoveries(self, row: str, name: str) -> str:
        """The longest times after an outage of both kinds, as cells of a table; empty if not measured."""
        kinds = ("refused", "dropped") if name in self._results[row] else ()
        return " | ".join(seconds(self._longest(row, name, kind)) for kind in kinds) or " | "

    def _longest(self, row: str, name: str, *kinds: str) -> float | None:
        """The longest time after a total outage; None if there was no end to it."""
        times = [time for kind in kinds or ("refused", "dropped") for time in self.of(row, name)[kind]]
        return None if None in times else max(times)
