"""What `status` and `check` say to do, done on a real host: it must bring the service up."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.conftest import run_fab
from tests.lab import faults
from tests.lab.lab import Lab
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

Toml = Callable[..., Path]
UNIT = "/etc/systemd/system/kube-nginx.service"
OTHER = ("[build]", '[proxy]\nlisten = ["127.0.0.1:8443", "127.0.0.2:8443"]\n\n[build]')


def stopped(node: Node) -> None:
    node.enter("systemctl stop kube-nginx")


def masked(node: Node) -> None:
    node.enter(f"systemctl stop kube-nginx; rm {UNIT}; systemctl mask kube-nginx 2>&1")


def gone(node: Node) -> None:
    node.enter(f"systemctl stop kube-nginx; rm {UNIT}; systemctl daemon-reload")


def no_binary(node: Node) -> None:
    node.enter("systemctl stop kube-nginx; rm /opt/k8s/kube-nginx/sbin/kube-nginx")


def failed(node: Node) -> None:
    """It cannot start with what is there, and systemd tries for ever."""
    node.enter("echo x >> /opt/k8s/kube-nginx/conf/kube-nginx.conf; systemctl restart kube-nginx || true")


@contextmanager
def port_taken(node: Node) -> Iterator[None]:
    stopped(node)
    with faults.foreign_listener(node, 8443):
        yield


def nothing(node: Node) -> None:
    """Only hosts.toml is another one."""


def follow(advice: str, node: Node, hosts: Path) -> None:
    """Does what is said, in the order in which it is said."""
    steps = re.findall(r"systemctl (?:stop|unmask) [\w.-]+|fab \w+ --limit [\w,-]+", advice)
    assert steps, advice
    for step in steps:
        if step.startswith("fab"):
            done = run_fab(*step.split()[1:], hosts=hosts)
            assert done.status == 0 or "logs" in step, done.err
        else:
            node.enter(f"{step} 2>&1")


@pytest.mark.parametrize(
    ("harm", "changes"),
    [
        (stopped, ()),
        (masked, ()),
        (gone, ()),
        (no_binary, ()),
        (failed, ()),
        (port_taken, ()),
        (nothing, (OTHER,)),
    ],
)
def test_what_is_advised_works(
    lab: Lab,
    deployed: Path,
    hosts_toml: Toml,
    harm: Callable[[Node], AbstractContextManager[None] | None],
    changes: tuple[tuple[str, str], ...],
) -> None:
    node, hosts = lab.nodes[0], hosts_toml(*changes)
    limit = ("--limit", node.name)
    followed: set[str] = set()
    for task in ("status", "check"):
        try:
            with harm(node) or nullcontext():
                told = run_fab(task, *limit, "--json", hosts=hosts)
                assert told.status == 1
                (seen,) = told.json["nodes"]
                if (advice := seen["error"]["hint"]) not in followed:
                    follow(advice, node, hosts)
                    assert run_fab("status", *limit, hosts=hosts).status == 0
                    followed.add(advice)
        finally:
            assert run_fab("deploy", *limit, hosts=deployed).status == 0
