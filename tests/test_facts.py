"""What is read out of a survey."""

from __future__ import annotations

import subprocess

import pytest

from tasks.core import commands, facts
from tasks.core.settings import Endpoint, Proxy

SURVEY = """\
Welcome to this machine!
arch=nonsense
kn.arch=x86_64
kn.uid=0
kn.user=998
kn.dir.conf=0
kn.dir.logs=998
kn.dir.sbin=0
kn.file./opt/k8s/kube-nginx/sbin/kube-nginx=aa11 755
kn.file./etc/systemd/system/kube-nginx.service=bb22 644
kn.unit.LoadState=loaded
kn.unit.ActiveState=active
kn.unit.SubState=running
kn.unit.NRestarts=2
kn.unit.MainPID=4711
kn.unit.ActiveEnterTimestampMonotonic=100000000
kn.exe=/opt/k8s/kube-nginx/sbin/kube-nginx (deleted)
kn.running=nginx version: nginx/1.26.3
kn.uptime=160.5
kn.socket.4242=1
kn.listen.0100007F:20FB=4242
kn.listen.00000000000000000000000001000000:20FB=4242
kn.listen.0100007F:0016=77
"""


def test_a_running_node() -> None:
    seen = facts.parse(SURVEY)
    assert (seen.arch, seen.uid, seen.user_id) == ("x86_64", 0, "998")
    assert seen.directories == {"conf": "0", "logs": "998", "sbin": "0"}
    assert seen.files["/opt/k8s/kube-nginx/sbin/kube-nginx"] == ("aa11", "755")
    assert seen.active
    assert seen.state == "active (running)"
    assert seen.active_seconds == pytest.approx(60.5)
    assert seen.restarts == 2
    assert seen.running_version == "1.26.3"
    assert seen.running_executable.endswith(" (deleted)")
    assert seen.listens(Endpoint("127.0.0.1", 8443))
    assert seen.listens(Endpoint("::1", 8443))
    assert not seen.listens(Endpoint("127.0.0.1", 8444))
    assert seen.listening[Endpoint("127.0.0.1", 22)] is False


@pytest.mark.parametrize(
    ("lines", "state", "active"),
    [
        ("", "not installed", False),
        ("kn.unit.LoadState=not-found\nkn.unit.ActiveState=inactive", "not installed", False),
        (
            "kn.unit.LoadState=loaded\nkn.unit.ActiveState=inactive\nkn.unit.SubState=dead",
            "inactive (dead)",
            False,
        ),
        (
            "kn.unit.LoadState=loaded\nkn.unit.ActiveState=activating\nkn.unit.SubState=auto-restart",
            "activating (auto-restart)",
            False,
        ),
        (
            "kn.unit.LoadState=loaded\nkn.unit.ActiveState=active\nkn.unit.SubState=exited",
            "active (exited)",
            False,
        ),
    ],
)
def test_states(lines: str, state: str, active: bool) -> None:
    seen = facts.parse(lines)
    assert (seen.state, seen.active, seen.active_seconds) == (state, active, None)


def test_systemd_before_235_counts_no_restarts() -> None:
    assert facts.parse("kn.unit.LoadState=loaded").restarts is None


def test_the_survey_reads_this_very_machine() -> None:
    script = commands.shell(commands.survey(Proxy(prefix="/nonexistent/kube-nginx")))
    ran = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    seen = facts.parse(ran.stdout)
    arch = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout
    assert seen.arch == arch.strip()
    assert seen.directories == {}
    assert seen.uptime > 0
