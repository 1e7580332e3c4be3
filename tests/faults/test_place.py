"""Faults of what is on the node: its disk, its ports, its unit, its clock, its apiservers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, Ran
from tests.faults.conftest import PREFIX, Trial, answers
from tests.lab import faults

pytestmark = pytest.mark.lab

BEFORE = "as it was: nothing was written"


def test_disk_full(trial: Trial) -> None:
    with faults.disk_full(trial.lab.nodes[0], PREFIX):
        ran = trial.deploy()
        assert answers(trial.lab.nodes[0])
    line = f"lab-node-1: survey: 0.0 MB are free under {PREFIX}, … are needed".replace("0.0 MB", "…")
    trial.saw(5, "disk full", BEFORE, ran, line, f"hint: make room; on the node: df -h {PREFIX}")
    assert "deploy: 1 failed, 2 reloaded" in ran.out or "deploy: 2 reloaded, 1 failed" in ran.out


def test_read_only(trial: Trial) -> None:
    with faults.read_only(trial.lab.nodes[0], PREFIX):
        ran = trial.deploy()
        assert answers(trial.lab.nodes[0])
    line = f"lab-node-1: survey: {PREFIX} is on a file system that is mounted read-only"
    trial.saw(6, "the prefix is read-only", BEFORE, ran, line)


def test_noexec(trial: Trial) -> None:
    with faults.noexec(trial.lab.nodes[0], PREFIX):
        ran = trial.deploy()
        assert answers(trial.lab.nodes[0])
    line = (
        f"lab-node-1: survey: {PREFIX} is on a file system that is mounted noexec, "
        "so that nothing can be run from it"
    )
    trial.saw(7, "the prefix is mounted noexec", BEFORE, ran, line)


def test_port_of_a_foreign_process(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    node.enter("systemctl stop kube-nginx")
    with faults.foreign_listener(node, 8443):
        ran = trial.deploy()
    line = "lab-node-2: survey: 127.0.0.1:8443 is held by perl (…, squatter.service)"
    hint = "hint: on the node: systemctl stop squatter.service; or choose another proxy.listen"
    trial.saw(8, "another process has the port", BEFORE, ran, line, hint)


def test_port_of_a_stray_worker(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    with faults.stray_worker(node, PREFIX):
        ran = trial.deploy(hosts=trial.plain)
        assert node.enter("systemctl is-active kube-nginx").strip() == "active"
        assert answers(node)
    line = (
        "survey lab-node-3 ok restart: the service is inactive (dead); "
        "a kube-nginx outside of the unit has the port (…)"
    )
    told = [
        x.replace(x.split()[3] + " ", "", 1) for x in ran.out.splitlines() if x.startswith("survey lab-n")
    ]
    trial.saw(
        9,
        "a kube-nginx that somebody started by hand has the port",
        "restarted: the stray one ends, the unit's takes over",
        Ran(ran.status, "\n".join(told), ran.err),
        line,
        status=0,
    )


def test_masked(trial: Trial) -> None:
    node = trial.lab.nodes[0]
    with faults.masked(node):
        ran = trial.deploy()
        assert answers(node)
        assert node.enter("readlink /etc/systemd/system/kube-nginx.service").strip() == "/dev/null"
    hint = "hint: somebody wanted it so; if that is over: systemctl unmask kube-nginx on the node"
    trial.saw(16, "the unit is masked", BEFORE, ran, "lab-node-1: survey: the unit is masked", hint)


def test_clock_two_hours_off(trial: Trial, tmp_path: Path) -> None:
    for hours in (2, -2):
        command = [*faults.clock(hours, tmp_path), sys.executable, "-m", "fabric", "deploy"]
        hosts = trial.changed if hours > 0 else trial.plain
        environment = {"KUBE_NGINX_HOSTS": str(hosts)}
        done = subprocess.run(
            ["env", *(f"{k}={v}" for k, v in environment.items()), *command],
            capture_output=True,
            text=True,
            cwd=ROOT,
            timeout=200,
            check=False,
        )
        ran = Ran(done.returncode, done.stdout, done.stderr)
        trial.saw(24, "a clock is two hours off", "reloaded", ran, "deploy: 3 reloaded", status=0)


def test_all_apiservers_down(trial: Trial) -> None:
    with faults.stopped(trial.lab.apiservers):
        ran = trial.deploy()
    warned = [line for line in ran.out.splitlines() if line.startswith("activate lab-node-1 warning")]
    assert len(warned) == 1, ran.out
    said = warned[0].partition("reloaded, ")[2]
    row = Ran(ran.status, f"{ran.out}\n{said}", ran.err)
    line = (
        "no apiserver answers, neither through 127.0.0.1:8443 "
        "(accepted the connection and closed it before TLS) nor directly ("
        "lab-api-1:6443 refused the connection; "
        "lab-api-2:6443 refused the connection; "
        "lab-api-3:6443 refused the connection)"
    )
    end = "reloaded, with a warning: a cluster may be built in that order"
    trial.saw(25, "no apiserver is up", end, row, line, "deploy: 3 reloaded", status=0)


def test_umask_and_locale(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    with faults.umask_and_locale(node):
        gone = trial.deploy("--force")
    trial.saw(
        26, "umask 077 and a German locale on the node", "restarted", gone, "deploy: 3 restarted", status=0
    )
    modes = node.enter(f"stat -c %a {PREFIX}/conf {PREFIX}/releases {PREFIX}/conf/kube-nginx.conf").split()
    assert modes == ["755", "755", "644"]
