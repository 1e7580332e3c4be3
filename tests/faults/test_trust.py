"""Faults of who may do what on a node: locks, folders above the prefix, permissions alone."""

from __future__ import annotations

import re

import pytest

from tests.conftest import run_fab
from tests.faults.conftest import PREFIX, Trial, current, until
from tests.faults.test_serving import CONF, UNIT, comes_back, main, restarts_well
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

BINARY = f"{PREFIX}/sbin/kube-nginx"
BEFORE = "as it was: nothing was written"
HOLD = "systemd-run --quiet --unit=holder"
LET_GO = "systemctl stop holder; systemctl reset-failed holder 2>/dev/null || true"


# --- locks ---


def holds(node: Node, command: str) -> None:
    """Has a process of the node's run until `LET_GO`."""
    node.enter(f"{HOLD} {command} sleep 3600")
    until(lambda: node.enter("grep -als '^sleep.3600' /proc/[0-9]*/cmdline || true"))


def test_a_user_cannot_lock_anybody_out(trial: Trial) -> None:
    node = trial.lab.nodes[0]
    for name in ("lock", "action", "drill"):
        for path in (f"/run/kube-nginx/{name}", f"/run/kube-nginx.{name}"):
            tried = node.enter(f"runuser -u ops -- flock -n {path} true 2>&1 || true")
            assert "Permission denied" in tried
    ran = trial.deploy("--limit", node.name)
    fault = "an ordinary user of a node tries to lock its locks"
    trial.saw(50, fault, "reloaded: they are root's alone", ran, "deploy: 1 reloaded", status=0)
    assert node.enter("stat -c %U:%a /run/kube-nginx /run/kube-nginx/* /run/kube-nginx.*").split() == [
        "root:700",
        *["root:600"] * 6,
    ]


def test_locks_of_the_version_before_are_closed_and_kept(trial: Trial) -> None:
    """What a user holds since then is told as theirs; a run of that version is still waited for."""
    node = trial.lab.nodes[1]
    node.enter("rm -rf /run/kube-nginx*; umask 022; touch /run/kube-nginx.lock /run/kube-nginx.action")
    node.enter("echo 'ann@admin (fab deploy, PID 1) since noon' > /run/kube-nginx.lock")
    holds(node, "-p User=ops flock /run/kube-nginx.lock")
    try:
        ran = trial.deploy("--limit", node.name)
        assert "stage: locked by a process that is not fab's: PID " in ran.err
        assert node.enter("stat -c %U:%a /run/kube-nginx.lock").strip() == "root:600"
    finally:
        node.enter(LET_GO)
    text = "#kn.locked\nexec 9<>/run/kube-nginx.lock; flock -n 9; sleep 3600; :"
    node.enter(f"{HOLD} sh -c '{text}'")
    until(lambda: node.enter("flock -n /run/kube-nginx/lock true && echo free || true") == "")
    try:
        ran = trial.deploy("--limit", node.name)
        assert "stage: locked by ann@admin (fab deploy, PID 1) since noon" in ran.err
    finally:
        node.enter(LET_GO)
    assert trial.deploy("--limit", node.name).status == 0


def test_a_lock_of_somebody_without_the_marker(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    holds(node, "flock /run/kube-nginx/lock")
    try:
        ran = trial.deploy()
    finally:
        node.enter(LET_GO)
    line = "lab-node-3: stage: locked by a process that is not fab's: …"
    fault = "a process of root's, not fab's, holds the lock"
    trial.saw(51, fault, "as it was: nothing was written; the others go on", ran, line)
    assert "ps -fp " in ran.err
    assert "deploy: 1 failed, 2 reloaded" in ran.out or "2 reloaded, 1 failed" in ran.out


# --- folders ---

DATA = "mkdir -p /data/in/of /data/on && chown ops /data/in"
OPEN = {
    "owner": ("chown ops /opt/k8s", "/opt/k8s belongs to ops and has mode 755"),
    "group": ("chmod 775 /opt", "/opt belongs to root and has mode 775"),
    "sticky": ("chmod 1777 /opt/k8s", "/opt/k8s belongs to root and has mode 1777"),
    "link": (
        f"{DATA} && mv /opt/k8s /data/in/of && ln -s ../data/in/of/k8s /opt/k8s",
        "/opt/../data/in belongs to ops and has mode 755",
    ),
    "links": (
        f"{DATA} && mv /opt/k8s /data/on && ln -s /data/on/k8s /data/in/k8s && ln -s /data/in/k8s /opt/k8s",
        "/data/in belongs to ops and has mode 755",
    ),
    "unit": ("chmod 757 /etc/systemd/system", "/etc/systemd/system belongs to root and has mode 757"),
}
BACK = "[ ! -L /opt/k8s ] || { k8s=$(readlink -f /opt/k8s); rm /opt/k8s; mv $k8s /opt/k8s; rm -r /data; }"


@pytest.mark.parametrize("which", [("owner",), ("group", "sticky", "link"), ("unit", "links")], ids="+".join)
def test_a_folder_on_the_way_that_others_may_write_to(trial: Trial, which: tuple[str, ...]) -> None:
    nodes = trial.lab.nodes[: len(which)]
    alone = which == ("owner",)
    assert not alone or trial.deploy("--limit", nodes[0].name).status == 0  # there is a release to go back to
    before = [(main(node), current(node)) for node in nodes]
    advice: dict[Node, str] = {}
    try:
        for node, name in zip(nodes, which, strict=True):
            node.enter(OPEN[name][0])
        looked = run_fab("preflight", hosts=trial.plain)
        assert looked.status == 1
        ran = trial.deploy()
        assert ran.status == 1
        for node, name in zip(nodes, which, strict=True):
            seen = OPEN[name][1]
            path = seen.split()[0]
            advice[node] = f"chown root: {path}; chmod go-w {path}"
            why = f"{seen}: who may write there can have root run anything"
            other = "" if name == "unit" else "; or choose another proxy.prefix"
            line, hint = f"{node.name}: survey: {why}", f"hint: on the node: {advice[node]}{other}"
            if alone:
                fault = "a folder above the prefix belongs to somebody other than root"
                trial.saw(52, fault, BEFORE, ran, line, hint)
            assert f"{node.name}: preflight: {why}" in looked.err
            assert (line in ran.err, hint in ran.err) == (True, True), ran.err
        rest = f"{len(nodes)} failed", f"{3 - len(nodes)} reloaded"
        assert len(nodes) == 3 or ", ".join(rest) in ran.out or ", ".join(rest[::-1]) in ran.out
        assert [(main(node), current(node)) for node in nodes] == before
        for task in ("scp", "conf", "unit", "mkdir", "rollback") if alone else ():
            assert run_fab(task, "--limit", nodes[0].name, hosts=trial.plain).status == 1
        assert [(main(node), current(node)) for node in nodes] == before
        for node in nodes:
            node.enter(advice[node])  # and that is all that it takes
        assert trial.deploy().status == 0
    finally:
        for node in nodes:
            node.enter(BACK)
            node.enter("chown root: /opt/k8s; chmod 755 /opt /opt/k8s /etc/systemd/system")


def test_folders_of_our_own_are_put_right(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    before = main(node)
    node.enter(f"chown ops {PREFIX} {PREFIX}/releases; chmod 777 {PREFIX}/sbin; chmod 1777 {PREFIX}/conf")
    ran = trial.deploy("--limit", node.name, hosts=trial.plain)
    assert "deploy: 1 corrected" in ran.out, ran.out + ran.err
    folders = " ".join(f"{PREFIX}{name}" for name in ("", "/sbin", "/conf", "/releases"))
    assert set(node.enter(f"stat -c %U:%a {folders}").split()) == {"root:755"}
    assert main(node) == before


VICTIM = "/root/victim"


def test_what_waits_under_a_temporary_name_is_not_written_to(trial: Trial) -> None:
    """Links, before a deploy and before each task that ships a file."""
    node = trial.lab.nodes[2]
    names = (
        *(f"{PREFIX}/conf/.kube-nginx.conf.{end}" for end in ("part", "fresh")),
        *(f"{PREFIX}/sbin/.kube-nginx.{end}" for end in ("part", "fresh")),
        *(f"/etc/systemd/system/.kube-nginx.service.{end}" for end in ("part", "fresh")),
        *(f"{PREFIX}/releases/{name}" for name in (".running", ".current", "trial.part", "live.part")),
    )
    plant = f"echo mine > {VICTIM}; for f in {' '.join(names)}; do ln -sfn {VICTIM} $f; done"
    for task in ("deploy", "conf", "unit", "scp", "restart"):
        node.enter(plant)
        if task in ("conf", "unit", "scp"):
            files = f"{UNIT} {CONF} {BINARY}"
            node.enter(f"for f in {files}; do {{ cat $f; echo; }} > $f.x; mv $f.x $f; done")
        ran = run_fab(task, "--limit", node.name, hosts=trial.changed)
        assert ran.status == 0, ran.out + ran.err
        assert node.enter(f"cat {VICTIM}") == "mine\n", task
    node.enter(f"rm -f {VICTIM} {' '.join(names)}")


def test_from_a_user_to_root_and_back(trial: Trial) -> None:
    """Nothing of the user's is left under root's service, nor the other way about."""
    node = trial.lab.nodes[0]
    logs = f"{PREFIX}/logs"
    node.enter(f"echo mine > {VICTIM}; runuser -u kube-nginx -- ln -s {VICTIM} {logs}/error.log")
    runuser = trial.hosts_toml(("[build]", '[proxy]\nuser = ""\n\n[build]'))
    for hosts, user in ((runuser, "root"), (trial.plain, "kube-nginx")):
        ran = trial.deploy("--limit", node.name, hosts=hosts)
        assert (ran.status, "deploy: 1 restarted" in ran.out) == (0, True), ran.out + ran.err
        assert set(node.enter(f"find {logs} -printf '%u:%g\\n'").split()) == {f"{user}:{user}"}
        assert run_fab("diff", "--exit-code", "--limit", node.name, hosts=hosts).status == 0
        assert restarts_well(node)
    assert node.enter(f"cat {VICTIM}; rm {VICTIM}; ls {logs}") == "mine\nnginx.pid\n"


def test_from_a_user_to_root_by_single_tasks(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    root = trial.hosts_toml(("[build]", '[proxy]\nuser = ""\n\n[build]'))
    try:
        for task in ("unit", "daemon-reload", "restart"):
            assert run_fab(task, "--limit", node.name, hosts=root).status == 0
        assert set(node.enter(f"stat -c %U {PREFIX}/logs {PREFIX}/logs/nginx.pid").split()) == {"root"}
    finally:
        assert trial.deploy("--limit", node.name, hosts=trial.plain).status == 0


# --- permissions alone ---


def workers(node: Node) -> str:
    return node.enter(f"pgrep -P {main(node)}")


SPOILT = (
    (("chmod 777", BINARY), ("chmod 777", CONF), ("chmod 777", UNIT)),
    (("chmod 4755", BINARY), ("chown ops", CONF)),
)


@pytest.mark.parametrize("by_itself", [False, True], ids=["started by us", "started by systemd"])
def test_permissions_alone(trial: Trial, by_itself: bool) -> None:
    """They are put back, and nothing else is done: not to the file's content, nor to any process."""
    for node in trial.lab.nodes if by_itself else ():
        comes_back(node)
    for spoilt in SPOILT:
        nodes = dict(zip(trial.lab.nodes, spoilt, strict=False))
        at = ("--limit", ",".join(node.name for node in nodes))
        before = [as_it_is(node, path) for node, (_, path) in nodes.items()]
        for node, (damage, path) in nodes.items():
            node.enter(f"{damage} {path}")
        drift = run_fab("check", *at, "--json", hosts=trial.plain)
        assert all("modes" in [found["what"] for found in node["drift"]] for node in drift.json["nodes"])
        looked = run_fab("diff", *at, hosts=trial.plain)
        assert looked.out.count("to be corrected") == 1 or looked.out.count("mode: ") == len(nodes)
        ran = run_fab("deploy", *at, "--json", hosts=trial.plain)
        seen = [(node["action"], node["result"]) for node in ran.json["nodes"]]
        assert seen == [("mode", "corrected")] * len(nodes), ran.out
        for node, (_, path) in nodes.items():
            mode = 755 if path == BINARY else 644
            assert node.enter(f"stat -c %U:%a {path}").strip() == f"root:{mode}"
        assert [as_it_is(node, path) for node, (_, path) in nodes.items()] == before
        assert run_fab("diff", "--exit-code", *at, hosts=trial.plain).status == 0


def as_it_is(node: Node, path: str) -> tuple[str, str, str]:
    """The node's processes, and which file it is with which content."""
    return main(node), workers(node), node.enter(f"stat -c '%i %Y' {path}")


def test_the_row_of_permissions(trial: Trial) -> None:
    before = [(main(node), workers(node)) for node in trial.lab.nodes]
    for node, path in zip(trial.lab.nodes, (BINARY, CONF, UNIT), strict=True):
        node.enter(f"chmod 777 {path}")
    ran = trial.deploy(hosts=trial.plain)
    rows = re.findall(r"survey (lab-node-\d) ok +\S+ (mode: .*)", ran.out)
    assert sorted(rows) == [
        ("lab-node-1", "mode: kube-nginx has mode 777, not 755"),
        ("lab-node-2", "mode: kube-nginx.conf has mode 777, not 644"),
        ("lab-node-3", "mode: kube-nginx.service has mode 777, not 644"),
    ], ran.out
    fault = "chmod 777 of the binary, the configuration or the unit"
    trial.saw(53, fault, "put back; no process notices", ran, "deploy: 3 corrected", status=0)
    assert [(main(node), workers(node)) for node in trial.lab.nodes] == before


def test_single_tasks_put_permissions_back(trial: Trial) -> None:
    assert run_fab("restart", "--canary", "0", "--batch", "100%", hosts=trial.plain).status == 0
    tasks = ("scp", BINARY, 755), ("conf", CONF, 644), ("unit", UNIT, 644)
    for node, (task, path, mode) in zip(trial.lab.nodes, tasks, strict=True):
        inode = node.enter(f"stat -c '%i %Y' {path}")
        node.enter(f"chmod 777 {path}; chown ops {path}")
        ran = run_fab(task, "--limit", node.name, hosts=trial.plain)
        assert (ran.status, f"{task} {node.name} changed " in ran.out) == (0, True), ran.out + ran.err
        assert node.enter(f"stat -c '%i %Y' {path}") == inode
        assert node.enter(f"stat -c %U:%a {path}").strip() == f"root:{mode}"
    assert run_fab("diff", "--exit-code", hosts=trial.plain).status == 0
