"""The projects of examples/, on real hosts."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import wheels
from tests.conftest import run_fab
from tests.examples import copy, environment, lines, run
from tests.faults.conftest import until
from tests.lab import kubernetes, servers
from tests.lab.lab import Lab
from tests.lab.servers import kubectl

pytestmark = pytest.mark.lab

RACKS = "10.0.1.11", "10.0.1.12", "10.0.2.11"
BEHIND = "203.0.113.5", "192.168.17.11", "192.168.17.12"


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The library, installed apart."""
    folder = tmp_path_factory.mktemp("packages")
    return wheels.install(wheels.build(folder), folder / "packages")


@pytest.fixture
def bare(deployed: Path) -> Iterator[None]:
    """No kube-nginx on any node; what was there is there again after the test."""
    assert run_fab("uninstall", "--yes", hosts=deployed).status == 0
    yield
    assert run_fab("deploy", hosts=deployed).status == 0


@pytest.mark.usefixtures("bare")
def test_own_nodes(lab: Lab, packages: Path, tmp_path: Path) -> None:
    project = copy("own-nodes", tmp_path, lab, RACKS)
    ran = run(lines("own-nodes"), project, environment(packages, lab))
    assert ran.status == 0, ran.text
    assert "deploy: 1 installed" in ran.out
    assert "deploy: 1 unchanged, 2 installed" in ran.out or "deploy: 2 installed, 1 unchanged" in ran.out
    assert [node.ssh("systemctl is-active kube-nginx").stdout for node in lab.nodes] == ["active\n"] * 3


@pytest.mark.usefixtures("bare")
def test_an_edge_fleet(lab: Lab, packages: Path, tmp_path: Path) -> None:
    """Each node of the site has a login from the bastion, and none from this machine."""
    bastion, *site = lab.nodes
    marks = [node.enter("date +@%s.%N").strip() for node in site]
    project = copy("edge", tmp_path, lab, BEHIND)
    ran = run(lines("edge"), project, environment(packages, lab))
    assert ran.status == 0, ran.text
    assert "deploy: 2 installed" in ran.out
    for node, mark in zip(site, marks, strict=True):
        journal = node.enter(f"journalctl -u ssh -o cat --since {mark}")
        logins = [line.split()[5] for line in journal.splitlines() if line.startswith("Accepted publickey")]
        assert {*logins} == {bastion.address}, journal


POD = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {
        "name": "web",
        "ownerReferences": [
            {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "web", "controller": True}
        ],
    },
    "spec": {
        "nodeName": "worker-1",
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 0,
        "containers": [{"name": "web", "image": "web"}],
    },
}
COLUMNS = "custom-columns=NAME:.metadata.name,CORDONED:.spec.unschedulable"
# A unit that never starts.
BROKEN = "mkdir -p {0} && printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {0}/broken.conf"
DROP_INS = "/etc/systemd/system/kube-nginx.service.d"


@pytest.fixture
def workers(cluster: Lab, tmp_path: Path) -> Iterator[dict[str, str]]:
    """Three Node objects and a pod of worker-1; variables with which kubectl is there for this machine."""
    node = cluster.nodes[0]
    names = ["worker-1", "worker-2", "worker-3"]
    objects = [{"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}} for name in names]
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    (tmp_path / "objects").write_text(
        json.dumps({"apiVersion": "v1", "kind": "List", "items": [*objects, account, POD]})
    )
    server = f"https://{cluster.apiservers[0].address}:6443"
    config = tmp_path / "kubeconfig"
    config.write_bytes(servers.authority(cluster.state).kubeconfig(server, node.folder / "client"))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "kubectl").symlink_to(kubernetes.folder() / "kubectl")
    kubectl(node, f"--server={server}", "apply", "-f", str(tmp_path / "objects"))
    yield {"KUBECONFIG": str(config), "PATH": str(tmp_path / "bin")}
    kubectl(node, f"--server={server}", "delete", "--ignore-not-found", "-f", str(tmp_path / "objects"))


def cordoned(env: dict[str, str]) -> list[str]:
    """The nodes that get no pods, as kubectl says."""
    command = ["kubectl", "get", "nodes", "--field-selector", "spec.unschedulable=true", "-o", "name"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.kube
def test_racks_are_drained(cluster: Lab, workers: dict[str, str], packages: Path, tmp_path: Path) -> None:
    """A node that fails stays cordoned; then, without what failed, both racks have their turns."""
    env = environment(packages, cluster)
    env |= workers | {"PATH": f"{workers['PATH']}:{env['PATH']}"}
    project = copy("drain", tmp_path, cluster, RACKS)
    (project / "ssh_config").write_text(f"Host *\n    UserKnownHostsFile {project}/known_hosts\n")
    (project / "fabric.yaml").write_text(f"ssh_config_path: {project}/ssh_config\n")
    broken = cluster.nodes[0]
    broken.ssh(BROKEN.format(DROP_INS))
    ran = run("fab kube-nginx.build; fab roll rack-a", project, env)
    assert ran.status == 1, ran.text
    assert "worker-1" in ran.err
    assert cordoned(env) == ["node/worker-1"]
    assert "pod/web evicted" in ran.out

    broken.ssh(f"rm -r {DROP_INS}; systemctl daemon-reload")
    subprocess.run(["kubectl", "uncordon", "worker-1"], env=env, check=True)
    subprocess.run(["kubectl", "cordon", "worker-3"], env=env, check=True)
    seen = tmp_path / "seen"
    watch = ["kubectl", "get", "nodes", "--watch", "--no-headers", "-o", COLUMNS]
    with seen.open("w") as out, subprocess.Popen(watch, env=env, stdout=out) as watching:
        try:
            until(lambda: len(seen.read_text().splitlines()) == 3)
            ran = run(lines("drain"), project, env)
            assert ran.status == 0, ran.text
            until(lambda: states(seen.read_text(), "worker-2")[-1] == "<none>")
        finally:
            watching.terminate()
    assert states(seen.read_text(), "worker-1") == ["<none>", "true", "<none>"]
    assert states(seen.read_text(), "worker-2") == ["<none>", "true", "<none>"]
    assert {*states(seen.read_text(), "worker-3")} == {"true"}, "somebody else had cordoned it"
    assert ran.out.index("node/worker-1 drained") < ran.out.index("deploy: 2 ") < ran.out.index(" uncordoned")


def states(text: str, node: str) -> list[str]:
    """Whether a node was cordoned, one after the other, as a watch saw it."""
    found = [line.split()[1] for line in text.splitlines() if line.split()[0] == node]
    return [state for before, state in zip([None, *found], found, strict=False) if state != before]
