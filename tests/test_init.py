"""`fab init`, as somebody with an empty folder meets it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tasks.core.config.address import Endpoint, NodeSpec
from tasks.core.config.settings import load
from tests.conftest import ROOT, Ran, run_fab
from tests.conftest import talk as on_terminal
from tests.inventories import KUBESPRAY

ENVIRONMENT = """\
export NODE_IPS=(10.0.0.11 10.0.0.12)
export NODE_NAMES=(worker-1 worker-2)
export KUBE_APISERVER="https://127.0.0.1:9443"
"""
FLAGS = ("--nodes", "worker-1,root@10.0.0.12:2222", "--apiservers", "10.0.0.1 10.0.0.2:443")
NODES, APISERVERS = "worker-3\r\nnodes: ", "6443\r\napiservers: "


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project with a fabfile and an environment.sh, and no hosts.toml."""
    (tmp_path / "fabfile.py").write_text("from tasks import ns\n")
    (tmp_path / "environment.sh").write_text(ENVIRONMENT)
    return tmp_path


def surroundings(**more: str) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if key != "KUBE_NGINX_HOSTS"}
    return kept | {"PYTHONPATH": str(ROOT), "COLUMNS": "80"} | more


def fab(folder: Path, *arguments: str, **more: str) -> Ran:
    return run_fab(*arguments, cwd=folder, env=surroundings(**more))


def talk(folder: Path, arguments: list[str], *turns: tuple[str, bytes]) -> Ran:
    """`fab` on a terminal, where all is asked that is to be asked."""
    return on_terminal(arguments, list(turns), folder, surroundings())


def test_from_environment_sh_to_a_rendered_configuration(folder: Path) -> None:
    listed = fab(folder, "--list")
    assert (listed.status, listed.err) == (0, "")
    assert "Write a first hosts.toml" in listed.out
    ran = fab(folder, "init", "--from", "environment.sh", "--yes")
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.startswith("hosts.toml: written\n  nodes       worker-1, worker-2\n")
    assert "taken from NODE_IPS" in ran.out
    assert "\n  fab build deploy  " in ran.out
    found = load(folder / "hosts.toml")
    assert found.nodes == (NodeSpec("worker-1", "10.0.0.11"), NodeSpec("worker-2", "10.0.0.12"))
    assert found.apiservers == (Endpoint("10.0.0.11", 6443), Endpoint("10.0.0.12", 6443))
    rendered = fab(folder, "render")
    assert rendered.status == 0
    assert "listen 127.0.0.1:9443;" in rendered.out


MASTERS = "MASTER_IPS=(10.0.0.1 10.0.0.2)\nMASTER_NAMES=(m1 m2)\nKUBE_NGINX_DIR=/usr/local/kube-nginx\n"
VIP = "export KUBE_APISERVER=https://${MASTER_VIP}:8443\n"
ALL_ARE = "then all nodes are apiservers, too (worker-1, worker-2)."


@pytest.mark.parametrize("more", ["", "NODE_IPS=(10.0.0.1 10.0.0.2 10.0.0.11)\n"], ids=["workers", "all"])
def test_masters_of_their_own_need_no_question(folder: Path, more: str) -> None:
    nodes = more or "NODE_IPS=(10.0.0.11 10.0.0.12)\nNODE_NAMES=(worker-1 worker-2)\n"
    (folder / "environment.sh").write_text(MASTERS + VIP + nodes)
    ran = fab(folder, "init", "--from", "environment.sh")
    assert (ran.status, ran.err) == (0, "")
    assert "apiservers  10.0.0.1:6443, 10.0.0.2:6443\n" in ran.out
    assert "taken       apiservers: 2, MASTER_IPS\n" in ran.out
    assert "taken from NODE_IPS" not in ran.out
    assert "note        KUBE_APISERVER is 'https://${MASTER_VIP}:8443', not an address" in ran.out
    text = (folder / "hosts.toml").read_text()
    assert '"10.0.0.1:6443",  # m1\n' in text
    assert "# KUBE_APISERVER is 'https://${MASTER_VIP}:8443', not an address" in text
    found = load(folder / "hosts.toml")
    assert found.proxy.prefix == "/usr/local/kube-nginx"
    assert found.proxy.listen == (Endpoint("127.0.0.1", 8443),)


@pytest.mark.parametrize("masters", ["", "MASTER_IPS='10.0.0.12 10.0.0.11 10.0.0.13'\n"])
def test_all_nodes_being_apiservers_is_asked(folder: Path, masters: str) -> None:
    (folder / "environment.sh").write_text(ENVIRONMENT + masters)
    command = ["init", "--from", "environment.sh"]
    refused = fab(folder, *command)
    assert (refused.status, refused.out) == (2, "")
    assert ALL_ARE in refused.err
    assert (
        "no terminal to ask on: say --yes if each of them runs a kube-apiserver, else --apiservers"
        in refused.err
    )
    no = talk(folder, command, ("Type yes to go on: ", b"no\n"))
    assert (no.status, ALL_ARE in " ".join(no.out.split())) == (2, True)
    assert not (folder / "hosts.toml").exists()
    assert talk(folder, command, ("Type yes to go on: ", b"yes\n")).status == 0
    assert len(load(folder / "hosts.toml").apiservers) == (3 if masters else 2)


def test_apiservers_that_were_named_are_not_asked_about(folder: Path) -> None:
    ran = fab(folder, "init", "--from", "environment.sh", "--apiservers", "10.0.0.11,10.0.0.12")
    assert (ran.status, ran.err) == (0, "")


def test_flags_answer_beforehand(folder: Path) -> None:
    ran = fab(folder, "init", *FLAGS)
    assert (ran.status, ran.err) == (0, "")
    found = load(folder / "hosts.toml")
    second = NodeSpec("10.0.0.12", "10.0.0.12", "root", 2222)
    assert found.nodes == (NodeSpec("worker-1", "worker-1"), second)
    assert found.apiservers == (Endpoint("10.0.0.1", 6443), Endpoint("10.0.0.2", 443))


def test_flags_count_more_than_environment_sh(folder: Path) -> None:
    (folder / "environment.sh").write_text(ENVIRONMENT.replace("(10.0.0.11 10.0.0.12)", "($IPS)"))
    refused = fab(folder, "init", "--from", "environment.sh", *FLAGS[:2])
    assert (refused.status, refused.out) == (2, "")
    assert "environment.sh: line 1: NODE_IPS: only a shell knows its value" in refused.err
    assert fab(folder, "init", "--from", "environment.sh", *FLAGS).status == 0
    found = load(folder / "hosts.toml")
    assert [node.name for node in found.nodes] == ["worker-1", "10.0.0.12"]
    assert found.apiservers[0] == Endpoint("10.0.0.1", 6443)
    assert found.proxy.listen == (Endpoint("127.0.0.1", 9443),)
    assert "NODE_IPS" not in (folder / "hosts.toml").read_text()


CASE = """case $1 in
  prod) NODE_IPS=(10.0.0.1 10.0.0.2) ;;
  test)
    NODE_IPS=(192.168.0.9)
    ;;
esac
"""


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (CASE, "line 4: NODE_IPS is not what it is on line 2"),
        ("NODE_IPS=(10.0.0.1)\nKUBE_APISERVER=https:/127.0.0.1:9443", "It is taken as the address where"),
    ],
)
def test_what_cannot_be_known_is_refused(folder: Path, text: str, words: str) -> None:
    (folder / "environment.sh").write_text(text)
    ran = fab(folder, "init", "--from", "environment.sh", "--yes")
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err
    assert not (folder / "hosts.toml").exists()


def test_nothing_is_overwritten(folder: Path) -> None:
    (folder / "hosts.toml").write_text("mine")
    ran = fab(folder, "init", *FLAGS)
    assert (ran.status, ran.out) == (1, "")
    assert ran.err == "hosts.toml is there and stays as it is; --to FILE writes another\n"
    assert (folder / "hosts.toml").read_text() == "mine"


def test_another_file_and_how_it_is_used(folder: Path) -> None:
    (folder / "hosts.toml").write_text("mine")
    ran = fab(folder, "init", *FLAGS, "--to", "my fleet.toml")
    assert ran.status == 0
    assert "\n  KUBE_NGINX_HOSTS='my fleet.toml' fab render  " in ran.out
    assert fab(folder, "render", KUBE_NGINX_HOSTS="my fleet.toml").status == 0


def test_it_is_written_where_the_other_tasks_look(folder: Path) -> None:
    ran = fab(folder, "init", *FLAGS, KUBE_NGINX_HOSTS="named.toml")
    assert ran.out.startswith("named.toml: written\n")
    assert "\n  fab render  " in ran.out
    fabfile = folder / "fabfile.py"
    fabfile.write_text(f"{fabfile.read_text()}ns.configure({{'kube_nginx': {{'hosts_file': 'set.toml'}}}})\n")
    ran = fab(folder, "init", *FLAGS)
    assert ran.out.startswith("set.toml: written\n")
    assert "\n  fab render  " in ran.out
    assert not (folder / "hosts.toml").exists()


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        ([], 2, "say --nodes and --apiservers, or --from environment.sh"),
        (["--nodes", "a"], 2, "say --apiservers, or"),
        (["--nodes", "", "--apiservers", "b"], 2, "--nodes: nodes: must name at least one"),
        (["--nodes", "a,10.0.0.256", "--apiservers", "b"], 2, "--nodes: nodes[1]: '10.0.0.256' not an IPv4"),
        (["--nodes", "a", "--apiservers", "https://b"], 2, "--apiservers: apiservers[0]: 'https://b' write"),
        (["--nodes", "a", "--apiservers", "127.0.0.1:8443"], 2, "own listener"),
        (["--from", "none.sh"], 2, "--from none.sh: cannot be read: No such file"),
        ([*FLAGS, "--to", "none/hosts.toml"], 1, "there is no folder none"),
        ([*FLAGS, "--to", ""], 1, "is a folder"),
    ],
)
def test_refused(folder: Path, arguments: list[str], status: int, words: str) -> None:
    before = sorted(folder.iterdir())
    ran = fab(folder, "init", *arguments)
    assert (ran.status, ran.out) == (status, "")
    assert words in ran.err
    assert [path for path in sorted(folder.iterdir()) if path.name != "__pycache__"] == before


@pytest.mark.parametrize("core", [["-H", "worker-1"], ["--dry"]])
def test_flags_of_fab_that_mean_nothing_here(folder: Path, core: list[str]) -> None:
    ran = fab(folder, *core, "init", *FLAGS)
    assert (ran.status, ran.out) == (2, "")
    assert "init takes no -H and no --dry" in ran.err
    assert not (folder / "hosts.toml").exists()


def test_without_a_stdin(folder: Path) -> None:
    shell = shutil.which("sh") or "sh"
    done = subprocess.run(
        [shell, "-c", '"$0" -m fabric init <&-', sys.executable],
        capture_output=True,
        text=True,
        cwd=folder,
        env=surroundings(),
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("no terminal to ask on")


def test_asked_until_it_is_right(folder: Path) -> None:
    ran = talk(
        folder,
        ["init"],
        (NODES, b"\n"),
        (NODES, b"worker-1 10.0.0.256\n"),
        (NODES, b"worker-1, worker-2\n"),
        (APISERVERS, b"\xff\n"),
        (APISERVERS, b"10.0.0.1\n"),
    )
    assert ran.status == 0
    assert "nodes: must name at least one" in ran.out
    assert "nodes[1]: '10.0.0.256' not an IPv4 address" in ran.out
    assert "apiservers[0]: " in ran.out
    assert ran.out.count("Such as: 10.0.0.11") == 3
    found = load(folder / "hosts.toml")
    assert [node.name for node in found.nodes] == ["worker-1", "worker-2"]
    assert found.apiservers == (Endpoint("10.0.0.1", 6443),)


def test_only_what_is_missing_is_asked(folder: Path) -> None:
    ran = talk(folder, ["init", "--nodes", "worker-1"], (APISERVERS, b"10.0.0.1\n"))
    assert ran.status == 0
    assert "Which nodes" not in ran.out


@pytest.mark.parametrize(("typed", "status"), [(b"\x03", 130), (b"\x04", 2)], ids=["Ctrl-C", "Ctrl-D"])
def test_leaving_writes_nothing(folder: Path, typed: bytes, status: int) -> None:
    ran = talk(folder, ["init"], (NODES, b"worker-1\n"), (APISERVERS, typed))
    assert ran.status == status
    assert "nothing was written" in ran.out
    assert not (folder / "hosts.toml").exists()


def test_nobody_is_asked_for_a_file_that_is_there(folder: Path) -> None:
    (folder / "hosts.toml").symlink_to("nowhere")
    ran = talk(folder, ["init"])
    assert ran.status == 1
    assert "hosts.toml is there and stays as it is" in ran.out
    assert not (folder / "nowhere").exists()


def test_the_checkouts_own_file_stays() -> None:
    before = (ROOT / "hosts.toml").read_bytes()
    ran = fab(ROOT, "init", *FLAGS)
    assert (ran.status, ran.out) == (1, "")
    assert "--to FILE writes another" in ran.err
    assert (ROOT / "hosts.toml").read_bytes() == before


def test_from_an_inventory_to_a_rendered_configuration(folder: Path) -> None:
    (folder / KUBESPRAY.name).write_text(KUBESPRAY.text)
    ran = fab(folder, "init", "--from", KUBESPRAY.name, PATH="/nonexistent")
    assert (ran.status, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert lines[1:3] == ["  nodes       node2, node3", "  apiservers  198.18.8.1:6443, 198.18.8.2:6443"]
    assert "  taken       inventory.ini: an Ansible inventory, read by kube-nginx" in lines
    assert [line.split("#")[0].strip() for line in lines[-3:]] == [
        "fab check",
        "fab render",
        "fab build deploy",
    ]
    assert "listen 127.0.0.1:8443;" in fab(folder, "render").out


def test_groups_by_flags(folder: Path) -> None:
    (folder / "hosts").write_text("[agent]\na\nb\n[server]\nc\nd\n")
    refused = fab(folder, "init", "--from", "hosts", PATH="/nonexistent")
    assert (refused.status, refused.out) == (2, "")
    assert (
        "its groups, with how many hosts: agent (2), server (2); name the right ones: --nodes-group"
        in refused.err
    )
    groups = ("--nodes-group", "agent,server", "--apiservers-group", "server")
    assert fab(folder, "init", "--from", "hosts", *groups, PATH="/nonexistent").status == 0
    assert [node.name for node in load(folder / "hosts.toml").nodes] == ["a", "b", "c", "d"]


def test_flags_count_more_than_an_inventory(folder: Path) -> None:
    (folder / "hosts").write_text("[kube_node]\na\nb\n")
    given = ("--from", "hosts", "--apiservers", "x,y")
    assert fab(folder, "init", *given, PATH="/nonexistent").status == 0
    found = load(folder / "hosts.toml")
    assert ([node.name for node in found.nodes], found.apiservers[0]) == (["a", "b"], Endpoint("x", 6443))


def test_no_kubectl(folder: Path) -> None:
    ran = fab(folder, "init", "--from", "kubectl", PATH="/nonexistent")
    assert (ran.status, ran.out) == (2, "")
    assert "kubectl is not installed here" in ran.err


@pytest.mark.parametrize("flag", ["--kubeconfig", "--context", "--nodes-group", "--apiservers-group"])
def test_flags_without_a_source(folder: Path, flag: str) -> None:
    ran = fab(folder, "init", *FLAGS, flag, "x")
    assert (ran.status, f"{flag} is for " in ran.err) == (2, True)
