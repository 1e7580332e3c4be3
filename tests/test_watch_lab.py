"""kube-nginx-watch on real hosts, deployed, broken, upgraded and removed by `fab`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import run_fab
from tests.lab.lab import Lab
from tests.lab.nodes import Node
from tests.lab.servers import Apiserver
from tests.test_run import eventually
from tests.watch import test_unit_lab

pytestmark = pytest.mark.lab
Toml = Callable[..., Path]
UNIT = "kube-nginx-watch"
WITHOUT = ("[build]", "[watch]\nenabled = false\n\n[build]")
METRICS = "/var/lib/node_exporter/kube-nginx.prom"


def watches(hosts: Path) -> list[dict[str, Any]]:
    return [node["watch"] for node in run_fab("status", "--json", hosts=hosts).json["nodes"]]


def to_do(hosts: Path) -> list[str]:
    """What a deploy would do to each node, and why."""
    return ["; ".join(node["why"]) for node in run_fab("diff", "--json", hosts=hosts).json["nodes"]]


def active(node: Node) -> str:
    return node.enter(f"systemctl is-active {UNIT} || true").strip()


def is_measured(node: Node) -> bool:
    return "kube_nginx_watch_up{" in node.enter(f"cat {METRICS} 2>/dev/null || true")


def rules(node: Node) -> str:
    """Rules by which its kernel refuses connections."""
    return "\n".join(test_unit_lab.rules(node))


def masters(lab: Lab) -> list[str]:
    """The main process of kube-nginx on each node: the same one, if nothing has touched it."""
    return [node.enter("systemctl show -p MainPID --value kube-nginx").strip() for node in lab.nodes]


@contextmanager
def paused(server: Apiserver) -> Iterator[None]:
    server.pause()
    try:
        yield
    finally:
        server.resume()


def test_it_comes_with_a_deploy(lab: Lab, deployed: Path) -> None:
    assert [(watch["state"], watch["ejected"]) for watch in watches(deployed)] == [("ok", [])] * 3
    for node in lab.nodes:
        assert node.enter(f"systemctl is-enabled {UNIT}").strip() == "enabled"
        assert rules(node) == ""


def test_it_starts_and_stops_with_kube_nginx(lab: Lab, deployed: Path) -> None:
    assert run_fab("stop", hosts=deployed).status == 0
    assert [active(node) for node in lab.nodes] == ["inactive"] * 3
    assert run_fab("start", hosts=deployed).status == 0
    eventually(lambda: [active(node) for node in lab.nodes] == ["active"] * 3)
    assert run_fab("diff", "--exit-code", hosts=deployed).status == 0


def test_an_apiserver_that_hangs_is_seen_everywhere(lab: Lab, deployed: Path) -> None:
    hung, others = lab.apiservers[0], lab.apiservers[1:]
    address = f"{hung.address}:6443"
    with paused(hung):
        eventually(lambda: [w["state"] for w in watches(deployed)] == ["ejected"] * 3, seconds=60)
        for watch in watches(deployed):
            (ejected,) = watch["ejected"]
            assert (ejected["apiserver"], ejected["why"]) == (address, "no answer to a TLS hello")
        shown = run_fab("check", hosts=deployed)
        assert "ejected" in shown.text
        assert "the watch keeps nginx from it for" in shown.text
        assert all(hung.address in rules(node) for node in lab.nodes)
        assert not any(other.address in rules(node) for node in lab.nodes for other in others)
        logs = run_fab("logs", "--limit", lab.nodes[0].name, hosts=deployed)
        assert f"ejected {address}: no answer to a TLS hello for" in logs.text
    eventually(lambda: [w["state"] for w in watches(deployed)] == ["ok"] * 3, seconds=60)
    assert [rules(node) for node in lab.nodes] == [""] * 3
    assert f"let in {address} after" in run_fab("logs", "--limit", lab.nodes[0].name, hosts=deployed).text


def test_it_is_switched_off_and_on_beside_what_serves(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    without, before = hosts_toml(WITHOUT), masters(lab)
    done = run_fab("deploy", hosts=without)
    assert (done.status, done.text.count("the watch is not to be there")) == (0, 3)
    assert [watch["state"] for watch in watches(without)] == ["off"] * 3
    for node in lab.nodes:
        assert node.enter("ls /etc/systemd/system /opt/k8s/kube-nginx/sbin | grep watch || true") == ""
    assert run_fab("diff", "--exit-code", hosts=without).status == 0
    assert to_do(deployed) == ["the watch is missing"] * 3
    assert run_fab("deploy", hosts=deployed).status == 0
    assert [active(node) for node in lab.nodes] == ["active"] * 3
    assert masters(lab) == before


def test_one_that_was_changed_is_put_right(lab: Lab, deployed: Path) -> None:
    before, node = masters(lab), lab.nodes[0]
    node.enter("echo >> /opt/k8s/kube-nginx/sbin/kube-nginx-watch 2>/dev/null || "
               "{ cp /opt/k8s/kube-nginx/sbin/kube-nginx-watch /root/w; echo >> /root/w;"
               " mv /root/w /opt/k8s/kube-nginx/sbin/kube-nginx-watch; }")  # fmt: skip
    assert to_do(deployed) == ["the watch differs", "", ""]
    assert run_fab("deploy", hosts=deployed).status == 0
    assert run_fab("diff", "--exit-code", hosts=deployed).status == 0
    assert (active(node), masters(lab)) == ("active", before)


def test_one_that_cannot_start_fails_beside_what_serves(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    """A drop-in has it fail: it is removed, told, and kube-nginx goes on."""
    node, before = lab.nodes[0], masters(lab)
    folder = f"/etc/systemd/system/{UNIT}.service.d"
    assert run_fab("deploy", "--limit", node.name, hosts=hosts_toml(WITHOUT)).status == 0
    node.enter(f"mkdir {folder}; printf '[Service]\\nExecStart=\\nExecStart=/bin/false\\n' > {folder}/x.conf")
    try:
        done = run_fab("deploy", hosts=deployed)
        assert done.status == 1
        assert "but kube-nginx-watch: it does not start; it was removed" in done.text
        assert masters(lab) == before
        assert run_fab("status", hosts=deployed).status == 0
    finally:
        node.enter(f"rm -r {folder}; systemctl daemon-reload")
    assert run_fab("deploy", hosts=deployed).status == 0
    assert active(node) == "active"


def test_a_kill_leaves_no_rule(lab: Lab, deployed: Path) -> None:
    hung, node = lab.apiservers[0], lab.nodes[1]
    with paused(hung):
        eventually(lambda: hung.address in rules(node), seconds=60)
        pid = node.enter(f"systemctl show -p MainPID --value {UNIT}").strip()
        node.enter(f"kill -KILL {pid}")
        eventually(lambda: node.enter(f"systemctl show -p NRestarts --value {UNIT}").strip() != "0")
    eventually(lambda: active(node) == "active" and rules(node) == "", seconds=60)


def test_metrics_are_where_node_exporter_reads_them(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    told = hosts_toml(("[build]", f'[watch]\nmetrics = "{METRICS}"\n\n[build]'))
    for node in lab.nodes:
        node.enter("mkdir -p /var/lib/node_exporter")
    before = masters(lab)
    assert run_fab("deploy", hosts=told).status == 0
    for node in lab.nodes:
        eventually(partial(is_measured, node))
    assert run_fab("deploy", hosts=deployed).status == 0
    for node in lab.nodes:
        assert node.enter(f"ls {METRICS} 2>/dev/null || true") == ""
    assert masters(lab) == before


def test_nothing_of_it_stays(lab: Lab, deployed: Path) -> None:
    with paused(lab.apiservers[0]):
        eventually(lambda: all(rules(node) for node in lab.nodes), seconds=60)
        lab.nodes[0].enter(
            f"pid=$(systemctl show -p MainPID --value {UNIT});"
            f" rm /opt/k8s/kube-nginx/sbin/{UNIT}; kill -KILL $pid"
        )
        assert run_fab("uninstall", "--yes", hosts=deployed).status == 0
    for node in lab.nodes:
        assert rules(node) == ""
        assert (
            node.enter("ls -d /etc/systemd/system/*kube-nginx* /opt/k8s/kube-nginx 2>/dev/null || true") == ""
        )
        assert node.enter(f"systemctl status {UNIT} 2>&1 || true").strip().endswith("could not be found.")
    assert run_fab("deploy", hosts=deployed).status == 0
