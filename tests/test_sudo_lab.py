"""What sudoers says, on real hosts: what sudo refuses is told in its own words, with what helps."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import Ran, run_fab
from tests.lab import faults
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab
Toml = Callable[..., Path]

SUDOERS = "/etc/sudoers.d/zz-test"


@pytest.fixture
def ops(hosts_toml: Toml, deployed: Path) -> Path:
    """The fleet, by a user who is root by sudo alone."""
    return hosts_toml(("[ssh]", '[ssh]\nuser = "ops"\nsudo = true'))


def under(lab: Lab, text: str, *words: str, hosts: Path) -> Ran:
    """`fab WORDS` while sudoers of all nodes, which have three releases of sudo, ends with `text`."""
    with ExitStack() as stack:
        for node in lab.nodes:
            stack.enter_context(faults.new_file(node, SUDOERS, f"{text}\n", "0440"))
        return run_fab(*words, hosts=hosts)


@pytest.mark.parametrize(
    ("text", "reason", "helps"),
    [
        (
            "Defaults requiretty",
            "sudo refused: sudo: sorry, you must have a tty to run sudo",
            "no command has a terminal; in its sudoers: Defaults:ops !requiretty",
        ),
        (
            "ops ALL=(ALL:ALL) NOPASSWD: !ALL, /usr/bin/systemctl",
            "sudo refused: Sorry, user ops is not allowed",
            "all is run by sh, as root; in its sudoers: ops ALL=(ALL) NOPASSWD: ALL",
        ),
        (
            "ops ALL=(ALL:ALL) PASSWD: ALL",
            "sudo refused: sudo: a password is required",
            "let ops use sudo without a password, or fab --prompt-for-sudo-password",
        ),
        (
            "Defaults noexec",
            "sh ran nothing there, and ended with status 126",
            "may it start programs? in its sudoers: Defaults:ops !noexec",
        ),
        (
            "Defaults secure_path=/nonexistent",
            "sudo refused: sudo: sh: command not found",
            "where is sh there? see secure_path in its sudoers",
        ),
    ],
    ids=["requiretty", "certain commands", "password", "noexec", "secure_path"],
)
def test_the_reason_and_what_helps(lab: Lab, ops: Path, text: str, reason: str, helps: str) -> None:
    for task, step in (("status", "status"), ("daemon-reload", "daemon-reload"), ("deploy", "survey")):
        ran = under(lab, text, task, hosts=ops)
        assert ran.status == 1
        told = [line for line in ran.err.splitlines() if line.endswith(f": {step}: {reason}")]
        assert all(any(node.name in line for line in told) for node in lab.nodes), ran.text
        assert f"  hint: {helps}\n" in ran.err
    line = helps.rpartition("in its sudoers: ")[2]
    if line != helps:  # it does help
        ran = under(lab, f"{text}\n{line}", "deploy", "--force", hosts=ops)
        assert ran.status == 0, ran.text


def test_a_folder_that_is_not_there(lab: Lab, ops: Path) -> None:
    """A sudo before 1.9.3 knows no runcwd, and says so of the line."""
    text = "Defaults:ops runcwd=/nonexistent"
    ran = under(lab, text, "status", "--limit", "lab-node-2,lab-node-3", hosts=ops)
    assert "status: sudo refused: sudo: unable to change directory to /nonexistent: No such file" in ran.err
    assert "  hint: in its sudoers: Defaults:ops !runcwd\n" in ran.err
    helped = f"{text}\nDefaults:ops !runcwd"
    assert under(lab, helped, "status", "--limit", "lab-node-2,lab-node-3", hosts=ops).status == 0


def test_a_host_that_does_not_know_its_own_name(lab: Lab, ops: Path) -> None:
    """What sudo says of that comes first, and is not the reason."""
    node, limit = lab.nodes[1], ("--limit", "lab-node-2")
    with faults.hostname(node, "of-nobody"):
        assert run_fab("status", *limit, hosts=ops).status == 0
        ran = under(lab, "ops ALL=(ALL:ALL) PASSWD: ALL", "status", *limit, hosts=ops)
    assert "lab-node-2: status: sudo refused: sudo: a password is required\n" in ran.err


@pytest.mark.parametrize(
    "text", ["Defaults use_pty", "Defaults !use_pty", "Defaults lecture=always, log_output"]
)
def test_what_does_no_harm(lab: Lab, ops: Path, text: str) -> None:
    """Uploads, too."""
    node, limit = lab.nodes[2], ("--limit", "lab-node-3")
    assert run_fab("uninstall", "--yes", *limit, hosts=ops).status == 0
    ran = under(lab, text, "deploy", *limit, hosts=ops)
    assert ran.status == 0, ran.text
    assert node.enter("systemctl is-active kube-nginx") == "active\n"
