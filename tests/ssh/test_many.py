"""Sixty nodes behind one bastion, whose sshd and theirs drop who comes too fast (MaxStartups 10:30:100)."""

from __future__ import annotations

import pytest

from tests.ssh.bench import Bench
from tests.ssh.case import Case

pytestmark = pytest.mark.lab

NODES = [f"198.18.3.{130 + number}" for number in range(60)]
PROXIES = {"ProxyJump b": 1, "ProxyCommand ssh -F /srv/config -W %h:%p b": len(NODES)}


@pytest.mark.parametrize(("proxy", "at_bastion"), PROXIES.items())
def test_all_are_reached(bench: Bench, proxy: str, at_bastion: int) -> None:
    case = Case(proxy, f"Host 198.18.3.*\n    {proxy}\nHost b\n    HostName bastion.example\n")
    with bench.home(case) as env:
        bench.hosts_toml(NODES, case)
        marks = bench.world.marks()
        ran = bench.world.fab("status", env=env | {"KUBE_NGINX_HOSTS": str(bench.world.srv / "hosts.toml")})
        logins = bench.world.logins(marks)
    assert "not seen" not in ran.text
    assert [login.host for login in logins] == ["bastion"] * at_bastion + ["inner"] * len(NODES)
