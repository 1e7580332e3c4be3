"""A walk that nobody planned, on each of the three releases; and that the walk sees what is to be seen."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import alone, run_fab
from tests.lab.lab import Lab
from tests.lab.roots import SUITES
from tests.walk import damage
from tests.walk.moves import Chooser
from tests.walk.walk import Walk
from tests.walk.world import World

SEED = "26"
SECONDS = 20.0  # on each of three nodes
SEEN = (
    {
        "edit-taken-and-undone": "those were met",
        "leftovers": "a leftover",
        "disabled": "UnitFileState=disabled",
        "pid-of-worker": "nginx.pid says",
    },
    {
        "second-master": "2 masters",
        "conf-edited": "max_fails",
        "unit-edited": "the files are",
        "binary-644": "sbin/kube-nginx is f|644",
    },
    {
        "unit-removed": "kube-nginx.service is nothing",
        "current-gone": "those of release  are",
        "user-gone": "a start would fail",
        "worker-stopped": "its workers",
    },
    {"sbin-000": "sbin is d|0", "workers-away": "its workers: []"},
    {"stopped": "ActiveState=inactive"},
)
"""Damages, done one after the other, and what is said of each."""


@pytest.fixture
def walk(lab: Lab, fleet: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Walk]:
    """A walk over one node of the lab, which is as it was afterwards."""
    this = Walk(lab, lab.nodes[SUITES.index(request.param)], tmp_path, SEED)
    with alone():
        this.build()
    yield this
    damage.wipe(this.world)
    back = run_fab("deploy", "--limit", this.node.name, hosts=fleet)
    assert back.status == 0, back.out + back.err


@pytest.mark.lab
@pytest.mark.parametrize("walk", SUITES, indirect=True)
def test_a_walk(walk: Walk) -> None:
    walk.go(walk.chosen(SECONDS), keep_going=False)
    assert walk.count > 1
    assert not walk.broken, str(walk.broken[0])


@pytest.mark.lab
@pytest.mark.parametrize("walk", SUITES[-1:], indirect=True)
def test_what_is_broken_is_seen(walk: Walk) -> None:
    """Each of these differs from what hosts.toml says, and the way it is found out is not the library's."""
    whole = {"logs-700": ""}
    for damages in (whole, *SEEN):
        damage.wipe(walk.world)
        assert walk.world.fab("deploy").status == 0
        for name in damages:
            walk.moves.do(f"damage {name}")
        told = list(walk.moves.rules.whole(walk.eyes.look(12)))
        missing = [words for words in damages.values() if words not in "\n".join(told)]
        assert (not told) if damages is whole else (not missing), (missing, told)


def test_the_same_seed_has_the_same_moves(tmp_path: Path) -> None:
    lab = Lab("never", 1)

    def moves(seed: str) -> list[str]:
        chooser = Chooser(random.Random(seed), World(lab, lab.nodes[0], tmp_path))
        return [chooser.choose() for _ in range(300)]

    assert moves("1") == moves("1") != moves("2")
    kinds = {move.split()[0] for move in moves("1")}
    assert {"set", "damage", "run", "api", "under", "during"} <= kinds
