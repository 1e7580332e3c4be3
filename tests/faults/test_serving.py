"""What serves and what is on disk are two things: the way back leads to what served, and deploy sees both."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.conftest import Ran, run_fab
from tests.faults.conftest import PREFIX, Binaries, Trial, answers, current, ended, until
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

RELEASES = f"{PREFIX}/releases"
CONF, UNIT = f"{PREFIX}/conf/kube-nginx.conf", "/etc/systemd/system/kube-nginx.service"
PID = f"{PREFIX}/logs/nginx.pid"
OTHER_USER = ("[build]", '[proxy]\nuser = "other"\n\n[build]')
MAIN = "systemctl show -p MainPID --value kube-nginx"


def show(node: Node, *properties: str) -> list[str]:
    """What systemd says of the unit."""
    text = node.enter(f"systemctl show {' '.join(f'-p {name}' for name in properties)} kube-nginx")
    found = dict(line.split("=", 1) for line in text.splitlines())
    return [found[name] for name in properties]


def main(node: Node) -> str:
    return node.enter(MAIN).strip()


def processes(node: Node) -> list[str]:
    """What the unit's processes are called, without those that end."""
    text = node.enter("for p in $(pgrep -f '^nginx: '); do tr '\\0' ' ' < /proc/$p/cmdline; echo; done")
    return sorted(line.split(" /")[0].strip() for line in text.splitlines() if "shutting" not in line)


def restarts_well(node: Node) -> bool:
    """Whether it comes up again by itself, as after a crash or a boot."""
    node.enter("systemctl restart kube-nginx")
    return answers(node) and show(node, "ActiveState", "SubState") == ["active", "running"]


def comes_back(node: Node) -> None:
    """Waits until systemd has started it again after a crash."""
    pid = main(node)
    node.enter(f"kill -KILL {pid}")
    until(lambda: main(node) not in ("0", pid) and answers(node))


# --- the way back ---


def test_another_user_and_a_binary_that_dies(
    trial: Trial, binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The old service's logs are its own again."""
    node = trial.lab.nodes[0]
    for name, value in binaries.cache(binaries.compiled("life0", "-static", "-DLIFE=0")).items():
        monkeypatch.setenv(name, value)
    ran = trial.deploy("--limit", node.name, hosts=trial.hosts_toml(OTHER_USER))
    monkeypatch.undo()
    line = "lab-node-1: activate: rolled back: the service did not start"
    trial.saw(29, "another user, and a binary that does not start", "rolled back, by a restart", ran, line)
    assert node.enter(f"stat -c %U {PREFIX}/logs {PID}").split() == ["kube-nginx"] * 2
    assert answers(node)
    assert restarts_well(node)
    assert run_fab("diff", "--exit-code", "--limit", node.name, hosts=trial.plain).status == 0


def test_another_user_and_a_conf_that_nginx_refuses(trial: Trial) -> None:
    """While it is tested, the old service's logs stay as they are."""
    node = trial.lab.nodes[0]
    listen = 'listen = ["127.0.0.1:8443", "198.51.100.7:8443"]\nuser = "other"'
    hosts = trial.hosts_toml(("[build]", f"[proxy]\n{listen}\n\n[build]"))
    ran = trial.deploy("--limit", node.name, hosts=hosts)
    assert ran.status == 1
    assert "nginx refuses the new release there" in ran.err
    assert node.enter(f"stat -c %U {PREFIX}/logs {PID}").split() == ["kube-nginx"] * 2
    assert restarts_well(node)


def test_another_user_and_back_again(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    assert trial.deploy("--limit", node.name, hosts=trial.hosts_toml(OTHER_USER)).status == 0
    assert node.enter(f"stat -c %U {PREFIX}/logs {PID}").split() == ["other"] * 2
    ran = run_fab("rollback", "--limit", node.name, hosts=trial.plain)
    assert ran.status == 0, ran.err
    assert node.enter(f"stat -c %U {PREFIX}/logs {PID}").split() == ["kube-nginx"] * 2
    assert restarts_well(node)
    assert run_fab("diff", "--exit-code", "--limit", node.name, hosts=trial.plain).status == 0


def test_the_prefix_is_removed_while_it_serves(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    node.enter(f"rm -rf {PREFIX}")
    ran = trial.deploy(hosts=trial.plain)
    trial.saw(
        30,
        "the prefix is removed while the service runs from it",
        "restarted, as hosts.toml says",
        ran,
        "deploy: 2 unchanged, 1 restarted",
        status=0,
    )
    assert restarts_well(node)


def test_an_invalid_conf_that_nobody_loaded_and_a_deploy_that_fails(
    trial: Trial, binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It goes back to what served, and not to what was on disk."""
    node = trial.lab.nodes[0]
    before = current(node)
    node.enter(f"echo nonsense >> {CONF}")
    for name, value in binaries.cache(binaries.compiled("life0", "-static", "-DLIFE=0")).items():
        monkeypatch.setenv(name, value)
    ran = trial.deploy("--force", "--limit", node.name, hosts=trial.plain)
    monkeypatch.undo()
    line = "lab-node-1: activate: rolled back: the service did not start"
    fault = "an edit that is invalid and not loaded, and a binary that does not start"
    trial.saw(31, fault, "rolled back to what served; the edit is kept as a release", ran, line)
    assert current(node) == before
    assert answers(node)
    assert "nonsense" not in node.enter(f"cat {CONF}")
    assert node.enter(f"grep -l nonsense {PREFIX}/releases/*/kube-nginx.conf").count("\n") == 1
    assert restarts_well(node)


def test_no_unit_then_deploy_then_rollback(trial: Trial) -> None:
    for number, reload in enumerate(("", "; systemctl daemon-reload")):
        node = trial.lab.nodes[number]
        node.enter(f"rm {UNIT}{reload}")
        ran = trial.deploy("--limit", node.name, "--wait", "30")
        assert ran.status == 0, ran.err
        back = run_fab("rollback", "--limit", node.name, hosts=trial.plain)
        assert back.status == 0, back.out + back.err
        assert show(node, "LoadState", "UnitFileState", "ActiveState") == ["loaded", "enabled", "active"]
        assert answers(node)
        comes_back(node)
    note = Ran(back.status, back.out, back.err)
    trial.saw(
        32,
        "the unit is removed; deploy, then rollback",
        "rolled back, to a release that is whole",
        note,
        "rollback: 1 rolled back",
        status=0,
    )


def test_another_prefix_that_fails(trial: Trial, binaries: Binaries, monkeypatch: pytest.MonkeyPatch) -> None:
    node = trial.lab.nodes[1]
    for name, value in binaries.cache(binaries.compiled("life0", "-static", "-DLIFE=0")).items():
        monkeypatch.setenv(name, value)
    hosts = trial.hosts_toml(("[build]", '[proxy]\nprefix = "/opt/k8s/elsewhere"\n\n[build]'))
    ran = trial.deploy("--limit", node.name, hosts=hosts)
    monkeypatch.undo()
    line = "lab-node-2: activate: rolled back: the service did not start"
    trial.saw(33, "another prefix, and a binary that does not start", "rolled back, by a restart", ran, line)
    assert answers(node)
    assert restarts_well(node)
    assert run_fab("diff", "--exit-code", "--limit", node.name, hosts=trial.plain).status == 0
    node.enter("rm -rf /opt/k8s/elsewhere")


# --- what is around the files ---


AROUND = [
    (f"rm -rf {PREFIX}/logs", f"{PREFIX}/logs is missing"),
    ("userdel -f kube-nginx", "the user kube-nginx is missing"),
    (f"chmod 700 {PREFIX}/conf", f"{PREFIX}/conf has mode 700, not 755"),
    (f"chmod 700 {PREFIX}/sbin", f"{PREFIX}/sbin has mode 700, not 755"),
    (f"chmod 700 {PREFIX}", f"{PREFIX} has mode 700, not 755"),
    (f"chmod 700 {PREFIX}/releases", f"{PREFIX}/releases has mode 700, not 755"),
    (f"chmod 000 {PREFIX}/logs", f"{PREFIX}/logs has mode 000, not 755"),
    (f"chown root {PREFIX}/logs", f"{PREFIX}/logs belongs to 0, not to "),
    (f"chmod 777 {PREFIX}/sbin/kube-nginx", "kube-nginx has mode 777, not 755"),
    (f"rm {PREFIX}/releases/current", "its release is not kept there"),
    (f"cd {RELEASES}; cp -rL current c; rm current; mv c current", "its release is not kept there"),
    (f"rm -rf {PREFIX}/releases", f"{PREFIX}/releases is missing"),
    (f"rm {PID}", "nginx.pid does not name its main process"),
    (f"chmod 600 {CONF}", "kube-nginx.conf has mode 600, not 644"),
    (f"cp {UNIT} /tmp/u; rm {UNIT}; systemctl daemon-reload; mv /tmp/u {UNIT}",
     "systemd has not read the unit as it is now"),
]  # fmt: skip


@pytest.mark.parametrize("first", range(0, len(AROUND), 3))
def test_what_is_around_is_put_right(trial: Trial, first: int) -> None:
    """The service goes on meanwhile, and comes up after its next restart."""
    damages = dict(zip(trial.lab.nodes, AROUND[first : first + 3], strict=True))
    if any(
        CONF in damage for damage, _ in damages.values()
    ):  # what was loaded is known for certain of what we have started
        assert run_fab("restart", "--canary", "0", "--batch", "100%", hosts=trial.plain).status == 0
    before = [main(node) for node in damages]
    for node, (damage, _) in damages.items():
        node.enter(damage)
        assert answers(node)
    ran = trial.deploy("--json", hosts=trial.plain)
    assert [
        (node["result"], node["why"][0][: len(why)])
        for node, (_, why) in zip(ran.json["nodes"], damages.values(), strict=True)
    ] == [("corrected", why) for _, why in damages.values()]
    if not first:
        fault = "folders removed or closed to the service's user, or its user deleted"
        trial.saw(34, fault, "put right; the service goes on", ran, "deploy: 3 corrected", status=0)
    assert ran.status == 0, ran.err
    assert [main(node) for node in damages] == before
    assert all(answers(node) for node in damages)
    assert run_fab("diff", "--exit-code", hosts=trial.plain).status == 0
    assert all(restarts_well(node) for node in damages)


def test_a_forced_restart_puts_right_what_is_around(trial: Trial) -> None:
    damages = f"rm -rf {PREFIX}/logs", "userdel -f kube-nginx", f"chmod 700 {PREFIX}/conf {PREFIX}/sbin"
    for node, damage in zip(trial.lab.nodes, damages, strict=True):
        node.enter(damage)
    ran = trial.deploy("--force", "--canary", "0", "--batch", "100%", hosts=trial.plain)
    assert (ran.status, "deploy: 3 restarted" in ran.out) == (0, True), ran.out + ran.err
    assert all(restarts_well(node) for node in trial.lab.nodes)
    assert run_fab("diff", "--exit-code", hosts=trial.plain).status == 0


# --- what is tested before anything is stopped ---


def test_an_invalid_edit(trial: Trial) -> None:
    node = trial.lab.nodes[0]
    before = main(node)
    node.enter(f"echo 'nonsense;' >> {CONF}")
    for task in ("restart", "reload"):
        ran = run_fab(task, "--limit", node.name, hosts=trial.plain)
        line = f"lab-node-1: {task}: nginx refuses the files that are there; nothing was changed"
        if task == "restart":
            trial.saw(35, "an invalid edit, and fab restart", "as it was: it was not stopped", ran, line)
        assert line in ran.err
        assert 'unknown directive "nonsense"' in ran.err
        assert main(node) == before
        assert answers(node)


def test_a_restart_that_could_not_work_is_not_begun(trial: Trial) -> None:
    first, second, third = trial.lab.nodes
    drop_in = f"mkdir -p {UNIT}.d; printf '[Service]\\nExecStartPre=/bin/false\\n' > {UNIT}.d/x.conf"
    again = "systemctl daemon-reload"
    for node, damage, undo in (
        (first, f"{drop_in}; {again}", f"rm -r {UNIT}.d; {again}"),
        (first, f"chmod 700 {PREFIX}/conf", ":"),
        (second, f"rm -rf {PREFIX}/logs", ":"),
        (third, f"rm {PREFIX}/sbin/kube-nginx", ":"),
    ):
        before = main(node)
        node.enter(damage)
        try:
            ran = run_fab("restart", "--limit", node.name, hosts=trial.plain)
            assert ran.status == 1
            assert "; nothing was changed" in ran.err
            assert main(node) == before
            assert answers(node)
        finally:
            node.enter(undo)
    assert trial.deploy(hosts=trial.plain).status == 0
    assert all(restarts_well(node) for node in trial.lab.nodes)


# --- processes ---


def test_an_upgrade_by_hand_that_nobody_ended(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    old = main(node)
    node.enter(f"kill -USR2 {old}")
    until(lambda: len(processes(node)) == 4)
    ran = trial.deploy("--limit", node.name, hosts=trial.plain)
    assert "another process of it accepts connections, too (PID " in ran.out
    fault = "kill -USR2 by hand: two masters, both of which accept"
    trial.saw(36, fault, "reloaded; the other one ends", ran, "deploy: 1 reloaded", status=0)
    assert answers(node)
    until(lambda: len(processes(node)) == 2)
    assert node.enter(f"cat {PID}").strip() == main(node)
    assert trial.deploy("--limit", node.name).status == 0


def test_an_upgrade_by_hand_of_a_unit_without_a_pid_file(trial: Trial) -> None:
    """systemd knows the old master alone, and would end all with it: the new one goes."""
    node = trial.lab.nodes[0]
    hosts = trial.hosts_toml(("nodes =", 'profile = "runbook"\nnodes ='))
    assert trial.deploy("--limit", node.name, hosts=hosts).status == 0
    old = main(node)
    node.enter(f"kill -USR2 {old}")
    until(lambda: len(processes(node)) == 4)
    ran = trial.deploy("--limit", node.name, hosts=hosts)
    assert (ran.status, "deploy: 1 reloaded" in ran.out) == (0, True), ran.out + ran.err
    until(lambda: len(processes(node)) == 2)
    assert main(node) == old
    assert answers(node)
    assert run_fab("diff", "--exit-code", "--limit", node.name, hosts=hosts).status == 0


def test_what_else_runs_before_the_start_is_read_as_systemd_does(trial: Trial) -> None:
    commands = (
        "/bin/sh -c 'mkdir -p /run/mine; test -d /run/mine'",
        "-/bin/false",
        "+/bin/mkdir -p /run/roots",
    )
    for node, command in zip(trial.lab.nodes, commands, strict=True):
        drop_in = f'mkdir -p {UNIT}.d; printf "[Service]\\nExecStartPre={command}\\n" > {UNIT}.d/x.conf'
        node.enter(f"install -d -o kube-nginx /run/mine; {drop_in}; systemctl daemon-reload")
    try:
        ran = run_fab("restart", "--canary", "0", "--batch", "100%", hosts=trial.plain)
        assert (ran.status, "restart: 3 restarted" in ran.out) == (0, True), ran.out + ran.err
    finally:
        for node in trial.lab.nodes:
            node.enter(f"rm -r {UNIT}.d; systemctl daemon-reload")


def test_a_user_that_a_drop_in_says(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    node.enter(
        f"mkdir -p {UNIT}.d; printf '[Service]\\nUser=daemon\\n' > {UNIT}.d/x.conf; systemctl daemon-reload"
    )
    try:
        ran = trial.deploy("--limit", node.name)
        assert ran.status == 1
        assert f"a drop-in has the service run as daemon: {UNIT}.d/x.conf" in ran.err
        assert answers(node)
    finally:
        node.enter(f"rm -r {UNIT}.d; systemctl daemon-reload")


def test_a_rollback_from_an_address_to_the_wildcard(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    for listen in ('"0.0.0.0:8443"', '"127.0.0.1:8443"'):
        hosts = trial.hosts_toml(("[build]", f"[proxy]\nlisten = [{listen}]\n\n[build]"))
        assert trial.deploy("--limit", node.name, hosts=hosts).status == 0
    ran = run_fab("rollback", "--limit", node.name, hosts=trial.plain)
    assert ran.status == 0, ran.out + ran.err
    assert answers(node)


def test_an_upgrade_that_was_cut_off(trial: Trial) -> None:
    """The script on the node is killed between USR2 and QUIT."""
    node = trial.lab.nodes[2]
    version = ('version = "1.26.3"', 'version = "1.22.1"'), ("apt:trixie", "apt:bookworm")
    hosts = trial.hosts_toml(*version, ("[build]", "[rollout]\nsettle = 5\n\n[build]"))
    assert run_fab("build", hosts=hosts).status == 0
    with trial.begun("--limit", node.name, hosts=hosts) as process:
        until(lambda: len(processes(node)) == 4)
        # its subshells come and go
        node.enter("kill -KILL $(grep -als 'takes_ove[r]' /proc/[0-9]*/cmdline | cut -d/ -f3) || true")
        assert ended(process).status == 1
    assert len(processes(node)) == 4
    ran = run_fab("deploy", "--limit", node.name, "--wait", "30", hosts=hosts)
    assert ran.status == 0, ran.out + ran.err
    assert "another process of it accepts connections, too (PID " in ran.out
    until(lambda: len(processes(node)) == 2)
    assert run_fab("diff", "--exit-code", "--limit", node.name, hosts=hosts).status == 0
    assert answers(node)


def test_a_pid_file_that_does_not_name_the_master(trial: Trial) -> None:
    first, *others = trial.lab.nodes
    before = [main(node) for node in trial.lab.nodes]
    for node, spoil in zip(trial.lab.nodes, ("rm", f"pgrep -P {before[1]} >", "echo x >"), strict=True):
        node.enter(f"{spoil} {PID}")
    ran = trial.deploy("--limit", first.name)
    fault = "nginx.pid is removed; other servers"
    trial.saw(37, fault, "reloaded; the file is there again", ran, "deploy: 1 reloaded", status=0)
    ran = trial.deploy("--limit", ",".join(node.name for node in others))
    assert (ran.status, "deploy: 2 reloaded" in ran.out) == (0, True), ran.out + ran.err
    assert [main(node) for node in trial.lab.nodes] == before
    assert [node.enter(f"cat {PID}").strip() for node in trial.lab.nodes] == before


def test_a_conf_that_was_loaded_and_put_back(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    node.enter(
        f"cp -p {CONF} /tmp/kept; sed -i s/4096/4097/ {CONF}; kill -HUP $({MAIN}); sleep 1; "
        f"cat /tmp/kept > {CONF}; rm /tmp/kept"
    )
    ran = trial.deploy(hosts=trial.plain)
    fault = "the configuration is edited, loaded by hand, and put back"
    trial.saw(38, fault, "reloaded", ran, "deploy: 2 unchanged, 1 reloaded", status=0)


@pytest.mark.parametrize(
    ("number", "harm", "fault"),
    [
        (39, signal.SIGWINCH, "the workers are gone (WINCH)"),
        (40, signal.SIGSTOP, "the workers are stopped"),
    ],
)
def test_workers_that_do_not_serve(trial: Trial, number: int, harm: signal.Signals, fault: str) -> None:
    node = trial.lab.nodes[0]
    whom = MAIN if harm is signal.SIGWINCH else f"pgrep -P $({MAIN})"
    node.enter(f"kill -{harm.name[3:]} $({whom})")
    until(lambda: not node.enter(f"pgrep -P $({MAIN}) || true") or harm is signal.SIGSTOP)
    ran = trial.deploy(hosts=trial.plain)
    trial.saw(number, fault, "reloaded", ran, "deploy: 1 reloaded, 2 unchanged", status=0)
    assert answers(node)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('"0.0.0.0:8443"', '"127.0.0.1:8443"'),
        ('"127.0.0.1:8443", "[::1]:8443"', '"0.0.0.0:8443", "[::]:8443"'),
    ],
)
def test_from_a_wildcard_to_one_of_its_addresses(trial: Trial, before: str, after: str) -> None:
    """No reload can do that: the kernel does not give both at once."""
    node = trial.lab.nodes[2]
    for listen in (before, after):
        hosts = trial.hosts_toml(("[build]", f"[proxy]\nlisten = [{listen}]\n\n[build]"))
        ran = trial.deploy("--limit", node.name, hosts=hosts)
        assert ran.status == 0, ran.out + ran.err
    assert "deploy: 1 restarted" in ran.out
    assert answers(node)


# --- what is in the way ---


def test_an_empty_folder_in_place_of_a_file(trial: Trial) -> None:
    paths = CONF, f"{PREFIX}/sbin/kube-nginx", UNIT
    for node, path in zip(trial.lab.nodes, paths, strict=True):
        node.enter(f"rm {path}; mkdir {path}")
    ran = trial.deploy(hosts=trial.plain)
    assert ran.status == 0, ran.err
    for node, path in zip(trial.lab.nodes, paths, strict=True):
        assert node.enter(f"test -f {path} && echo file") == "file\n"
        assert restarts_well(node)
    assert run_fab("diff", "--exit-code", hosts=trial.plain).status == 0


def test_something_else_is_in_the_way(trial: Trial) -> None:
    first, second, _ = trial.lab.nodes
    first.enter(f"rm {CONF}; mkdir {CONF}; touch {CONF}/x")
    second.enter(f"mv {RELEASES} /tmp/r; touch {RELEASES}")
    try:
        ran = trial.deploy(hosts=trial.plain)
        assert ran.status == 1
        assert f"lab-node-1: survey: {CONF} is a folder that is not empty" in ran.err
        assert f"lab-node-2: survey: {RELEASES} is no folder" in ran.err
        assert answers(first)
        assert answers(second)
    finally:
        first.enter(f"rm -r {CONF}")
        second.enter(f"rm {RELEASES}; mv /tmp/r {RELEASES}")


@pytest.mark.parametrize(
    "paths", [("/opt/k8s", f"{PREFIX}/conf", PREFIX), (f"{PREFIX}/sbin", f"{PREFIX}/logs")]
)
def test_a_symlink_in_the_way_to_a_file(trial: Trial, paths: tuple[str, ...]) -> None:
    """It is the same file, however its name is written."""
    links = dict(zip(trial.lab.nodes, paths, strict=False))
    limit = ("--limit", ",".join(node.name for node in links))
    assert run_fab("uninstall", "--yes", *limit, hosts=trial.plain).status == 0
    for node, path in links.items():
        node.enter(f"rm -rf {path}; mkdir -p /data{path} {Path(path).parent}; ln -s /data{path} {path}")
    try:
        assert trial.deploy(*limit, hosts=trial.plain).status == 0
        before = [main(node) for node in links]
        ran = trial.deploy(*limit, "--json", hosts=trial.plain)
        assert [node["why"] for node in ran.json["nodes"]] == [[] for _ in links]
        for node, path in links.items():
            changed = trial.deploy("--limit", node.name)
            if path == "/opt/k8s":
                fault = "/opt/k8s is a symlink to another disk; another configuration"
                trial.saw(41, fault, "reloaded", changed, "deploy: 1 reloaded", status=0)
            assert changed.status == 0
        assert [main(node) for node in links] == before
        gone = run_fab("uninstall", "--yes", *limit, hosts=trial.plain)
        assert (gone.status, "removed" in gone.out) == (0, True)
        assert all(f"uninstall {node.name} changed " in gone.out for node in links)
        assert "stays" not in gone.out
        for node, path in links.items():
            assert node.enter(f"find /data{path}* /opt/k8s/ -name '*nginx*' 2>/dev/null || true") == ""
    finally:
        for node, path in links.items():
            node.enter(f"[ ! -L {path} ] || rm {path}; rm -rf /data; mkdir -p /opt/k8s")


def test_a_unit_that_is_a_link(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    node.enter(f"mv {UNIT} /opt/elsewhere.service; ln -s /opt/elsewhere.service {UNIT}")
    ran = trial.deploy("--limit", node.name, hosts=trial.plain)
    assert ran.status == 0, ran.err
    assert node.enter(f"test -L {UNIT} || echo file") == "file\n"
    assert restarts_well(node)
    assert run_fab("diff", "--exit-code", "--limit", node.name, hosts=trial.plain).status == 0
    node.enter("rm /opt/elsewhere.service")


def test_a_folder_in_place_of_the_lock(trial: Trial) -> None:
    node = trial.lab.nodes[0]
    node.enter("rm -f /run/kube-nginx.lock; mkdir /run/kube-nginx.lock")
    assert trial.deploy("--limit", node.name).status == 0


def test_a_limit_below_what_is_asked_for(trial: Trial) -> None:
    node = trial.lab.nodes[0]
    drop_in = f"mkdir -p {UNIT}.d; printf '[Service]\\nLimitNOFILE=1000\\n' > {UNIT}.d/x.conf"
    node.enter(f"{drop_in}; systemctl daemon-reload")
    try:
        for task in ("diff", "preflight"):
            ran = run_fab(task, "--limit", node.name, hosts=trial.plain)
            assert (
                "the unit allows 1000 open files (LimitNOFILE), fewer than proxy.worker_connections, 4096"
                in ran.out
            )
    finally:
        node.enter(f"rm -r {UNIT}.d; systemctl daemon-reload")


def test_a_journal_that_keeps_nothing(trial: Trial) -> None:
    node = trial.lab.nodes[1]
    folder = "/etc/systemd/journald.conf.d"
    node.enter(f"mkdir -p {folder}; printf '[Journal]\\nStorage=none\\n' > {folder}/x.conf")
    try:
        for task in ("diff", "preflight", "check"):
            ran = run_fab(task, "--limit", node.name, hosts=trial.plain)
            assert ran.status == 0
            assert "journald stores nothing there (Storage=none)" in ran.out
    finally:
        node.enter(f"rm {folder}/x.conf")


def test_what_is_wrong_with_the_unit_is_told(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    at = "--limit", node.name
    node.enter(
        f"mkdir -p {UNIT}.d; printf '[Service]\\nNice=1\\n' > {UNIT}.d/x.conf; systemctl daemon-reload"
    )
    node.enter(f"printf '[Service]\\nNice=2\\n' > {UNIT}.d/y.conf")
    try:
        assert f"{UNIT}.d/y.conf changes the unit" in run_fab("diff", *at, hosts=trial.plain).out
        unread = run_fab("deploy", *at, "--json", hosts=trial.plain)
        assert unread.json["nodes"][0]["why"] == ["systemd has not read the unit as it is now"]
        assert show(node, "NeedDaemonReload", "Nice") == ["no", "2"]
        assert f"{UNIT}.d/x.conf changes the unit" in run_fab("diff", *at, hosts=trial.plain).out
        assert f"{UNIT}.d/x.conf changes its unit" in run_fab("check", *at, hosts=trial.plain).out
        status = run_fab("status", *at, "--json", hosts=trial.plain)
        assert (status.status, status.json["nodes"][0]["unit"]) == (0, ["drop-in"])
    finally:
        node.enter(f"rm -r {UNIT}.d; systemctl daemon-reload")
    node.enter(f"rm {UNIT}")
    status = run_fab("status", *at, hosts=trial.plain)
    assert status.status == 1
    assert "active, but no unit: nothing starts it again after a crash or a boot" in status.err
    assert f"there is no {UNIT}" in run_fab("check", *at, hosts=trial.plain).out
