"""Nodes and control machines that go away at the worst moment, and two that work at once."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from tests.conftest import Ran
from tests.faults.conftest import PREFIX, Trial, answers, current, ended, until
from tests.lab import faults
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

Slow = Callable[[Node], None]
FINISHED = "with the new release: the node goes on by itself"
THREE = "deploy: 3 reloaded"
REST = "deploy: 1 unchanged, 2 reloaded"
BOOTED = "as it was, when it has booted"


def is_staging(node: Node) -> bool:
    """Whether an upload is under way."""
    return bool(node.enter(f"ls -d {PREFIX}/releases/*.part 2>/dev/null || true").strip())


def is_free(node: Node) -> bool:
    """Whether nobody has the node's locks."""
    return not open_files(node, "/run/kube-nginx[./]*")


def open_files(node: Node, pattern: str) -> str:
    """The files of that name that processes of the node have open; trying a lock would disturb it."""
    return node.enter(f"find /proc/[0-9]*/fd -lname '{pattern}' 2>/dev/null || true")


def test_off_before(trial: Trial) -> None:
    off = trial.lab.nodes[2]
    off.stop()
    try:
        ran = trial.deploy()
    finally:
        off.start()
    line = "lab-node-3: survey: cannot connect to …:22: timed out"
    trial.saw(1, "a node is off", BOOTED, ran, line, "retry: fab deploy --limit lab-node-3")


def test_off_in_the_middle_of_an_upload(trial: Trial, slow_upload: Slow) -> None:
    off = trial.lab.nodes[1]
    slow_upload(off)
    with trial.begun() as process:
        until(lambda: is_staging(off))
        off.stop()
        ran = ended(process)
    off.start()
    assert answers(off)
    line = "lab-node-2: stage: the connection broke while the command ran"
    trial.saw(2, "a node goes off in the middle of an upload", BOOTED, ran, line)


def test_off_between_activation_and_verify(trial: Trial) -> None:
    off = trial.lab.nodes[0]
    before = current(off)
    for server in trial.lab.apiservers:
        server.pause()
    try:
        with trial.begun() as process:
            until(lambda: current(off) != before and not open_files(off, "/run/kube-nginx[./]action*"))
            off.stop()
            ran = ended(process)
    finally:
        for server in trial.lab.apiservers:
            server.resume()
    off.start()
    assert current(off) != before
    assert answers(off)
    told = [x for x in ran.err.splitlines() if "reloaded, and then the node went away" in x]
    assert len(told) == 1, ran.err
    rest = "not started: lab-node-2, lab-node-3: 1 failed, and max_failures is 0"
    line = "lab-node-1: activate: reloaded, and then the node went away"
    row = Ran(ran.status, ran.out, ran.err.replace(told[0], line))
    trial.saw(3, "a node goes off between activation and verify", "with the new release", row, line, rest)


class TestControlKilled:
    """`kill -9` of fab; the node finishes what has begun, and the next deploy mends the rest."""

    def check(self, trial: Trial, node: Node, release: str, phase: str, end: str, then: str) -> None:
        until(lambda: is_free(node))
        assert current(node) == release
        assert answers(node)
        fault = f"fab is killed (-9) in {phase}; then a plain fab deploy"
        trial.saw(4, fault, end, trial.deploy(), then, status=0)

    def test_in_staging(self, trial: Trial, slow_upload: Slow) -> None:
        node = trial.lab.nodes[0]
        before = current(node)
        slow_upload(node)
        with trial.begun() as process:
            until(lambda: is_staging(node))
            process.send_signal(signal.SIGKILL)
            process.wait()
        node.enter("rm /usr/local/bin/head")
        self.check(trial, node, before, "staging", "with the old release, then the new one", THREE)

    def test_in_activation(self, trial: Trial) -> None:
        node = trial.lab.nodes[0]
        before, pid = current(node), node.enter("systemctl show -p MainPID kube-nginx")
        slower = trial.hosts_toml(("[build]", "[rollout]\nsettle = 5\n\n[build]"), trial.change)
        with trial.begun("--force", hosts=slower) as process:
            until(lambda: node.enter("systemctl show -p MainPID kube-nginx") not in (pid, "MainPID=0\n"))
            assert current(node) == before
            process.send_signal(signal.SIGKILL)
            process.wait()
        until(lambda: is_free(node))
        assert current(node) != before
        self.check(trial, node, current(node), "activation", FINISHED, REST)

    def test_in_verify(self, trial: Trial) -> None:
        node = trial.lab.nodes[0]
        before = current(node)
        for server in trial.lab.apiservers:
            server.pause()
        try:
            with trial.begun() as process:
                until(lambda: current(node) != before)
                process.send_signal(signal.SIGKILL)
                process.wait()
        finally:
            for server in trial.lab.apiservers:
                server.resume()
        self.check(trial, node, current(node), "verify", FINISHED, REST)


def test_two_at_once(trial: Trial, slow_upload: Slow) -> None:
    node = trial.lab.nodes[1]
    slow_upload(node)
    with trial.begun("--limit", "lab-node-2") as process:
        until(lambda: is_staging(node))
        second = trial.deploy("--limit", "lab-node-2")
        process.send_signal(signal.SIGINT)
        first = ended(process)
    line = "lab-node-2: stage: locked by … (fab deploy, …) since …"
    hint = "hint: wait until they have finished, or give --wait SECONDS"
    trial.saw(22, "two deploys at once", "as the first one leaves it", second, line, hint)
    assert first.status == 130
    assert "not started: lab-node-2: interrupted" in first.err


def test_a_second_one_waits(trial: Trial) -> None:
    slower = trial.hosts_toml(("[build]", "[rollout]\nsettle = 4\n\n[build]"))
    node = trial.lab.nodes[0]
    with trial.begun("--force", "--limit", "lab-node-1", hosts=slower) as process:
        until(lambda: not is_free(node))
        second = trial.deploy("--limit", "lab-node-1", "--wait", "60")
        first = ended(process)
    assert (first.status, second.status) == (0, 0)
    assert "deploy: 1 restarted" in first.out
    assert "deploy: 1 reloaded" in second.out


def test_hung(trial: Trial, slow_upload: Slow) -> None:
    hung = trial.lab.nodes[2]
    slow_upload(hung)
    with trial.begun() as process:
        until(lambda: is_staging(hung))
        with faults.hung_sshd(hung):
            ran = ended(process)
    line = "lab-node-3: stage: no answer within 30 s"
    trial.saw(23, "a node hangs after the login", "as it was; the others finish", ran, line)
    assert "2 reloaded" in ran.out


class TestInterrupt:
    """Ctrl-C: what has begun finishes, the recap is printed; a second one leaves at once."""

    def test_in_staging_nothing_is_changed(self, trial: Trial, slow_upload: Slow) -> None:
        node = trial.lab.nodes[0]
        before = [current(node) for node in trial.lab.nodes]
        slow_upload(node)
        with trial.begun() as process:
            until(lambda: is_staging(node))
            process.send_signal(signal.SIGINT)
            ran = ended(process)
        assert ran.status == 130
        assert "not started: lab-node-1, lab-node-2, lab-node-3: interrupted" in ran.err
        assert [current(node) for node in trial.lab.nodes] == before

    def test_a_second_one_leaves_at_once(self, trial: Trial) -> None:
        node = trial.lab.nodes[0]
        pid = node.enter("systemctl show -p MainPID kube-nginx")
        slower = trial.hosts_toml(("[build]", "[rollout]\nsettle = 10\n\n[build]"))
        with trial.begun("--force", hosts=slower) as process:
            until(lambda: node.enter("systemctl show -p MainPID kube-nginx") not in (pid, "MainPID=0\n"))
            process.send_signal(signal.SIGINT)
            assert process.stderr is not None
            until(lambda: "Ctrl-C again" in process.stderr.readline())  # type: ignore[union-attr]
            process.send_signal(signal.SIGINT)
            assert process.wait(10) == 130
            assert not is_free(node)  # the node is still at it, by itself
        until(lambda: is_free(node))
        assert answers(node)
