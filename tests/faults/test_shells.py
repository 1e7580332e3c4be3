"""Faults of what stands between a login and a command: login shells, sudo, names; and of what never ends."""

from __future__ import annotations

import re
import signal
from hashlib import sha256

import invoke
import pytest

from tasks.core.ssh.fleet import ssh_host
from tests.conftest import run_fab
from tests.faults.book import Row, note
from tests.faults.conftest import PREFIX, Trial, ended, until
from tests.lab import faults
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

BEFORE = "as it was: nothing was written"
CHATTY = "printf hello; printf oops >&2; trap 'printf kn.arch=bye; echo bye >&2' EXIT\n"
NO_SHELL = "hint: is it nologin or false? set ssh.user in hosts.toml to a user whose shell runs commands"


def test_a_shell_that_prints_before_and_after(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a line end before the first line of an answer, and after the last."""
    node = trial.lab.nodes[1]
    with faults.start_up_file(node, CHATTY):
        assert node.ssh("echo x").stdout == "hellox\nkn.arch=bye"
        ran = trial.deploy()
        assert [run_fab(task, hosts=trial.changed).status for task in ("status", "check")] == [0, 0]
        logs = run_fab("logs", "--limit", node.name, hosts=trial.changed)
        assert "hello" not in logs.out
        assert "bye" not in logs.out + logs.err
        monkeypatch.setenv("KUBE_NGINX_HOSTS", str(trial.plain))
        binary = f"{PREFIX}/sbin/kube-nginx"
        fetched = ssh_host(invoke.Context(), node.name).fetch(binary)
    assert sha256(fetched).hexdigest() == node.enter(f"sha256sum < {binary}").split()[0]
    fault = "the login shell prints without a line end, before and after each command"
    trial.saw(58, fault, "reloaded", ran, "deploy: 3 reloaded", status=0)


def test_a_shell_that_runs_nothing(trial: Trial) -> None:
    first, node, _ = trial.lab.nodes
    with faults.login_shell(node, "/usr/sbin/nologin"):
        ran = trial.deploy()
    said = "| This account is currently not available."
    line = "survey: the login shell of root ran nothing, and ended with status"
    trial.saw(59, "the login shell is nologin", BEFORE, ran, f"{node.name}: {line} 1", said, NO_SHELL)
    assert "2 reloaded" in ran.out
    with faults.login_shell(first, "/bin/false"), faults.login_shell(node, "/bin/true"):
        ran = trial.deploy("--force")
        assert run_fab("status", "--limit", f"{first.name},{node.name}", hosts=trial.plain).status == 1
    assert f"{first.name}: {line} 1\n" in ran.err
    assert f"{node.name}: {line} 0\n" in ran.err
    assert f"  {NO_SHELL}\n" in ran.err
    assert "1 restarted" in ran.out


def test_a_shell_that_is_unlike_sh(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    for shell in ("/usr/bin/fish", "/bin/tcsh", "/bin/dash"):
        with faults.login_shell(node, shell):
            ran = trial.deploy()
            assert run_fab("restart", "--limit", node.name, hosts=trial.changed).status == 0
            assert run_fab("rollback", "--limit", node.name, hosts=trial.changed).status == 0
        if shell == "/usr/bin/fish":
            trial.saw(60, "the login shell is csh or fish", "reloaded", ran, "deploy: 3 reloaded", status=0)
        assert ran.status == 0, ran.err
        assert "3 reloaded" in ran.out or "1 reloaded" in ran.out


@pytest.mark.parametrize("user", ["root", "ops"])
@pytest.mark.parametrize("shell", ["/bin/tcsh", "/usr/bin/fish"])
def test_all_is_done_by_a_shell_that_is_unlike_sh(trial: Trial, shell: str, user: str) -> None:
    """Of it the shell itself sees no more than that sh is to read it: also uploads, and with sudo."""
    node = trial.lab.nodes[1]
    login = ("[ssh]", f'[ssh]\nuser = "{user}"\nsudo = {str(user != "root").lower()}')
    hosts, homes = trial.hosts_toml(login), f"/root /home/{user}"
    odd = "set backslash_quote; set histchars='+-'; set nonomatch; set noglob; set noclobber"
    with faults.login_shell(node, shell, user), faults.new_file(node, f"~{user}/.tcshrc", odd):
        before = node.enter(f"find {homes} -type f 2>/dev/null | grep -v fish || true")
        for words in (["uninstall", "--yes"], ["deploy"], ["check"], ["logs"], ["diff"], ["connections"]):
            ran = run_fab(*words, "--limit", node.name, hosts=hosts)
            assert (ran.status, ran.err) == (0, ""), ran.text
        assert node.enter(f"find {homes} -type f 2>/dev/null | grep -v fish || true") == before


def test_a_shell_that_never_stops_printing(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    with faults.start_up_file(node, "yes 'no end'\n"):
        ran = trial.deploy()
        until(lambda: node.enter("pgrep -x yes || true") == "")
    line = f"{node.name}: survey: it wrote more than 4 MiB, and was ended"
    trial.saw(61, "a command on the node prints without end", BEFORE, ran, line, "| no end")
    assert "2 reloaded" in ran.out


def test_a_resolver_that_is_dead(trial: Trial) -> None:
    node = trial.lab.nodes[0]
    ops = trial.hosts_toml(("[ssh]", '[ssh]\nuser = "ops"\nsudo = true\nconnect_timeout = 60'))
    with faults.dead_resolver(node):
        ran = run_fab("status", "--limit", node.name, hosts=ops)
    assert ran.status == 0, ran.err
    line = next(line for line in ran.out.splitlines() if line.startswith(f"status {node.name} ok"))
    told = [re.sub("took [0-9]+ s", "took … s", text) for text in line.split("; ")[-2:]]
    assert [text.partition(":")[0] for text in told] == ["login alone took … s", "sudo alone took … s"]
    assert "UseDNS no" in told[0]
    assert "/etc/hosts" in told[1]
    fault = "`status`, by sudo, of a node whose DNS server is silent and whose /etc/hosts lacks its own name"
    note(Row(62, fault, "\n".join(told), "as it was"))


def is_cut(node: Node) -> bool:
    return "kube-nginx-drill" in node.enter("nft list tables")


def test_ctrl_c_in_a_drill_of_a_node_that_hangs(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    words = ("--apiserver", "lab-api-2", "--limit", node.name, "--seconds", "8")
    with trial.begun(*words, hosts=trial.plain, task="drill") as process:
        until(lambda: is_cut(node))
        with faults.hung_sshd(node):
            process.send_signal(signal.SIGINT)
            ran = ended(process, timeout=8)
            assert is_cut(node)
    until(lambda: not is_cut(node))
    gone = "the firewall rules of the drill were not seen to be gone; the node heals itself within … s"
    line = f"{node.name}: drill: {gone}"
    said = re.sub("[0-9]+ s$", "… s", ran.err, flags=re.M)
    assert line in said.splitlines()
    assert "hint: see whether it has, there: systemctl list-timers kube-nginx-drill.timer; " in ran.err
    assert "by hand, as root there: " in ran.err
    assert ran.status == 130
    fault = "Ctrl-C in `drill`, and the node hangs: we are back at the prompt at once"
    note(Row(63, fault, line, "healed by its own timer"))
