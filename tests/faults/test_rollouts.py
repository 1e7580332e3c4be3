"""Faults that must not spread: a rollout goes on only where it does no harm, and not after Ctrl-C."""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.conftest import run_fab, run_fab_on_terminal
from tests.faults.conftest import Binaries, Trial, answers, current, ended, until
from tests.faults.test_power import is_free
from tests.lab import faults
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

BEFORE = "as it was: nothing was written"


def pid(node: Node) -> str:
    return node.enter("systemctl show -p MainPID kube-nginx")


def test_off_during_a_restart(trial: Trial) -> None:
    off, *others = trial.lab.nodes  # the canary, if it were not seen before
    off.stop()
    try:
        for task in ("reload", "restart"):
            before = [pid(node) for node in others]
            ran = run_fab(task, hosts=trial.plain)
            line = "lab-node-1: survey: cannot connect to …:22: timed out"
            again = f"retry: fab {task} --limit lab-node-1"
            trial.saw(
                42, f"a node is off during fab {task}", "as it was, when it has booted", ran, line, again
            )
            assert f"{task}: 1 failed, 2 {task}ed" in ran.out
            assert ([pid(node) for node in others] == before) == (task == "reload")
    finally:
        off.start()


def test_no_canary_worked(trial: Trial, binaries: Binaries, monkeypatch: pytest.MonkeyPatch) -> None:
    before = [(pid(node), current(node)) for node in trial.lab.nodes]
    with monkeypatch.context() as patch:
        for name, value in binaries.cache(binaries.compiled("life0", "-static", "-DLIFE=0")).items():
            patch.setenv(name, value)
        ran = trial.deploy("--canary", "2", "--max-failures", "2", hosts=trial.plain)
    rest = "not started: lab-node-3: 2 failed, and no canary worked"
    end = "rolled back; the old process never stopped"
    trial.saw(43, "all canaries fail, though max_failures allows it", end, ran, rest)
    assert "deploy: 2 rolled back, 1 not started" in ran.out
    assert [(pid(node), current(node)) for node in trial.lab.nodes] == before


def runs(node: Node, command: str) -> bool:
    """Whether a command that begins so runs on the node; a dot stands between its words."""
    return bool(node.enter(f"grep -als '^{command}' /proc/[0-9]*/cmdline || true").strip())


@contextmanager
def held(node: Node) -> Iterator[None]:
    """Somebody has the node's lock."""
    node.enter("systemd-run --quiet --unit=holder flock /run/kube-nginx.lock sleep 3600")
    until(lambda: runs(node, "sleep.3600"))
    try:
        yield
    finally:
        node.enter("systemctl stop holder; systemctl reset-failed holder 2>/dev/null || true")


def test_interrupted_while_it_waits_for_a_lock(trial: Trial) -> None:
    node, *others = trial.lab.nodes
    before, theirs = pid(node), [pid(other) for other in others]
    with held(node):
        with trial.begun(
            *("--wait", "100", "--canary", "0", "--batch", "100%"), hosts=trial.plain, task="restart"
        ) as process:
            until(lambda: runs(node, "flock.-w"))
            until(lambda: all(pid(other) != was for other, was in zip(others, theirs, strict=True)))
            process.send_signal(signal.SIGINT)
            ran = ended(process, 60)
        assert runs(node, "sleep.3600")  # it did not wait until the lock was free
    line = "not started: lab-node-1: interrupted"
    trial.saw(44, "Ctrl-C while a node waits for a lock", "as it was", ran, line, status=130)
    assert "restart: 1 not started, 2 restarted" in ran.out
    until(lambda: is_free(node))
    assert pid(node) == before
    assert answers(node)


def test_a_node_without_flock(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    before = pid(node)
    with faults.without(node, "flock"):
        ran = trial.deploy()
        stopped = run_fab("stop", "--limit", node.name, hosts=trial.plain)
    line = "lab-node-2: survey: the node lacks flock"
    trial.saw(
        45, "a program that scripts need is missing", BEFORE, ran, line, "hint: install there: util-linux"
    )
    assert (stopped.status, pid(node)) == (1, before)
    assert "lab-node-2: stop: the node lacks flock" in stopped.err


def test_an_interrupted_step_has_no_green_tick(trial: Trial, slow_upload: Callable[[Node], None]) -> None:
    slow_upload(trial.lab.nodes[0])
    ran = run_fab_on_terminal(["deploy"], "\x03", trial.changed, question="stage")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", ran.out)
    assert ran.status == 130
    assert "✔ survey" in shown
    assert "✔ stage" not in shown
    assert "! stage" in shown
    assert " not done" in shown


def test_a_node_without_another_program(trial: Trial) -> None:
    """The survey itself is made with the first two."""
    lacking = ("grep", "grep"), ("cut", "coreutils"), ("findmnt", "util-linux")
    nodes = dict(zip(trial.lab.nodes, lacking, strict=True))
    with ExitStack() as stack:
        for node, (program, _) in nodes.items():
            stack.enter_context(faults.without(node, program))
        for task in ("preflight", "deploy", "restart"):
            ran = run_fab(task, hosts=trial.changed)
            step = "preflight" if task == "preflight" else "survey"
            assert ran.status == 1
            for node, (program, package) in nodes.items():
                assert f"{node.name}: {step}: the node lacks {program}" in ran.err
                assert f"  hint: install there: {package}" in ran.err
