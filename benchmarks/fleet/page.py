"""docs/performance.md out of the raw results and page.md.j2."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from jinja2 import Environment, StrictUndefined

from benchmarks import machine
from benchmarks.fleet import goals
from benchmarks.fleet.goals import Rolled, Runs, Setting

RESULTS = Path(__file__).with_name("results.json")
TEMPLATE = Path(__file__).with_name("page.md.j2")
PAGE = Path(__file__).parents[2] / "docs" / "performance.md"
BESIDE = "Fabric"
"""With whose CPU the others are compared; a first deploy with its first one."""
OURS = {"light": ("fab status", "fab deploy"), "real": ("first fab deploy", "fab deploy")}
OTHERS = ("Fabric with ssh_config", BESIDE, "paramiko", "Ansible")
"""To whom ours is compared, in CPU and in wall."""
BARS = ("fab status", "fab deploy", BESIDE, "paramiko")
WIDTH = 40


def key(hosts: str, nodes: int, delay: float) -> str:
    """Under which name the results of so many hosts are kept."""
    return f"{hosts} {nodes} {delay:g}"


def keep(change: Callable[[dict[str, Any]], object]) -> None:
    """Has `change` add to the results that are kept what this machine has measured, and writes the page."""
    kept = json.loads(RESULTS.read_text()) if RESULTS.exists() else {"versions": {}, "runs": {}}
    change(kept)
    kept["environment"] = machine.described()
    RESULTS.write_text(json.dumps(kept, indent=1) + "\n")
    PAGE.write_text(text(kept))


def text(results: Mapping[str, Any]) -> str:
    """The whole page."""
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    runs = {_setting(name): each for name, each in results["runs"].items()}
    tables = [
        (hosts, nodes, delay, rounds(measured), [*rows(measured, nodes)])
        for (hosts, nodes, delay), measured in sorted(runs.items())
    ]
    at_once = {
        nodes: runs["light", nodes, 0.0]
        for hosts, nodes, delay in sorted(runs)
        if (hosts, delay) == ("light", 0)
    }
    rolled = [Rolled(**each) for _, each in sorted(results.get("rollouts", {}).items())]
    environment.filters["n"] = "{:,}".format
    return environment.from_string(TEMPLATE.read_text()).render(
        environment=results["environment"],
        versions=results["versions"],
        light=[table[1:] for table in tables if table[0] == "light"],
        real=[table[1:] for table in tables if table[0] == "real"],
        bars=bars(at_once),
        beside=BESIDE,
        others=OTHERS,
        ratios=[*ratios(runs)],
        goals=[*goals.rows(runs), *(each.cells for each in rolled)],
        rollouts=[row for each in rolled for row in rollout_rows(each)],
    )


def _setting(name: str) -> Setting:
    hosts, nodes, delay = name.split()
    return hosts, int(nodes), float(delay)


def rounds(runs: Runs) -> str:
    """How often each ran, if not as often: the fewest and the most."""
    counts = sorted({len(each) for each in runs.values()})
    return " to ".join(map(str, counts[:1] + counts[1:][-1:])) + (" round" if counts == [1] else " rounds")


def rows(runs: Runs, nodes: int) -> Iterator[list[str]]:
    """The cells of each contender's line."""
    for name, each in runs.items():
        beside = runs.get(_like(name, BESIDE))
        cpu = sorted(run["cpu"] / nodes * 1000 for run in each)
        most = {what: max(run[what] for run in each) for what in ("threads", "files", "processes")}
        yield [
            name,
            f"{median(cpu):.1f}",
            f"{cpu[0]:.1f} to {cpu[-1]:.1f}",
            _ratio("cpu", each, beside) if beside else "",
            f"{median(run['memory'] for run in each) / 1e6:.0f} MB",
            *(f"{count:,.0f}" for count in most.values()),
            f"{median(run['wall'] for run in each):.1f} s",
        ]


def rollout_rows(rolled: Rolled) -> Iterator[list[str]]:
    """The cells of the two lines of a rollout."""
    for seconds, cost in ((0.0, rolled.at_once), (rolled.settle, rolled.waiting)):
        yield [
            f"{rolled.nodes:,}",
            f"{seconds:g} s",
            f"{cost['cpu'] / rolled.nodes * 1000:.1f}",
            f"{cost['memory'] / 1e6:.0f} MB",
            *(f"{cost[what]:,.0f}" for what in ("threads", "files")),
            f"{cost['wall']:.1f} s",
        ]


def ratios(runs: Mapping[Setting, Runs]) -> Iterator[list[str]]:
    """The cells of the lines that compare ours with others: name, hosts, and CPU and wall beside each."""
    for setting, measured in sorted(runs.items()):
        for name in OURS[setting[0]]:
            if name not in measured:
                continue
            cells = []
            for other in OTHERS:
                beside = measured.get(_like(name, other))
                cells.append(
                    "; ".join(_ratio(cost, measured[name], beside) for cost in ("cpu", "wall") if beside)
                )
            if any(cells):
                yield [name, goals.where(setting), *cells]


def _like(name: str, other: str) -> str:
    """The other at the same work."""
    return f"first {other}" if name.startswith("first ") else other


def _ratio(cost: str, one: Sequence[Mapping[str, float]], other: Sequence[Mapping[str, float]]) -> str:
    return goals.ratio(goals.value(cost, one, 1), goals.value(cost, other, 1))


def bars(by_nodes: Mapping[int, Runs]) -> str:
    """How CPU, memory and wall grow with the fleet, each with bars of its own scale."""
    return "\n".join(
        line
        for title, what, unit in (
            ("CPU, ms a node", "cpu", 1e-3),
            ("memory, MB", "memory", 1e6),
            ("wall, s", "wall", 1.0),
        )
        for line in _bars(title, what, unit, by_nodes)
    )


def _bars(title: str, what: str, unit: float, by_nodes: Mapping[int, Runs]) -> Iterator[str]:
    found = {
        (name, nodes): median(run[what] for run in runs[name]) / unit / (nodes if what == "cpu" else 1)
        for name in BARS
        for nodes, runs in by_nodes.items()
        if name in runs
    }
    if found:
        yield title
    for (name, nodes), value in found.items():
        bar = "█" * max(1, round(value / max(found.values()) * WIDTH))
        yield f"  {name:12}{nodes:6,}  {bar} {value:.{1 if value < 100 else 0}f}"
