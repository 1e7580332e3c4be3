"""The load that tests put on a proxy: it sees nothing where nothing is, and each failure as what it is."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.load import SESSIONS, TICK, Load
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

PROXY = "127.0.0.1", 8443


@pytest.fixture
def node(lab: Lab, deployed: Path) -> Node:
    """A node with a kube-nginx that runs."""
    return lab.nodes[0]


@pytest.fixture
def mended(lab: Lab) -> Iterator[Lab]:
    """The lab, whose apiservers all run again after the test."""
    yield lab
    for server in lab.apiservers:
        server.resume()
        server.start()


def test_nothing_happens(lab: Lab, deployed: Path) -> None:
    seconds = 3.0
    with ExitStack() as stack:
        loads = [stack.enter_context(Load(node, *PROXY)) for node in lab.nodes]
        time.sleep(seconds)
        for load in loads:
            seen = load.result()
            assert (seen.failed, seen.sessions_ended, seen.sessions_stalled) == (0, [], [])
            assert seen.opened + seen.late >= seconds / TICK
            assert seen.opened > 0.5 * seconds / TICK


def test_a_restart_refuses_and_ends_every_session(node: Node) -> None:
    with Load(node, *PROXY) as load:
        before = time.monotonic()
        node.enter("systemctl restart kube-nginx")
        after = time.monotonic()
        seen = load.result()
    assert seen.refused > 0
    assert len(seen.sessions_ended) == SESSIONS
    assert before < min(seen.sessions_ended) <= max(seen.sessions_ended) < after


def test_a_reload_refuses_nobody(node: Node) -> None:
    with Load(node, *PROXY) as load:
        node.enter("systemctl reload kube-nginx")
        time.sleep(1)
        assert load.result().failed == 0


def test_dead_apiservers_are_resets(node: Node, mended: Lab) -> None:
    with Load(node, *PROXY) as load:
        for server in mended.apiservers:
            server.stop()
        time.sleep(0.5)
        seen = load.result()
    assert seen.reset > 0
    assert (seen.refused, seen.timed_out) == (0, 0)
    assert len(seen.sessions_ended) >= SESSIONS  # those that went to another one ended again


def test_hung_apiservers_are_timeouts(node: Node, mended: Lab) -> None:
    with Load(node, *PROXY) as load:
        for server in mended.apiservers:
            server.pause()
        time.sleep(0.5)
        seen = load.result()
    assert seen.timed_out > 0
    assert (seen.refused, seen.reset) == (0, 0)


def test_without_a_proxy_it_is_never_ready(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.lab.load.READY", 1)
    with (
        pytest.raises(RuntimeError, match="load on lab-node-1 is not ready after 1 s"),
        Load(node, *PROXY[:1], 9),
    ):
        pass


def test_it_ends_with_its_block(node: Node) -> None:
    with pytest.raises(ZeroDivisionError), Load(node, *PROXY) as load:
        raise ZeroDivisionError
    assert load.process.poll() is not None
