"""An sshd that is set otherwise than most, on real hosts: where ssh works, fab does."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import run_fab
from tests.lab import faults
from tests.lab.lab import Lab
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab
Toml = Callable[..., Path]


def logins(node: Node) -> int:
    """How many there have been on a node."""
    return int(node.enter("journalctl -u ssh --no-pager | grep -c 'Accepted publickey' || true"))


def test_a_login_that_takes_longer_than_it_may(lab: Lab, hosts_toml: Toml, deployed: Path) -> None:
    """sshd looks up this machine's name, and the node's resolver is silent."""
    node, limit = lab.nodes[0], ("--limit", "lab-node-1")

    def waiting(seconds: int) -> Path:
        return hosts_toml(("[ssh]", f"[ssh]\nconnect_timeout = {seconds}"))

    with faults.dead_resolver(node):
        ran = run_fab("status", *limit, hosts=waiting(2))
        assert run_fab("status", *limit, hosts=waiting(30)).status == 0
    assert ran.status == 1
    assert f"lab-node-1: status: root@{node.address}:22 did not answer the login within 2 s\n" in ran.err
    hint = next(line for line in ran.err.splitlines() if "hint:" in line)
    assert "UseDNS no" in hint
    assert "ssh.connect_timeout in hosts.toml" in hint
    assert "ssh.user" not in hint


TASKS = (
    *(["status"], ["check"], ["connections"], ["diff"], ["preflight"], ["logs"], ["reload"], ["restart"]),
    *(["rollback"], ["rollback"], ["daemon-reload"], ["conf"], ["scp"], ["mkdir"]),
    ["drill", "--apiserver", "lab-api-1", "--limit", "lab-node-3", "--seconds", "5"],
)


def test_one_session_on_a_connection_is_enough(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    """A lock has one for as long as the node is worked on."""
    ops = ("[ssh]", '[ssh]\nuser = "ops"\nsudo = true')
    other = hosts_toml(ops, ("[build]", "[proxy]\nmax_fails = 41\n\n[build]"))
    with ExitStack() as stack:
        for node in lab.nodes:
            stack.enter_context(faults.max_sessions(node, 1))
        ran = run_fab("deploy", hosts=other)
        assert ran.status == 0, ran.text
        assert "3 reloaded" in ran.out
        for words in TASKS:
            ran = run_fab(*words, hosts=other)
            assert (ran.status, ran.err) == (0, ""), ran.text


def test_without_any_it_is_told_what_to_set(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[1]
    with faults.max_sessions(node, 0):
        ran = run_fab("deploy", "--force", hosts=deployed)
    assert ran.status == 1
    what = "sshd takes the login, and opens no session for a command: Connect failed"
    assert f"{node.name}: survey: {what}\n" in ran.err
    assert "hint: set MaxSessions in its sshd_config to 2 or more" in ran.err
    assert "Exception" not in ran.text
    assert "2 restarted" in ran.out


def test_a_usual_host_has_one_connection(lab: Lab, deployed: Path) -> None:
    before = [logins(node) for node in lab.nodes]
    assert run_fab("deploy", "--force", hosts=deployed).status == 0
    assert [logins(node) for node in lab.nodes] == [count + 1 for count in before]


def test_a_gateway_that_forwards_nothing(lab: Lab, hosts_toml: Toml, deployed: Path) -> None:
    gateway, node, _ = lab.nodes
    behind = hosts_toml(("[ssh]", '[ssh]\ngateway = "lab-node-1"'))
    with faults.no_forwarding(gateway):
        ran = run_fab("status", "--limit", node.name, hosts=behind)
    assert ran.status == 1
    what = f"the gateway {gateway.name} does not connect to {node.address}:22: Administratively prohibited"
    assert f"{node.name}: status: {what}\n" in ran.err
    assert "hint: what does its sshd_config say of AllowTcpForwarding" in ran.err


def test_a_gateway_has_no_session(lab: Lab, hosts_toml: Toml, deployed: Path) -> None:
    behind = hosts_toml(("[ssh]", '[ssh]\ngateway = "lab-node-1"'))
    with faults.max_sessions(lab.nodes[0], 0), faults.max_sessions(lab.nodes[1], 1):
        ran = run_fab("restart", "--limit", "lab-node-2,lab-node-3", hosts=behind)
    assert (ran.status, ran.err) == (0, ""), ran.text
