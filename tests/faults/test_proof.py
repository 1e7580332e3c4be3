"""Faults of the way to the apiservers: what a deploy says of it is true, and no node loses it to a change."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from tests.conftest import Ran, run_fab
from tests.faults.conftest import Trial, answers, current
from tests.lab import faults

pytestmark = pytest.mark.lab

LIVE = '"lab-api-1:6443", "lab-api-2:6443", "lab-api-3:6443"'
DEAD = '"lab-api-1:6444", "lab-api-2:6444"'  # nothing listens there
ROLLED_BACK = "rolled back; every other node as it was"
REST = "not started: lab-node-2, lab-node-3: 1 failed, and max_failures is 0"
NO_ANSWER = (
    "lab-node-1: activate: rolled back: no apiserver answers through 127.0.0.1:8443 "
    "(accepted the connection and closed it before TLS), though one answered before"
)


def up_to(ran: Ran, end: str) -> Ran:
    """What was told, with lines cut after `end`: what follows is another test's matter."""
    lines = [line.partition(end)[0] + end if end in line else line for line in ran.err.splitlines()]
    return Ran(ran.status, ran.out, "\n".join(lines))


def reload_by(trial: Trial, apiservers: str, *more: tuple[str, str]) -> Path:
    """A hosts.toml with other apiservers."""
    return trial.hosts_toml((LIVE, apiservers), *more)


def test_no_new_apiserver_answers(trial: Trial) -> None:
    """The old worker, which accepts for some 100 ms more, does not give the proof."""
    before = [current(node) for node in trial.lab.nodes]
    for _ in range(4):
        ran = trial.deploy(hosts=reload_by(trial, DEAD))
        assert [current(node) for node in trial.lab.nodes] == before
        assert all(answers(node) for node in trial.lab.nodes)
        told = up_to(ran, "though one answered before")
        trial.saw(27, "no new apiserver answers", ROLLED_BACK, told, NO_ANSWER, REST)


def test_no_new_apiserver_answers_through_a_new_binary(trial: Trial) -> None:
    older = ('version = "1.26.3"', 'version = "1.22.1"'), ("apt:trixie", "apt:bookworm")
    hosts = reload_by(trial, DEAD, *older)
    assert run_fab("build", hosts=hosts).status == 0
    node = trial.lab.nodes[0]
    before = current(node)
    ran = trial.deploy(hosts=hosts)
    assert current(node) == before
    assert answers(node)
    told = up_to(ran, "though one answered before")
    fault = "no new apiserver answers, and the binary is another, too"
    trial.saw(28, fault, "rolled back, by a restart", told, NO_ANSWER, REST)


def test_no_new_apiserver_answers_through_a_restart(trial: Trial) -> None:
    hosts = reload_by(trial, DEAD)
    ran = trial.deploy("--force", hosts=hosts)
    assert all(answers(node) for node in trial.lab.nodes)
    assert NO_ANSWER in ran.err
    assert ran.status == 1


def test_from_dead_apiservers_to_live_ones(trial: Trial) -> None:
    """A good configuration is never undone by an answer of the old worker."""
    with faults.stopped(trial.lab.apiservers):
        assert trial.deploy(hosts=reload_by(trial, DEAD)).status == 0  # nothing answered before
    for node in trial.lab.nodes:
        assert not answers(node)
        ran = trial.deploy("--limit", node.name, hosts=trial.plain)
        assert (ran.status, "deploy: 1 reloaded" in ran.out) == (0, True), ran.out + ran.err
        assert answers(node)


def test_no_new_apiserver_answers_under_another_prefix(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    before = current(node)
    hosts = reload_by(trial, DEAD, ("[build]", '[proxy]\nprefix = "/opt/k8s/elsewhere"\n\n[build]'))
    ran = trial.deploy("--limit", node.name, hosts=hosts)
    assert ran.status == 1
    assert "deploy: 1 rolled back" in ran.out
    assert current(node) == before
    assert answers(node)
    assert run_fab("diff", "--exit-code", "--limit", node.name, hosts=trial.plain).status == 0
    node.enter("systemctl restart kube-nginx; rm -rf /opt/k8s/elsewhere")
    assert answers(node)


def test_a_rollback_to_dead_apiservers(trial: Trial) -> None:
    """The way back is proven as any other, and what served comes back."""
    node = trial.lab.nodes[0]
    with faults.stopped(trial.lab.apiservers):
        assert trial.deploy("--limit", node.name, hosts=reload_by(trial, DEAD)).status == 0
    assert trial.deploy("--limit", node.name, hosts=trial.plain).status == 0
    served = current(node)
    ran = run_fab("rollback", "--limit", node.name, hosts=trial.plain)
    assert ran.status == 1
    assert "rollback: 1 restored" in ran.out
    assert current(node) == served
    assert answers(node)


def test_a_good_configuration_is_never_undone(trial: Trial) -> None:
    """From one whose apiservers are dead, while both processors are busy."""
    conf = "/opt/k8s/kube-nginx/conf/kube-nginx.conf"
    spoil = f"sed -i s/:6443/:6444/ {conf}; kill -HUP $(systemctl show -p MainPID --value kube-nginx)"
    busy = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(2)]
    try:
        for _ in range(4):
            for node in trial.lab.nodes:
                node.enter(spoil)
            ran = trial.deploy("--canary", "0", "--batch", "100%", hosts=trial.plain)
            assert (ran.status, "deploy: 3 reloaded" in ran.out) == (0, True), ran.out + ran.err
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_one_new_apiserver_does_not_answer(trial: Trial) -> None:
    ran = trial.deploy("--json", hosts=reload_by(trial, f'{LIVE}, "lab-api-1:6444"'))
    assert ran.status == 0
    for node in ran.json["nodes"]:
        step = node["steps"][-1]
        assert step["state"] == "warning"
        assert step["detail"].startswith("reloaded, an apiserver answers through 127.0.0.1:8443, but ")
        assert "but lab-api-1:6444 refused the connection" in step["detail"]
