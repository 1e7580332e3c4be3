"""The figures of docs/scale.md: what benchmarks/fleet measured, and benchmarks/reconnects simulates. Pure."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from statistics import median
from typing import Any

from benchmarks.fleet.page import RESULTS
from benchmarks.reconnects import Fleet, chart, connections
from tasks.core.config.model import Rollout
from tasks.core.rollout.rolling import batches
from tasks.core.shell.pool import MOST_BEGUN

SIZES = (1_000, 10_000, 100_000)
LIMIT = 100
"""New apiserver connections a second that are well, in the examples."""
RELEASE = 1.6
"""Megabytes that a first deploy sends to a node: a stripped static binary, two small files, the scripts."""
GIGABIT = 110
"""Megabytes a second through a link of 1 Gbit/s."""
TASK = "fab deploy"
DEFAULTS = Rollout()


def cpu() -> int:
    """Milliseconds of CPU a node, at the most nodes that were measured, rounded up to fives."""
    nodes, used, _ = _measured()[-1]
    return 5 * math.ceil(used / nodes * 1000 / 5)


def memory() -> tuple[int, int]:
    """Megabytes without nodes, and kilobytes a node: by the two largest fleets; rounded up to tens."""
    (fewer, _, small), (more, _, large) = _measured()[-2:]
    each = (large - small) / (more - fewer)
    return 10 * math.ceil((small - fewer * each) / 1e7), 10 * math.ceil(each / 1e4)


def _measured() -> list[tuple[int, float, float]]:
    """Nodes, seconds of CPU and bytes of memory of light hosts that answer at once; the most nodes last."""
    runs: dict[str, dict[str, Any]] = json.loads(RESULTS.read_text())["runs"]
    found = []
    for key, by_name in runs.items():
        hosts, nodes, delay = key.split()
        if (hosts, delay) == ("light", "0") and TASK in by_name:
            middle = {what: median(run[what] for run in by_name[TASK]) for what in ("cpu", "memory")}
            found.append((int(nodes), middle["cpu"], middle["memory"]))
    return sorted(found)


def page() -> str:
    """The part of the page that is made of figures."""
    return "\n".join([*_costs(), "", *_rollouts()])


def _costs() -> Iterator[str]:
    turn, (base, each) = Fleet(1).of_a_turn, memory()
    yield (
        f"Rounded up: {cpu()} ms of CPU and {each} KB a node, after the first {base} MB, from "
        f"[performance.md](performance.md); {RELEASE} MB a release; {turn} new connections to apiservers "
        f"for each node that changes, of which {LIMIT} a second may be well."
    )
    yield ""
    head = (
        "nodes",
        "CPU, nothing to change",
        "memory",
        "a release to all, by 1 Gbit/s",
        "a change, at the least",
    )
    yield f"| {' | '.join(head)} |"
    yield "| --- | --- | --- | --- | --- |"
    for nodes in SIZES:
        cells = [
            f"{nodes:,}",
            _time(nodes * cpu() / 1000),
            _size(base + nodes * each / 1000),
            f"{_size(nodes * RELEASE)}, {_time(nodes * RELEASE / GIGABIT)}",
            _time(nodes * turn / LIMIT),
        ]
        yield f"| {' | '.join(cells)} |"


def _rollouts() -> Iterator[str]:
    shown = [
        ("one run, the defaults", Fleet(10_000), DEFAULTS),
        ("the same, `batch = 16`", Fleet(10_000), Rollout(batch=16)),
        ("and `pause = 5`", Fleet(10_000), Rollout(batch=16, pause=5)),
        ("and `settle = 10`", Fleet(10_000), Rollout(batch=16, settle=10)),
        ("4 shards at the same time, the defaults", Fleet(10_000, 4), DEFAULTS),
        ("the same, `batch = 4`", Fleet(10_000, 4), Rollout(batch=4)),
    ]
    yield "| 10,000 nodes | nodes at a time | connections in the worst second | on average | minutes |"
    yield "| --- | --- | --- | --- | --- |"
    for name, fleet, rollout in shown:
        seen = connections(fleet, rollout)
        largest = max(map(len, batches(range(fleet.nodes // fleet.shards), rollout)))
        together = fleet.shards * min(largest, rollout.parallel * MOST_BEGUN)
        worst = f"{max(seen):,}" if max(seen) <= LIMIT else f"**{max(seen):,}**"
        yield f"| {name} | {together:,} | {worst} | {sum(seen) / len(seen):,.0f} | {len(seen) / 60:.0f} |"
    yield ""
    yield f"The first minute; dots are at {LIMIT} a second:"
    yield ""
    yield "```text"
    for name, fleet, rollout in shown[:3]:
        seen = connections(fleet, rollout)
        yield name.replace("`", "")
        yield chart(seen, LIMIT, max(LIMIT, *seen))
    yield "```"


def _time(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 100 * 60 else f"{seconds / 3600:.1f} h"


def _size(megabytes: float) -> str:
    return f"{megabytes:.0f} MB" if megabytes < 1000 else f"{megabytes / 1000:.1f} GB"
