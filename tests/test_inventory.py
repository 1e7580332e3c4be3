"""Ansible inventories in the shapes in which people have them, and what is said of one that is of no use."""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tasks.core.config.address import NodeSpec
from tasks.core.errors import UsageError
from tasks.core.setup import source
from tasks.core.setup.initial import InitialConfig
from tasks.core.setup.source import Flags
from tasks.core.sources import documents, programs
from tests.faults.conftest import until
from tests.inventories import KUBEASZ, KUBESPRAY, KUBESPRAY_YAML, SHAPES, TERRAFORM, Shape


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """No ansible-inventory is installed."""
    monkeypatch.setenv("PATH", "/nonexistent")


def taken(folder: Path, name: str, text: str, groups: Sequence[str] = ("", "")) -> InitialConfig:
    path = folder / name
    path.write_text(text)
    return source.read(str(path), Flags(None, None, groups[0] or None, groups[1] or None)).config(None, None)


def of(folder: Path, shape: Shape) -> InitialConfig:
    return taken(folder, shape.name, shape.text, shape.groups)


def written(node: NodeSpec) -> str:
    """A node as the shapes have it."""
    user = f"{node.user}@" if node.user else ""
    return f"{node.name} {user}{node.host}" + (f":{node.port}" if node.port else "")


@pytest.mark.parametrize("name", SHAPES)
def test_a_shape(tmp_path: Path, name: str) -> None:
    found = of(tmp_path, SHAPES[name])
    assert tuple(map(written, found.nodes)) == SHAPES[name].nodes
    assert tuple(map(str, found.apiservers)) == SHAPES[name].apiservers
    assert found.taken[0].endswith(", read by kube-nginx")


@pytest.mark.parametrize("name", SHAPES)
def test_ansible_reads_the_same(tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    if not shutil.which("ansible-inventory"):
        pytest.skip("ansible-inventory is not installed")
    monkeypatch.setenv("HOME", str(tmp_path))
    theirs = of(tmp_path, SHAPES[name])
    assert theirs.taken[0].endswith(", read by ansible-inventory")
    monkeypatch.setenv("PATH", "/nonexistent")
    ours = of(tmp_path, SHAPES[name])
    assert theirs.nodes == ours.nodes
    assert (theirs.apiservers, theirs.login) == (ours.apiservers, ours.login)


@pytest.mark.parametrize(
    ("host", "node"),
    [
        ("worker:2222", "worker worker:2222"),
        ("198.18.8.1:2222", "198.18.8.1 198.18.8.1:2222"),
        ("worker[1:1]:2222", "worker1 worker1:2222"),
        ("2001:2::8:11", "2001:2::8:11 2001:2::8:11"),
        ("2001:2:0:0:0:0:8:11", "2001:2::8:11 2001:2::8:11"),
        ("[2001:2::8:11]:2222", "2001:2::8:11 2001:2::8:11:2222"),
    ],
)
def test_a_port_behind_a_host(tmp_path: Path, host: str, node: str) -> None:
    text = f"[kube_node]\n{host}\n[kube_master]\n198.18.8.1\n"
    assert [*map(written, taken(tmp_path, "hosts", text).nodes)] == [node]


@pytest.mark.parametrize("host", ["n1:2222", "n[1:1]:2222"])
def test_a_port_behind_a_host_in_yaml(tmp_path: Path, host: str) -> None:
    text = f"kube_node: {{hosts: {{'{host}': {{ansible_host: 198.18.8.9}}}}}}\nkube_master: {{hosts: m1}}\n"
    assert [*map(written, taken(tmp_path, "hosts.yml", text).nodes)] == ["n1 198.18.8.9:2222"]


@pytest.mark.parametrize("host", ["[1:2]x", "[a:b]-[1:1]"])
def test_a_range_at_the_begin(tmp_path: Path, host: str) -> None:
    found = taken(tmp_path, "hosts", f"[kube_node]\n{host}\n[kube_master]\nm1\n")
    assert len(found.nodes) == 2


def test_comments_behind_values(tmp_path: Path) -> None:
    """Literals of Python's end where a comment begins; other values go to the end of the line."""
    text = "[kube_node]\na\n[kube_master]\n198.18.8.1\n[kube_node:vars]\nansible_port = 2222 # for admins\n"
    (node,) = taken(tmp_path, "hosts", f"{text}ansible_user='ops' # not root\n").nodes
    assert written(node) == "a ops@a:2222"


def test_what_is_said_of_kubesprays(tmp_path: Path) -> None:
    found = of(tmp_path, KUBESPRAY)
    assert found.taken[1:] == (
        "nodes: 2, of group kube_node, by ansible_host, ansible_user, ansible_port, ansible_become",
        "apiservers: 2, of group kube_control_plane, by ip",
    )
    assert found.notes == (
        "not among the nodes: node1 of kube_control_plane; if their kubelets are to use kube-nginx, too: "
        "--nodes-group kube_node,kube_control_plane",
    )
    assert found.login.sudo
    assert [node.groups for node in found.nodes] == [("etcd", "kube_control_plane"), ()]
    assert found.labels == ("node1", "node2")


def test_what_is_said_of_a_single_apiserver(tmp_path: Path) -> None:
    assert (
        "198.18.9.1:7443 is the only kube-apiserver that was found" in of(tmp_path, KUBESPRAY_YAML).notes[0]
    )


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    text = KUBEASZ.text.replace(
        "198.18.7.4\n",
        '198.18.7.4 ansible_host=\'{{ lookup("env", "X") }}\' ansible_password=x ansible_connection=local\n',
    )
    found = taken(tmp_path, "hosts", text)
    assert found.nodes[1] == NodeSpec("198.18.7.4", "198.18.7.4")
    notes = "\n".join(found.notes)
    assert "not taken over: ansible_host of 198.18.7.4: a value of a vault or a template" in notes
    assert "not taken over: ansible_password: for passwords: fab --prompt-for-login-password" in notes
    assert "not taken over: ansible_connection: SSH is what is used" in notes
    assert "not taken over, as nothing here needs it: CLUSTER_NETWORK, base_dir" in notes
    assert "x" not in [word.strip(",;") for word in found.text().split()], "a password is written nowhere"


def test_a_value_of_a_vault(tmp_path: Path) -> None:
    text = KUBESPRAY_YAML.text.replace(
        "ansible_host: 198.18.7.2", "ansible_host: !vault |\n        $ANSIBLE_VAULT;1.1;AES256\n        33"
    )
    found = taken(tmp_path, "hosts.yaml", text)
    assert found.nodes[1].host == "node2"
    assert "not taken over: ansible_host of node2: a value of a vault" in "\n".join(found.notes)


def test_the_key(tmp_path: Path) -> None:
    found = of(tmp_path, TERRAFORM)
    assert found.login.identity == "~/.ssh/cluster"
    assert "ssh.sudo = true, as ubuntu logs in, not root" in "\n".join(found.notes)
    assert '[ssh]\nidentity = "~/.ssh/cluster"\nsudo = true\n' in found.text()
    differs = TERRAFORM.text.replace("worker-0 ", "worker-0 ansible_ssh_private_key_file=other ")
    found = taken(tmp_path, "inventory", differs, TERRAFORM.groups)
    assert found.login.identity == ""
    assert "not taken over: ansible_ssh_private_key_file, as nodes differ in it" in "\n".join(found.notes)


def test_keys_that_differ_are_not_told_as_taken(tmp_path: Path) -> None:
    text = "[kube_node]\na ansible_private_key_file=x\nb ansible_private_key_file=y\n[kube_master]\nm\n"
    assert taken(tmp_path, "hosts", text).taken[1] == "nodes: 2, of group kube_node"


def test_of_a_hosts_own_variables_the_last_ones_count(tmp_path: Path) -> None:
    """By their lines, wherever a group was named first."""
    text = "[kube_node:vars]\n[etcd]\na ansible_port=22\n[kube_node]\na ansible_port=23\n[kube_master]\nm\n"
    assert [*map(written, taken(tmp_path, "hosts", text).nodes)] == ["a a:23"]


def test_a_key_beside_the_inventory(tmp_path: Path) -> None:
    (tmp_path / "cluster").touch()
    found = taken(tmp_path, "inventory", TERRAFORM.text.replace("~/.ssh/", ""), TERRAFORM.groups)
    assert found.login.identity == str(tmp_path / "cluster")


def test_root_needs_no_sudo(tmp_path: Path) -> None:
    text = "[kube_node]\nn1 ansible_become=yes ansible_user=root\n[kube_master]\nm1\nm2\n"
    assert not taken(tmp_path, "hosts", text).login.sudo
    denied = text.replace("=yes", "=no").replace("=root", "=ops")
    assert not taken(tmp_path, "hosts", denied).login.sudo


def test_variables_beside_it_that_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "group_vars").mkdir()
    assert f"group_vars beside {tmp_path}/hosts" in of(tmp_path, KUBEASZ).notes[0]


def test_what_ansible_inventory_listed(tmp_path: Path) -> None:
    listed = (
        '{"_meta": {"hostvars": {"n1": {"ansible_host": "198.18.7.1", "ansible_port": 22, '
        '"ansible_become": true, "x": {"__ansible_vault": "1"}}}}, '
        '"all": {"children": ["kube_node", "kube_master"]}, '
        '"kube_node": {"hosts": ["n1"]}, "kube_master": ["m1", "m2"]}'
    )
    found = taken(tmp_path, "listed.json", listed)
    assert [written(node) for node in found.nodes] == ["n1 198.18.7.1:22"]
    assert [str(server) for server in found.apiservers] == ["m1:6443", "m2:6443"]
    assert found.login.sudo


LIST = '#!/bin/sh\necho \'{"kube_node": {"hosts": ["n1"]}, "kube_master": {"hosts": ["m1", "m2"]}}\'\n'


@pytest.mark.parametrize(
    ("script", "how", "words"),
    [
        (LIST, "ansible-inventory", ""),
        ("#!/bin/sh\necho no vault secrets >&2; exit 1\n", "kube-nginx", "exit status 1: no vault secrets"),
        ("#!/bin/sh\necho garbage\n", "kube-nginx", "as ansible-inventory cannot: not JSON"),
    ],
)
def test_ansible_inventory_where_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, how: str, words: str
) -> None:
    program = tmp_path / "ansible-inventory"
    program.write_text(script)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    found = of(tmp_path, KUBEASZ)
    assert found.taken[0] == f"{tmp_path}/hosts: an Ansible inventory, read by {how}"
    assert words in "\n".join(found.notes)
    assert found.nodes[0].name == ("worker-01" if how == "kube-nginx" else "n1")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a]\nx y\n", "line 2: 'y': NAME=VALUE is wanted here"),
        ("[a]\n[b:things]\n", "line 2: [b:things] is neither of hosts, nor children, nor vars"),
        ("[a]\n[kube_no", "line 2: '[kube_no': neither a [group] nor a host"),
        ("[a]\nx ansible_host='1\n", "line 2: No closing quotation"),
        ("[a:children]\nb c\n", "line 2: 'b c': one group a line is wanted here"),
        ("[a:children]\nb\n[b:children]\na\n", "group a is in itself: a > b > a"),
        ("[a]\n" + "[" * 1_000_000, "line 2: has 1,000,000 characters; is this an inventory?"),
        ("[a]\nn[1:9999999]\n", "line 2: [1:9999999] is no range"),
        ("[a]\nn[1:999999][1:999999]\n", "stands for more than 100,000 hosts"),
        ("[a]\nx\n", "no group kube_node; its groups, with how many hosts: a (1)"),
        ("[kube_node]\n# x\n[kube_master]\ny", "group kube_node has no host (are they comments?)"),
        ("[kube_node]\nx\ny ansible_host=x\n[kube_master]\nz", "y: is the host and port of x again"),
        ("[kube_node]\nx ansible_port=x\n[kube_master]\nz", "x.port: 'x' must be an integer"),
        ("[kube_node]\nx ansible_host=1.2.3\n[kube_master]\nz", "x.host: '1.2.3' not an IPv4 address"),
        ("[kube_node]\nx\n[kube_master]\nz ip=0.0.0.0", "z: '0.0.0.0:6443' is no address of an apiserver"),
    ],
)
def test_what_is_of_no_use_in_ini(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        taken(tmp_path, "hosts", text)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{tmp_path}/hosts: ")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("all:\n  hosts:\n    a: {", "not YAML: "),
        ("all:\n  hosts:\n    - a\n", "hosts: names with a colon are wanted here (NAME:)"),
        ("all:\n  children:\n    - a\n", "children of group all: names with a colon"),
        ("all:\n  hosts:\n  a:\n", "group all has 'a': hosts, children and vars are what a group has"),
        ("all: &a\n  children:\n    b: *a\n", "nested too deeply"),
        ("all:\n  hosts: " + "[" * 5000, "not YAML"),
        ("---\n- x\n", "the file: names with a colon"),
    ],
)
def test_what_is_of_no_use_in_yaml(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        taken(tmp_path, "hosts.yaml", text)
    assert words in str(caught.value)


def test_without_a_library_for_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "yaml", None)
    with pytest.raises(UsageError, match="PyYAML is not installed: pip install pyyaml"):
        of(tmp_path, KUBESPRAY_YAML)


def test_what_a_program_has_started_ends_with_it(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"sh .*: did not end within 0.5 s"):
        programs.run(["/bin/sh", "-c", f"/bin/sleep 600 & echo $! >{tmp_path}/pid; wait"], 0.5)
    pid = int((tmp_path / "pid").read_text())
    until(lambda: not os.path.exists(f"/proc/{pid}") or ") Z " in Path(f"/proc/{pid}/stat").read_text())


def test_a_program_that_writes_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs, "_MOST", 1 << 20)
    with pytest.raises(UsageError, match="wrote more than 1 MB"):
        programs.run(["/usr/bin/yes"], 60)


def test_a_large_fleet(tmp_path: Path) -> None:
    hosts = "".join(
        f"n{number} ansible_host=198.18.{number // 250}.{number % 250}\n" for number in range(5000)
    )
    found = taken(tmp_path, "hosts", f"[kube_node]\n{hosts}[kube_master]\nm1\nm2\n")
    assert (len(found.nodes), found.nodes[4999].host) == (5000, "198.18.19.249")


def test_groups_to_which_many_ways_lead(tmp_path: Path) -> None:
    """Each is looked at once: there are 2 to the power of 60 ways to the last one."""
    levels = "".join(f"[a{n}:children]\na{n + 1}\nb{n + 1}\n[b{n}:children]\na{n + 1}\n" for n in range(60))
    found = taken(tmp_path, "hosts", f"{levels}[a60]\nn1\n[b60]\n[kube_master]\nm1\n", ("a0", ""))
    assert [*map(written, found.nodes)] == ["n1 n1"]


def test_what_is_unsafe_is_listed_as_it_is() -> None:
    """Ansible lists a value that is no template as an object."""
    listed = documents.from_list(
        '{"_meta": {"hostvars": {"n1": {"a": {"__ansible_unsafe": "x{y"}, "b": {"__ansible_vault": "s"}}}}}'
    )
    assert listed.hosts["n1"] == {"a": "x{y", "b": None}


def test_a_list_that_is_nested_without_end() -> None:
    with pytest.raises(UsageError, match="not JSON"):
        documents.from_list("[" * 100_000)
