"""What kubectl tells of a cluster as a fleet, and what is said when it tells nothing of use.

The documents have what is looked at in kube-apiserver's; tests/test_init_kube.py asks real ones.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tasks.core.config.address import Endpoint, NodeSpec
from tasks.core.errors import UsageError
from tasks.core.setup import source
from tasks.core.setup.initial import InitialConfig
from tasks.core.setup.source import Flags
from tasks.core.sources import kubectl

ROLE = "node-role.kubernetes.io/"


def node(
    name: str, *addresses: str, system: str = "linux", zone: str = "", role: str = ""
) -> dict[str, object]:
    labels = {"kubernetes.io/os": system} | ({f"{ROLE}{role}": ""} if role else {})
    labels |= {"topology.kubernetes.io/zone": zone} if zone else {}
    kinds = [(("ExternalIP", a[1:]) if a.startswith("+") else ("InternalIP", a)) for a in addresses]
    status = {
        "addresses": [{"type": "Hostname", "address": name}, *({"type": k, "address": a} for k, a in kinds)]
    }
    return {"kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def piece(*addresses: str, port: int = 6443, ready: bool | None = True) -> dict[str, object]:
    endpoints = [{"addresses": [address], "conditions": {"ready": ready}} for address in addresses]
    return {"kind": "EndpointSlice", "endpoints": endpoints, "ports": [{"name": "https", "port": port}]}


THREE = [
    node("m1", "198.18.0.1", role="control-plane", zone="a"),
    node("m2", "198.18.0.2", role="master", zone="b"),
    node("w1", "198.18.0.3", "2001:2::3", role="worker", zone="b"),
]


class Stand:
    """A program in kubectl's place, which keeps how it was called."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.script('f=$(dirname "$0")/$(echo "$*" | sed "s/.*get //; s/ .*//").json; cat "$f"')
        self.tells("nodes", *THREE)
        self.tells("endpointslices", piece("198.18.0.1", "198.18.0.2"))
        self.tells("endpoints")

    def script(self, body: str) -> None:
        program = self.folder / "kubectl"
        program.write_text(f'#!/bin/sh\necho "$@" >>"$(dirname "$0")/called"\n{body}\n')
        program.chmod(0o755)

    def tells(self, what: str, *items: object) -> None:
        (self.folder / f"{what}.json").write_text(json.dumps({"kind": "List", "items": items}))

    def config(self, flags: Flags | None = None) -> InitialConfig:
        return source.read("kubectl", flags or Flags()).config(None, None)

    @property
    def called(self) -> list[str]:
        return (self.folder / "called").read_text().splitlines()


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return Stand(tmp_path)


def test_a_cluster(stand: Stand) -> None:
    found = stand.config()
    assert found.nodes == (
        NodeSpec("m1", "198.18.0.1", groups=("a", "control-plane")),
        NodeSpec("m2", "198.18.0.2", groups=("b", "master")),
        NodeSpec("w1", "198.18.0.3", groups=("b", "worker")),
    )
    assert [str(server) for server in found.apiservers] == ["198.18.0.1:6443", "198.18.0.2:6443"]
    assert found.labels == ("m1", "m2")
    assert found.taken == (
        "nodes: 3, of kubectl get nodes, by InternalIP",
        "groups: their roles and zones: a (1), control-plane (1), b (2), master (1), worker (1)",
        "apiservers: 2, of the EndpointSlices of default/kubernetes",
    )
    assert found.notes == (
        "how to log in is not known to Kubernetes: it comes from ~/.ssh/config, else it is root on port 22",
    )


def test_it_only_reads(stand: Stand) -> None:
    stand.config(Flags(kubeconfig="~/admin.conf", context="prod"))
    for line in stand.called:
        first, second, get, *_ = line.split()
        assert (first.startswith("--kubeconfig=/"), second, get) == (True, "--context=prod", "get")
        assert "--output=json" in line


@pytest.mark.parametrize(
    ("slices", "words"),
    [
        ([piece("198.18.0.1")], "198.18.0.1:6443 is the only kube-apiserver that was found"),
        (
            [piece("198.18.0.9")],
            "198.18.0.9:6443: no address of a node of the control plane (m1, m2): a load",
        ),
        ([piece("198.18.0.1", "198.18.0.3")], "198.18.0.3:6443: no address of a node of the control plane"),
    ],
)
def test_what_is_said_of_apiservers(stand: Stand, slices: list[object], words: str) -> None:
    stand.tells("endpointslices", *slices)
    assert words in "\n".join(stand.config().notes)


def test_a_cluster_without_roles(stand: Stand) -> None:
    stand.tells("nodes", node("n1", "198.18.0.1"), node("n2", "198.18.0.2"))
    assert len(stand.config().notes) == 1, "the apiservers are on nodes: all is well"
    stand.tells("endpointslices", piece("198.18.0.8", "198.18.0.9"))
    assert "no address of a node, and no node has the role control-plane" in stand.config().notes[0]


def test_addresses_of_two_families_and_ports(stand: Stand) -> None:
    stand.tells(
        "endpointslices", piece("198.18.0.1", port=8443), piece("2001:2::1"), piece("198.18.0.2", ready=False)
    )
    assert [str(server) for server in stand.config().apiservers] == ["198.18.0.1:8443", "[2001:2::1]:6443"]


def test_nodes_that_are_not_as_usual(stand: Stand) -> None:
    stand.tells("nodes", node("n1", "+198.18.0.7"), node("n2"), node("win", "198.18.0.9", system="windows"))
    found = stand.config()
    assert [(one.name, one.host) for one in found.nodes] == [("n1", "198.18.0.7"), ("n2", "n2")]
    notes = "\n".join(found.notes)
    assert "not taken: win: windows, not Linux" in notes
    assert "no InternalIP: n1, n2: another address, or the name, is taken" in notes


def test_an_old_cluster_has_endpoints(stand: Stand) -> None:
    stand.tells("endpointslices")
    subset = {"addresses": [{"ip": "198.18.0.1"}, {"ip": "198.18.0.2"}], "ports": [{"port": 6443}]}
    stand.tells("endpoints", {"subsets": [subset]})
    found = stand.config()
    assert [str(server) for server in found.apiservers] == ["198.18.0.1:6443", "198.18.0.2:6443"]
    assert "apiservers: 2, of the Endpoints of default/kubernetes" in found.taken


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (
            "echo error: no such context >&2; exit 1",
            "kubectl get nodes: exit status 1:\nerror: no such context",
        ),
        (
            "echo 'E1128 23:21:19.5 1 memcache.go:265] no' >&2; echo refused >&2; exit 1",
            "kubectl get nodes: exit status 1:\nrefused\nwhich cluster it asks: --kubeconfig FILE",
        ),
        ("echo garbage", "kubectl get nodes: wrote no JSON, but 'garbage"),
        ("true", "kubectl get nodes: wrote no JSON, but ''"),
        ("echo []", "kubectl get nodes: wrote no list of objects, but '[]"),
        ("echo '{\"items\": 1}'", "kubectl get nodes: wrote no list of objects"),
        ("echo '{\"items\": []}'", "the cluster has no node that runs Linux"),
        ("echo '{\"items\": [1, null, {}, []]}'", "kubectl get nodes: wrote a node without a name"),
        (r"printf '\000\377'", "kubectl get nodes: wrote no JSON"),
        ("head -c 100000 /dev/zero | tr '\\0' '['", "kubectl get nodes: wrote no JSON, but '[[["),
        ("kill -9 $$", "kubectl get nodes: exit status -9"),
    ],
)
def test_what_is_of_no_use(stand: Stand, script: str, words: str) -> None:
    stand.script(script)
    with pytest.raises(UsageError) as caught:
        stand.config()
    assert words in str(caught.value)


def test_a_slow_one(stand: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubectl, "SECONDS", 0.5)
    stand.script("sleep 600")
    with pytest.raises(UsageError, match=r"kubectl get nodes .*: did not end within 0.5 s"):
        stand.config()


def test_who_may_not_see_the_apiservers(stand: Stand) -> None:
    """Where they are given, nothing is wrong."""
    stand.script(
        'case $* in *nodes*) cat "$(dirname "$0")/nodes.json" ;; *) echo Forbidden >&2; exit 1 ;; esac'
    )
    with pytest.raises(UsageError, match=r"Forbidden(?s:.*)or give --apiservers$"):
        stand.config()
    given = (Endpoint("198.18.0.1", 6443),)
    assert source.read("kubectl", Flags()).config(None, given).apiservers == given


def test_no_apiservers(stand: Stand) -> None:
    stand.tells("endpointslices")
    with pytest.raises(UsageError, match="name no address; give --apiservers"):
        stand.config()


def test_one_that_cannot_be_run(stand: Stand) -> None:
    (stand.folder / "kubectl").write_bytes(b"\x7fELF")
    with pytest.raises(UsageError, match=r"kubectl get nodes .*: cannot be run: Exec format error"):
        stand.config()


def test_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(UsageError, match="kubectl is not installed here, or not in PATH"):
        source.read("kubectl", Flags())
