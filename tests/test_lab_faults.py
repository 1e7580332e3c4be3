"""The faults that the lab can inject: each is really there, and leaves nothing behind."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.lab import faults
from tests.lab.lab import Lab
from tests.lab.machine import LabError, run
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

PREFIX = "/opt/k8s/kube-nginx"
# in the mount namespace that kube-nginx has for itself
IN_SERVICE = "nsenter --mount --target $(systemctl show -p MainPID kube-nginx | cut -d= -f2)"
ECHO = "exec 3<>/dev/tcp/127.0.0.1/8443 && echo x >&3 && read -t 5 -u 3 line && echo $line"
# All that a fault may have touched; usermod keeps copies whose names end with a dash.
STATE = f"""
find /etc /usr/local /usr/lib/locale /var/lib {PREFIX} /run/fault* ! -path '/var/lib/systemd/*' ! -name '*-' \
  ! -name .pwd.lock -printf '%p %m %u %s %l\\n' 2>/dev/null | sort
findmnt -rn -o TARGET | sort; sshd -T | sort; systemctl list-units --plain --no-legend --state=failed
systemctl show -p ActiveState,UnitFileState,MainPID kube-nginx
"""


def said(node: Node, command: str) -> str:
    """What a command on the node prints, whether it fails or not."""
    return node.enter(f"{{ {command}; }} 2>&1 || true")


def answers(node: Node) -> bool:
    """Whether a client on the node has a byte echoed through its kube-nginx."""
    return node.exec(["bash", "-c", ECHO]).stdout == "x\n"


def greets(node: Node, port: int = 22, seconds: float = 5) -> bool:
    """Whether sshd says hello on a port."""
    try:
        with socket.create_connection((node.address, port), timeout=seconds) as connection:
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def sftp(node: Node, command: str) -> int:
    """The exit status of the client sftp."""
    config = str(node.state / "ssh_config")
    return run(["sftp", "-F", config, "-b", "-", node.name], stdin=f"{command}\n", check=False).returncode


@pytest.fixture(scope="module")
def states() -> dict[str, str]:
    """What is known of each node's state, once a test has left it as it was."""
    return {}


@pytest.fixture(params=[0, 1, 2], ids=["bullseye", "bookworm", "trixie"])
def node(request: pytest.FixtureRequest, lab: Lab, deployed: Path, states: dict[str, str]) -> Iterator[Node]:
    """A node with a kube-nginx that answers; it must be the same after the test."""
    node = lab.nodes[request.param]
    before = states.pop(node.name, "") or node.enter(STATE)
    yield node
    assert node.enter(STATE) == before
    states[node.name] = before
    node.enter(f"cd {PREFIX} && head -c 100000 /dev/zero > probe && rm probe && sbin/kube-nginx -v")
    assert answers(node)
    assert greets(node)


@pytest.fixture
def restarted(lab: Lab, deployed: Path, states: dict[str, str]) -> Iterator[Node]:
    """A node whose kube-nginx has another process after the test, but answers again."""
    node = lab.nodes[1]
    states.clear()
    yield node
    assert node.enter("systemctl show -p ActiveState kube-nginx") == "ActiveState=active\n"
    assert answers(node)


class TestDisk:
    """What can be wrong with the file system below the prefix."""

    def test_full(self, node: Node) -> None:
        write = f"head -c 100000 /dev/zero > {PREFIX}/probe"
        with faults.disk_full(node, PREFIX):
            assert "No space left on device" in said(node, write)
            assert "No space left on device" in said(node, f"{IN_SERVICE} sh -c '{write}'")
            assert "upstream" in said(node, f"rm {PREFIX}/probe && cat {PREFIX}/conf/kube-nginx.conf")
            assert answers(node)

    def test_full_until_something_is_deleted(self, node: Node) -> None:
        node.enter(f"cd {PREFIX}/conf && head -c 9000 /dev/zero > old && ln -s old link")
        with faults.disk_full(node, PREFIX):
            node.enter(f"cd {PREFIX}/conf && rm old && echo new > new")
        assert said(node, f"cd {PREFIX}/conf && ls && cat new") == "kube-nginx.conf\nlink\nnew\nnew\n"
        node.enter(f"cd {PREFIX}/conf && rm new link")

    def test_read_only(self, node: Node) -> None:
        write = f"touch {PREFIX}/logs/probe"
        with faults.read_only(node, PREFIX):
            assert "Read-only file system" in said(node, write)
            assert "Read-only file system" in said(node, f"{IN_SERVICE} {write}")
            assert answers(node)

    def test_noexec(self, node: Node) -> None:
        with faults.noexec(node, PREFIX):
            assert "Permission denied" in said(node, f"{PREFIX}/sbin/kube-nginx -v")
            assert "Permission denied" in said(node, f"{IN_SERVICE} {PREFIX}/sbin/kube-nginx -v")
            assert answers(node)

    def test_undone_after_an_error(self, node: Node) -> None:
        with pytest.raises(ZeroDivisionError), faults.disk_full(node, PREFIX):
            raise ZeroDivisionError

    def test_a_service_that_could_not_start_is_started_afterwards(self, restarted: Node) -> None:
        with faults.noexec(restarted, PREFIX), pytest.raises(LabError):
            restarted.enter("systemctl restart kube-nginx")

    def test_a_service_that_was_started_meanwhile_is_started_again(self, restarted: Node) -> None:
        with faults.noexec(restarted, f"{PREFIX}/conf"):
            restarted.enter("systemctl restart kube-nginx")
            assert "noexec" in said(restarted, f"{IN_SERVICE} findmnt {PREFIX}/conf")
        assert said(restarted, f"{IN_SERVICE} findmnt {PREFIX}/conf") == ""


class TestPort:
    """Who else may hold the port."""

    def test_foreign_listener(self, node: Node) -> None:
        with faults.foreign_listener(node, 9443):
            assert '"perl"' in said(node, "ss -ltnpH sport = :9443")
            assert said(node, "systemctl is-active squatter") == "active\n"
        assert said(node, "ss -ltnpH sport = :9443") == ""

    def test_foreign_listener_on_a_port_that_is_taken(self, node: Node) -> None:
        with pytest.raises(LabError, match="port 8443 is taken"), faults.foreign_listener(node, 8443):
            pass

    def test_stray_worker(self, lab: Lab, deployed: Path, states: dict[str, str]) -> None:
        states.clear()
        for node in lab.nodes:
            before = said(node, f"find {PREFIX} -printf '%p %u\\n' | sort")
            with faults.stray_worker(node, PREFIX):
                assert said(node, "systemctl is-active kube-nginx") == "inactive\n"
                assert '"kube-nginx"' in said(node, "ss -ltnpH sport = :8443")
                assert answers(node)
            assert said(node, f"find {PREFIX} -printf '%p %u\\n' | sort") == before
            assert said(node, "systemctl is-active kube-nginx") == "active\n"
            assert answers(node)


class TestUpload:
    """Bytes that change on their way."""

    @pytest.mark.parametrize("reader", ["head -c 200000", "cat"])
    def test_flipped_byte(self, node: Node, reader: str) -> None:
        with faults.flipped_byte(node):
            assert received(node, reader, 200_000) == (200_000, 1)
            assert received(node, reader, 100_000) == (100_000, 0)
            assert said(node, "cat < /usr/bin/perl | cmp - /usr/bin/perl") == ""
        assert received(node, reader, 200_000) == (200_000, 0)


def received(node: Node, reader: str, size: int) -> tuple[int, int]:
    """How many bytes arrive through a reader, and how many of them are not what was sent."""
    script = f"{reader} > /tmp/got; wc -c < /tmp/got; tr -d a < /tmp/got | wc -c; rm /tmp/got"
    total, changed = node.ssh(script, stdin="a" * size).stdout.split()
    return int(total), int(changed)


class TestSshd:
    """An sshd that is not as one would like it."""

    def test_max_startups(self, node: Node) -> None:
        with faults.max_startups(node, "1"), socket.create_connection((node.address, 22), timeout=5) as first:
            assert first.recv(4) == b"SSH-"
            assert not greets(node)
        with socket.create_connection((node.address, 22), timeout=5) as first:
            assert first.recv(4) == b"SSH-"
            assert greets(node)

    def test_extra_ports(self, node: Node) -> None:
        with faults.extra_ports(node, 40) as ports:
            assert [port for port in ports if not greets(node, port)] == []
            assert len(ports) == 40
        assert [port for port in ports if greets(node, port)] == []

    def test_no_sftp(self, node: Node) -> None:
        with faults.no_sftp(node):
            assert sftp(node, "pwd") != 0
            assert node.ssh("true").returncode == 0
        assert sftp(node, "pwd") == 0

    def test_no_forwarding(self, node: Node) -> None:
        forward = ["ssh", "-F", str(node.state / "ssh_config"), "-W", "127.0.0.1:22", node.name]
        with faults.no_forwarding(node):
            assert "administratively prohibited" in run(forward, check=False).stderr
        assert run(forward, check=False).stdout.startswith("SSH-")

    def test_loud_shell(self, node: Node) -> None:
        with faults.loud_shell(node):
            ran = node.ssh("echo bash=$BASH_VERSION")
            assert ran.stdout.splitlines()[0].startswith("*** ")
            assert ran.stdout.splitlines()[1] == "bash="
        assert node.ssh("echo bash=$BASH_VERSION").stdout.startswith("bash=5")

    def test_umask_and_locale(self, node: Node) -> None:
        with faults.umask_and_locale(node):
            for user in ("root", "ops"):
                assert node.ssh("umask; echo $LANG", user=user).stdout == "0077\nde_DE.UTF-8\n"
            assert "nicht" in node.ssh("ls /nowhere").stderr
            assert sftp(node, "put /etc/hostname /tmp/probe") == 0
            assert node.ssh("stat -c %a /tmp/probe && rm /tmp/probe").stdout.endswith("00\n")
        assert node.ssh("umask; echo $LANG").stdout.split()[0] == "0022"
        assert "nicht" not in node.ssh("ls /nowhere").stderr

    def test_no_sudo(self, node: Node) -> None:
        with faults.no_sudo(node):
            ran = node.ssh("sudo -n true", user="ops")
            assert (ran.returncode, "ops is not allowed" in ran.stderr) == (1, True)
        assert node.ssh("sudo -n true", user="ops").returncode == 0

    def test_without(self, node: Node) -> None:
        with faults.without(node, "flock"):
            assert node.ssh("flock --version").returncode == 127
        assert node.ssh("flock --version").returncode == 0

    def test_hung_sshd(self, node: Node) -> None:
        config = str(node.state / "ssh_config")
        pipe = subprocess.PIPE
        with subprocess.Popen(
            ["ssh", "-F", config, node.name, "cat"], stdin=pipe, stdout=pipe, bufsize=0
        ) as ssh:
            assert ssh.stdin is not None
            assert ssh.stdout is not None
            ssh.stdin.write(b"before\n")
            assert ssh.stdout.readline() == b"before\n"
            with faults.hung_sshd(node):
                ssh.stdin.write(b"meanwhile\n")
                assert not greets(node, seconds=1)
                assert not select.select([ssh.stdout], [], [], 0)[0]
                assert answers(node)
            assert ssh.stdout.readline() == b"meanwhile\n"
            ssh.stdin.close()
        assert ssh.returncode == 0


def test_masked(node: Node) -> None:
    with faults.masked(node):
        assert said(node, "systemctl is-enabled kube-nginx") == "masked\n"
        assert "masked" in said(node, "systemctl start kube-nginx")
        assert answers(node)
    assert said(node, "systemctl is-enabled kube-nginx") == "enabled\n"


WAITS = """
import threading, time
start = time.monotonic()
time.sleep(0.1), threading.Event().wait(0.1)
print(time.time(), start, time.monotonic() - start)
"""


@pytest.mark.parametrize("hours", [2, -3.5])
def test_clock(deployed: Path, tmp_path: Path, hours: float) -> None:
    prefix = faults.clock(hours, tmp_path)
    wall, start, waited = map(float, run([*prefix, sys.executable, "-c", WAITS]).stdout.split())
    assert wall - time.time() == pytest.approx(hours * 3600, abs=5)
    assert time.monotonic() - start == pytest.approx(0.2, abs=5)
    assert waited == pytest.approx(0.2, abs=0.15)


def test_fab_with_a_clock_that_is_off(deployed: Path, tmp_path: Path) -> None:
    command = [*faults.clock(2, tmp_path), sys.executable, "-m", "fabric", "status"]
    environment = {**os.environ, "KUBE_NGINX_HOSTS": str(deployed)}
    ran = subprocess.run(command, cwd=ROOT, env=environment, timeout=60, check=False)
    assert ran.returncode == 0
