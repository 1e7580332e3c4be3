"""From what people have to a green `fab check`, as a newcomer does it: an empty folder, three commands."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.core.config.settings import load
from tests.conftest import ROOT, Ran, run_fab, toml_of
from tests.faults.conftest import until
from tests.lab import kubernetes
from tests.lab.lab import Lab
from tests.lab.servers import kubectl

pytestmark = [pytest.mark.lab, pytest.mark.kube]

BUILD = '\n[build]\nversion = "1.26.3"\nmirrors = ["apt:trixie"]\nstatic = true\n'
SLICES = ("get", "endpointslices", "--selector=kubernetes.io/service-name=kubernetes", "--output=json")


class Newcomer:
    """Somebody with an empty folder, a ~/.ssh/config and kubectl."""

    def __init__(self, folder: Path, cluster: Lab) -> None:
        self.folder, self.cluster = folder / "fleet", cluster
        home = folder / "home"
        (home / ".ssh").mkdir(parents=True)
        self.folder.mkdir()
        (self.folder / "fabfile.py").write_text("from tasks import ns\n")
        (home / ".ssh" / "config").write_text(
            f"IdentityFile {cluster.state}/id_ed25519\nUserKnownHostsFile {cluster.state}/known_hosts\n"
        )
        cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
        self._environment = {key: value for key, value in os.environ.items() if key != "KUBE_NGINX_HOSTS"} | {
            "HOME": str(home),
            "XDG_CACHE_HOME": cache,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "PATH": f"{kubernetes.folder()}:/usr/bin:/bin",
        }

    def fab(self, *arguments: str) -> Ran:
        return run_fab(*arguments, cwd=self.folder, env=self._environment)

    def kubeconfig(self) -> str:
        """An administrator's, whose server is an apiserver itself."""
        config = json.loads(self.cluster.nodes[0].kubeconfig.read_text())
        config["clusters"][0]["cluster"]["server"] = f"https://{self.cluster.apiservers[0].address}:6443"
        (self.folder / "admin.conf").write_text(json.dumps(config))
        return "admin.conf"

    def goes_on(self) -> None:
        """Looks, deploys, looks again; what is compiled is what this machine can fetch."""
        hosts = self.folder / "hosts.toml"
        hosts.write_text(hosts.read_text() + BUILD)
        before = self.fab("check")
        assert before.status == 1
        assert before.out.count("ready ") == 9, before.out
        assert "kube-nginx is not installed there; directly: 3 of 3 apiservers answer" in before.err
        deployed = self.fab("build", "deploy")
        assert deployed.status == 0, deployed.text
        after = self.fab("check")
        assert after.status == 0, after.text
        assert "not there" not in after.out


@pytest.fixture
def newcomer(cluster: Lab, tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Newcomer:
    """One whose nodes have nothing of ours."""
    ran = run_fab("uninstall", "--yes", hosts=toml_of(cluster, tmp_path_factory)())
    assert ran.status == 0, ran.text
    return Newcomer(tmp_path, cluster)


@pytest.fixture
def registered(cluster: Lab, tmp_path: Path) -> Iterator[None]:
    """The lab's nodes as Kubernetes has them: as their kubelets would register them."""
    objects = [
        {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": node.name, "labels": labels},
            "status": {"addresses": [{"type": "InternalIP", "address": node.address}]},
        }
        for node, labels in zip(cluster.nodes, LABELS, strict=True)
    ]
    file = tmp_path / "nodes.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": objects}))
    kubectl(cluster.nodes[0], at(cluster), "create", "--filename", str(file))
    until(
        lambda: all(
            server.address in kubectl(cluster.nodes[0], at(cluster), *SLICES) for server in cluster.apiservers
        )
    )
    yield
    kubectl(cluster.nodes[0], at(cluster), "delete", "nodes", "--all")


LABELS = (
    {"node-role.kubernetes.io/control-plane": "", "topology.kubernetes.io/zone": "rack-a"},
    {"node-role.kubernetes.io/worker": "", "topology.kubernetes.io/zone": "rack-a"},
    {"node-role.kubernetes.io/worker": "", "topology.kubernetes.io/zone": "rack-b"},
)


def at(cluster: Lab) -> str:
    """Has kubectl ask an apiserver, as there is no proxy yet."""
    return f"--server=https://{cluster.apiservers[0].address}:6443"


def test_from_the_cluster(newcomer: Newcomer, registered: None) -> None:
    ran = newcomer.fab("init", "--from", "kubectl", "--kubeconfig", newcomer.kubeconfig())
    assert (ran.status, ran.err) == (0, ""), ran.text
    found = load(newcomer.folder / "hosts.toml")
    assert [(node.name, node.host) for node in found.nodes] == [
        (node.name, node.address) for node in newcomer.cluster.nodes
    ]
    assert [node.groups for node in found.nodes] == [
        ("control-plane", "rack-a"),
        ("rack-a", "worker"),
        ("rack-b", "worker"),
    ]
    addresses = {server.address for server in newcomer.cluster.apiservers}
    assert {server.host for server in found.apiservers} == addresses
    assert "no address of a node of the control plane (lab-node-1): a load balancer's?" in ran.out
    newcomer.goes_on()


KUBESPRAY = """\
[all]
{0.name} ansible_host={0.address}
{1.name} ansible_host={1.address}
{2.name} ansible_host={2.address}
[kube_control_plane]
master-[1:3]
[kube_node]
lab-node-[1:3]
[all:vars]
ansible_user=root
ansible_ssh_private_key_file={key}
"""
KUBEASZ = """\
[kube_master]
{servers}
[kube_node]
{0.address} k8s_nodename='{0.name}'
{1.address}
{2.address}
"""
YAML = """\
all:
  children:
    kube_control_plane:
      hosts:
{hosts}
    kube_node:
      hosts:
        {0.name}: {{ansible_host: {0.address}}}
        {1.name}: {{ansible_host: {1.address}}}
        {2.name}: {{ansible_host: {2.address}}}
"""
ENVIRONMENT = """\
export NODE_IPS=({0.address} {1.address} {2.address})
export NODE_NAMES=({0.name} {1.name} {2.name})
export MASTER_IPS=({masters})
export KUBE_APISERVER="https://127.0.0.1:8443"
"""
Write = Callable[[Lab], str]


def of_kubespray(lab: Lab) -> str:
    masters = [f"master-{n} ansible_host={server.address}" for n, server in enumerate(lab.apiservers, 1)]
    text = KUBESPRAY.format(*lab.nodes, key=lab.state / "id_ed25519")
    return text.replace("[kube_control_plane]", "\n".join([*masters, "[kube_control_plane]"]))


def of_kubeasz(lab: Lab) -> str:
    return KUBEASZ.format(*lab.nodes, servers="\n".join(server.address for server in lab.apiservers))


def of_yaml(lab: Lab) -> str:
    return YAML.format(*lab.nodes, hosts="\n".join(f"        {server.address}:" for server in lab.apiservers))


def of_environment(lab: Lab) -> str:
    return ENVIRONMENT.format(*lab.nodes, masters=" ".join(server.address for server in lab.apiservers))


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("inventory.ini", of_kubespray),
        ("hosts", of_kubeasz),
        ("hosts.yaml", of_yaml),
        ("environment.sh", of_environment),
    ],
)
def test_from_a_file(newcomer: Newcomer, name: str, write: Write) -> None:
    (newcomer.folder / name).write_text(write(newcomer.cluster))
    ran = newcomer.fab("init", "--from", name)
    assert (ran.status, ran.err) == (0, ""), ran.text
    newcomer.goes_on()
