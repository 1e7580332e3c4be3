import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tasks.core.config import settings
from tasks.core.config.model import Settings
from tasks.core.release import render

GOLDEN = Path(__file__).parent / "golden"
ROOT = Path(__file__).parent.parent
RUNBOOK_IPS = ["172.27.138.251", "172.27.137.229", "172.27.138.239"]

SANDBOX = {
    "PrivateTmp": "true",
    "PrivateDevices": "true",
    "ProtectSystem": "strict",
    "ReadWritePaths": "/opt/k8s/kube-nginx/logs",
    "ProtectHome": "true",
    "ProtectProc": "invisible",
    "ProtectHostname": "true",
    "ProtectClock": "true",
    "ProtectControlGroups": "true",
    "ProtectKernelTunables": "true",
    "ProtectKernelModules": "true",
    "ProtectKernelLogs": "true",
    "ProcSubset": "pid",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces": "true",
    "RestrictRealtime": "true",
    "RestrictSUIDSGID": "true",
    "LockPersonality": "true",
    "MemoryDenyWriteExecute": "true",
    "SystemCallArchitectures": "native",
    "SystemCallFilter": "~@clock @cpu-emulation @debug @module @mount @obsolete @privileged "
    "@raw-io @reboot @resources @swap",
    "CapabilityBoundingSet": "",
    "NoNewPrivileges": "true",
    "RemoveIPC": "true",
}


def make(
    profile: str = "recommended",
    apiservers: Iterable[str] = ("10.0.0.1", "[fd00::2]:6443"),
    version: str | None = None,
    **proxy: Any,
) -> Settings:
    data: dict[str, Any] = {"profile": profile, "nodes": ["node-1"], "apiservers": list(apiservers)}
    data["proxy"] = proxy
    if version:
        data["build"] = {"version": version}
    return settings.parse(data, Path("hosts.toml"))


def directives(unit: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)


@pytest.mark.parametrize(
    ("name", "renders"),
    [("kube-nginx.conf", render.conf), ("kube-nginx.service", render.unit)],
)
def test_profile_runbook_is_the_runbook_byte_for_byte(name: str, renders: Callable[[Settings], str]) -> None:
    text = renders(make("runbook", RUNBOOK_IPS))
    assert text.encode() == (GOLDEN / name).read_bytes()


def test_recommended_conf() -> None:
    assert render.conf(make()) == (
        "worker_processes 1;\n"
        "error_log stderr;\n"
        "pid /opt/k8s/kube-nginx/logs/nginx.pid;\n"
        "worker_shutdown_timeout 10s;\n"
        "\n"
        "events {\n"
        "    worker_connections 4096;\n"
        "}\n"
        "\n"
        "stream {\n"
        "    upstream backend {\n"
        "        random two least_conn;\n"
        "        server 10.0.0.1:6443 max_fails=2 fail_timeout=2s;\n"
        "        server [fd00::2]:6443 max_fails=2 fail_timeout=2s;\n"
        "    }\n"
        "\n"
        "    server {\n"
        "        listen 127.0.0.1:8443;\n"
        "        proxy_connect_timeout 1s;\n"
        "        proxy_timeout 10m;\n"
        "        proxy_pass backend;\n"
        "    }\n"
        "}\n"
    )


@pytest.mark.parametrize(
    ("options", "present", "absent"),
    [
        ({"worker_processes": 2}, "zone backend 64k;", None),
        ({"worker_processes": 1}, None, "zone"),
        ({"profile": "runbook", "worker_processes": 2}, "zone backend 64k;", None),
        ({"balance": "round robin"}, None, "round robin"),
        ({"balance": "round robin"}, None, "random"),
        ({"balance": "hash  $remote_port"}, "        hash $remote_port;", None),
        ({"proxy_timeout": ""}, None, "proxy_timeout"),
        ({"worker_shutdown_timeout": ""}, None, "worker_shutdown_timeout"),
        ({"listen": ["127.0.0.1:8443", "[::1]:9443"]}, "        listen [::1]:9443;", None),
        ({"max_fails": 0, "fail_timeout": "1m"}, "max_fails=0 fail_timeout=1m;", None),
        ({"prefix": "/srv/proxy"}, "pid /srv/proxy/logs/nginx.pid;", "/opt"),
        ({"profile": "runbook", "proxy_timeout": "5m"}, "        proxy_timeout 5m;", None),
        ({"profile": "runbook", "user": "proxy"}, None, "user"),
        ({}, None, "user"),
    ],
)
def test_conf_follows_the_settings(options: dict[str, Any], present: str | None, absent: str | None) -> None:
    text = render.conf(make(**options))
    assert present is None or present in text
    assert absent is None or absent not in text


def test_recommended_unit_is_sandboxed() -> None:
    found = directives(render.unit(make()))
    assert {key: found.get(key) for key in SANDBOX} == SANDBOX


def test_recommended_unit_keeps_what_the_runbook_says() -> None:
    golden = directives((GOLDEN / "kube-nginx.service").read_text())
    kept = {key: value for key, value in golden.items() if not key.startswith("Exec")}
    assert kept.items() <= directives(render.unit(make())).items()


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PIDFile", "/opt/k8s/kube-nginx/logs/nginx.pid"),
        ("User", "kube-nginx"),
        ("Group", "kube-nginx"),
        ("Before", "kubelet.service kube-proxy.service"),
    ],
)
def test_recommended_unit_adds(key: str, value: Any) -> None:
    assert directives(render.unit(make()))[key] == value


def test_pid_file_is_the_same_in_both_files() -> None:
    chosen = make(prefix="/srv/proxy")
    pid_file = directives(render.unit(chosen))["PIDFile"]
    assert f"pid {pid_file};" in render.conf(chosen).splitlines()


def test_a_root_unit_has_no_sandbox_that_would_stop_it() -> None:
    found = directives(render.unit(make(user="")))
    assert found.keys() & SANDBOX.keys() == {"PrivateTmp"}
    assert "User" not in found


def test_runbook_with_a_user_runs_as_that_user() -> None:
    found = directives(render.unit(make("runbook", user="proxy")))
    assert (found["User"], found["Group"]) == ("proxy", "proxy")
    assert "ProtectSystem" not in found


@pytest.mark.parametrize(
    ("profile", "version", "expected"),
    [
        ("recommended", "1.30.6", True),
        ("recommended", "1.22.1", True),
        ("recommended", "1.18.0", False),
        ("runbook", "1.30.6", False),
        ("runbook", "1.15.3", False),
    ],
)
def test_early_errors_go_to_stderr_where_nginx_can(profile: str, version: str, expected: Any) -> None:
    text = render.unit(make(profile, version=version))
    commands = [line for line in text.splitlines() if line.startswith("Exec")]
    assert [(" -e stderr" in line) for line in commands] == [expected] * 3


def test_files_end_in_one_newline_and_hold_no_blank_run() -> None:
    for text in (render.conf(make(worker_processes=3)), render.unit(make(user=""))):
        assert text.endswith("\n")
        assert not text.endswith("\n\n")
        assert "\n\n\n" not in text
        assert not re.search(r"[ \t]$", text, re.M)


@pytest.mark.parametrize("package", ["tasks", "kube_nginx.tasks"])
def test_templates_are_found_under_both_names(package: str, tmp_path: Path) -> None:
    home = tmp_path / "kube_nginx" if "." in package else tmp_path
    home.mkdir(exist_ok=True)
    (home / "tasks").symlink_to(ROOT / "tasks")
    (home / "templates").symlink_to(ROOT / "templates")
    program = (
        f"from pathlib import Path; from {package}.core.config import settings; "
        f"from {package}.core.release import render; "
        'data = {"nodes": ["a"], "apiservers": ["10.0.0.1"]}; '
        'print(render.conf(settings.parse(data, Path("hosts.toml"))), end="")'
    )
    run = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (run.stderr, run.stdout) == ("", render.conf(make(apiservers=["10.0.0.1"])))
