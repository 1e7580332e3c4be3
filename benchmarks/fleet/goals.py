"""What was to be reached, and whether it is. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from tasks.core.config.model import Rollout

Runs = Mapping[str, Sequence[Mapping[str, float]]]
"""What each contender's runs have cost, by its name."""
Setting = tuple[str, int, float]
"""light or real, how many hosts, and the seconds after which they answer."""
USUAL = Rollout()
UNITS = {
    "cpu": ("CPU a node", 1e-3, ".1f", " ms"),
    "memory": ("memory", 1e6, ".0f", " MB"),
    "files": ("files", 1.0, ".0f", ""),
    "threads": ("threads", 1.0, ".0f", ""),
    "wall": ("wall", 1.0, ".2f", " s"),
}


@dataclass(frozen=True, slots=True)
class Goal:
    """`what` is to cost at most so much in these settings; `beside`: so many times what that one costs.

    CPU (of a node) and wall are in seconds, memory in bytes. `more` is added to what `beside` gives.
    """

    cost: str
    most: float
    settings: tuple[Setting, ...]
    beside: str = ""
    more: float = 0
    what: tuple[str, ...] = ("fab status", "fab deploy")


SPARE = 2.0
"""Seconds that a round of a rollout may take besides what its nodes wait for."""


@dataclass(frozen=True, slots=True)
class Rolled:
    """What a rollout over so many nodes has cost: of such as need no time, and of such as take `settle` s."""

    nodes: int
    rounds: int
    settle: float
    at_once: Mapping[str, float]
    waiting: Mapping[str, float]

    @property
    def most(self) -> float:
        """The seconds that the latter may take."""
        return self.rounds * (self.settle + SPARE) + self.at_once["wall"]

    @property
    def allowance(self) -> str:
        """How they come about."""
        return (
            f"{self.rounds} rounds of {self.settle:g} + {SPARE:g} s, and {self.at_once['wall']:.1f} s at once"
        )

    @property
    def cells(self) -> list[str]:
        """Those of its goal's line."""
        took = self.waiting["wall"]
        end = "reached" if took <= self.most else "missed"
        most = f"{self.most:.1f} s ({self.allowance})"
        return [
            "fab reload: wall",
            f"{self.nodes:,} light, {self.settle:g} s each",
            f"{took:.1f} s",
            most,
            end,
        ]


MANY: Setting = ("light", 300, 0)
MOST: Setting = ("light", 1000, 0)
REAL: tuple[Setting, ...] = (("real", 6, 0), ("real", 30, 0))
FIRST = ("first fab deploy",)
AGAIN = ("fab deploy",)
GOALS = (
    Goal("cpu", 5e-3, (MANY, MOST)),
    Goal("cpu", 0.75, (MANY, MOST), "Fabric with ssh_config"),
    Goal("cpu", 2, (MANY, MOST), "paramiko"),
    Goal("cpu", 7e-3, (("light", 100, 8),)),
    Goal("memory", 70e6, (MANY,)),
    Goal("memory", 95e6, (MOST,)),
    Goal("files", USUAL.parallel + 10, (MANY, MOST)),
    Goal("threads", 2 * USUAL.parallel + 10, (MANY, MOST)),
    Goal("wall", 1, (MOST,), "Fabric with ssh_config"),
    Goal("wall", 1.8, REAL, "first Fabric", 2 * USUAL.settle, FIRST),
    Goal("wall", 0.3, REAL, "first Ansible", what=FIRST),
    Goal("wall", 0.6, REAL, "Fabric", what=AGAIN),
    Goal("wall", 0.04, REAL, "Ansible", what=AGAIN),
)


def rows(runs: Mapping[Setting, Runs]) -> Iterator[list[str]]:
    """The cells of each goal's lines; what was not measured has none."""
    for goal in GOALS:
        for setting in goal.settings:
            for name in goal.what:
                measured = runs.get(setting, {})
                if name in measured and (goal.beside in measured or not goal.beside):
                    yield _row(goal, name, setting, measured)


def _row(goal: Goal, name: str, setting: Setting, runs: Runs) -> list[str]:
    title, unit, form, suffix = UNITS[goal.cost]
    nodes = setting[1]
    found = value(goal.cost, runs[name], nodes)
    beside = value(goal.cost, runs[goal.beside], nodes) if goal.beside else 1.0
    most = goal.most * beside + goal.more
    if goal.beside and not goal.more:
        shown, limit = ratio(found, beside), f"{goal.most:g}"
        title += f", of {goal.beside}'s"
    else:
        shown, limit = (f"{number / unit:{form}}{suffix}" for number in (found, most))
        if goal.beside:
            limit += f" ({goal.most:g} x {goal.beside}'s + {goal.more:g}{suffix})"
    return [f"{name}: {title}", where(setting), shown, limit, "reached" if found <= most else "missed"]


def where(setting: Setting) -> str:
    """So many hosts of that kind, for a cell."""
    hosts, nodes, delay = setting
    return f"{nodes:,} {hosts}" + (f", after {delay:g} s" if delay else "")


def ratio(one: float, other: float) -> str:
    """One beside another, with two digits that count."""
    quotient = one / other
    return f"{quotient:.{2 if quotient >= 0.1 else 3}f}"


def value(cost: str, runs: Sequence[Mapping[str, float]], nodes: int) -> float:
    """One figure for some runs: medians, of a node for CPU; the most of files and threads."""
    each = [run[cost] for run in runs]
    if cost in ("files", "threads"):
        return max(each)
    return median(each) / (nodes if cost == "cpu" else 1)
