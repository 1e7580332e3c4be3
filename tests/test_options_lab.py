"""Fabric's own options and settings, on real hosts that are reached by an ssh_config alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import run_fab
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
