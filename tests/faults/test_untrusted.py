"""What the service's user, or any other user of a node, puts in root's way there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from shlex import quote

import pytest

from tests.conftest import run_fab
from tests.faults.conftest import Trial, answers, until
from tests.faults.test_serving import MAIN, PID, comes_back, main
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

SSHD = "systemctl show -p MainPID --value ssh"
LISTENS = """
use IO::Socket::INET;
my $s = IO::Socket::INET->new(LocalAddr => "127.0.0.1:8443", Listen => 9, ReuseAddr => 1) or die $!;
$0 = shift;
close $s->accept() while 1;
"""
# whichever kind of tree there is
ENTERS = r"""
folder=/sys/fs/cgroup/systemd; [ -d $folder ] || folder=/sys/fs/cgroup
folder=$folder$(sed -n '/:name=systemd:\|^0::/{s/^[^:]*:[^:]*://p;q}' /proc/self/cgroup)/$1; shift
mkdir -p -- "$folder" && echo $$ > "$folder/cgroup.procs" && { "$@" & wait; }
"""


def by_the_service(node: Node, script: str) -> None:
    """Runs `script` as the service's user."""
    node.enter(f"runuser -u kube-nginx -- sh -c {quote(script)}")


@contextmanager
def in_a_group_of_its_own(node: Node, name: str, title: str = "squatter") -> Iterator[None]:
    """Somebody without any rights has the port, in a group, named as they like, below one that is theirs."""
    words = " ".join(map(quote, [name, "perl", "-e", LISTENS, title]))
    given = "systemd-run --quiet --unit=given --property=Delegate=yes --property=User=daemon"
    node.enter(f"printf %s {quote(ENTERS)} > /run/enters")
    node.enter(f"{given} sh /run/enters {words}".replace("$", "$$"))  # systemd has variables of its own
    try:
        until(lambda: "127.0.0.1:8443" in node.enter("ss -Hltn 2>/dev/null"))
        yield
    finally:
        node.enter("systemctl stop given; systemctl reset-failed given 2>/dev/null || true")


def test_the_pid_file_names_somebody_elses_process(trial: Trial) -> None:
    """Written by the service's user: nothing is done to that process, by whatever task."""
    node = trial.lab.nodes[0]
    victim, lie = node.enter(SSHD).strip(), f"echo $({SSHD}) > {PID}"
    by_the_service(node, lie)
    ran = trial.deploy("--limit", node.name, hosts=trial.plain)
    fault, end = (
        "nginx.pid names somebody else's process",
        "the file is put right; that process is left alone",
    )
    assert "nginx.pid does not name its main process" in ran.out
    trial.saw(46, fault, end, ran, "deploy: 1 corrected", status=0)
    assert node.enter(f"cat {PID}").strip() == main(node)
    for task in ("status", "reload", "restart", "stop", "start"):
        by_the_service(node, lie)
        done = run_fab(task, "--limit", node.name, hosts=trial.plain)
        assert done.status == 0, done.err
        assert node.enter(SSHD).strip() == victim
    by_the_service(node, lie)
    comes_back(node)  # systemd does not believe it, either, and begins anew
    assert node.enter(SSHD).strip() == victim
    assert node.enter(f"cat {PID}").strip() == main(node)


@pytest.mark.parametrize(
    "made", [("mkfifo {0}",), ("ln -s /dev/zero {0}", "truncate -s 1T {0}", "mkdir {0}")], ids=" ".join
)
def test_the_pid_file_is_none(trial: Trial, made: tuple[str, ...]) -> None:
    nodes = dict(zip(trial.lab.nodes, made, strict=False))
    limit = ("--limit", ",".join(node.name for node in nodes))
    for node, command in nodes.items():
        by_the_service(node, f"rm -f {PID} && {command.format(PID)}")
    assert run_fab("status", *limit, hosts=trial.plain).status == 0
    ran = trial.deploy(*limit, hosts=trial.plain)
    if len(made) == 1:
        fault = "nginx.pid is a pipe, a link to /dev/zero, a folder, or endless"
        trial.saw(47, fault, "the file is put right", ran, "deploy: 1 corrected", status=0)
    assert (ran.status, f"deploy: {len(made)} corrected" in ran.out) == (0, True), ran.out + ran.err
    for node in nodes:
        kind = node.enter(f"stat -c %F:%U {PID}; cat {PID}").split()
        assert kind == ["regular", "file:kube-nginx", main(node)]
    assert run_fab("diff", "--exit-code", *limit, hosts=trial.plain).status == 0


def test_systemd_waits_for_a_pipe_in_place_of_the_pid_file(trial: Trial) -> None:
    """When the service's user has its main process end: nothing of ours waits with it, and there is help."""
    node = trial.lab.nodes[1]
    by_the_service(node, f"rm -f {PID} && mkfifo {PID} && kill -KILL {main(node)}")
    ran = trial.deploy("--limit", node.name)
    do = f"mv -T {PID} /root/pipe && echo 1<> /root/pipe"
    fault = "nginx.pid is a pipe, for which systemd itself waits"
    line = f"| systemd hangs: {PID} is a pipe; on the node: {do}"
    trial.saw(47, fault, "as it was; systemd goes on when it is helped", ran, line)
    node.enter(do)
    until(lambda: answers(node) and main(node) not in ("", "0"))
    assert node.enter(f"stat -c %F {PID}").strip() == "regular file"


def test_systemd_takes_somebody_elses_process_for_the_main_one(trial: Trial) -> None:
    """As before systemd 237 whatever the service's user writes; later ones believe it of root."""
    node = trial.lab.nodes[2]
    as_root = trial.hosts_toml(("[build]", '[proxy]\nuser = ""\n\n[build]'))
    assert trial.deploy("--limit", node.name, hosts=as_root).status == 0
    node.enter("systemd-run --quiet --unit=victim sleep 3600")
    victim = node.enter("systemctl show -p MainPID --value victim").strip()
    worker = node.enter(f"pgrep -P $({MAIN})").strip()
    node.enter(f"echo {victim} > {PID}; kill -KILL $({MAIN})")
    until(lambda: main(node) == victim)
    ran = trial.deploy("--limit", node.name, hosts=as_root)
    line = "lab-node-3: survey: systemd takes …, which is not the unit's, for its main process"
    fault = "systemd takes somebody else's process for the service's main one"
    trial.saw(48, fault, "as it was: nothing is ended", ran, line)
    for task in (["restart"], ["reload"], ["stop"], ["rollback"], ["uninstall", "--yes"]):
        assert "for its main process" in run_fab(*task, "--limit", node.name, hosts=as_root).err, task
    assert node.enter("systemctl is-active victim kube-nginx").split() == ["active"] * 2
    node.enter(f"echo {worker} > {PID}; systemctl reload kube-nginx")  # as it is told
    again = trial.deploy("--limit", node.name, hosts=as_root)
    assert again.status == 0, again.err
    assert answers(node)
    assert node.enter("systemctl show -p MainPID --value victim").strip() == victim
    node.enter("systemctl stop victim")


def test_the_port_is_held_in_a_group_that_is_named_like_an_option(trial: Trial) -> None:
    """It is never an option of root's systemctl, nor of the one who pastes what is advised."""
    node = trial.lab.nodes[0]
    node.enter(
        "printf '#!/bin/sh\\necho \"$@\" >> /run/ssh-was-run\\n' > /usr/local/bin/ssh; "
        "chmod 755 /usr/local/bin/ssh; systemctl stop kube-nginx"
    )
    for name in ("-H198.18.0.1", "-H198.18.0.1.service"):
        with in_a_group_of_its_own(node, name):
            ran = trial.deploy("--limit", node.name)
            status = run_fab("status", "--limit", node.name, hosts=trial.plain)
        line = "lab-node-1: survey: 127.0.0.1:8443 is held by squatter (…)"
        hint = "hint: on the node: end …; or choose another proxy.listen"
        fault = "a process in a control group that is named like an option has the port"
        trial.saw(49, fault, "as it was: nothing was written", ran, line, hint)
        assert "-H198" not in status.out + status.err
        assert node.enter("cat /run/ssh-was-run 2>/dev/null || true") == ""
    node.enter("rm /usr/local/bin/ssh; systemctl start kube-nginx")


def test_a_group_whose_name_ends_like_the_units_is_not_the_unit(trial: Trial) -> None:
    """Whoever may make groups makes one with a colon in its name: what is in it is not signalled."""
    node = trial.lab.nodes[1]
    forged = "x:/system.slice/kube-nginx.service"
    node.enter("systemctl stop kube-nginx")
    with in_a_group_of_its_own(node, forged, "nginx: master process"):
        pid = node.enter("pgrep -u daemon -f '^nginx: master'").strip()
        by_the_service(node, f"echo {pid} > {PID}")
        ran = trial.deploy("--limit", node.name, hosts=trial.plain)
        assert "127.0.0.1:8443 is held by nginx:?master?p" in ran.err, ran.err
        assert node.enter("systemctl is-active given").strip() == "active"
    node.enter("systemctl start kube-nginx")
