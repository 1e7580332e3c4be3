"""A deploy at noon: clients on every node, all the time, and not one of them is refused or cut off."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Ran, run_fab
from tests.lab.lab import Lab
from tests.lab.load import Load, Seen

# alone on the machine: a client that gets no processor time for seconds proves nothing
pytestmark = [pytest.mark.lab, pytest.mark.load]

SHUTDOWN = 10.0  # seconds: worker_shutdown_timeout's default
Toml = Callable[..., Path]
OLD = (('version = "1.26.3"', 'version = "1.22.1"'), ("apt:trixie", "apt:bookworm"))


def under_load(lab: Lab, hosts: Path) -> tuple[Ran, list[Seen], float]:
    """Deploys while clients are at work on every node; gives what they saw, and when it began."""
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(node, "127.0.0.1", 8443)) for node in lab.nodes]
        began = time.monotonic()
        ran = run_fab("deploy", hosts=hosts)
        return ran, [load.result() for load in loads], began


def test_back_at_once(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    """The way back right after an upgrade, while the process before it still has its sessions."""
    older = hosts_toml(*OLD)
    assert run_fab("build", hosts=older).status == 0
    assert run_fab("deploy", hosts=older).status == 0
    node = lab.nodes[0]
    with Load(node, "127.0.0.1", 8443) as load:
        began = time.monotonic()
        assert run_fab("deploy", "--limit", node.name, hosts=deployed).status == 0
        back = run_fab("rollback", "--limit", node.name, hosts=deployed)
        seen = load.result()
    assert back.status == 0, back.err
    assert "rollback: 1 rolled back" in back.out
    unharmed([seen], began)
    assert run_fab("status", "--json", hosts=older).json["nodes"][0]["version"] == "1.22.1"


def unharmed(seen: list[Seen], began: float) -> None:
    """No connection was refused, reset or left waiting; no session ended before its time was up."""
    for node in seen:
        assert node.opened > 500
        assert (node.refused, node.reset, node.timed_out, node.sessions_stalled) == (0, 0, 0, [])
        assert all(ended >= began + SHUTDOWN for ended in node.sessions_ended)


def test_a_changed_configuration(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    assert run_fab("deploy", hosts=deployed).status == 0
    changed = hosts_toml(("[build]", "[proxy]\nmax_fails = 5\n\n[build]"))
    ran, seen, began = under_load(lab, changed)
    assert ran.status == 0, ran.err
    assert "deploy: 3 reloaded" in ran.out
    unharmed(seen, began)
    assert run_fab("deploy", hosts=deployed).status == 0


def test_a_changed_binary(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    older = hosts_toml(*OLD)
    assert run_fab("build", hosts=older).status == 0
    assert run_fab("deploy", hosts=older).status == 0
    status = run_fab("status", "--json", hosts=older).json
    assert {node["version"] for node in status["nodes"]} == {"1.22.1"}
    ran, seen, began = under_load(lab, deployed)
    assert ran.status == 0, ran.err
    assert "deploy: 3 upgraded" in ran.out
    unharmed(seen, began)
    status = run_fab("status", "--json", hosts=deployed).json
    assert {(node["version"], node["state"]) for node in status["nodes"]} == {("1.26.3", "active")}
