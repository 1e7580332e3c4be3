"""hosts.toml beside a cluster: what only one of them has, and how `fab check` asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.cluster import asking
from tasks.core.cluster.difference import Difference, Known, difference, sentences
from tasks.core.config.address import Endpoint
from tasks.core.errors import UsageError
from tasks.core.sources.kubectl import Cluster, Machine, Server
from tests.conftest import run_fab

A, B, C = (Endpoint(f"10.0.0.{n}", 6443) for n in (1, 2, 3))
NAMED = Endpoint("api-3", 6443)
ADDRESSES = {"api-3": ("10.0.0.3", "fd00::3")}


def machine(name: str, *addresses: str) -> Machine:
    return Machine(name, addresses, bool(addresses), (), "", "linux")


def found(
    apiservers: tuple[Endpoint, ...] = (A, B, NAMED),
    hosts: tuple[str, ...] | None = ("worker-1",),
    there: tuple[Endpoint, ...] = (A, B, C),
    nodes: tuple[Machine, ...] = (),
) -> Difference:
    servers = tuple(Server(endpoint.host, endpoint.port) for endpoint in there)
    return difference(Known(apiservers, hosts, ADDRESSES), Cluster(nodes, servers, "EndpointSlices"))


def test_all_is_alike() -> None:
    assert found() == Difference(None, (), (), ())
    assert [*sentences(found())] == []


def test_apiservers() -> None:
    other = Endpoint("10.0.0.4", 443)
    seen = found((A, NAMED, other), there=(A, B))
    assert (seen.missing_apiservers, seen.unknown_apiservers) == ((B,), (NAMED, other))
    where = "EndpointSlices of default/kubernetes"
    assert [*sentences(seen)] == [
        f"10.0.0.2:6443 is an apiserver of the cluster ({where}), and hosts.toml does not name it",
        f"api-3:6443 is in hosts.toml, and no apiserver that serves is there ({where})",
        f"10.0.0.4:443 is in hosts.toml, and no apiserver that serves is there ({where})",
    ]


def test_a_name_that_does_not_resolve_is_not_compared() -> None:
    assert found((A, B, C, Endpoint("unknown", 6443))).unknown_apiservers == ()


def test_a_cluster_that_names_no_apiserver() -> None:
    """It does not say that none serves: kube-apiserver --endpoint-reconciler-type=none."""
    assert [*sentences(found(there=()))] == []


@pytest.mark.parametrize(
    ("node", "hosts", "known"),
    [
        (machine("worker-1"), ("worker-1",), True),
        (machine("worker-1"), ("Worker-1",), True),
        (machine("x", "10.0.0.11"), ("worker-1", "10.0.0.11"), True),
        (machine("worker-1.a.b"), ("worker-1",), True),
        (machine("worker-1"), ("worker-1.a.b",), True),
        (machine("worker-1.c"), ("worker-1.a.b",), False),
        (machine("10.0.0.11"), ("10",), False),
        (machine("10"), ("10.0.0.11",), False),
        (machine("worker-2", "10.0.0.12"), ("worker-1", "10.0.0.1"), False),
    ],
)
def test_a_node_is_known_by_any_of_its_names(node: Machine, hosts: tuple[str, ...], known: bool) -> None:
    assert found(hosts=hosts, nodes=(node,)).missing_nodes == (() if known else (node.name,))


def test_of_a_part_of_the_fleet_nodes_are_not_compared() -> None:
    assert found(hosts=None, nodes=(machine("worker-9"),)).missing_nodes is None


def test_what_a_cluster_says_is_data() -> None:
    servers = (Server("\x1b[2J", 6443), Server("10.0.0.1", 99999), Server("10.0.0.1", 6443))
    cluster = Cluster((machine("\x1b[2J", "no address"),), servers, "EndpointSlices")
    seen = difference(Known((A,), (), {}), cluster)
    assert seen == Difference(None, (), (), ("?[2J",))


def test_who_runs_no_linux_is_not_missed() -> None:
    windows = Machine("w-1", ("10.0.0.21",), True, (), "", "windows")
    assert found(nodes=(windows, machine("w-2"))).missing_nodes == ("w-2",)


def test_many_nodes_are_counted() -> None:
    (text,) = sentences(found(nodes=tuple(machine(f"n{n}") for n in range(30))))
    assert text.startswith("30 of the cluster's nodes are not in hosts.toml: n0, n1, ")
    assert text.endswith(", n19 and 10 more")


def test_who_may_not_see_the_apiservers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compared, and that is told: no apiserver of hosts.toml is taken for one that is right."""
    program = tmp_path / "kubectl"
    program.write_text(
        "#!/bin/sh\ncase $* in *nodes*) echo '{\"items\": []}' ;; *) echo Forbidden >&2; exit 1 ;; esac\n"
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(UsageError, match="Forbidden"):
        asking.begin(tmp_path / "config").result(60)


def test_a_kubeconfig_that_is_not_there(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts.toml"
    hosts.write_text('nodes = ["worker-1"]\napiservers = ["10.0.0.1"]\n[check]\nkubeconfig = "none"\n')
    ran = run_fab("check", hosts=hosts)
    assert ran.status == 2
    assert f'[check] kubeconfig = "{tmp_path}/none": there is no such file, or it cannot be read' in ran.err
