"""The benchmark of fleets works, on light hosts: what it starts it ends, whatever becomes of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from benchmarks.fleet import goals, measure, page
from tests.conftest import ROOT
from tests.lab import roots
from tests.lab.machine import why_not

LONG = 600.0
SHORT = "fab status,Fabric with ssh_config,Fabric,paramiko"


def left(folder: Path) -> list[str]:
    """The processes that were started for a benchmark whose temporary folder is `folder`."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.fsencode(folder) in (process / "cmdline").read_bytes() + (process / "environ").read_bytes():
                found.append(process.name)
    return found


@pytest.fixture
def begun(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Begins a benchmark with a temporary folder of its own."""
    if reason := why_not():
        pytest.skip(reason)

    def begin(*words: str, module: str = "fleet", **more: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", f"benchmarks.{module}", *words]
        env = {**os.environ, "TMPDIR": str(tmp_path)}
        return subprocess.Popen(command, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True, **more)

    yield begin
    assert [*tmp_path.glob("kube-nginx-*")] == []
    deadline = time.monotonic() + LONG
    while left(tmp_path) and time.monotonic() < deadline:  # whose end the kernel is about
        time.sleep(0.05)
    assert left(tmp_path) == []
    assert str(tmp_path) not in Path("/proc/mounts").read_text()


@pytest.mark.lab
def test_each_reaches_every_host(begun: Callable[..., subprocess.Popen[str]], tmp_path: Path) -> None:
    raw = tmp_path / "raw.json"
    with begun("--nodes", "10", "--rounds", "1", "--only", SHORT, "--json", str(raw)) as process:
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    runs = json.loads(raw.read_text())
    assert [*runs] == SHORT.split(",")
    for (run,) in runs.values():
        assert min(run.values()) > 0, runs


@pytest.mark.lab
def test_a_rollout_is_timed(begun: Callable[..., subprocess.Popen[str]]) -> None:
    words = ("--nodes", "6", "--parallel", "1", "--settle", "0.5")
    with begun(*words, module="fleet.rollout", stdout=subprocess.PIPE) as process:
        out, err = process.communicate(timeout=LONG)
    assert process.returncode == 0, err
    assert "\nnodes that need no time  " in out
    assert "\n0.5 s each  " in out
    assert "\n4 rounds of 0.5 + 2 s, and " in out


@pytest.mark.lab
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_nothing_is_left_of_one_that_is_interrupted(
    begun: Callable[..., subprocess.Popen[str]], tmp_path: Path, number: int, status: int
) -> None:
    with begun("--nodes", "5", "--rounds", "1", "--delay", "500", "--only", "paramiko") as process:
        assert process.stderr
        assert any("1/1 paramiko" in line for line in process.stderr)  # the one that is not measured
        deadline = time.monotonic() + LONG
        while "bare_paramiko" not in commands(process.pid):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
        process.send_signal(number)
        _, err = process.communicate(timeout=LONG)
    assert process.returncode == status, err
    assert "Traceback" not in err


def commands(pid: int) -> str:
    """The command lines of a process and its descendants."""
    text = ""
    for each in measure.tree(pid):
        with suppress(OSError):
            text += Path(f"/proc/{each}/cmdline").read_text().replace("\0", " ")
    return text


MEASURED = """
import json, os, sys
from dataclasses import asdict
from pathlib import Path
from benchmarks.fleet import measure, page
measure.adopt()
ended = measure.run(json.loads(sys.argv[1]), os.environ, Path(sys.argv[2]))
print(json.dumps([ended.status, ended.out, asdict(ended.cost), [*measure.tree(os.getpid())][1:]]))
"""
BUSY = """
import sys, time
from pathlib import Path
while time.process_time() < 0.5:
    pass
Path("worked").touch()
time.sleep(float(sys.argv[1]))
"""


def measured(folder: Path, *command: str) -> tuple[int, str, dict[str, float], list[int]]:
    """A command's status, output and cost, and what is left of it; measured in a process of its own."""
    script = [sys.executable, "-c", MEASURED, json.dumps(command), str(folder)]
    ran = subprocess.run(script, cwd=ROOT, capture_output=True, text=True, timeout=LONG, check=True)
    status, out, cost, rest = json.loads(ran.stdout)
    return status, out, cost, rest


def test_a_status_and_what_was_said(tmp_path: Path) -> None:
    status, out, _, _ = measured(tmp_path, "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (status, out) == (3, "out\nerr\n")


def test_children_count_and_those_that_are_left_behind(tmp_path: Path) -> None:
    _, _, cost, _ = measured(tmp_path, "sh", "-c", f'{sys.executable} -c "$0" 0; true', BUSY)
    assert cost["cpu"] >= 0.5
    (tmp_path / "worked").unlink()
    daemon = f'setsid -f {sys.executable} -c "$0" 600; until [ -e worked ]; do sleep 0.02; done'
    _, _, cost, rest = measured(tmp_path, "sh", "-c", daemon, BUSY)
    assert cost["cpu"] >= 0.5
    assert rest == []


def cost(cpu: float, **more: float) -> dict[str, float]:
    """What one run has cost."""
    usual = {"wall": 2.0, "memory": 50e6, "threads": 7, "files": 9, "processes": 1}
    return {"cpu": cpu, **usual, **more}


def test_a_line_of_the_page() -> None:
    runs = {"Fabric": [cost(1.0), cost(2.0), cost(4.0)], "ours": [cost(1.0, threads=8), cost(1.0, files=10)]}
    fabric, ours = page.rows(runs, nodes=10)
    assert fabric == ["Fabric", "200.0", "100.0 to 400.0", "1.00", "50 MB", "7", "9", "1", "2.0 s"]
    assert ours[:4] == ["ours", "100.0", "100.0 to 100.0", "0.50"]
    assert ours[5:8] == ["8", "10", "1"]


def test_a_first_deploy_is_beside_a_first_one() -> None:
    names = {
        "first Fabric": 10.0,
        "Fabric": 5.0,
        "first Ansible": 400.0,
        "first fab deploy": 20.0,
        "fab deploy": 2.5,
    }
    runs = {name: [cost(cpu)] for name, cpu in names.items()}
    assert [line[3] for line in page.rows(runs, nodes=10)] == ["1.00", "1.00", "40.00", "2.00", "0.50"]
    assert [*page.ratios({("real", 6, 0): runs})] == [
        ["first fab deploy", "6 real", "", "2.00; 1.00", "", "0.050; 1.00"],
        ["fab deploy", "6 real", "", "0.50; 1.00", "", ""],
    ]


@pytest.mark.parametrize(("wall", "end"), [(9.6, "reached"), (9.7, "missed")])
def test_a_goal_beside_another(wall: float, end: str) -> None:
    runs = {"first Fabric": [cost(1.0)], "first fab deploy": [cost(1.0, wall=wall)]}
    (line,) = goals.rows({("real", 6, 0.0): runs})
    limit = "9.60 s (1.8 x first Fabric's + 6 s)"
    assert line == ["first fab deploy: wall", "6 real", f"{wall:.2f} s", limit, end]


@pytest.mark.parametrize(("wall", "end"), [(69.9, "reached"), (70.1, "missed")])
def test_a_rollout_may_wait_for_each_round_once(wall: float, end: str) -> None:
    rolled = goals.Rolled(1000, 5, 3.0, cost(20.0, wall=45.0), cost(25.0, wall=wall))
    limit = "70.0 s (5 rounds of 3 + 2 s, and 45.0 s at once)"
    assert rolled.cells == ["fab reload: wall", "1,000 light, 3 s each", f"{wall} s", limit, end]
    assert [row[:3] for row in page.rollout_rows(rolled)] == [
        ["1,000", "0 s", "20.0"],
        ["1,000", "3 s", "25.0"],
    ]


def test_goals_of_a_thousand() -> None:
    ours = [cost(6.0, memory=90e6, files=42), cost(4.0, memory=96e6, files=43), cost(4.4, memory=95e6)]
    runs = {"Fabric with ssh_config": [cost(5.0, wall=1.0)], "fab status": ours}
    lines = [[line[0], *line[2:]] for line in goals.rows({("light", 1000, 0.0): runs})]
    assert [(line[0].partition(": ")[2], *line[1:]) for line in lines] == [
        ("CPU a node", "4.4 ms", "5.0 ms", "reached"),
        ("CPU a node, of Fabric with ssh_config's", "0.88", "0.75", "missed"),
        ("memory", "95 MB", "95 MB", "reached"),
        ("files", "43", "42", "missed"),
        ("threads", "7", "74", "reached"),
        ("wall, of Fabric with ssh_config's", "2.00", "1", "missed"),
    ]


def test_nodes_of_tests_get_none_of_what_the_benchmark_adds() -> None:
    assert roots.root("trixie", ("python3",)) != roots.root("trixie") == roots.root("trixie", ())


def test_bars_have_a_scale_of_their_own() -> None:
    text = page.bars({30: {"fab status": [cost(3.0)]}, 300: {"fab status": [cost(15.0, memory=100e6)]}})
    lines = text.splitlines()
    assert [line.count("█") for line in lines] == [0, 40, 20, 0, 20, 40, 0, 40, 40]
    assert [line.split()[-1] for line in lines[1:3]] == ["100", "50.0"]


def test_the_page_is_what_was_measured() -> None:
    assert page.PAGE.read_text() == page.text(json.loads(page.RESULTS.read_text()))
