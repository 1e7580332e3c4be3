"""What a deploy costs a node: the programs that run there, and the sessions in which they do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import run_fab
from tests.lab import programs
from tests.lab.lab import Lab
from tests.lab.programs import Ran, counted

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(bool(programs.why_not()), reason=f"no programs are counted: {programs.why_not()}"),
]


def cost(lab: Lab, hosts: Path, task: str) -> list[Ran]:
    """What a task, which works, has sshd start on each node."""
    with counted(lab.nodes) as ran:
        done = run_fab(task, hosts=hosts)
    assert done.status == 0, done.text
    return [ran[node.name] for node in lab.nodes]


@pytest.fixture
def bare(lab: Lab, fleet: Path) -> Path:
    """The fleet, on which there is nothing of kube-nginx."""
    assert run_fab("uninstall", "--yes", hosts=fleet).status == 0
    for node in lab.nodes:
        node.enter("userdel kube-nginx 2>/dev/null; rm -rf /opt/k8s /run/kube-nginx*")
    return fleet


def test_a_first_deploy(lab: Lab, bare: Path) -> None:
    """A look, the lock and two looks through it, what is brought, what is done with it."""
    for ran in cost(lab, bare, "deploy"):
        assert ran.all.total() <= 250, ran
        assert len(ran.sessions) <= 4, ran


def test_a_deploy_that_changes_nothing(lab: Lab, deployed: Path) -> None:
    """One survey in one session, as is a status; that of a deploy resolves names, by two programs each."""
    for task, most in (("deploy", 40 + 2 * len(lab.apiservers)), ("status", 40)):
        for ran in cost(lab, deployed, task):
            assert len(ran.sessions) == 1
            assert ran.sessions[0].total() <= most, ran


def test_a_reload(lab: Lab, deployed: Path, hosts_toml: Callable[..., Path]) -> None:
    other = hosts_toml(("[build]", "[proxy]\nmax_fails = 7\n\n[build]"))
    try:
        for ran in cost(lab, other, "deploy"):
            assert ran.all.total() <= 350, ran
            assert len(ran.sessions) <= 4, ran
    finally:
        assert run_fab("deploy", hosts=deployed).status == 0
