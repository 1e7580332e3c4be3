"""docs/behaviour.md out of the raw results and behaviour.md.j2. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined

from benchmarks import stats
from benchmarks.configurations import CHOICES, CONFIGURATIONS, DEFAULTS, OURS, VARIANTS, variant
from tasks.core.config import model

Results = Mapping[str, Mapping[str, Any]]
TEMPLATE = Path(__file__).with_name("behaviour.md.j2")
FAULTS = {
    "kill": ("kill -9", "The process ends, and its host refuses connections."),
    "pause": ("SIGSTOP", "The process is frozen: its kernel accepts connections, nobody answers them."),
    "cut": ("Silent cut", "All packets of its host are dropped, both ways: nobody gets a refusal."),
}
SPREAD, RECOVERY, GRACE = 1.25, 3.5, 0.2
CAP = 60


def text(results: Results) -> str:
    """The whole page, from results that are complete."""
    page = Page(results)
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    figures = {row: results[row][OURS] for row in ("kill", "pause", "cut", "reload", "upgrade", "cost")}
    return environment.from_string(TEMPLATE.read_text()).render(
        environment=results["environment"],
        seconds=seconds,
        recovery_target=RECOVERY,
        **figures,
        **{name: getattr(page, name) for name in dir(page) if not name.startswith("_")},
    )


def seconds(value: float | None, cap: int = CAP) -> str:
    """Seconds for people; None: it had not come after `cap` seconds."""
    if value is None:
        return f"> {cap} s"
    if value < 0.0995:
        return f"{value * 1000:.0f} ms"
    return f"{value:.2f} s" if value < 9.95 else f"{value:.0f} s"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table of Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


class Page:
    """The page's tables and figures, each a method that the template calls."""

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

    def targets(self) -> str:
        """What was to be reached, and whether it was."""
        cut, kill = (self.of(fault, OURS) for fault in ("cut", "kill"))
        spread = stats.spread(self.of("first", OURS)["counts"])
        outage = self._longest("outage", OURS)
        most = float(self.default("connect_timeout").removesuffix("s")) + GRACE
        fails = self.default("max_fails")
        rows = [
            (f"first sessions of 300 starts: max / mean at most {SPREAD}", f"{spread:.2f}", spread <= SPREAD),
            ("kill -9: no request fails that begins after it", kill["failed"], not kill["failed"]),
            ("silent cut: no request with a new connection fails", cut["failed"], not cut["failed"]),
            (
                f"silent cut: none of them is slower than `connect_timeout` + {GRACE} s, {most} s",
                seconds(cut["slowest"]),
                cut["slowest"] <= most,
            ),
            (
                f"silent cut: at most `max_fails`, {fails}, of them are slow in each `fail_timeout`",
                cut["slow_in_window"],
                cut["slow_in_window"] <= fails,
            ),
            (
                f"total outage: the first good answer at most {RECOVERY} s after they are back",
                seconds(outage),
                outage is not None and outage <= RECOVERY,
            ),
        ]
        verdicts = [(what, figure, "reached" if good else "**not reached**") for what, figure, good in rows]
        return table(("to reach, with `recommended`", "measured", ""), verdicts)

    def starts(self) -> str:
        """Where first sessions, and many sessions, are."""
        head = ("settings", "first session of each of 300 starts", "max / mean", "300 sessions", "max / mean")
        rows = [
            [
                name,
                *(
                    cell
                    for row in ("first", "many")
                    for cell in (self._counts(row, name), self.spread(row, name))
                ),
            ]
            for name in CONFIGURATIONS
        ]
        return table(head, rows)

    def failures(self, fault: str) -> str:
        """What all clients see of a fault."""
        head = ("settings", "new connections: failed", "slowest", "slow", "at once")
        kept = ("HTTP/2: failed", "good again", "kubectl")
        rows = [
            [
                name,
                f"{seen['failed']} of {seen['requests']}",
                seconds(seen["slowest"]),
                seen["slow"],
                seen["slow_in_window"],
                f"{seen['kept_failed']} of {seen['kept_requests']}",
                seconds(seen["kept_again"]),
                seconds(seen["watch_seen"]),
            ]
            for name in CONFIGURATIONS
            for seen in [self.of(fault, name)]
        ]
        title, what = FAULTS[fault]
        return f"### {title}\n\n{what}\n\n{table((*head, *kept), rows)}"

    def outages(self) -> str:
        """How long a total outage lasts longer with a proxy."""
        rows = [[name, *self._recoveries("outage", name)] for name in CONFIGURATIONS]
        return table(("settings", "they refused", "packets were dropped"), rows)

    def changes(self) -> str:
        """Reload and upgrade."""
        head = ("settings", "last session to the removed one", "reload: watches ended", "requests failed")
        rows = []
        for name in CONFIGURATIONS:
            reload, upgrade = (self.of(row, name) for row in ("reload", "upgrade"))
            gone = reload["removed_gone"]
            last = seconds(gone, int(reload["cap"]))
            rows.append([name, last, *_ended(reload), *_ended(upgrade)])
        return table((*head, "upgrade: watches ended", "requests failed"), rows)

    def costs(self) -> str:
        """Memory and processor time by sessions."""
        rows = [
            [
                f"{int(number):,}",
                f"{at['bytes'] / 1e6:.1f} MB",
                f"{at['idle']:.1%}",
                f"{at['busy']:.1%}" if at["rate"] else "",
            ]
            for number, at in self.of("cost", OURS)["sessions"].items()
        ]
        return table(("sessions", "memory", "of a core, idle", "of a core, busy"), rows)

    def rooms(self) -> str:
        """Memory by worker_connections."""
        sizes = self.of("cost", OURS)["worker_connections"]
        return ", ".join(f"{int(number):,}: {size / 1e6:.1f} MB" for number, size in sizes.items())

    def room_added(self) -> str:
        """What four times the default's worker_connections take."""
        sizes = self.of("cost", OURS)["worker_connections"]
        return f"{(sizes['16384'] - sizes['4096']) / 1e6:.1f} MB"

    def speeds(self) -> str:
        """Throughput and latency beside a direct connection."""
        speed = self.of("speed", OURS)
        rows = [
            [
                "one stream of bytes, the best of 3",
                f"{speed['direct'] / 1e6:,.0f} MB/s",
                f"{speed['proxied'] / 1e6:,.0f} MB/s, with {speed['cpu']:.0%} of a core",
                "",
            ]
        ]
        for row, what in (("echo", "100 bytes and back"), ("request", "GET /version over TLS")):
            for name, called in (("median", "median"), ("p99", "99th percentile")):
                direct, proxied = (speed[row][f"{kind}_{name}"] * 1000 for kind in ("direct", "proxied"))
                figures = (f"{value:.2f} ms" for value in (direct, proxied, proxied - direct))
                rows.append([f"{what}, 3,000 times on one connection: {called}", *figures])
        return table(("", "direct", "through the proxy", "added"), rows)

    def variants(self) -> str:
        """Ours with one setting changed."""
        head = ("settings", "cut: failed", "slowest", "slow", "at once", "all were down: refused", "dropped")
        rows = []
        for name in VARIANTS:
            cut = self.of("variant-cut", name)
            is_measured = name in self._results["variant-outage"]
            recoveries = self._recoveries("variant-outage", name) if is_measured else ("", "")
            failed = f"{cut['failed']} of {cut['requests']}"
            rows.append([name, failed, self.slowest(name), cut["slow"], cut["slow_in_window"], *recoveries])
        return table(head, rows)

    def first(self, name: str) -> str:
        """Max / mean of the first sessions of a variant."""
        return self.spread("first", OURS) if name == DEFAULTS else self.spread("variant-first", name)

    def spread(self, row: str, name: str) -> str:
        """Max / mean of a row of counts."""
        return f"{stats.spread(self.of(row, name)['counts']):.2f}"

    def slow(self, name: str) -> int:
        """How many requests a variant has slow."""
        return int(self.of("variant-cut", name)["slow"])

    def slowest(self, name: str) -> str:
        """A variant's slowest request."""
        return seconds(self.of("variant-cut", name)["slowest"])

    def recovery(self, name: str) -> str:
        """A variant's longest time after a total outage."""
        return seconds(self._longest("variant-outage", name))

    def _counts(self, row: str, name: str) -> str:
        return " ".join(map(str, self.of(row, name)["counts"]))

    def _recoveries(self, row: str, name: str) -> tuple[str, str]:
        refused, dropped = (self._longest(row, name, kind) for kind in ("refused", "dropped"))
        return seconds(refused), seconds(dropped)

    def _longest(self, row: str, name: str, *kinds: str) -> float | None:
        """The longest time after a total outage; None if there was no end to it."""
        seen = self.of(row, name)
        times = [time for kind in kinds or ("refused", "dropped") for time in seen[kind]]
        return None if None in times else max(times)


def _ended(seen: Mapping[str, Any]) -> tuple[str, str]:
    when = f", after {seen['first']:.1f} to {seen['last']:.1f} s" if seen["ended"] else ""
    errors = sum(seen["errors"].values())
    with_errors = f", {errors} with an error" if errors else ""
    return f"{seen['ended']}{when}{with_errors}", f"{seen['failed']} of {seen['requests']}"
