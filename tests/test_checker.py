"""What a check of one node meets, and how a listener is tried, through a real SSH connection on loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import paramiko
import pytest

from tasks.core.check.checker import NodeChecker
from tasks.core.check.node_check import NodeCheck
from tasks.core.check.table import notes
from tasks.core.config.address import Endpoint, NodeSpec
from tasks.core.config.model import Check, Proxy, Settings
from tasks.core.facts.facts import Facts, Holder
from tasks.core.facts.watch import WatchUnit
from tasks.core.probes.proof import listener_state
from tasks.core.users.found import Kubeconfig, KubeProcess, Users
from tests.sshd import Sshd, listening, over
from tests.tls import OK, Serve, https, identity

ACTIVE = Facts(unit={"LoadState": "loaded", "ActiveState": "active", "SubState": "running"})
PROHIBITED = int(paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)
Start = Callable[[Serve], Endpoint]


@pytest.fixture
def start() -> Iterator[Start]:
    with ExitStack() as stack:
        yield lambda serve: Endpoint("127.0.0.1", stack.enter_context(listening(serve)))


@pytest.fixture
def ready(tmp_path: Path) -> list[Serve]:
    """Three apiservers, each with a certificate of its own."""
    return [https(identity(f"api-{n}").server(tmp_path), OK) for n in (1, 2, 3)]


def settings(listener: Endpoint, apiservers: Sequence[Endpoint], timeout: int = 30) -> Settings:
    proxy = Proxy(listen=(listener,))
    node = NodeSpec("n1", "n1")
    return Settings(
        None, "recommended", (node,), tuple(apiservers), proxy=proxy, check=Check(timeout=timeout)
    )


def checked(
    sshd: Sshd, given: Settings, facts: Facts = ACTIVE, programs: str = "", users: Users | None = None
) -> NodeCheck:
    with sshd.client() as transport:
        return NodeChecker(over(transport, programs, facts, users), given, None).check()


def counted(sshd: Sshd, endpoint: Endpoint) -> int:
    return sshd.asked.count((endpoint.host, endpoint.port))


def balanced(*servers: Serve) -> Serve:
    """A proxy that leads each connection to the next one."""
    turns = cycle(servers)

    def serve(connection: socket.socket) -> None:
        next(turns)(connection)

    return serve


def closes(connection: socket.socket) -> None:
    connection.close()


def test_it_is_tried_until_it_has_led_to_all(start: Start, ready: list[Serve]) -> None:
    sshd, listener = Sshd(), start(balanced(*ready))
    apiservers = [start(serve) for serve in ready]
    seen = checked(sshd, settings(listener, apiservers))
    assert (seen.state, seen.way, seen.error) == ("warning", True, None)  # for drift: nothing is installed
    assert seen.through is not None
    assert (seen.through.state, set(seen.through.led_to)) == ("ok", set(apiservers))
    assert counted(sshd, listener) == 1 + 3


def test_one_to_which_it_never_leads_is_told(start: Start, ready: list[Serve]) -> None:
    sshd, listener = Sshd(), start(balanced(*ready[:2]))
    first, second, third = apiservers = [start(serve) for serve in ready]
    seen = checked(sshd, settings(listener, apiservers))
    assert seen.through is not None
    assert seen.through.state == "ok"
    assert seen.through.detail == f"13 tries led to {first} and {second}, not to {third}"
    assert counted(sshd, listener) == 13


def test_the_certificate_must_hold_for_what_kubelet_calls_the_listener(
    start: Start, ready: list[Serve]
) -> None:
    listener, apiserver = start(ready[0]), start(ready[0])
    facts = replace(ACTIVE, addresses=dict.fromkeys(("api-1", "local"), ("127.0.0.1",)))
    for host, word in (("127.0.0.1", "ready"), ("api-1", "ready"), ("local", "wrong name")):
        says = Kubeconfig("/etc/k", {5: f"https://{host}:{listener.port}"})
        users = Users(kube=(KubeProcess("kubelet", 7, 1, kubeconfig=says),))
        seen = checked(Sshd(), settings(listener, [apiserver]), facts, users=users)
        for met in seen.met.values():
            assert met.word.startswith(word)
    assert "holds for api-1, 127.0.0.1, not for local: kubelet will refuse it" in met.detail


def test_a_certificate_that_only_the_proxy_leads_to_is_told_when_it_expires(
    start: Start, ready: list[Serve], tmp_path: Path
) -> None:
    old = https(identity("api-4", days=12.5).server(tmp_path), OK)
    for listener, apiserver, word in ((old, ready[0], "expires 12 d"), (old, old, "ready")):
        seen = checked(Sshd(), settings(start(listener), [start(apiserver)]))
        assert seen.through is not None
        assert seen.through.word.startswith(word)


def test_what_swallows_tries_is_a_share(start: Start, ready: list[Serve]) -> None:
    sshd, listener = Sshd(), start(balanced(closes, ready[0]))
    seen = checked(sshd, settings(listener, [start(ready[0])]))
    assert seen.through is not None
    assert (seen.through.state, seen.through.word) == ("warning", "1 of 2 tries")
    assert seen.through.detail.startswith("an apiserver answers at 1 of 2 tries only; else: accepted the")


def test_an_apiserver_from_which_nginx_is_kept(start: Start, ready: list[Serve]) -> None:
    server = start(ready[0])
    unit = {"LoadState": "loaded", "ActiveState": "active", "StatusText": f"ejected {server} for 34 s (hung)"}
    facts = replace(ACTIVE, watch=WatchUnit(unit))
    seen = checked(Sshd(), settings(start(ready[0]), [server]), facts)
    check = seen.apiservers[server]
    assert (check.state, check.word.endswith(" ms, ejected"), check.way) == ("warning", True, True)
    assert f"warning: a: {server}: the watch keeps nginx from it for 34 s: hung" in notes({"a": seen})


def test_what_refuses_is_tried_once(start: Start, ready: list[Serve]) -> None:
    sshd = Sshd()
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        listener = Endpoint("127.0.0.1", bound.getsockname()[1])
        seen = checked(sshd, settings(listener, [start(ready[0])]))
    assert counted(sshd, listener) == 1
    assert (seen.state, seen.way) == ("failed", True)
    assert seen.error is not None
    assert seen.error.message.startswith(f"no ready apiserver answers through {listener}: refused the")


def test_a_service_that_does_not_run_says_so(start: Start, ready: list[Serve]) -> None:
    stopped = replace(ACTIVE, unit={"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead"})
    for facts, word, detail in (
        (stopped, "inactive", "the service is inactive (dead)"),
        (Facts(), "not there", "kube-nginx is not installed there"),
    ):
        seen = checked(Sshd(), settings(start(closes), [start(ready[0])]), facts)
        assert seen.through is not None
        assert (seen.through.word, seen.through.detail) == (word, detail)


def test_somebody_else_has_the_listener(start: Start, ready: list[Serve]) -> None:
    listener = start(ready[0])
    held = replace(ACTIVE, listening={listener: Holder(7, "", "/bin/x", "x")})
    seen = checked(Sshd(), settings(listener, [start(ready[0])]), held)
    assert seen.through is not None
    assert (seen.through.state, seen.through.word, seen.through.way) == ("failed", "not ours", False)
    assert seen.through.detail == "is held by x (PID 7), not by kube-nginx"


def test_a_name_is_told_with_its_addresses(start: Start, ready: list[Serve]) -> None:
    resolved = replace(ACTIVE, addresses={"api-1": ("10.0.0.1", "10.0.0.2")})
    seen = checked(Sshd(), settings(start(ready[0]), [Endpoint("api-1", 6443)]), resolved)
    (check,) = seen.apiservers.values()
    assert check.detail == "refused the connection (10.0.0.1, 10.0.0.2)"


def test_programs_of_the_node_ask_once(start: Start, ready: list[Serve]) -> None:
    sshd = Sshd(forwarding=lambda address: PROHIBITED)
    programs = "kn.tool=bash\nkn.cell.0=0 1.0 \nkn.cell.1=0 1.0 \n"
    listener, *apiservers = (start(serve) for serve in ready)
    seen = checked(sshd, settings(listener, apiservers), programs=programs)
    assert [check.word for check in seen.met.values()] == ["open (bash)"] * 3
    assert (seen.way, seen.state) == (None, "warning")
    assert counted(sshd, listener) == 1


class TestListenerState:
    """What `fab status` says of a listener."""

    def state(self, sshd: Sshd, listener: Endpoint, facts: Facts, programs: str = "") -> tuple[str, str]:
        with sshd.client() as transport:
            given = settings(listener, [Endpoint("10.0.0.1", 6443)] * 3)
            return listener_state(over(transport, programs, facts), given, listener)

    def test_it_answers(self, start: Start, ready: list[Serve]) -> None:
        assert self.state(Sshd(), start(ready[0]), ACTIVE) == ("answers", "")

    def test_a_hung_apiserver_swallows_a_try(self, start: Start, ready: list[Serve]) -> None:
        sshd, listener = Sshd(), start(balanced(closes, ready[0]))
        listens = replace(ACTIVE, listening={listener: None})
        assert self.state(sshd, listener, listens) == ("answers", "")
        assert counted(sshd, listener) == 1 + 6

    def test_no_apiserver_answers(self, start: Start) -> None:
        listener = start(closes)
        early = "accepted the connection and closed it before TLS"
        assert self.state(Sshd(), listener, ACTIVE) == ("refuses", "")
        listens = replace(ACTIVE, listening={listener: None})
        assert self.state(Sshd(), listener, listens) == ("accepts", early)

    @pytest.mark.parametrize(
        ("programs", "state"),
        [("", "listens"), ("kn.tool=curl\nkn.cell.0=0 1.0 SFRUUC8xLjEgMjAwIE9LCg==\n", "answers")],
    )
    def test_where_it_cannot_be_tried_the_kernel_tells(
        self, start: Start, ready: list[Serve], programs: str, state: str
    ) -> None:
        listener = start(ready[0])
        listens = replace(ACTIVE, listening={listener: None})
        sshd = Sshd(forwarding=lambda address: PROHIBITED)
        assert self.state(sshd, listener, listens, programs) == (state, "")

    def test_somebody_else_has_it(self) -> None:
        listener = Endpoint("127.0.0.1", 8443)
        held = replace(ACTIVE, listening={listener: Holder(7, "", "/bin/x", "x")})
        assert self.state(Sshd(), listener, held) == ("is held by x (PID 7)", "")
