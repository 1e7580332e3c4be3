"""Ctrl-C while nobody answers, on real hosts: back at the prompt at once, whatever is waited for."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import under_way
from tests.faults.conftest import ended, until
from tests.lab import faults
from tests.lab.lab import Lab
from tests.lab.nodes import Node
from tests.lab.servers import Apiserver
from tests.test_check_lab import faulty

pytestmark = pytest.mark.lab

LATE = 8  # seconds: what used to hang did so for 26
TASKS = (
    ["status"],
    ["check"],
    ["connections"],
    ["preflight"],
    ["deploy"],
    ["logs", "--follow"],
    ["check", "--watch"],
)


def interrupted(process: subprocess.Popen[str]) -> None:
    """A first look of --watch that was over decides there."""
    process.send_signal(signal.SIGINT)
    assert ended(process, timeout=LATE).status in ((130, 1) if "--watch" in str(process.args) else (130,))


def connected(node: Node, what: str) -> int:
    """How many TCP connections the node has, of those that `ss` is asked for."""
    return len(node.enter(f"ss -Htn state established '{what}'").splitlines())


def one_more(node: Node, what: str) -> Callable[[], bool]:
    """Whether the node has more of them than now."""
    before = connected(node, what)
    return lambda: connected(node, what) > before


def test_while_sshd_says_nothing(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[0]
    with faults.hung_sshd(node):
        for words in TASKS:
            login = one_more(node, "sport = :22")
            with under_way(deployed, *words) as process:
                until(login)
                interrupted(process)


def test_while_a_command_does_not_end(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[0]
    with faults.start_up_file(node, "touch /run/begun; sleep 60 < /dev/null\n"):
        for words in TASKS:
            with under_way(deployed, *words) as process:
                until(lambda: node.enter("ls /run/begun 2>/dev/null || true"))
                with faults.hung_sshd(node):
                    interrupted(process)
            node.enter("rm -f /run/begun; pkill -x sleep || true")


@pytest.mark.parametrize("words", [["check"], ["check", "--watch"], ["status"]], ids=" ".join)
def test_while_apiservers_hang(
    lab: Lab, deployed: Path, hosts_toml: Callable[..., Path], words: list[str]
) -> None:
    patient = hosts_toml(("[build]", "[check]\ntimeout = 60\n\n[build]"))
    with faulty(lab.apiservers, Apiserver.pause, Apiserver.resume), under_way(patient, *words) as process:
        until(lambda: all(connected(node, "dport = :6443") for node in lab.nodes))
        interrupted(process)
