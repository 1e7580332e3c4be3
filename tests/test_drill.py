"""What a drill sees before it cuts, and what its clients see, through a real SSH connection on loopback."""

from __future__ import annotations

import ssl
import time
from pathlib import Path
from typing import cast

import paramiko
import pytest

from tasks.core.config.address import Endpoint, NodeSpec
from tasks.core.config.model import Proxy, Settings
from tasks.core.drill.clients import Clients
from tasks.core.drill.watching import Watching, WatchReport
from tasks.core.errors import StepError
from tasks.core.facts.watch import WatchUnit
from tasks.core.scripts.drill import LookAtWatch
from tasks.core.shell.command import CommandResult
from tasks.core.ssh.node import Node
from tasks.core.traffic.target import require_another_way
from tests.sshd import Sshd, listening, over
from tests.tls import OK, answer, https, identity

BAD = answer("503 Unavailable", "[-]etcd failed")


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    return identity("apiserver").server(tmp_path)


def here(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port)


def see(transport: paramiko.Transport, dying: int, *others: int) -> None:
    apiservers = tuple(map(here, (dying, *others)))
    proxy = Proxy(listen=(here(others[0]),))
    settings = Settings(None, "recommended", (NodeSpec("n", "n"),), apiservers, proxy=proxy)
    require_another_way(over(transport), settings, apiservers[0], apiservers[1:])


def test_another_that_is_ready_is_a_way(tls: ssl.SSLContext) -> None:
    good = https(tls, OK)
    with Sshd().client() as node, listening(good) as dying, listening(good) as other:
        see(node, dying, other)


def test_a_third_that_is_silent_does_not_matter(tls: ssl.SSLContext) -> None:
    good = https(tls, OK)
    with (
        Sshd().client() as node,
        listening(good) as dying,
        listening(good) as other,
        listening(lambda connection: connection.close()) as silent,
    ):
        see(node, dying, other, silent)


def test_another_that_is_not_ready_is_none(tls: ssl.SSLContext) -> None:
    with (
        Sshd().client() as node,
        listening(https(tls, OK)) as dying,
        listening(https(tls, BAD)) as other,
        pytest.raises(StepError, match="is the last way of this node") as caught,
    ):
        see(node, dying, other)
    assert f"127.0.0.1:{other} /readyz is answered with 503: '[-]etcd failed'" in caught.value.message


def test_the_one_that_cannot_be_tried_is_named(tls: ssl.SSLContext) -> None:
    with listening(https(tls, OK)) as dying, listening(https(tls, OK)) as other:

        def forwarding(address: tuple[str, int]) -> int | None:
            return None if address[1] == dying else int(paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)

        with Sshd(forwarding=forwarding).client() as node, pytest.raises(StepError) as caught:
            see(node, dying, other)
    assert caught.value.message.startswith(f"127.0.0.1:{other}: sshd there forbids forwarding, and")


@pytest.mark.parametrize(("said", "error"), [(OK, ""), (BAD, "was answered with 503")])
def test_an_answer_that_nobody_can_use_is_a_failure(tls: ssl.SSLContext, said: bytes, error: str) -> None:
    deadline = time.monotonic() + 30
    with (
        Sshd().client() as node,
        listening(https(tls, said)) as port,
        Clients(node, here(port), sessions=1) as clients,
    ):
        ended: set[int | None] = set()
        while ended != {None, 0}:
            assert time.monotonic() < deadline
            time.sleep(0.01)
            over = [request for request in clients.requests() if request.ended is not None]
            ended = {request.session for request in over}
    assert {request.error for request in over} == {error}


EJECTED = f"ejected {here(1)} for 3 s (no answer to a TLS hello)"


@pytest.mark.parametrize(
    ("seen", "report"),
    [
        ([], None),
        ([(99, "inactive", "")], None),
        ([(99, "active", "ok"), (103, "active", "ok")], WatchReport("ok")),
        ([(99, "active", "ok"), (104, "active", EJECTED), (105, "active", EJECTED)], WatchReport(EJECTED, 4)),
        ([(99, "active", "ok"), (121, "active", EJECTED)], WatchReport("ok")),
        (
            [(99, "active", f"ejected {here(2)} for 9 s (no answer to a connection)")],
            WatchReport(f"ejected {here(2)} for 9 s (no answer to a connection)"),
        ),
        (
            [(99, "active", "not possible here: no permission")],
            WatchReport("not possible here: no permission", can_eject=False),
        ),
    ],
)
def test_what_the_watch_did(seen: list[tuple[float, str, str]], report: WatchReport | None) -> None:
    watching = Watching(cast(Node, None), (here(1),))
    watching._seen = [
        (at, WatchUnit({"ActiveState": state, "StatusText": status})) for at, state, status in seen
    ]
    assert watching.report(100, 120) == report


def test_systemd_is_asked_for_the_watch() -> None:
    said = "ActiveState=active\nSubState=running\nStatusText=ejected 198.18.0.2:6443 for 3 s (a=b)\n"
    unit = LookAtWatch().read(CommandResult(0, said))
    assert unit.active
    assert list(unit.ejected) == ["198.18.0.2:6443"]
    assert unit.ejected["198.18.0.2:6443"].why == "a=b"
