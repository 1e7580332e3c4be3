"""Who uses kube-nginx, seen on real hosts: clients of Kubernetes' own that watch, and a real cluster."""

from __future__ import annotations

import itertools
import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Ran, run_fab, toml_of
from tests.faults.conftest import until
from tests.lab import kubernetes
from tests.lab.lab import Lab
from tests.lab.nodes import Node
from tests.lab.servers import authority, kubectl

pytestmark = [pytest.mark.lab, pytest.mark.kube]

Toml = Callable[..., Path]
THERE = "/etc/kubernetes"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def kube_toml(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Toml:
    """Writes a hosts.toml of the cluster, with `(old, new)` changes."""
    return toml_of(cluster, tmp_path_factory)


@pytest.fixture(scope="module")
def used(cluster: Lab, kube_toml: Toml) -> Path:
    """The hosts.toml of the cluster, with kube-nginx on all three nodes."""
    path = kube_toml()
    cluster.up()
    ran = run_fab("build", "deploy", hosts=path)
    assert ran.status == 0, ran.out + ran.err
    return path


def kubeconfig(node: Node, server: str) -> bytes:
    """The node's own, with another server."""
    return authority(node.state).kubeconfig(server, node.folder / "client")


@contextmanager
def client(node: Node, name: str, server: str) -> Iterator[None]:
    """A client of this name as kubelet is one, a unit of the node: client-go, which watches by HTTP/2."""
    config, out = f"{THERE}/{name}.kubeconfig", f"/run/{name}.out"
    unit = f"lab-{name}-{next(NUMBERS)}"  # in the lab a unit that has ended may stay known
    node.ssh(f"mkdir -p {THERE}; cat > {config}", stdin=kubeconfig(node, server).decode())
    node.ssh(f"cp $(readlink -f /etc/lab/kubectl) /usr/local/bin/{name}")
    watch = f"/usr/local/bin/{name} --kubeconfig={config} get namespaces --watch --output=name"
    begun = node.ssh(f"systemd-run --unit={unit} --property=StandardOutput=file:{out} {watch}")
    assert begun.returncode == 0, begun.stderr
    try:
        until(lambda: "namespace/default" in node.ssh(f"cat {out}").stdout)
        yield
    finally:
        node.ssh(f"systemctl stop {unit}; rm -f /usr/local/bin/{name} {config} {out}")


def users(ran: Ran) -> list[Any]:
    """What is said of each node."""
    return [node["users"] for node in ran.json["nodes"]]


def test_who_uses_it_and_who_goes_past_it(cluster: Lab, used: Path) -> None:
    through, straight, _ = cluster.nodes
    apiserver = cluster.apiservers[1].address
    with ExitStack() as stack:
        stack.enter_context(client(through, "kubelet", "https://127.0.0.1:8443"))
        stack.enter_context(client(through, "kube-proxy", "https://127.0.0.1:8443"))
        stack.enter_context(client(through, "flanneld", "https://127.0.0.1:8443"))
        stack.enter_context(client(straight, "kubelet", f"https://{apiserver}:6443"))
        before = straight.enter(f"sha256sum {THERE}/kubelet.kubeconfig")
        ran, plain = run_fab("check", "--json", hosts=used), run_fab("check", hosts=used)
        after = straight.enter(f"sha256sum {THERE}/kubelet.kubeconfig")
    assert (ran.status, plain.status, before) == (0, 0, after)
    first, second, third = users(ran)
    assert [(kube["name"], kube["sessions"], kube["straight"], kube["past"]) for kube in first["kube"]] == [
        ("kubelet", 1, {}, False),
        ("kube-proxy", 1, {}, False),
    ]
    assert (first["word"], first["warnings"], first["others"]) == ("kubelet +2", [], {"flanneld": 1})
    (kubelet,) = second["kube"]
    assert kubelet["straight"] == {"lab-api-2:6443": 1}
    assert kubelet["servers"] == {"8": f"https://{apiserver}:6443"}
    assert (second["word"], second["state"], second["sessions"]) == ("past", "warning", 0)
    assert (third["word"], third["state"], third["kube"], third["notes"]) == ("no kubelet", "ok", [], [])
    assert (
        f"warning: lab-node-2: users: kubelet goes to {apiserver}:6443 directly: its kubeconfig "
        f"{THERE}/kubelet.kubeconfig says https://{apiserver}:6443; line 8 there should be server: "
        "https://127.0.0.1:8443, then: systemctl restart kubelet\n"
    ) in plain.out
    assert "note: lab-node-1: users: also flanneld (1 session)\n" in plain.out
    assert "client-key-data" not in ran.text + plain.text
    assert [node["through"]["state"] for node in ran.json["nodes"]] == ["ok"] * 3


def test_a_name_for_which_no_certificate_holds(cluster: Lab, used: Path) -> None:
    node = cluster.nodes[0]
    with client(node, "kubelet", "https://127.0.0.1:8443"):
        node.enter(f"sed -i s/127.0.0.1:8443/localhost:8443/ {THERE}/kubelet.kubeconfig")
        ran = run_fab("check", "--json", "--limit", node.name, hosts=used)
    (through,) = (document["through"] for document in ran.json["nodes"])
    assert (through["state"], through["word"]) == ("warning", "wrong name")
    assert "kubernetes.default.svc, 127.0.0.1, " in through["detail"]
    assert through["detail"].endswith("not for localhost: kubelet will refuse it")


def test_kubelet_that_is_a_user_of_its_own_is_none(cluster: Lab, used: Path) -> None:
    node = cluster.nodes[0]
    node.ssh("cp /bin/sleep /tmp/kubelet; systemd-run --collect --unit=fake --uid=65534 /tmp/kubelet 600")
    try:
        until(lambda: node.pids("kubelet"))
        ran = run_fab("check", "--json", "--limit", node.name, hosts=used)
    finally:
        node.ssh("systemctl stop fake; rm -f /tmp/kubelet")
    assert users(ran)[0]["word"] == "no kubelet"


@pytest.fixture
def beside(
    cluster: Lab, kube_toml: Toml, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., Path]:
    """Writes a hosts.toml with a kubeconfig of the cluster; kubectl is the lab's."""
    monkeypatch.setenv("PATH", f"{kubernetes.folder()}:{os.environ['PATH']}")
    config = tmp_path / "kubeconfig"
    server = f"https://{cluster.apiservers[0].address}:6443"
    config.write_bytes(kubeconfig(cluster.nodes[0], server))
    return lambda *changes: kube_toml(("[build]", f'[check]\nkubeconfig = "{config}"\n\n[build]'), *changes)


def test_beside_the_cluster(cluster: Lab, used: Path, beside: Toml) -> None:
    node, stranger = cluster.nodes[0], "worker-77"
    for name, address in (
        (node.name, node.address),
        ("other-name", cluster.nodes[1].address),
        (stranger, "198.18.77.7"),
    ):
        item = {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": name},
            "status": {"addresses": [{"type": "InternalIP", "address": address}]},
        }
        path = cluster.state / "node.json"
        path.write_text(json.dumps(item))
        kubectl(node, "create", "-f", str(path))
    third = f"{cluster.apiservers[2].address}:6443"
    try:
        ran = run_fab("check", "--json", hosts=beside())
        other = beside(('"lab-api-3:6443"', '"lab-api-3:6444"'))
        changed, plain = run_fab("check", "--json", hosts=other), run_fab("check", hosts=other)
        part = run_fab("check", "--json", "--limit", node.name, hosts=beside())
    finally:
        kubectl(node, "delete", "node", node.name, "other-name", stranger)
    assert ran.json["cluster"] == {
        "error": None,
        "missing_apiservers": [],
        "unknown_apiservers": [],
        "missing_nodes": [stranger],
    }
    assert changed.json["cluster"]["missing_apiservers"] == [third]
    assert changed.json["cluster"]["unknown_apiservers"] == ["lab-api-3:6444"]
    assert part.json["cluster"]["missing_nodes"] is None
    assert f"warning: cluster: {third} is an apiserver of the cluster (" in plain.out
    assert f"warning: cluster: 1 of the cluster's nodes are not in hosts.toml: {stranger}\n" in plain.out
    assert [ran.status, changed.status, plain.status] == [0, 0, 0]


def test_without_kubectl(cluster: Lab, used: Path, beside: Toml, tmp_path: Path) -> None:
    environment = {**os.environ, "PATH": str(tmp_path)}
    ran = run_fab("check", hosts=beside(), env=environment)
    assert ran.status == 0, ran.err
    assert ran.out.count("note: cluster: not compared with hosts.toml: kubectl is not installed here") == 1
