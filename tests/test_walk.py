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
SECONDS = 40.0  # on each of three nodes


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
    walk.begin_anew()
    assert list(walk.moves.rules.whole(walk.eyes.look(12))) == []
    for name, words in {
        "conf-edited": "max_fails",
        "edit-taken-and-undone": "those were met",
        "binary-644": "sbin/kube-nginx is f|644",
        "unit-edited": "the files are",
        "unit-removed": "kube-nginx.service is nothing",
        "logs-700": "",
        "sbin-000": "sbin is d|0",
        "current-gone": "those of release  are",
        "user-gone": "a start would fail",
        "leftovers": "a leftover",
        "pid-of-worker": "nginx.pid says",
        "workers-away": "its workers: []",
        "worker-stopped": "its workers",
        "second-master": "2 masters",
        "stopped": "ActiveState=inactive",
        "disabled": "UnitFileState=disabled",
    }.items():
        walk.begin_anew()
        walk.moves.do(f"damage {name}")
        told = "\n".join(walk.moves.rules.whole(walk.eyes.look(12)))
        assert (words in told) if words else not told, f"{name}: {told}"


def test_the_same_seed_has_the_same_moves(tmp_path: Path) -> None:
    lab = Lab("never", 1)

    def moves(seed: str) -> list[str]:
        chooser = Chooser(random.Random(seed), World(lab, lab.nodes[0], tmp_path))
        return [chooser.choose() for _ in range(300)]

    assert moves("1") == moves("1") != moves("2")
    kinds = {move.split()[0] for move in moves("1")}
    assert {"set", "damage", "run", "api", "under", "during"} <= kinds
