"""Fabric's own options and settings, on real hosts that are reached by an ssh_config alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import run_fab
from tests.lab import faults
from tests.lab.lab import Lab

pytestmark = pytest.mark.lab

CONFIG = 'config = "/run/kube-nginx-lab/lab/ssh_config"'


def test_an_ssh_config_of_the_command_line(lab: Lab, hosts_toml: Callable[..., Path], tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    hosts = hosts_toml(
        (CONFIG.replace("/run/kube-nginx-lab/lab", str(lab.state)), f'config = "{tmp_path}/empty"')
    )
    flags = ("-S", f"{lab.state}/ssh_config", "-t", "20")
    ran = run_fab(*flags, "daemon-reload", "--json", hosts=hosts)
    assert ran.status == 0, ran.err
    assert len(ran.json["nodes"]) == len(lab.nodes)
    assert run_fab(*flags, "-H", lab.nodes[0].name, "daemon-reload", hosts=hosts).status == 0
    refused = run_fab("daemon-reload", hosts=hosts)
    assert refused.status == 1
    assert "cannot be resolved" in refused.err


def test_settings_of_a_fabric_yaml(lab: Lab, hosts_toml: Callable[..., Path], tmp_path: Path) -> None:
    hosts = hosts_toml((CONFIG.replace("/run/kube-nginx-lab/lab", str(lab.state)), ""))
    settings = tmp_path / "fabric.yaml"
    settings.write_text(f"ssh_config_path: {lab.state}/ssh_config\ntimeouts: {{connect: 20}}\n")
    ran = run_fab("-f", str(settings), "daemon-reload", hosts=hosts)
    assert ran.status == 0, ran.err


def test_hosts_of_the_command_line_are_a_fleet(lab: Lab, deployed: Path) -> None:
    """As if hosts.toml named them: at once, with one summary and one document for each task."""
    one, two, _ = lab.nodes
    words = f"root@{one.name}:22,{two.name},{two.name}"
    ran = run_fab("-H", words, "status", "--json", hosts=deployed)
    assert ran.status == 0, ran.text
    assert [node["node"] for node in ran.json["nodes"]] == [one.name, two.name]
    ran = run_fab("-H", words, "-t", "20", "restart", "status", "status", hosts=deployed)
    assert ran.status == 0, ran.text
    assert ran.out.count("restart: 2 restarted\n") == 1
    assert ran.out.count("LISTENER") == 2
    for task in ("deploy", "logs", "diff", "connections", "preflight", "rollback", "rollback"):
        ran = run_fab("-H", words, "-t", "5", task, hosts=deployed)
        assert (ran.status, ran.err) == (0, ""), ran.text
    with faults.hung_sshd(one):
        ran = run_fab("-H", words, "-t", "1", "restart", "status", hosts=deployed)
    assert ran.status == 1
    assert f"retry: fab -H root@{one.name}:22 restart\n" in ran.err
    assert "LISTENER" not in ran.out


@pytest.mark.parametrize("words", [["-t", "5"], ["-t", "5", "-H", "lab-node-1"]], ids=" ".join)
def test_a_timeout_of_the_command_line(lab: Lab, deployed: Path, words: list[str]) -> None:
    for task in ("deploy", "status", "check", "connections"):
        ran = run_fab(*words, task, hosts=deployed)
        assert (ran.status, ran.err) == (0, ""), ran.text
