"""deploy, diff, preflight and rollback on real hosts: nothing that works is touched for nothing."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_fab, run_fab_on_terminal, under_way
from tests.lab import faults
from tests.lab.lab import Lab
from tests.lab.load import Load
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

PREFIX = "/opt/k8s/kube-nginx"
CONF = f"{PREFIX}/conf/kube-nginx.conf"
Toml = Callable[..., Path]

# every file of the node with its inode and times; logs of the login itself are not the login's doing
EVERYTHING = (
    "find / -xdev ! -path '/var/log/*' ! -path /run -printf '%p %i %T@ %C@ %s %m\\n' | sort;"
    " ls -ld --full-time /run/kube* /run/kube-nginx/*"
)


def everything(lab: Lab) -> set[str]:
    """All files of all nodes, and the service's main process."""
    show = "systemctl show -p MainPID,NRestarts,ActiveEnterTimestamp kube-nginx"
    seen = {node.name: node.enter(f"{{ {EVERYTHING}; {show}; }} 2>/dev/null || true") for node in lab.nodes}
    return {f"{name} {line}" for name, text in seen.items() for line in text.splitlines()}


def main_pid(node: Node) -> str:
    """The service's main process."""
    return node.enter("systemctl show -p MainPID kube-nginx")


def results(document: dict[str, Any]) -> list[str]:
    """What became of each node."""
    return [node["result"] for node in document["nodes"]]


@pytest.fixture(scope="module")
def plain(deployed: Path, hosts_toml: Toml) -> Path:
    """The fleet as hosts.toml has it; every test leaves it so to the next."""
    path = hosts_toml()
    assert run_fab("deploy", hosts=path).status == 0
    return path


@pytest.fixture
def quick(plain: Path) -> Iterator[Path]:
    """The fleet as hosts.toml has it, before and after the test."""
    yield plain
    assert run_fab("deploy", "--batch", "100%", hosts=plain).status == 0


def changed(hosts_toml: Toml, max_fails: int = 5) -> Path:
    """A hosts.toml with another configuration."""
    return hosts_toml(("[build]", f"[proxy]\nmax_fails = {max_fails}\n\n[build]"))


def test_a_second_deploy_changes_nothing(lab: Lab, quick: Path) -> None:
    before = everything(lab)
    ran = run_fab("deploy", "--json", hosts=quick)
    assert ran.status == 0
    assert results(ran.json) == ["unchanged"] * 3
    assert "deploy: 3 unchanged" in ran.err
    assert everything(lab) ^ before == set()


def test_diff_and_preflight_write_nothing(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    before = everything(lab)
    other = changed(hosts_toml)
    ran = run_fab("diff", "--exit-code", hosts=other)
    assert ran.status == 3
    assert "lab-node-1, lab-node-2, lab-node-3: reload: the configuration differs" in ran.out
    assert f"--- {CONF} (on the node)\n+++ {CONF} (from hosts.toml)\n" in ran.out
    server = f"server {lab.apiservers[0].address}:6443"
    assert f"-        {server} max_fails=2 fail_timeout=2s;\n" in ran.out
    assert f"+        {server} max_fails=5 fail_timeout=2s;\n" in ran.out
    assert "diff: 3 to be reloaded" in ran.out
    assert run_fab("diff", hosts=other).status == 0
    assert run_fab("diff", "--exit-code", hosts=quick).status == 0
    assert run_fab("preflight", hosts=other).status == 0
    document = run_fab("diff", "--json", "--exit-code", hosts=other)
    assert document.status == 3
    node = document.json["nodes"][0]
    assert (node["action"], node["why"]) == ("reload", ["the configuration differs"])
    assert node["diffs"]["kube-nginx.conf"].startswith(f"--- {CONF} (on the node)\n")
    assert everything(lab) ^ before == set()


def test_diff_of_a_node_that_is_off(lab: Lab, quick: Path) -> None:
    off = lab.nodes[1]
    off.stop()
    try:
        assert run_fab("diff", "--exit-code", hosts=quick).status == 1
    finally:
        off.start()


def test_a_changed_configuration_is_reloaded(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    before = [main_pid(node) for node in lab.nodes]
    ran = run_fab("deploy", "--json", hosts=changed(hosts_toml))
    assert results(ran.json) == ["reloaded"] * 3
    assert [main_pid(node) for node in lab.nodes] == before


def test_the_unit_differs(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    before = [main_pid(node) for node in lab.nodes]
    lab.nodes[0].enter("sed -i s/RestartSec=5/RestartSec=6/ /etc/systemd/system/kube-nginx.service")
    ran = run_fab("deploy", "--json", hosts=quick)
    assert results(ran.json) == ["restarted", "unchanged", "unchanged"]
    assert [main_pid(node) for node in lab.nodes][1:] == before[1:]
    assert "RestartSec=5" in lab.nodes[0].enter("cat /etc/systemd/system/kube-nginx.service")


DAMAGES = [
    ("systemctl stop kube-nginx", "restarted", "the service is inactive (dead)"),
    ("systemctl disable -q kube-nginx", "enabled", "it does not start at boot"),
    (f"rm {PREFIX}/sbin/kube-nginx", "upgraded", "the binary differs"),
    (f"chmod 600 {CONF}", "corrected", "kube-nginx.conf has mode 600, not 644"),
    (f"sed -i s/4096/4097/ {CONF}; systemctl reload kube-nginx", "reloaded", "the configuration differs"),
    (
        f"cp {PREFIX}/sbin/kube-nginx /tmp/x; echo >> /tmp/x; mv /tmp/x {PREFIX}/sbin/kube-nginx",
        "upgraded",
        "the binary differs",
    ),
    # the first node of a rollout, before systemd starts it by itself
    ("systemctl kill -s KILL --kill-who=main kube-nginx; sleep 0.1", "restarted", "the service is"),
]


@pytest.mark.parametrize("first", range(0, len(DAMAGES), 3))
def test_nodes_that_are_not_as_they_should_be(lab: Lab, quick: Path, first: int) -> None:
    damages = dict(zip(lab.nodes, DAMAGES[first : first + 3], strict=False))
    for node, (damage, _, _) in damages.items():
        node.enter(damage)
    ran = run_fab("deploy", "--json", hosts=quick)
    assert ran.status == 0, ran.err
    done = [result for _, result, _ in damages.values()]
    assert results(ran.json) == done + ["unchanged"] * (3 - len(done))
    for (_, _, why), node in zip(damages.values(), ran.json["nodes"], strict=False):
        assert node["why"][0].startswith(why)
    assert results(run_fab("deploy", "--json", hosts=quick).json) == ["unchanged"] * 3


def test_a_configuration_that_was_not_taken_is_found(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    other = changed(hosts_toml, 6)
    assert run_fab("conf", "--limit", "lab-node-3", hosts=other).status == 0
    ran = run_fab("deploy", "--json", "--limit", "lab-node-3", hosts=other)
    assert ran.json["nodes"][0]["why"] == ["it has not taken the configuration that is on disk"]
    assert results(ran.json) == ["reloaded"]


def test_force_restarts_anyway(lab: Lab, quick: Path) -> None:
    before = main_pid(lab.nodes[0])
    ran = run_fab("deploy", "--force", "--limit", "lab-node-1", "--json", hosts=quick)
    assert results(ran.json) == ["restarted"]
    assert main_pid(lab.nodes[0]) != before


def test_a_hand_edit_is_shown_and_kept(lab: Lab, quick: Path) -> None:
    node = lab.nodes[2]
    node.enter(f"sed -i 's/max_fails=2/max_fails=99/' {CONF}")
    edited = node.enter(f"cat {CONF}")
    assert "kube-nginx.conf was edited on the node" in run_fab("diff", hosts=quick).out
    ran = run_fab("deploy", "--json", hosts=quick)
    step = next(s for s in ran.json["nodes"][2]["steps"] if s["step"] == "stage")
    told = "kube-nginx.conf had been edited there; it will be kept in "
    assert step["state"] == "warning"
    assert step["detail"].startswith(told)
    folder = step["detail"].removeprefix(told)
    assert node.enter(f"cat {folder}/kube-nginx.conf") == edited


def test_rollback_goes_back_and_forward_again(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    assert run_fab("deploy", hosts=changed(hosts_toml, 5)).status == 0
    forward = [node.enter(f"cat {CONF}") for node in lab.nodes]
    back = run_fab("rollback", "--json", hosts=quick)
    assert back.status == 0, back.err
    assert results(back.json) == ["rolled back"] * 3
    assert all("max_fails=2" in node.enter(f"cat {CONF}") for node in lab.nodes)
    assert results(run_fab("deploy", "--json", hosts=quick).json) == ["unchanged"] * 3
    assert run_fab("rollback", hosts=quick).status == 0
    assert [node.enter(f"cat {CONF}") for node in lab.nodes] == forward


def test_rollback_leaves_a_masked_unit_masked(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    node = lab.nodes[1]
    assert run_fab("deploy", "--limit", node.name, hosts=changed(hosts_toml, 8)).status == 0
    with faults.masked(node):
        ran = run_fab("rollback", "--limit", node.name, hosts=quick)
        assert node.enter("readlink /etc/systemd/system/kube-nginx.service") == "/dev/null\n"
    assert ran.status == 1
    assert f"{node.name}: survey: the unit is masked" in ran.err


def test_rollback_goes_on_without_a_node_that_cannot(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    assert run_fab("deploy", hosts=changed(hosts_toml, 9)).status == 0
    with faults.masked(lab.nodes[0]):  # the canary, if it were not seen before
        ran = run_fab("rollback", "--json", hosts=quick)
    assert ran.status == 1
    assert results(ran.json) == ["failed", "rolled back", "rolled back"]
    assert "retry: fab rollback --limit lab-node-1" in ran.err
    assert run_fab("deploy", hosts=quick).status == 0


def test_status_shows_the_release_that_runs(lab: Lab, quick: Path) -> None:
    status = run_fab("status", "--json", hosts=quick).json
    shown = {node["release"] for node in status["nodes"]}
    assert shown == {node.enter(f"readlink {PREFIX}/releases/current").strip() for node in lab.nodes}


def test_releases_are_kept_but_not_for_ever(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    for max_fails in (11, 12, 13, 14):
        path = changed(hosts_toml, max_fails)
        assert run_fab("deploy", "--limit", "lab-node-1", hosts=path).status == 0
    releases = lab.nodes[0].enter(f"ls -d {PREFIX}/releases/*/ | grep -v 'current\\|previous'").split()
    assert len(releases) == 3


@contextmanager
def leads_nowhere(node: Node) -> Iterator[None]:
    """The service's user may connect to nobody; everybody else may."""
    uid = node.enter("id -u kube-nginx").strip()
    node.enter(f"ip rule add pref 10 uidrange {uid}-{uid} to 198.18.0.0/15 prohibit")
    try:
        yield
    finally:
        node.enter("ip rule del pref 10")


NOWHERE = "rolled back: no apiserver answers through 127.0.0.1:8443 "


def test_a_proxy_that_leads_nowhere_goes_back(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    node = lab.nodes[0]
    before = node.enter(f"cat {CONF}; readlink {PREFIX}/releases/current"), main_pid(node)
    with leads_nowhere(node):
        ran = run_fab("deploy", "--json", hosts=changed(hosts_toml, 21))
    assert ran.status == 1
    assert results(ran.json) == ["rolled back", "not started", "not started"]
    assert ran.json["nodes"][0]["error"]["message"].startswith(NOWHERE)
    assert ":6443 does directly" in ran.json["nodes"][0]["error"]["message"]
    assert "not started: lab-node-2, lab-node-3: 1 failed, and max_failures is 0" in ran.err
    assert "retry: fab deploy --limit lab-node-1,lab-node-2,lab-node-3" in ran.err
    assert (node.enter(f"cat {CONF}; readlink {PREFIX}/releases/current"), main_pid(node)) == before
    assert results(run_fab("deploy", "--json", hosts=quick).json) == ["unchanged"] * 3


def test_a_unit_that_leads_nowhere_goes_back(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    node = lab.nodes[1]
    other = hosts_toml(("[build]", "[proxy]\nworker_connections = 512\n\n[build]"))
    node.enter(
        "sed -i s/RestartSec=5/RestartSec=7/ /etc/systemd/system/kube-nginx.service; systemctl daemon-reload"
    )
    with leads_nowhere(node):
        ran = run_fab("deploy", "--limit", node.name, "--json", hosts=other)
    assert results(ran.json) == ["rolled back"]
    assert "RestartSec=7" in node.enter("cat /etc/systemd/system/kube-nginx.service")
    shown = node.enter("systemctl show -p RestartUSec,ActiveState,UnitFileState,NeedDaemonReload kube-nginx")
    wanted = ["RestartUSec=7s", "ActiveState=active", "UnitFileState=enabled", "NeedDaemonReload=no"]
    assert sorted(shown.split()) == sorted(wanted)


def test_a_first_one_that_leads_nowhere_is_left_stopped(lab: Lab, quick: Path) -> None:
    node = lab.nodes[2]
    assert run_fab("uninstall", "--yes", "--limit", node.name, hosts=quick).status == 0
    with leads_nowhere(node):
        ran = run_fab("deploy", "--limit", node.name, "--json", hosts=quick)
    assert results(ran.json) == ["rolled back"]
    assert ran.json["nodes"][0]["error"]["message"].endswith("; nothing ran there before, so it is stopped")
    assert node.enter("systemctl is-active kube-nginx || true").strip() == "inactive"
    assert node.enter("ls /etc/systemd/system | grep kube-nginx || true") == ""
    assert node.enter("ls /etc/systemd/system/multi-user.target.wants | grep kube-nginx || true") == ""


def rounds(hosts: Path, *flags: str) -> list[str]:
    """What a terminal shows of each round of a deploy: "1/2: 1 changed"."""
    ran = run_fab_on_terminal(["deploy", *flags], "", hosts)
    assert ran.status == 0, ran.out
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", ran.out)
    return [": ".join(found) for found in re.findall(r"[●!] activate (\S+) +(1 changed|2 changed)", shown)]


def test_first_installs_go_at_once_after_the_canary(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    one = hosts_toml(("[build]", "[rollout]\nsettle = 1\nbatch = 1\n\n[build]"))
    anew = ("uninstall", "--yes")
    assert run_fab(*anew, hosts=one).status == 0
    assert rounds(one) == ["1/2: 1 changed", "2/2: 2 changed"]
    assert run_fab(*anew, hosts=one).status == 0
    assert rounds(one, "--batch", "1") == ["1/3: 1 changed", "2/3: 1 changed", "3/3: 1 changed"]
    # whoever has the service, running or not, keeps to the batches
    assert run_fab(*anew, "--limit", "lab-node-2,lab-node-3", hosts=one).status == 0
    lab.nodes[0].enter("systemctl stop kube-nginx")
    assert rounds(one, "--canary", "0") == ["1/2: 2 changed", "2/2: 1 changed"]
    assert run_fab("status", hosts=quick).status == 0


def is_at_it(node: Node) -> bool:
    """Whether an activation is under way there."""
    return bool(node.enter("grep -als 'activate[.]sh' /proc/[0-9]*/cmdline || true"))


def test_a_node_that_only_waits_holds_no_slot(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    """Ctrl-C while all three wait, one of which is lost: the others finish, and it does so by itself."""
    rollout = '[rollout]\nparallel = 1\ncanary = 0\nbatch = "100%"\nsettle = 8\n'
    one_slot = hosts_toml(("[build]", f"{rollout}\n[build]"))
    before = [main_pid(node) for node in lab.nodes]
    with under_way(one_slot, "restart") as process:
        deadline = time.monotonic() + 30
        while not all(map(is_at_it, lab.nodes)):
            assert time.monotonic() < deadline
            assert process.poll() is None
        lab.nodes[1].enter("pkill -f '^sshd.*: root@'")
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "restart: 2 restarted, 1 failed\n" in out
    assert "lab-node-2: restart: restart: the connection broke while the command ran" in err
    assert "the node finishes by itself" in err
    while is_at_it(lab.nodes[1]):
        assert time.monotonic() < deadline + 60
    assert all(main_pid(node) != pid for node, pid in zip(lab.nodes, before, strict=True))
    assert run_fab("status", hosts=quick).status == 0


def test_sessions_to_a_removed_apiserver_end(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    fewer = hosts_toml((', "lab-api-3:6443"]', "]"))
    gone = lab.apiservers[2].address
    node = lab.nodes[0]
    with Load(node, "127.0.0.1", 8443):
        assert node.enter(f"ss -Htn state established dst {gone}")
        assert run_fab("deploy", "--limit", node.name, hosts=fewer).status == 0
        deadline = time.monotonic() + 10.5  # worker_shutdown_timeout, and the time to look
        while node.enter(f"ss -Htn state established dst {gone}"):
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_an_apiserver_is_needed(quick: Path, hosts_toml: Toml) -> None:
    none = hosts_toml(('["lab-api-1:6443", "lab-api-2:6443", "lab-api-3:6443"]', "[]"))
    ran = run_fab("deploy", hosts=none)
    assert ran.status == 2
    assert "apiservers" in ran.err


def test_the_runbooks_profile_is_restarted_for_a_new_binary(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kube-nginx"
    profile = ("nodes =", 'profile = "runbook"\nnodes ='), ("version =", f'work_dir = "{cache}"\nversion =')
    runbook = hosts_toml(*profile)
    limit = ("--limit", "lab-node-2")
    assert run_fab("deploy", *limit, hosts=runbook).status == 0
    lab.nodes[1].enter(
        f"cp {PREFIX}/sbin/kube-nginx /tmp/x; echo >> /tmp/x; mv /tmp/x {PREFIX}/sbin/kube-nginx"
    )
    ran = run_fab("deploy", *limit, "--json", hosts=runbook)
    assert ran.json["nodes"][0]["why"] == [
        "the binary differs (without PIDFile in the unit systemd would lose its main process)"
    ]
    assert results(ran.json) == ["restarted"]


def test_a_single_step_waits_its_turn(lab: Lab, quick: Path) -> None:
    node = lab.nodes[0]
    who = "ann@admin (fab deploy, PID 1) since noon"
    hold = (
        f"sh -c '# kn.locked\nexec 9<>/run/kube-nginx.lock; flock 9; echo \"{who}\" >&9; echo held; cat; :'"
    )
    command = ["ssh", "-F", str(lab.ssh_config), node.name, hold]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        ran = run_fab("restart", "--limit", node.name, hosts=quick)
        holder.communicate("")
    assert ran.status == 1
    assert f"locked by {who}" in ran.err
    assert run_fab("restart", "--limit", node.name, "--wait", "30", hosts=quick).status == 0
