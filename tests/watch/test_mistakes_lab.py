"""What the watch must not take for a silent apiserver, as systemd runs it on hosts of three releases."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.nodes import Node
from tests.watch.field import HERE, until
from tests.watch.test_mistakes import starved
from tests.watch.test_unit_lab import UNIT, at_once, everywhere, shown

pytestmark = pytest.mark.lab

SESSIONS = 6


def journal(node: Node, since: float) -> str:
    """Give what the watch has said since a moment."""
    return node.enter(f"journalctl -q -u {UNIT} -o cat --since @{since:.3f}")


def seconds_of(node: Node) -> int:
    """Tell how long the watch has been there, by what systemd last heard of it."""
    return int(shown(node, "WatchdogTimestampMonotonic") or 0) // 1_000_000


def talks(node: Node, log: Path, stack: ExitStack) -> None:
    """Have sessions through its proxy, and wait until each has had an answer."""
    command = sys.executable, "-I", str(HERE / "talker.py"), str(SESSIONS)
    with log.open("wb") as file:
        started = subprocess.Popen(
            ["ip", "netns", "exec", node.netns, *command], stdin=subprocess.DEVNULL, stdout=file, stderr=file
        )
    stack.callback(started.wait)
    stack.callback(started.kill)
    until(lambda: "talks" in log.read_text(), f"{node.name}: sessions are open")


@pytest.fixture
def unmoved(lab: Lab, deployed: Path, tmp_path: Path) -> Iterator[None]:
    """Nobody is ejected and no session breaks until the end of the test; then one hangs, and is ejected."""
    at_once(lab, f"systemctl restart {UNIT}")  # to which nobody has been ejected before
    everywhere(lab, lambda node: shown(node, "StatusText") == "ok", "all is well")
    began = time.time()
    logs = [tmp_path / node.name for node in lab.nodes]
    with ExitStack() as stack:
        for node, log in zip(lab.nodes, logs, strict=True):
            talks(node, log, stack)
        yield
        heard = {node.name: seconds_of(node) for node in lab.nodes}
        everywhere(lab, lambda node: seconds_of(node) >= heard[node.name] + 5, "the watch has gone on")
        assert [journal(node, began) for node in lab.nodes] == [""] * len(lab.nodes)
        assert [log.read_text() for log in logs] == ["talks\n"] * len(logs)
        server = lab.apiservers[0]
        server.pause()
        try:
            everywhere(lab, lambda node: f"ejected {server.address}" in journal(node, began), "it is ejected")
        finally:
            server.resume()
        everywhere(lab, lambda node: "let in" in journal(node, began), "it is let in")


@pytest.mark.usefixtures("unmoved")
@pytest.mark.parametrize("seconds", [1, 4, 10])
def test_nodes_stand_still(lab: Lab, seconds: int) -> None:
    """As machines that are suspended: all that they run, and nothing of what they talk to."""
    with ExitStack() as stack:
        for node in lab.nodes:
            stack.callback(node.resume)
            node.pause()
        time.sleep(seconds)


@pytest.mark.usefixtures("unmoved")
def test_the_unit_has_no_time(lab: Lab) -> None:
    """0.1 % of a CPU, for as long as systemd lets it live."""
    with ExitStack() as stack:
        for node in lab.nodes:
            (pid,) = node.pids("kube-nginx-watch")
            stack.enter_context(starved(pid, 0.1))
        time.sleep(15)


@pytest.mark.usefixtures("unmoved")
def test_the_nodes_are_busy(lab: Lab) -> None:
    at_once(lab, "for n in 1 2 3 4; do timeout 15 sh -c 'while :; do :; done' & done; wait")
