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
from tasks.core.probes.reach import handshake, proof
from tests.lab import keys
from tests.sshd import Sshd, listening

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
def node(sshd: Sshd) -> Iterator[paramiko.Transport]:
    with sshd.client() as transport:
        yield transport


class TestHandshake:
    """One try."""

    def test_tls_answers(self, node: paramiko.Transport, apiserver: Serve, endpoints: Endpoints) -> None:
        (endpoint,) = endpoints(apiserver)
        seen = handshake(node, endpoint, PATIENT)
        assert seen.ok is True
        assert seen.text == f"TLS handshake in {max(seen.seconds * 1000, 1):.0f} ms"

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
    def test_no_tls(
        self, node: paramiko.Transport, endpoints: Endpoints, serve: Serve | None, text: str
    ) -> None:
        (endpoint,) = endpoints(serve)
        seen = handshake(node, endpoint, PATIENT)
        assert (seen.ok, seen.text) == (False, text)

    def test_silence_after_the_connection(self, node: paramiko.Transport, endpoints: Endpoints) -> None:
        (endpoint,) = endpoints(hangs)
        seen = handshake(node, endpoint, QUICK)
        assert (seen.ok, seen.text) == (False, "did not answer within 0.3 s")

    def test_silence_before_the_connection(
        self, sshd: Sshd, node: paramiko.Transport, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        tried = threading.Event()
        sshd.forwarding = lambda address: None if tried.wait(PATIENT) else PROHIBITED
        (endpoint,) = endpoints(apiserver)
        seen = handshake(node, endpoint, QUICK)
        tried.set()
        assert (seen.ok, seen.text) == (False, "did not answer within 0.3 s")
        assert handshake(node, endpoint, PATIENT).ok is True

    def test_forwarding_forbidden(
        self, sshd: Sshd, node: paramiko.Transport, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        sshd.forwarding = lambda address: PROHIBITED
        (endpoint,) = endpoints(apiserver)
        seen = handshake(node, endpoint, PATIENT)
        assert (seen.ok, seen.text) == (None, "sshd there forbids forwarding")

    def test_sshd_has_another_reason(self, sshd: Sshd, node: paramiko.Transport) -> None:
        sshd.forwarding = lambda address: int(paramiko.OPEN_FAILED_RESOURCE_SHORTAGE)
        seen = handshake(node, Endpoint("127.0.0.1", 1), PATIENT)
        assert (seen.ok, seen.text) == (False, "sshd there did not connect: Resource shortage")

    def test_a_dead_connection(self, node: paramiko.Transport) -> None:
        node.close()
        seen = handshake(node, Endpoint("127.0.0.1", 1), PATIENT)
        assert (seen.ok, seen.text) == (False, "could not be tried: the SSH connection broke")

    @pytest.mark.parametrize(
        ("host", "asked"),
        [("0.0.0.0", "127.0.0.1"), ("::", "::1"), ("fd00::2", "fd00::2"), ("api-3", "api-3")],
    )
    def test_who_is_asked_for(self, sshd: Sshd, node: paramiko.Transport, host: str, asked: str) -> None:
        sshd.forwarding = lambda address: int(paramiko.OPEN_FAILED_CONNECT_FAILED)
        handshake(node, Endpoint(host, 8443), PATIENT)
        assert sshd.asked == [(asked, 8443)]

    def test_a_name_is_told_in_tls_and_an_address_is_not(
        self, node: paramiko.Transport, certificate: ssl.SSLContext, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        told: list[str | None] = []
        certificate.sni_callback = lambda _, name, __: told.append(name)
        (endpoint,) = endpoints(apiserver)
        assert handshake(node, endpoint, PATIENT).ok
        assert handshake(node, Endpoint("localhost", endpoint.port), PATIENT).ok
        certificate.sni_callback = None
        assert told == [None, "localhost"]


class TestProof:
    """All listeners, and who is to blame."""

    def test_all_listeners_lead_there(
        self, node: paramiko.Transport, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        a, b = endpoints(apiserver, apiserver)
        seen = proof(node, [a, b], [Endpoint("10.0.0.1", 6443)], PATIENT)
        assert (seen.state, seen.text) == ("ok", f"an apiserver answers through {a} and {b}")

    @pytest.mark.parametrize(
        ("useless", "timeout"), [((closes, closes), PATIENT), ((hangs,), 1)], ids=["closing", "hung"]
    )
    def test_useless_apiservers_swallow_tries(
        self,
        node: paramiko.Transport,
        apiserver: Serve,
        endpoints: Endpoints,
        useless: Sequence[Serve],
        timeout: float,
    ) -> None:
        (listener,) = endpoints(in_turn(*useless, apiserver))
        assert proof(node, [listener], unreachable(2), timeout).state == "ok"

    def test_no_more_tries_than_that(
        self, sshd: Sshd, node: paramiko.Transport, endpoints: Endpoints
    ) -> None:
        (listener,) = endpoints(closes)
        proof(node, [listener], unreachable(1), PATIENT, behind=2)  # a name with two addresses
        assert sshd.asked.count((listener.host, listener.port)) == 3

    def test_no_apiserver_anywhere_is_a_warning(self, node: paramiko.Transport, endpoints: Endpoints) -> None:
        listener, closed, hung, closing = endpoints(closes, None, hangs, closes)
        seen = proof(node, [listener], [closed, hung, closing], 2)
        early = "accepted the connection and closed it before TLS"
        assert (seen.state, seen.text) == (
            "warning",
            f"no apiserver answers, neither through {listener} ({early}) nor directly "
            f"({closed} refused the connection; {hung} did not answer within 2 s; {closing} {early})",
        )

    def test_many_refusals_at_once_are_all_told(self, node: paramiko.Transport, endpoints: Endpoints) -> None:
        (listener,) = endpoints(None)
        seen = proof(node, [listener], unreachable(9), PATIENT)
        assert seen.state == "warning"
        assert seen.text.count(" refused the connection") == 9

    def test_an_apiserver_that_answers_directly_blames_the_proxy(
        self, node: paramiko.Transport, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        listener, closed, up = endpoints(closes, None, apiserver)
        seen = proof(node, [listener], [closed, up], PATIENT)
        assert (seen.state, seen.text) == (
            "failed",
            f"no apiserver answers through {listener} (accepted the connection and closed it before TLS), "
            f"though {up} does directly",
        )

    def test_where_one_hangs_more_tries_are_given(
        self, sshd: Sshd, node: paramiko.Transport, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        """Balancing is a matter of luck, and going back for bad luck would do harm."""
        listener, hung, up = endpoints(in_turn(*[hangs] * 5, apiserver), hangs, apiserver)
        assert proof(node, [listener], [hung, up], 0.5).state == "ok"
        assert sshd.asked.count((listener.host, listener.port)) == 6

    def test_but_not_without_end(
        self, sshd: Sshd, node: paramiko.Transport, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        listener, hung, up = endpoints(hangs, hangs, apiserver)
        assert proof(node, [listener], [hung, up], 0.3).state == "failed"
        assert sshd.asked.count((listener.host, listener.port)) == 3 + 9

    def test_so_does_another_listener(
        self, node: paramiko.Transport, apiserver: Serve, endpoints: Endpoints
    ) -> None:
        bad, good = endpoints(None, apiserver)
        seen = proof(node, [bad, good], unreachable(1), PATIENT)
        assert (seen.state, seen.text) == (
            "failed",
            f"no apiserver answers through {bad} (refused the connection), though one does through {good}",
        )

    def test_forwarding_forbidden(self, sshd: Sshd, node: paramiko.Transport) -> None:
        sshd.forwarding = lambda address: PROHIBITED
        seen = proof(node, [Endpoint("127.0.0.1", 8443)], unreachable(1), PATIENT)
        text = "not tried: sshd there forbids forwarding (AllowTcpForwarding)"
        assert (seen.state, seen.text) == ("warning", text)
        assert len(sshd.asked) == 1

    def test_forwarding_to_apiservers_forbidden(
        self, sshd: Sshd, node: paramiko.Transport, endpoints: Endpoints
    ) -> None:
        (listener,) = endpoints(None)
        sshd.forwarding = lambda address: PROHIBITED if address[0] == "10.0.0.1" else None
        seen = proof(node, [listener], unreachable(1), PATIENT)
        assert (seen.state, seen.text) == (
            "warning",
            f"no apiserver answers through {listener} (refused the connection); "
            "not known whether one does directly: sshd there forbids forwarding (PermitOpen)",
        )

    def test_what_listens_nowhere_leads_nowhere(self, sshd: Sshd, node: paramiko.Transport) -> None:
        seen = proof(node, [], unreachable(1), PATIENT)
        assert (seen.state, seen.text, sshd.asked) == ("failed", "it listens nowhere", [])

    def test_a_dead_connection_proves_nothing(self, node: paramiko.Transport) -> None:
        node.close()
        seen = proof(node, [Endpoint("127.0.0.1", 8443)], unreachable(1), PATIENT)
        text = "no apiserver answers through 127.0.0.1:8443 (could not be tried: the SSH connection broke)"
        assert (seen.state, seen.text) == ("failed", text)


def unreachable(count: int) -> Sequence[Endpoint]:
    """Apiservers to which the tests' sshd does not connect."""
    return [Endpoint(f"10.0.0.{number}", 6443) for number in range(1, count + 1)]
