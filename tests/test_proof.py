"""What a node meets at its listeners and at the apiservers, over a real SSH connection on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from ipaddress import IPv4Address

import paramiko
import pytest

from tasks.core.config.address import Endpoint
from tasks.core.errors import StepError
from tasks.core.probes.prober import Depth, Prober
from tasks.core.probes.proof import Proof, answers, prove, prove_by_ssh
from tasks.core.probes.result import ProbeResult, Reason
from tasks.core.ssh.node import Node
from tests.lab import keys
from tests.sshd import Sshd, listening, over

QUICK = 0.3  # seconds, for what will not answer
PATIENT = 30  # seconds, for what will: a busy machine is no failure
PROHIBITED = int(paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED)

Serve = Callable[[socket.socket], None]
Endpoints = Callable[..., list[Endpoint]]


def closes(connection: socket.socket) -> None:
    connection.close()


def hangs(connection: socket.socket) -> None:
    pass


def says(text: bytes, wait: bool = True) -> Serve:
    def serve(connection: socket.socket) -> None:
        if wait:
            connection.recv(1)
        connection.sendall(text)

    return serve


def hangs_up_midway(connection: socket.socket) -> None:
    connection.recv(1)
    connection.sendall(b"\x16\x03\x03\x00\x7a")
    connection.shutdown(socket.SHUT_WR)


def in_turn(*servers: Serve) -> Serve:
    """A balancing proxy: each connection goes to the next server, and to the last when all had one."""
    turns = iter(servers)

    def serve(connection: socket.socket) -> None:
        next(turns, servers[-1])(connection)

    return serve


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    folder = tmp_path_factory.mktemp("apiserver")
    keys.certificate(folder, "apiserver", IPv4Address("127.0.0.1"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    return context


@pytest.fixture
def apiserver(certificate: ssl.SSLContext) -> Serve:
    def serve(connection: socket.socket) -> None:
        with certificate.wrap_socket(connection, server_side=True) as tls:
            tls.recv(1)

    return serve


@pytest.fixture
def endpoints() -> Iterator[Endpoints]:
    """Starts TCP servers on loopback, one for each way of serving; None is a port that is closed."""
    with ExitStack() as stack:

        def start(*servers: Serve | None) -> list[Endpoint]:
            ports = [stack.enter_context(listening(s)) if s else closed() for s in servers]
            return [Endpoint("127.0.0.1", port) for port in ports]

        def closed() -> int:
            bound = stack.enter_context(socket.socket())  # bound, so that nobody else gets the port
            bound.bind(("127.0.0.1", 0))
            return int(bound.getsockname()[1])

        yield start


@pytest.fixture
def sshd() -> Sshd:
    return Sshd()


@pytest.fixture
def node(sshd: Sshd) -> Iterator[Node]:
    with sshd.client() as transport:
        yield over(transport)


def handshake(node: Node, endpoint: Endpoint, timeout: float) -> ProbeResult:
    (result,) = Prober(node, timeout, Depth.HANDSHAKE).by_ssh([endpoint])
    return result


def proof(
    node: Node,
    listeners: Sequence[Endpoint],
    apiservers: Sequence[Endpoint],
    timeout: float,
    answered: bool = False,
) -> Proof:
    return prove_by_ssh(node, listeners, apiservers, answered, timeout)


class TestHandshake:
    """One try."""

    def test_tls_answers(self, node: Node, apiserver: Serve, endpoints: Endpoints) -> None:
        (endpoint,) = endpoints(apiserver)
        seen = handshake(node, endpoint, PATIENT)
        assert seen.ok is True
        assert seen.connected is not None
        assert 0 < seen.connected < PATIENT

    @pytest.mark.parametrize(
        ("serve", "text"),
        [
            (closes, "accepted the connection and closed it before TLS"),
            (hangs_up_midway, "closed the connection during the TLS handshake"),
            (None, "refused the connection"),
            (says(b"HTTP/1.0 400 Bad\r\n\r\n"), "answered, but not in TLS: 'HTTP/1.0 400 Bad'"),
            (says(b"220 \x1b[31m\r\n", wait=False), "answered, but not in TLS: '220 \\x1b[31m'"),
            (
                says(b"\x15\x03\x03\x00\x02\x02\x28"),
                "answered in TLS, but the handshake failed: sslv3 alert handshake failure",
            ),
        ],
    )
    def test_no_tls(self, node: Node, endpoints: Endpoints, serve: Serve | None, text: str) -> None:
        (endpoint,) = endpoints(serve)
        seen = handshake(node, endpoint, PATIENT)
        assert (seen.ok, seen.text) == (False, text)

    def test_silence_after_the_connection(self, node: Node, endpoints: Endpoints) -> None:
        (endpoint,) = endpoints(hangs)
        seen = handshake(node, endpoint, QUICK)
        assert (seen.ok, seen.text) == (False, "did not answer within 0.3 s")

    def test_silence_before_the_connection(
        self, sshd: Sshd, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        tried = threading.Event()
        sshd.forwarding = lambda address: None if tried.wait(PATIENT) else PROHIBITED
        (endpoint,) = endpoints(apiserver)
        seen = handshake(node, endpoint, QUICK)
        tried.set()
        assert (seen.ok, seen.text) == (False, "did not answer within 0.3 s")
        assert handshake(node, endpoint, PATIENT).ok is True

    def test_forwarding_forbidden(
        self, sshd: Sshd, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        sshd.forwarding = lambda address: PROHIBITED
        (endpoint,) = endpoints(apiserver)
        seen = handshake(node, endpoint, PATIENT)
        assert (seen.ok, seen.text) == (None, "sshd there forbids forwarding")

    def test_sshd_has_another_reason(self, sshd: Sshd, node: Node) -> None:
        sshd.forwarding = lambda address: int(paramiko.OPEN_FAILED_RESOURCE_SHORTAGE)
        seen = handshake(node, Endpoint("127.0.0.1", 1), PATIENT)
        assert (seen.ok, seen.text) == (False, "sshd there did not connect: Resource shortage")

    def test_a_dead_connection(self, node: Node) -> None:
        node.transport.close()
        seen = handshake(node, Endpoint("127.0.0.1", 1), PATIENT)
        assert (seen.ok, seen.text) == (False, "could not be tried: the SSH connection broke")

    @pytest.mark.parametrize(
        ("host", "asked"),
        [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("fd00::2", "fd00::2"), ("api-3", "api-3")],
    )
    def test_who_is_asked_for(self, sshd: Sshd, node: Node, host: str, asked: str) -> None:
        sshd.forwarding = lambda address: int(paramiko.OPEN_FAILED_CONNECT_FAILED)
        handshake(node, Endpoint(host, 8443), PATIENT)
        assert sshd.asked == [(asked, 8443)]

    def test_a_name_is_told_in_tls_and_an_address_is_not(
        self, node: Node, certificate: ssl.SSLContext, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        told: list[str | None] = []
        certificate.sni_callback = lambda _, name, __: told.append(name)
        (endpoint,) = endpoints(apiserver)
        assert handshake(node, endpoint, PATIENT).ok
        assert handshake(node, Endpoint("localhost", endpoint.port), PATIENT).ok
        certificate.sni_callback = None
        assert told == [None, "localhost"]


def test_all_are_asked_at_once(node: Node, endpoints: Endpoints) -> None:
    both = threading.Barrier(2)

    def serve(connection: socket.socket) -> None:
        both.wait(PATIENT)
        connection.close()

    there = endpoints(serve, serve)
    prober = Prober(node, PATIENT)
    assert [met.reason for met in prober.by_ssh(there)] == [Reason.CLOSED] * 2
    assert prober.by_ssh([]) == []


class TestProof:
    """All listeners, and who is to blame."""

    def test_all_listeners_lead_there(self, node: Node, apiserver: Serve, endpoints: Endpoints) -> None:
        a, b, up = endpoints(apiserver, apiserver, apiserver)
        seen = proof(node, [a, b], [up], PATIENT)
        assert (seen.state, seen.text) == ("ok", f"an apiserver answers through {a} and {b}")

    @pytest.mark.parametrize(
        ("useless", "timeout"), [((closes, closes), PATIENT), ((hangs,), 1)], ids=["closing", "hung"]
    )
    def test_useless_apiservers_swallow_tries(
        self,
        sshd: Sshd,
        node: Node,
        apiserver: Serve,
        endpoints: Endpoints,
        useless: Sequence[Serve],
        timeout: float,
    ) -> None:
        listener, *up = endpoints(in_turn(*useless, apiserver), *[apiserver] * (len(useless) + 1))
        assert proof(node, [listener], up, timeout).state == "ok"
        assert tries(sshd, listener) == len(up)

    def test_tries_are_made_at_once(self, node: Node, apiserver: Serve, endpoints: Endpoints) -> None:
        """New connections, of which the proxy gives each to another apiserver."""
        all_of_them = threading.Barrier(3)

        def together(connection: socket.socket) -> None:
            all_of_them.wait(PATIENT)
            apiserver(connection)

        listener, *up = endpoints(together, *[apiserver] * 3)
        assert proof(node, [listener], up, PATIENT).state == "ok"

    def test_no_more_tries_than_that(self, sshd: Sshd, node: Node, endpoints: Endpoints) -> None:
        (listener,) = endpoints(closes)
        proof(node, [listener], unreachable(3), PATIENT)
        assert tries(sshd, listener) == 3

    def test_an_apiserver_that_is_silent_beside_others_is_named(
        self, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        listener, up, closed, hung = endpoints(apiserver, apiserver, None, hangs)
        seen = proof(node, [listener], [closed, up, hung], 2)
        assert (seen.state, seen.text) == (
            "warning",
            f"an apiserver answers through {listener}, but {closed} refused the connection; "
            f"{hung} did not answer within 2 s",
        )

    def test_one_that_must_not_be_tried_is_not(
        self, sshd: Sshd, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        (listener,) = endpoints(apiserver)
        sshd.forwarding = lambda address: PROHIBITED if address[0] == "10.0.0.1" else None
        assert proof(node, [listener], unreachable(1), PATIENT).state == "ok"

    def test_no_apiserver_anywhere_is_a_warning(self, node: Node, endpoints: Endpoints) -> None:
        listener, closed, hung, closing = endpoints(closes, None, hangs, closes)
        seen = proof(node, [listener], [closed, hung, closing], 2)
        early = "accepted the connection and closed it before TLS"
        assert (seen.state, seen.text) == (
            "warning",
            f"no apiserver answers, neither through {listener} ({early}) nor directly "
            f"({closed} refused the connection; {hung} did not answer within 2 s; {closing} {early})",
        )

    def test_many_refusals_at_once_are_all_told(self, node: Node, endpoints: Endpoints) -> None:
        (listener,) = endpoints(None)
        seen = proof(node, [listener], unreachable(9), PATIENT)
        assert seen.state == "warning"
        assert seen.text.count(" refused the connection") == 9

    def test_an_apiserver_that_answers_directly_blames_the_proxy(
        self, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        listener, closed, up = endpoints(closes, None, apiserver)
        seen = proof(node, [listener], [closed, up], PATIENT)
        assert (seen.state, seen.text) == (
            "failed",
            f"no apiserver answers through {listener} (accepted the connection and closed it before TLS), "
            f"though {up} does directly",
        )

    def test_where_one_hangs_more_tries_are_given(
        self, sshd: Sshd, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        """Balancing is a matter of luck, and going back for bad luck would do harm."""
        listener, hung, up = endpoints(in_turn(*[hangs] * 5, apiserver), hangs, apiserver)
        seen = proof(node, [listener], [hung, up], 0.5)
        assert (seen.state, seen.text) == (
            "warning",
            f"an apiserver answers through {listener}, but {hung} did not answer within 0.5 s",
        )
        assert tries(sshd, listener) == 2 + 6

    def test_one_that_answers_late_is_looked_at_again(
        self, sshd: Sshd, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        listener, up = endpoints(in_turn(hangs, apiserver), apiserver)
        assert proof(node, [listener], [up], 0.5).state == "ok"
        assert tries(sshd, listener) == 1 + 3

    def test_but_not_without_end(
        self, sshd: Sshd, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        listener, hung, up = endpoints(hangs, hangs, apiserver)
        assert proof(node, [listener], [hung, up], 0.5).state == "failed"
        assert tries(sshd, listener) == 2 + 6

    def test_so_does_another_listener(self, node: Node, apiserver: Serve, endpoints: Endpoints) -> None:
        bad, good = endpoints(None, apiserver)
        seen = proof(node, [bad, good], unreachable(1), PATIENT)
        assert (seen.state, seen.text) == (
            "failed",
            f"no apiserver answers through {bad} (refused the connection), though one does through {good}",
        )

    def test_forwarding_forbidden(self, sshd: Sshd, node: Node) -> None:
        sshd.forwarding = lambda address: PROHIBITED
        listener = Endpoint("127.0.0.1", 8443)
        text = "not tried: sshd there forbids forwarding (AllowTcpForwarding)"
        for before in (False, True):
            seen = proof(node, [listener], unreachable(1), PATIENT, answered=before)
            assert (seen.state, seen.text) == ("warning", text)
        assert tries(sshd, listener) == 2

    def test_programs_of_the_node_give_the_proof_instead(self, sshd: Sshd, node: Node) -> None:
        sshd.forwarding = lambda address: PROHIBITED
        listener, up = Endpoint("127.0.0.1", 8443), Endpoint("10.0.0.1", 6443)
        answers_both = "".join(f"kn.cell.{n}=0 1.0 SFRUUC8xLjEgMjAwIE9LCg==\n" for n in (0, 1))
        seen = prove(over(node.transport, f"kn.tool=curl\n{answers_both}"), [listener], [up])
        assert (seen.state, seen.text) == ("ok", f"an apiserver answers through {listener}")
        refused = "kn.tool=curl\nkn.cell.0=7 1.0 \nkn.cell.1=0 1.0 SFRUUC8xLjEgMjAwIE9LCg==\n"
        seen = prove(over(node.transport, refused), [listener], [up])
        assert seen.state == "failed"
        assert seen.text.endswith(f"so this is what curl on the node met), though {up} does directly")

    def test_forwarding_to_apiservers_forbidden(self, sshd: Sshd, node: Node, endpoints: Endpoints) -> None:
        (listener,) = endpoints(None)
        sshd.forwarding = lambda address: PROHIBITED if address[0] == "10.0.0.1" else None
        seen = proof(node, [listener], unreachable(1), PATIENT)
        assert (seen.state, seen.text) == (
            "warning",
            f"no apiserver answers through {listener} (refused the connection); "
            "not known whether one does directly: sshd there forbids forwarding (PermitOpen)",
        )

    def test_what_answered_before_and_does_not_now_is_a_failure(
        self, sshd: Sshd, node: Node, endpoints: Endpoints
    ) -> None:
        """Whatever the apiservers themselves do: a change must not take a node's way."""
        listener, closed = endpoints(closes, None)
        seen = proof(node, [listener], [closed], PATIENT, answered=True)
        assert (seen.state, seen.text) == (
            "failed",
            f"no apiserver answers through {listener} (accepted the connection and closed it before TLS), "
            f"though one answered before; directly: {closed} refused the connection",
        )
        assert tries(sshd, listener) == 1 + 3

    def test_so_it_is_where_the_apiservers_must_not_be_tried(
        self, sshd: Sshd, node: Node, endpoints: Endpoints
    ) -> None:
        (listener,) = endpoints(None)
        sshd.forwarding = lambda address: PROHIBITED if address[0] == "10.0.0.1" else None
        seen = proof(node, [listener], unreachable(1), PATIENT, answered=True)
        assert (seen.state, seen.text) == (
            "failed",
            f"no apiserver answers through {listener} (refused the connection), though one answered before; "
            "directly: 10.0.0.1:6443 sshd there forbids forwarding",
        )

    def test_what_answered_before_and_does_again_is_well(
        self, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        always, late, up = endpoints(apiserver, in_turn(closes, apiserver), apiserver)
        for listener in (always, late):
            assert proof(node, [listener], [up], PATIENT, answered=True).state == "ok"

    def test_what_listens_nowhere_leads_nowhere(self, sshd: Sshd, node: Node) -> None:
        seen = proof(node, [], unreachable(1), PATIENT)
        assert (seen.state, seen.text, sshd.asked) == ("failed", "it listens nowhere", [])

    def test_a_dead_connection_proves_nothing(self, node: Node) -> None:
        node.transport.close()
        text = "no apiserver answers through 127.0.0.1:8443 (could not be tried: the SSH connection broke)"
        for before in (False, True):
            seen = proof(node, [Endpoint("127.0.0.1", 8443)], unreachable(1), PATIENT, answered=before)
            assert (seen.state, seen.text) == ("failed", text)


class TestAnswered:
    """Whether a node has any way, before something is changed there."""

    def test_through_one_of_its_listeners(
        self, sshd: Sshd, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        closed, listener = endpoints(None, apiserver)
        assert answers(node, [closed, listener], unreachable(2), PATIENT)
        assert sorted(sshd.asked) == sorted((there.host, there.port) for there in (closed, listener))

    @pytest.mark.parametrize(("serve", "timeout"), [(None, PATIENT), (closes, PATIENT), (hangs, 2)])
    def test_directly(
        self,
        node: Node,
        apiserver: Serve,
        endpoints: Endpoints,
        serve: Serve | None,
        timeout: float,
    ) -> None:
        """What has just been met through a listener says nothing of the other apiservers."""
        listener, up = endpoints(serve, apiserver)
        assert answers(node, [listener], [*unreachable(1), up], timeout)
        assert answers(node, [], [up], PATIENT)

    def test_in_no_way(self, node: Node, endpoints: Endpoints) -> None:
        listener, closed, closing = endpoints(closes, None, closes)
        assert not answers(node, [listener], [closed, closing, *unreachable(1)], PATIENT)
        assert not answers(node, [listener], [], PATIENT)
        assert not answers(node, [], [], PATIENT)

    def test_what_must_not_be_tried_is_not_known_to_answer(
        self, sshd: Sshd, node: Node, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        sshd.forwarding = lambda address: PROHIBITED
        listener, up = endpoints(apiserver, apiserver)
        assert not answers(node, [listener], [up], PATIENT)
        curl = "kn.tool=curl\nkn.cell.0=7 1.0 \nkn.cell.1=0 1.0 SFRUUC8xLjEgMjAwIE9LCg==\n"  # HTTP/1.1 200 OK
        assert answers(over(node.transport, curl), [listener], [up], PATIENT)

    def test_through_a_dead_connection(self, node: Node, apiserver: Serve, endpoints: Endpoints) -> None:
        listener, up = endpoints(apiserver, apiserver)
        node.transport.close()
        with pytest.raises(StepError, match="the connection broke"):
            answers(node, [listener], [up], PATIENT)


def tries(sshd: Sshd, listener: Endpoint) -> int:
    """How often sshd was asked for it."""
    return sshd.asked.count((listener.host, listener.port))


def unreachable(count: int) -> Sequence[Endpoint]:
    """Apiservers to which the tests' sshd does not connect."""
    return [Endpoint(f"10.0.0.{number}", 6443) for number in range(1, count + 1)]
