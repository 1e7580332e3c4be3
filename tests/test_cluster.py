"""What kubectl says becomes nodes and endpoints, whatever a cluster has put there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tasks.core.cluster import kubectl
from tasks.core.cluster.kubectl import Kubectl, KubectlError
from tasks.core.cluster.members import ClusterNode
from tasks.core.config.address import Endpoint

Says = Callable[..., Kubectl]
NODE = {
    "metadata": {
        "name": "worker-1",
        "labels": {"node-role.kubernetes.io/control-plane": "", "kubernetes.io/os": "linux"},
    },
    "status": {
        "addresses": [
            {"type": "Hostname", "address": "worker-1.Example"},
            {"type": "ExternalIP", "address": "203.0.113.1"},
            {"type": "InternalIP", "address": "198.18.0.11"},
            {"type": "InternalIP", "address": "2001:DB8::0:11"},
        ]
    },
}


def slice_of(*addresses: str, port: object = 6443, ready: bool = True) -> dict[str, object]:
    endpoint = {"addresses": [*addresses], "conditions": {"ready": ready}}
    return {"endpoints": [endpoint], "ports": [{"name": "https", "port": port}]}


@pytest.fixture
def says(tmp_path: Path) -> Says:
    """A program that plays kubectl: it notes what it is asked, and says one thing."""

    def write(out: object, status: int = 0, err: str = "", more: str = "") -> Kubectl:
        text = out if isinstance(out, str) else json.dumps(out)
        (tmp_path / "out").write_text(text)
        (tmp_path / "err").write_text(err)
        program = tmp_path / "kubectl"
        program.write_text(
            f'#!/bin/sh\necho "$*" > {tmp_path}/asked\ncat {tmp_path}/out\ncat {tmp_path}/err >&2\n{more}\n'
            f"exit {status}\n"
        )
        program.chmod(0o755)
        return Kubectl(tmp_path / "config", program=str(program))

    return write


def test_nodes(says: Says, tmp_path: Path) -> None:
    assert says({"items": [NODE]}).nodes() == (
        ClusterNode(
            "worker-1",
            ("198.18.0.11", "2001:db8::11", "203.0.113.1"),
            ("worker-1", "worker-1.example"),
            ("control-plane",),
        ),
    )
    asked = (tmp_path / "asked").read_text()
    assert asked == f"--kubeconfig={tmp_path}/config --request-timeout=10s get nodes --output=json\n"


def test_a_context(says: Says, tmp_path: Path) -> None:
    Kubectl(context="other", program=says({"items": []}).program).nodes()
    assert (tmp_path / "asked").read_text().startswith("--context=other --request-timeout=10s get nodes")


def test_apiservers(says: Says, tmp_path: Path) -> None:
    slices = [slice_of("198.18.0.1", "198.18.0.2"), slice_of("198.18.0.2"), slice_of("2001:db8::1", port=443)]
    assert says({"items": [*slices, slice_of("198.18.0.3", ready=False)]}).apiservers() == (
        Endpoint("198.18.0.1", 6443),
        Endpoint("198.18.0.2", 6443),
        Endpoint("2001:db8::1", 443),
    )
    asked = (tmp_path / "asked").read_text()
    assert "get endpointslices.discovery.k8s.io --namespace=default " in asked
    assert "-l=kubernetes.io/service-name=kubernetes" in asked


@pytest.mark.parametrize(
    "item",
    [
        {},
        None,
        "x",
        {"metadata": None, "status": []},
        {"metadata": {"name": "-rf; \x1b[2J"}},
        {"metadata": {"name": 7}, "endpoints": [{"addresses": "x"}, None], "ports": 3},
        slice_of("\x1b[2J"),
        slice_of("198.18.0.1", port="x"),
        slice_of("198.18.0.1", port=70000),
    ],
)
def test_what_is_none_is_left_out(says: Says, item: object) -> None:
    asked = says({"items": [item]})
    assert (asked.nodes(), asked.apiservers()) == ((), ())


def test_addresses_that_are_none_are_left_out(says: Says) -> None:
    addresses = [{"type": "InternalIP", "address": "not one"}, {"type": 3}, None]
    node = {"metadata": {"name": "n"}, "status": {"addresses": addresses}}
    assert says({"items": [node]}).nodes() == (ClusterNode("n", names=("n",)),)


@pytest.mark.parametrize(
    ("out", "status", "err", "message"),
    [
        ("", 1, "first\nUnable to \x1b[2Jconnect\n", "kubectl get nodes failed: Unable to ?[2Jconnect"),
        ("", 3, "", "kubectl get nodes failed: status 3"),
        ("no", 0, "", "kubectl get nodes gave no JSON"),
        ("[" * 200000, 0, "", "kubectl get nodes gave no JSON"),
        ("[]", 0, "", "kubectl get nodes gave no list"),
    ],
)
def test_failures(says: Says, out: str, status: int, err: str, message: str) -> None:
    with pytest.raises(KubectlError) as caught:
        says(out, status, err).nodes()
    assert (str(caught.value), caught.value.missing) == (message, False)


def test_it_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(KubectlError, match="there is no kubectl on this machine") as caught:
        Kubectl(program=str(tmp_path / "none")).nodes()
    assert caught.value.missing


def test_it_hangs(says: Says, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kubectl, "SECONDS", 0.2)
    with pytest.raises(KubectlError, match=r"kubectl get nodes did not end within 0.2 s"):
        says({"items": []}, more="sleep 60 & sleep 60").nodes()
