"""The simulation of docs/scale.md, and the lines of that page that run shards."""

from __future__ import annotations

import re
import subprocess

import pytest

from benchmarks.reconnects import COLUMNS, ROWS, Fleet, chart, connections, most_at_once
from tasks.core.config.model import Rollout
from tests.docs import ROOT

ROLLOUTS = [
    Rollout(),
    Rollout(batch=1, canary=0),
    Rollout(batch="100%", parallel=7),
    Rollout(batch=16, pause=5, settle=0),
]


@pytest.mark.parametrize("rollout", ROLLOUTS)
@pytest.mark.parametrize("fleet", [Fleet(1), Fleet(203), Fleet(200, 3, 4, 1)])
def test_each_node_has_its_turn_once(fleet: Fleet, rollout: Rollout) -> None:
    assert sum(connections(fleet, rollout)) == fleet.nodes * fleet.of_a_turn


def test_it_is_the_same_every_time() -> None:
    assert connections(Fleet(500, 2), Rollout()) == connections(Fleet(500, 2), Rollout())


@pytest.mark.parametrize("shards", [1, 4])
@pytest.mark.parametrize("limit", [40, 100, 1000])
@pytest.mark.parametrize("settle", [1, 3, 10])
@pytest.mark.parametrize("pause", [0, 1, 5])
def test_a_batch_by_the_rule_keeps_every_second_within_the_limit(
    shards: int, limit: int, settle: int, pause: int
) -> None:
    fleet = Fleet(2000, shards)
    rollout = Rollout(parallel=1000, batch=most_at_once(fleet, limit), settle=settle, pause=pause)
    assert max(connections(fleet, rollout)) <= limit


def test_no_second_has_more_than_the_limit_for_want_of_nodes_alone() -> None:
    """A batch of twice the size is over it, so the rule is no more careful than by half."""
    fleet = Fleet(2000)
    assert max(connections(fleet, Rollout(parallel=1000, batch=2 * most_at_once(fleet, 100)))) > 100


def test_a_chart_has_the_limit_on_its_edge() -> None:
    lines = chart([0, 5, 10, 20], 10, 20).splitlines()
    assert len(lines) == ROWS + 2
    assert lines[3].startswith("   10 ┤··")
    assert [line[7:11] for line in lines[:ROWS]] == [
        "   █",
        "   █",
        "   █",
        "··██"[:2] + "██",
        " ▄██",
        " ███",
    ]
    assert max(map(len, lines)) == 7 + COLUMNS


def lines_of(kind: str) -> str:
    """The page's first block of a kind that begins shards."""
    blocks = re.findall(r"```(\w+)\n(.*?)```", (ROOT / "docs" / "scale.md").read_text(), re.DOTALL)
    return "\n".join(text for name, text in blocks if name == kind)


@pytest.mark.parametrize(
    ("line", "variables"),
    [
        ("JOB_COMPLETION_INDEX", [{"JOB_COMPLETION_INDEX": str(index)} for index in range(4)]),
        ("CI_NODE_INDEX", [{"CI_NODE_INDEX": str(index), "CI_NODE_TOTAL": "4"} for index in range(1, 5)]),
    ],
)
def test_the_lines_of_the_page_are_all_shards(line: str, variables: list[dict[str, str]]) -> None:
    (command,) = (
        text.strip(" -") for text in lines_of("yaml").splitlines() if "fab deploy" in text and line in text
    )
    command = command.partition(" > ")[0].replace("fab", "echo", 1)
    runs = [
        subprocess.run(["sh", "-c", command], env=given, capture_output=True, check=True)
        for given in variables
    ]
    assert [ran.stdout.decode() for ran in runs] == [f"deploy --shard {n}/4 --json\n" for n in range(1, 5)]
