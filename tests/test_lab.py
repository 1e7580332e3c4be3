"""The tasks on real systemd hosts over real SSH."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_fab, run_fab_on_terminal
from tests.lab import faults
from tests.lab.lab import Lab
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

NODES = ["lab-node-1", "lab-node-2", "lab-node-3"]
FILES = "/opt/k8s/kube-nginx /etc/systemd/system/kube-nginx.service"
Toml = Callable[..., Path]


# what a client on the node gets through its kube-nginx: the apiserver's name, then its answer
CLIENT = """
import ssl, urllib.request
context = ssl._create_unverified_context()
answer = urllib.request.urlopen("https://127.0.0.1:8443/readyz", timeout=10, context=context)
print(answer.headers["Apiserver"], answer.read().decode())
"""


def ask(node: Node) -> str:
    """Which apiserver answers through the node's kube-nginx, and what."""
    return node.exec([sys.executable, "-c", CLIENT]).stdout.strip()


def main_pids(lab: Lab) -> list[str]:
    """The service's main process on each node."""
    return [node.ssh("systemctl show -p MainPID kube-nginx").stdout.strip() for node in lab.nodes]


def files(lab: Lab) -> list[str]:
    """What was shipped on each node: names, inodes, times, owners, modes."""
    show = f"find {FILES} ! -path '*/logs*' -printf '%p %i %T@ %u %m\\n' | sort"
    return [node.ssh(show).stdout for node in lab.nodes]


def steps(document: dict[str, list[dict[str, object]]], state: str) -> set[str]:
    """The names of the steps that ended in `state` on any node."""
    return {
        str(step["step"])
        for node in document["nodes"]
        for step in node["steps"]  # type: ignore[attr-defined]
        if step["state"] == state
    }


def test_deploy_runs_kube_nginx_on_every_node(lab: Lab, deployed: Path) -> None:
    status = run_fab("status", "--json", hosts=deployed).json
    assert status["ok"] is True
    assert [node["node"] for node in status["nodes"]] == NODES
    for node in status["nodes"]:
        assert (node["state"], node["substate"], node["version"]) == ("active", "running", "1.26.3")
        assert node["listeners"] == {"127.0.0.1:8443": "answers"}
        assert node["enabled"] is True


def test_status_in_lines_is_a_node_a_line_and_the_summary(lab: Lab, deployed: Path) -> None:
    document = run_fab("status", "--json", hosts=deployed).json
    ran = run_fab("status", "--json=lines", hosts=deployed)
    *lines, last = map(json.loads, ran.out.splitlines())
    assert sorted(line["node"] for line in lines) == NODES
    for line, node in zip(sorted(lines, key=lambda line: str(line["node"])), document["nodes"], strict=True):
        assert (line["status"], {*line} - {"status"}) == ("ok", {*node})
        assert (line["release"], line["listeners"]) == (node["release"], node["listeners"])
    assert (last["task"], last["ok"], last["counts"]) == ("status", True, {"ok": 3})


def test_an_apiserver_answers_through_every_node(lab: Lab, deployed: Path) -> None:
    for node in lab.nodes:
        assert re.fullmatch(r"lab-api-[123] ok", ask(node))


def test_nothing_of_it_runs_as_root(lab: Lab, deployed: Path) -> None:
    for node in lab.nodes:
        users = node.ssh("ps -o user= -C kube-nginx | sort | uniq -c").stdout.split()
        assert users in (["2", "kube-ng+"], ["2", "kube-nginx"])


def test_the_sandbox_is_as_tight_as_promised(lab: Lab, deployed: Path) -> None:
    debian12 = next(node for node in lab.nodes if node.suite == "bookworm")
    text = debian12.ssh("systemd-analyze security kube-nginx --no-pager").stdout
    match = re.search(r"Overall exposure level for kube-nginx.service: ([\d.]+)", text)
    assert match is not None
    assert float(match[1]) <= 1.5


def test_shipping_again_changes_nothing(lab: Lab, deployed: Path) -> None:
    assert run_fab("deploy", hosts=deployed).status == 0  # whatever other tests have left
    before, pids = files(lab), main_pids(lab)
    chain = ("mkdir", "scp", "conf", "unit", "daemon-reload", "enable", "start")
    for task in chain:
        document = run_fab(task, "--json", hosts=deployed).json
        assert document["ok"] is True
        assert steps(document, "changed") == set(), task
    assert files(lab) == before
    assert main_pids(lab) == pids


def test_a_host_of_the_command_line_is_the_only_one_touched(lab: Lab, deployed: Path) -> None:
    before = main_pids(lab)
    assert run_fab("-H", "lab-node-1", "restart", hosts=deployed).status == 0
    after = main_pids(lab)
    assert after[0] != before[0]
    assert after[1:] == before[1:]


@pytest.mark.parametrize("limit", ["lab-node-[12]", "lab-node-1,lab-node-2"])
def test_limit(lab: Lab, deployed: Path, limit: str) -> None:
    before = main_pids(lab)
    document = run_fab("restart", "--limit", limit, "--json", hosts=deployed).json
    assert [node["node"] for node in document["nodes"]] == NODES[:2]
    after = main_pids(lab)
    assert after[2] == before[2]
    assert after[0] != before[0]


def test_reload_brings_a_new_worker_and_keeps_the_master(lab: Lab, deployed: Path) -> None:
    before = main_pids(lab)
    ran = run_fab("reload", hosts=deployed)
    assert ran.out.count("reloaded, an apiserver answers through 127.0.0.1:8443") == 3
    assert main_pids(lab) == before


def test_a_reload_that_nginx_refuses_is_a_failure(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    taken = hosts_toml(("[build]", '[proxy]\nlisten = ["127.0.0.1:8443", "198.51.100.7:8443"]\n\n[build]'))
    limit = ("--limit", "lab-node-1")
    assert run_fab("conf", *limit, hosts=taken).status == 0
    try:
        ran = run_fab("reload", *limit, hosts=taken)
        assert ran.status == 1
        assert "lab-node-1: reload: nginx refuses the files that are there; nothing was changed" in ran.err
        assert "198.51.100.7:8443" in ran.err
        assert "retry: fab reload --limit lab-node-1" in ran.err
        assert ask(lab.nodes[0]).endswith(" ok")
    finally:
        assert run_fab("conf", "reload", hosts=deployed).status == 0


def test_stop_status_start(lab: Lab, deployed: Path) -> None:
    limit = ("--limit", "lab-node-2")
    assert run_fab("stop", *limit, hosts=deployed).status == 0
    ran = run_fab("status", hosts=deployed)
    assert ran.status == 1
    assert "lab-node-2: status: inactive (dead)" in ran.err
    assert "status: 1 of 3 failed" in ran.err
    since = [node["since"] for node in run_fab("status", "--json", hosts=deployed).json["nodes"]]
    assert [bool(text) for text in since] == [True, False, True]  # not when it last became active
    assert since[1] is None
    assert run_fab("start", *limit, hosts=deployed).status == 0
    assert run_fab("status", hosts=deployed).status == 0


def test_disable_and_enable(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[0]
    assert run_fab("disable", "--limit", node.name, hosts=deployed).status == 0
    assert node.ssh("systemctl is-enabled kube-nginx").stdout.strip() == "disabled"
    assert run_fab("enable", "--limit", node.name, hosts=deployed).status == 0
    assert node.ssh("systemctl is-enabled kube-nginx").stdout.strip() == "enabled"


def test_logs_are_prefixed_by_their_node(lab: Lab, deployed: Path) -> None:
    lines = run_fab("logs", "--lines", "2", hosts=deployed).out.splitlines()
    assert {line.split(" | ")[0] for line in lines} == set(NODES)


def test_logs_follow_ends_its_journalctl_with_the_connection(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[0]
    environment = {"KUBE_NGINX_HOSTS": str(deployed), "PATH": "/usr/bin:/bin"}
    with subprocess.Popen(
        [sys.executable, "-m", "fabric", "logs", "--follow", "--limit", node.name],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as follower:
        assert follower.stdout is not None
        assert follower.stdout.readline().startswith("lab-node-1 | ")
        assert node.ssh("pgrep -c journalctl").stdout.strip() == "1"
        follower.kill()
    gone = (
        "i=0; while pgrep journalctl >/dev/null && [ $i -lt 100 ]; do sleep 0.1; i=$((i+1)); done;"
        " pgrep -c journalctl"
    )
    assert node.ssh(gone).stdout.strip() == "0"


def test_a_node_that_is_off_fails_alone(lab: Lab, deployed: Path) -> None:
    off = lab.nodes[2]
    off.stop()
    try:
        ran = run_fab("deploy", "--json", hosts=deployed)
        assert ran.status == 1
        document = ran.json
        assert [node["ok"] for node in document["nodes"]] == [True, True, False]
        assert document["nodes"][2]["error"]["step"] == "survey"
        assert "lab-node-3: survey: cannot connect to" in ran.err
        assert "retry: fab deploy --limit lab-node-3" in ran.err
    finally:
        off.start()
    assert run_fab("deploy", "--limit", "lab-node-3", hosts=deployed).status == 0


def test_an_architecture_without_a_binary(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[0]
    node.ssh("mkdir -p /usr/local/bin && printf '#!/bin/sh\\necho aarch64\\n' > /usr/local/bin/uname")
    node.ssh("chmod 0755 /usr/local/bin/uname")
    before = files(lab)
    try:
        ran = run_fab("deploy", hosts=deployed)
        assert ran.status == 1
        assert "the node is aarch64, and the binaries are for x86_64" in ran.err
        assert files(lab)[0] == before[0]
    finally:
        node.ssh("rm /usr/local/bin/uname")


def test_deploy_before_build_says_to_build_first(
    lab: Lab, fleet: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    ran = run_fab("deploy", hosts=fleet)
    assert ran.status == 1
    assert "run fab build first" in ran.err


def test_a_build_on_an_ssh_host_is_brought_back(
    lab: Lab, hosts_toml: Toml, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    builder = next(node for node in lab.nodes if node.suite == "bookworm")
    remote = hosts_toml(("[build]", f'[build]\nhosts = ["{builder.name}"]'))
    first = run_fab("build", "--json", hosts=remote)
    assert first.status == 0, first.err
    assert steps(first.json, "changed") == {"download", "configure", "make-install", "verify"}
    (kept,) = tmp_path.glob("kube-nginx/binaries/*/kube-nginx")
    there = builder.ssh(f"sha256sum /opt/k8s/work/binaries/{kept.parent.name}/kube-nginx").stdout
    assert there.split()[0] == sha256(kept.read_bytes()).hexdigest()
    again = run_fab("build", "--json", hosts=remote)
    assert steps(again.json, "changed") == set()


def test_a_build_host_without_a_compiler_says_the_command(
    lab: Lab, hosts_toml: Toml, fleet: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    there = 'hosts = ["ops-password@lab-node-1"]\nwork_dir = "/home/ops-password/work"'
    remote = hosts_toml(("[build]", f"[build]\n{there}"))
    ran = run_fab("build", hosts=remote)
    assert ran.status == 1
    assert "a C compiler or make is missing; as root: apt-get update" in ran.err


def test_with_the_lab_down_nothing_is_sent_anywhere(lab: Lab, hosts_toml: Toml, fleet: Path) -> None:
    nowhere = hosts_toml((f"{lab.state}/ssh_config", f"{lab.state}/no-such-file"))
    ran = run_fab("deploy", hosts=nowhere)
    assert ran.status == 1
    for name in NODES:
        assert name in ran.err
    assert "no-such-file does not exist" in ran.err
    assert "fab lab.up" in ran.err


class TestSudo:
    """An ordinary user who acts as root through sudo."""

    def test_without_a_password(self, lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
        ops = hosts_toml(("[ssh]", '[ssh]\nuser = "ops"\nsudo = true'))
        before = main_pids(lab)
        assert run_fab("uninstall", "--yes", "--limit", "lab-node-1", hosts=ops).status == 0
        ran = run_fab("deploy", "--json", hosts=ops)
        assert ran.status == 0, ran.err
        assert [node["result"] for node in ran.json["nodes"]] == ["installed", "unchanged", "unchanged"]
        assert main_pids(lab)[1:] == before[1:]
        assert lab.nodes[0].ssh("ls -A /tmp | grep ^kube-nginx").stdout == ""

    def test_with_the_right_password(self, lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
        login = ("[ssh]", '[ssh]\nuser = "ops-password"\nsudo = true')
        ops = hosts_toml(login, ("[build]", "[proxy]\nmax_fails = 31\n\n[build]"))
        ran = run_fab_on_terminal(["--prompt-for-sudo-password", "deploy", "status"], "lab", ops)
        assert ran.status == 0, ran.out
        assert "deploy: 3 reloaded" in ran.out
        assert "lab\n" not in ran.out.replace("\r", "")
        assert run_fab("deploy", hosts=deployed).status == 0

    def test_following_with_a_password_follows_all(self, lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
        ops = hosts_toml(("[ssh]", '[ssh]\nuser = "ops-password"\nsudo = true'))
        ran = run_fab_on_terminal(["--prompt-for-sudo-password", "logs"], "lab", ops)
        assert ran.status == 0
        assert all(f"{name} | " in ran.out for name in NODES)

    def test_with_a_wrong_password(self, lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
        ops = hosts_toml(("[ssh]", '[ssh]\nuser = "ops-password"\nsudo = true'))
        for node in lab.nodes:
            node.ssh("journalctl --rotate >/dev/null 2>&1; journalctl --vacuum-time=1s >/dev/null 2>&1")
        ran = run_fab_on_terminal(["--prompt-for-sudo-password", "conf"], "wrong", ops)
        assert ran.status == 1
        assert ran.out.count("hint: give the right one") == 1
        assert "sudo refused the password (tried once, on lab-node-" in ran.out
        seen = [
            n.ssh("journalctl -o cat | grep -c 'authentication failure'").stdout.strip() for n in lab.nodes
        ]
        assert sorted(seen) == ["0", "0", "1"]

    def test_a_password_that_was_not_given(self, lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
        ops = hosts_toml(("[ssh]", '[ssh]\nuser = "ops-password"\nsudo = true'))
        ran = run_fab("status", hosts=ops)
        assert ran.status == 1
        assert "sudo: a password is required" in ran.err
        assert "fab --prompt-for-sudo-password" in ran.err

    def test_not_root_and_no_sudo(self, lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
        ops = hosts_toml(("[ssh]", '[ssh]\nuser = "ops"'))
        ran = run_fab("conf", hosts=ops)
        assert ran.status == 1
        assert "logged in as ops, who is not root" in ran.err


class TestHostKeys:
    """known_hosts is believed, and nothing else."""

    def config(self, lab: Lab, folder: Path, known: str) -> Path:
        (folder / "known_hosts").write_text(known)
        text = lab.ssh_config.read_text().replace(f"{lab.state}/known_hosts", f"{folder}/known_hosts")
        (folder / "ssh_config").write_text(text)
        return folder / "ssh_config"

    def test_unknown(self, lab: Lab, fleet: Path, hosts_toml: Toml, tmp_path: Path) -> None:
        mine = hosts_toml((str(lab.ssh_config), str(self.config(lab, tmp_path, ""))))
        ran = run_fab("status", hosts=mine)
        assert ran.status == 1
        assert ran.err.count("is unknown: ssh-ed25519 SHA256:") == 3
        assert f"ssh-keyscan {lab.nodes[0].address} >> {tmp_path}/known_hosts" in ran.err
        assert (tmp_path / "known_hosts").read_text() == ""

    def test_accept_new_records(self, lab: Lab, deployed: Path, hosts_toml: Toml, tmp_path: Path) -> None:
        new = ("[ssh]", '[ssh]\nhost_keys = "accept-new"')
        mine = hosts_toml((str(lab.ssh_config), str(self.config(lab, tmp_path, ""))), new)
        assert run_fab("status", hosts=mine).status == 0
        recorded = (tmp_path / "known_hosts").read_text().splitlines()
        assert sorted(line.split()[0] for line in recorded) == sorted(str(n.address) for n in lab.nodes)
        strict = hosts_toml((str(lab.ssh_config), f"{tmp_path}/ssh_config"))
        assert run_fab("status", hosts=strict).status == 0

    @pytest.mark.parametrize("policy", ["strict", "accept-new"])
    def test_changed(self, lab: Lab, deployed: Path, hosts_toml: Toml, tmp_path: Path, policy: str) -> None:
        known = (lab.state / "known_hosts").read_text()
        first, second = (str(node.address) for node in lab.nodes[:2])
        key = {line.split()[0].split(",")[0]: line.split(maxsplit=1)[1] for line in known.splitlines()}
        swapped = next(v for names, v in key.items() if second in names or names == "lab-node-2")
        mine = self.config(lab, tmp_path, f"{first} {swapped}\n")
        ran = run_fab(
            "status",
            "--limit",
            "lab-node-1",
            hosts=hosts_toml((str(lab.ssh_config), str(mine)), ("[ssh]", f'[ssh]\nhost_keys = "{policy}"')),
        )
        assert ran.status == 1
        assert f"the host key of {first} HAS CHANGED" in ran.err
        assert f"ssh-keygen -R '{first}'" in ran.err


def test_nodes_behind_a_gateway(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    behind = hosts_toml(("[ssh]", '[ssh]\ngateway = "lab-node-1"'), (', "lab-node-3"]', "]"))
    ran = run_fab("status", hosts=behind)
    assert ran.status == 0, ran.err
    seen = lab.nodes[1].ssh("journalctl -u ssh -o cat -n 40 | grep Accepted | tail -n 2").stdout
    assert f"from {lab.nodes[0].address} " in seen


def test_addresses_with_user_and_port(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    addresses = ", ".join(f'"root@{node.address}:22"' for node in lab.nodes)
    plain = hosts_toml(
        ('"lab-node-1", "lab-node-2", "lab-node-3"', addresses),
        ("[ssh]", f'[ssh]\nidentity = "{lab.state}/id_ed25519"\nhost_keys = "strict"'),
        (str(lab.ssh_config), f"{lab.state}/by_address"),
    )
    (lab.state / "by_address").write_text(f"Host *\n  UserKnownHostsFile {lab.state}/known_hosts\n")
    assert run_fab("status", hosts=plain).status == 0


def test_a_dead_upstream_is_told_from_a_dead_proxy(lab: Lab, deployed: Path) -> None:
    with faults.stopped(lab.apiservers):
        ran = run_fab("status", "--json", hosts=deployed)
    assert ran.status == 1
    assert [node["listeners"] for node in ran.json["nodes"]] == [{"127.0.0.1:8443": "accepts"}] * 3
    deadline = time.monotonic() + 60
    while run_fab("status", hosts=deployed).status:  # nginx refuses clients until fail_timeout has passed
        assert time.monotonic() < deadline


def test_a_listener_of_another_process_is_not_taken_for_ours(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[1]
    assert run_fab("stop", "--limit", node.name, hosts=deployed).status == 0
    thief = (
        "import socket, sys; s = socket.create_server(('127.0.0.1', 8443));"
        " print('here', flush=True); sys.stdin.read()"
    )
    command = ["ip", "netns", "exec", node.netns, sys.executable, "-c", thief]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        status = run_fab("status", "--limit", node.name, "--json", hosts=deployed)
        started = run_fab("start", "--limit", node.name, hosts=deployed)
        process.communicate("")
    assert status.json["nodes"][0]["listeners"] == {
        "127.0.0.1:8443": "is held by a process that cannot be seen"
    }
    assert started.status == 1
    assert "127.0.0.1:8443 is held by a process that cannot be seen" in started.err
    assert run_fab("restart", "status", "--limit", node.name, hosts=deployed).status == 0


def test_a_masked_unit_is_left_masked(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[1]
    node.ssh("rm /etc/systemd/system/kube-nginx.service; systemctl mask kube-nginx")
    try:
        for task in ("deploy", "restart"):
            ran = run_fab(task, "--limit", node.name, hosts=deployed)
            assert ran.status == 1
            assert "the unit is masked" in ran.err
        assert node.ssh("readlink /etc/systemd/system/kube-nginx.service").stdout == "/dev/null\n"
    finally:
        node.ssh("systemctl unmask kube-nginx")
    assert run_fab("deploy", hosts=deployed).status == 0


def test_uninstall_and_deploy_again(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[2]
    refused = run_fab("uninstall", "--limit", node.name, hosts=deployed)
    assert refused.status == 2
    assert "--yes" in refused.err
    assert run_fab("uninstall", "--yes", "--limit", node.name, hosts=deployed).status == 0
    assert node.ssh(f"ls -d {FILES} 2>/dev/null").stdout == ""
    assert node.ssh("systemctl is-active kube-nginx").stdout.strip() == "inactive"
    again = run_fab("uninstall", "--yes", "--limit", node.name, "--json", hosts=deployed).json
    assert again["nodes"][0]["changed"] is False
    status = run_fab("status", hosts=deployed)
    assert status.status == 1
    assert "lab-node-3: status: not installed" in status.err
    assert run_fab("deploy", hosts=deployed).status == 0


def test_uninstall_keeps_what_is_not_ours(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[2]
    node.ssh("echo mine > /opt/k8s/kube-nginx/notes.txt")
    try:
        ran = run_fab("uninstall", "--yes", "--limit", node.name, hosts=deployed)
        assert ran.status == 0
        assert "holds files that are not ours and stays" in ran.out
        assert node.ssh("cat /opt/k8s/kube-nginx/notes.txt").stdout == "mine\n"
    finally:
        node.ssh("rm /opt/k8s/kube-nginx/notes.txt")
        assert run_fab("deploy", hosts=deployed).status == 0
