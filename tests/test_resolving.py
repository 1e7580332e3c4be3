"""Apiservers named by names, on real hosts: resolved by each node when it is deployed to, and never again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from shlex import quote

import pytest

from tests.conftest import run_fab
from tests.lab.faults import silent_dns
from tests.lab.lab import Lab
from tests.lab.nodes import Node

from .test_rollout import CONF, PREFIX, changed, everything, main_pid, plain, quick, results

__all__ = ["plain", "quick"]

pytestmark = pytest.mark.lab
Toml = Callable[..., Path]


@contextmanager
def hosts(node: Node, edit: str) -> Iterator[None]:
    """The node has another /etc/hosts: what a script of sed makes of its own."""
    own = "$(readlink -f /etc/hosts)"
    node.enter(f'sed {quote(edit)} /etc/hosts > /run/hosts && mount --bind /run/hosts "{own}"')
    try:
        yield
    finally:
        node.enter(f'umount -l "{own}" && rm /run/hosts')


@contextmanager
def no_names(*nodes: Node) -> Iterator[None]:
    """No apiserver's name resolves on these nodes."""
    with ExitStack() as stack:
        for node in nodes:
            stack.enter_context(hosts(node, "/lab-api/d"))
        yield


def upstream(node: Node) -> list[str]:
    """The servers in the node's configuration."""
    lines = node.enter(f"cat {CONF}").splitlines()
    return [line.split()[1] for line in lines if line.strip().startswith("server ") and " max_fails" in line]


def addresses(lab: Lab) -> list[str]:
    return [f"{apiserver.address}:6443" for apiserver in lab.apiservers]


def test_addresses_are_on_the_nodes(lab: Lab, quick: Path) -> None:
    assert [upstream(node) for node in lab.nodes] == [addresses(lab)] * 3
    assert all("lab-api" not in node.enter(f"cat {CONF}") for node in lab.nodes)


def test_a_name_that_has_moved_is_a_reload_on_the_nodes_that_see_it(lab: Lab, quick: Path) -> None:
    one, two, three = addresses(lab)
    node, before = lab.nodes[1], [main_pid(node) for node in lab.nodes]
    with hosts(node, f"s/^{lab.apiservers[2].address} /{lab.apiservers[0].address} /"):
        seen = run_fab("diff", "--exit-code", hosts=quick)
        assert seen.status == 3
        assert "lab-node-2: reload: the configuration differs" in seen.out
        assert f"\n-        server {three} max_fails" in seen.out
        assert "diff: 2 unchanged, 1 to be reloaded" in seen.out
        done = run_fab("deploy", "--json", hosts=quick)
        assert results(done.json) == ["unchanged", "reloaded", "unchanged"]
        releases = [document["release"] for document in done.json["nodes"]]
        assert releases[0] == releases[2] != releases[1]
        assert [upstream(node) for node in lab.nodes] == [[one, two, three], [one, two], [one, two, three]]
        assert results(run_fab("deploy", "--json", hosts=quick).json) == ["unchanged"] * 3
    assert results(run_fab("deploy", "--json", hosts=quick).json) == ["unchanged", "reloaded", "unchanged"]
    assert [main_pid(node) for node in lab.nodes] == before


def test_a_name_that_does_not_resolve_fails_that_node_alone(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    node, other = lab.nodes[0], changed(hosts_toml, 31)
    mine = {line for line in everything(lab) if line.startswith(f"{node.name} ")}
    with hosts(node, "/lab-api-3/d"):
        for task in ("deploy", "conf", "preflight", "diff"):
            ran = run_fab(task, hosts=other)
            step = "survey" if task == "deploy" else task
            assert ran.status == 1
            assert f"{node.name}: {step}: lab-api-3 does not resolve on the node" in ran.err
            assert "hint: on the node: getent ahosts lab-api-3; correct apiservers in hosts.toml" in ran.err
            assert f"retry: fab {task} --limit {node.name}\n" in ran.err
    expected = ["max_fails=2", "max_fails=31", "max_fails=31"]
    assert all(wanted in it.enter(f"cat {CONF}") for it, wanted in zip(lab.nodes, expected, strict=True))
    after = {line for line in everything(lab) if line.startswith(f"{node.name} ")}
    assert {line for line in after ^ mine if PREFIX in line or "/etc/" in line or "PID" in line} == set()


def test_what_runs_does_not_need_the_names(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    """DNS is down: a restart, a boot and the way back work all the same."""
    assert run_fab("deploy", hosts=changed(hosts_toml, 32)).status == 0
    with no_names(*lab.nodes):
        lab.nodes[0].enter("systemctl restart kube-nginx")
        for task in ("status", "reload", "restart", "rollback"):
            ran = run_fab(task, hosts=quick)
            assert (ran.status, ran.err) == (0, "")
        assert [upstream(node) for node in lab.nodes] == [addresses(lab)] * 3
        assert all("max_fails=2 " in node.enter(f"cat {CONF}") for node in lab.nodes)


def test_a_name_for_which_the_resolver_is_silent_is_no_matter_of_the_others(lab: Lab, quick: Path) -> None:
    """sshd does nothing else while it resolves a name, so it is asked for none."""
    node, limit = lab.nodes[0], ("--limit", "lab-node-1")
    with silent_dns(node, "lab-api-3"):
        ran = run_fab("check", "--json", *limit, hosts=quick)
        assert ran.status == 0, ran.text
        (seen,) = ran.json["nodes"]
        met = {where: there["word"] for where, there in seen["apiservers"].items()}
        assert met.pop("lab-api-3:6443") == "no address"
        assert [word.partition(" ")[0] for word in met.values()] == ["ready", "ready"]
        assert seen["through"]["reachable"] is True
        for task in ("status", "restart", "reload"):
            ran = run_fab(task, *limit, hosts=quick)
            assert (ran.status, ran.err) == (0, ""), task
        assert "an apiserver answers through 127.0.0.1:8443\n" in ran.out
        ran = run_fab("drill", "--apiserver", "lab-api-1", "--seconds", "5", *limit, hosts=quick)
        assert ran.status == 0, ran.text
        assert "0 of " in ran.out
        ran = run_fab("deploy", "--force", *limit, hosts=quick)
        assert "lab-node-1: survey: lab-api-3 does not resolve on the node" in ran.err


GETENT = '#!/bin/sh\necho "$2" >> /run/asked\nexec /usr/bin/getent "$@"\n'


def test_a_deploy_resolves_once_and_other_tasks_do_not(lab: Lab, quick: Path, hosts_toml: Toml) -> None:
    node, limit = lab.nodes[2], ("--limit", "lab-node-3")
    node.enter(f"printf %s {quote(GETENT)} > /usr/local/bin/getent; chmod 755 /usr/local/bin/getent")
    try:
        for task in ("status", "restart", "reload", "unit", "stop", "start"):
            assert run_fab(task, *limit, hosts=quick).status == 0
        assert node.enter("cat /run/asked 2>/dev/null || true") == ""
        assert results(run_fab("deploy", "--json", *limit, hosts=changed(hosts_toml, 33)).json) == [
            "reloaded"
        ]
        assert sorted(node.enter("cat /run/asked").split()) == ["lab-api-1", "lab-api-2", "lab-api-3"]
    finally:
        node.enter("rm -f /usr/local/bin/getent /run/asked")
