"""Shards of a real fleet: together they are the fleet, each acts on its part, and recap tells of both."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.shards.selection import Shard
from tests.conftest import Ran, run_fab
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab

PARTS = ("1/2", "2/2")


def names(ran: Ran) -> list[str]:
    """The nodes of a document."""
    return [node["node"] for node in ran.json["nodes"]]


def started(lab: Lab) -> dict[str, str]:
    """The service's main process on each node."""
    return {node.name: node.ssh("systemctl show -p MainPID kube-nginx").stdout.strip() for node in lab.nodes}


def part(lab: Lab, shard: str) -> list[str]:
    """The nodes that have to be in it."""
    number, count = map(int, shard.split("/"))
    return [node.name for node in lab.nodes if Shard(number, count).holds(node.name)]


def written(folder: Path, *runs: Ran) -> list[str]:
    """The documents of runs, in files."""
    files = [folder / f"{number}.json" for number in range(len(runs))]
    for file, ran in zip(files, runs, strict=True):
        file.write_text(ran.out)
    return [*map(str, files)]


def test_all_shards_are_the_fleet(lab: Lab, deployed: Path, tmp_path: Path) -> None:
    runs = [run_fab("status", "--json", "--shard", shard, hosts=deployed) for shard in PARTS]
    assert [names(ran) for ran in runs] == [part(lab, shard) for shard in PARTS]
    assert all(names(ran) for ran in runs), "a part of the lab is empty, and shows nothing"
    merged = run_fab("recap", "--json", *written(tmp_path, *runs))
    assert merged.status == 0
    assert sorted(names(merged)) == sorted(names(run_fab("status", "--json", hosts=deployed)))
    assert all(node["listeners"] for node in merged.json["nodes"])


def test_one_acts_on_its_part_only(lab: Lab, deployed: Path, tmp_path: Path) -> None:
    mine, others = (part(lab, shard) for shard in PARTS)
    before = started(lab)
    first = run_fab("deploy", "--force", "--json", "--shard", PARTS[0], hosts=deployed)
    between = started(lab)
    assert first.status == 0, first.err
    assert [node for node in before if between[node] != before[node]] == mine
    second = run_fab("deploy", "--force", "--json", "--shard", PARTS[1], hosts=deployed)
    after = started(lab)
    assert [node for node in before if after[node] != between[node]] == others

    files = written(tmp_path, first, second)
    whole = run_fab("recap", *files)
    assert (whole.status, whole.err) == (0, "")
    files_told, counted = whole.out.splitlines()
    assert files_told.startswith(f"deploy: {len(lab.nodes)} nodes in 2 files, begun ")
    assert counted == f"deploy: {len(lab.nodes)} restarted"
    half = run_fab("recap", files[0])
    assert half.status == 1
    assert "no file is of shard 2/2: fab deploy --shard 2/2 --json" in half.err


def test_a_shard_that_is_empty(lab: Lab, deployed: Path) -> None:
    (empty,) = (f"{number}/{4}" for number in range(1, 5) if not part(lab, f"{number}/4"))
    before = started(lab)
    for task in ("deploy", "diff", "preflight", "scp"):
        ran = run_fab(task, "--shard", empty, hosts=deployed)
        assert (ran.status, ran.err) == (0, "")
        assert ran.out == f"{task}: no node is in shard {empty}: nothing to do\n"
    assert started(lab) == before


def test_a_shard_that_failed_is_told_with_the_line_that_repeats_it(
    lab: Lab, deployed: Path, tmp_path: Path
) -> None:
    """And once the nodes were repeated, their file is the later one, and all is well."""
    node = next(node for node in lab.nodes if node.name in part(lab, PARTS[1]))
    node.ssh("systemctl stop kube-nginx")
    try:
        runs = [run_fab("reload", "--json", "--shard", shard, hosts=deployed) for shard in PARTS]
    finally:
        node.ssh("systemctl start kube-nginx")
    files = written(tmp_path, *runs)
    told = run_fab("recap", *files)
    assert told.status == 1
    retry = told.err.splitlines()[-1]
    assert retry == f"retry: fab reload --limit {node.name}"
    again = run_fab(*retry.split()[2:], "--json", hosts=deployed)
    (tmp_path / "again").write_text(again.out)
    assert run_fab("recap", *files, str(tmp_path / "again")).status == 0
