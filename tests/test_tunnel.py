"""TLS and HTTP through a real SSH connection on loopback."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import paramiko
import pytest

from tasks.core.config.address import Endpoint
from tasks.core.probes.result import Reason, Unreached
from tasks.core.probes.tunnel import Tunnel
from tasks.core.shell.pool import together
from tasks.core.transport import Transport
from tests.sshd import Sshd, listening
from tests.tls import OK, answer, https, identity

PATIENT = 30  # seconds, for what will answer: a busy machine is no failure
QUICK = 0.3  # seconds, for what will not

APISERVER = identity("apiserver")


@pytest.fixture
def node() -> Iterator[Transport]:
    with Sshd().client() as transport:
        yield transport


@pytest.fixture
def tls(tmp_path: Path) -> ssl.SSLContext:
    return APISERVER.server(tmp_path)


def there(port: int) -> Endpoint:
    return Endpoint("127.0.0.1", port)


def test_many_questions_over_one_connection(node: Transport, tls: ssl.SSLContext) -> None:
    serve, connections = https(tls, OK, answer("500 Oh", "[-]etcd failed")), list[socket.socket]()

    def counted(connection: socket.socket) -> None:
        connections.append(connection)
        serve(connection)

    with listening(counted) as port, Tunnel(node, there(port), PATIENT) as tunnel:
        assert tunnel.chain == (APISERVER.der,)
        first, second = tunnel.get("/readyz", PATIENT), tunnel.get("/readyz", PATIENT)
    assert (first.status, first.body) == (200, b"ok")
    assert (second.status, second.body) == (500, b"[-]etcd failed")
    assert first.headers["Content-Length"] == "2"
    assert 0 < first.seconds < PATIENT
    assert len(connections) == 1


def test_what_is_asked_for(node: Transport, tls: ssl.SSLContext) -> None:
    asked: list[bytes] = []

    def serve(connection: socket.socket) -> None:
        with tls.wrap_socket(connection, server_side=True) as secured:
            asked.append(secured.recv(65536))
            secured.sendall(OK)
            secured.recv(1)

    with listening(serve) as port, Tunnel(node, there(port), PATIENT) as tunnel:
        tunnel.get("/livez", PATIENT)
    line, host, *_ = asked[0].split(b"\r\n")
    assert (line, host) == (b"GET /livez HTTP/1.1", f"Host: 127.0.0.1:{port}".encode())


def test_a_body_in_chunks(node: Transport, tls: ssl.SSLContext) -> None:
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n"
    with listening(https(tls, chunked)) as port, Tunnel(node, there(port), PATIENT) as tunnel:
        assert [tunnel.get("/", PATIENT).body for _ in "ab"] == [b"ok", b"ok"]


@pytest.mark.parametrize(
    ("said", "word", "text"),
    [
        (b"", "closed", "closed the connection instead of answering"),
        (b"SSH-2.0-x\r\n", "not HTTP", "answered in TLS, but not in HTTP: 'SSH-2.0-x'"),
    ],
)
def test_no_answer(node: Transport, tls: ssl.SSLContext, said: bytes, word: str, text: str) -> None:
    with (
        listening(https(tls, said)) as port,
        Tunnel(node, there(port), PATIENT) as tunnel,
        pytest.raises(Unreached) as caught,
    ):
        tunnel.get("/readyz", PATIENT)
    assert (caught.value.reason.is_known, caught.value.reason.word, caught.value.text) == (True, word, text)


def test_an_answer_that_is_cut_off(node: Transport, tls: ssl.SSLContext) -> None:
    def serve(connection: socket.socket) -> None:
        with tls.wrap_socket(connection, server_side=True) as secured:
            secured.recv(65536)
            secured.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok")

    with (
        listening(serve) as port,
        Tunnel(node, there(port), PATIENT) as tunnel,
        pytest.raises(Unreached) as caught,
    ):
        tunnel.get("/readyz", PATIENT)
    assert caught.value.text == "closed the connection in the middle of its answer"


def test_silence_in_tls(node: Transport, tls: ssl.SSLContext) -> None:
    ended = threading.Event()

    def serve(connection: socket.socket) -> None:
        with tls.wrap_socket(connection, server_side=True):
            ended.wait(PATIENT)

    with listening(serve) as port, Tunnel(node, there(port), PATIENT) as tunnel:
        with pytest.raises(Unreached) as caught:
            tunnel.get("/readyz", QUICK)
        ended.set()
    assert (caught.value.reason.word, caught.value.text) == ("no answer", "did not answer within 0.3 s")


def test_the_connection_to_the_node_breaks(node: Transport, tls: ssl.SSLContext) -> None:
    with listening(https(tls, OK)) as port, Tunnel(node, there(port), PATIENT) as tunnel:
        node.close()
        with pytest.raises(Unreached) as caught:
            tunnel.get("/readyz", PATIENT)
    assert caught.value.text == "could not be tried: the SSH connection broke"


def test_all_of_a_chain_is_kept(node: Transport, tmp_path: Path) -> None:
    ca = identity("kubernetes")
    between = identity("between", by=ca, ca=True)
    apiserver = identity("apiserver", by=between)
    with (
        listening(https(apiserver.server(tmp_path, between), OK)) as port,
        Tunnel(node, there(port), PATIENT) as tunnel,
    ):
        assert tunnel.chain == (apiserver.der, between.der)


def test_a_server_that_is_not_there(node: Transport) -> None:
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(Unreached) as caught:
            Tunnel(node, there(bound.getsockname()[1]), PATIENT)
    assert caught.value.reason is Reason.REFUSED


@pytest.mark.parametrize(
    ("said", "word", "text"),
    [
        ("No route to host", "no route", "cannot be reached: no route to host"),
        ("open failed", "no route", "cannot be reached: the node has no route to it, or forbids it itself"),
        ("Connection timed out", "no answer", "did not answer in time"),
        ("Name or service not known", "no address", "does not resolve"),
        ("so: what\x1b[1m", "no way", "could not be connected to: so: what?[1m"),
        ("", "no way", "could not be connected to: Connect failed"),
    ],
)
def test_what_sshd_says(said: str, word: str, text: str) -> None:
    with Sshd(said=said).client() as transport, pytest.raises(Unreached) as caught:
        Tunnel(transport, Endpoint("10.0.0.1", 6443), PATIENT)
    assert (caught.value.reason.is_known, caught.value.reason.word, caught.value.text) == (True, word, text)


def test_each_of_many_gets_its_own_reason(tls: ssl.SSLContext) -> None:
    codes = {"10.0.0.1": paramiko.OPEN_FAILED_CONNECT_FAILED, "10.0.0.2": 1, "10.0.0.3": 4}
    sshd = Sshd(forwarding=lambda address: codes.get(address[0]))

    def ask(endpoint: Endpoint) -> str:
        try:
            Tunnel(transport, endpoint, PATIENT).close()
        except Unreached as unreached:
            return unreached.reason.word
        return "TLS"

    with listening(https(tls, OK)) as port, sshd.client() as transport:
        endpoints = [Endpoint(f"10.0.0.{n % 3 + 1}", n) for n in range(1, 60)]
        asked = [there(port), *endpoints]
        met = dict(zip(asked, together(asked, ask), strict=True))
    assert met.pop(there(port)) == "TLS"
    words = {"10.0.0.1": "refused", "10.0.0.2": "forbidden", "10.0.0.3": "no way"}
    assert met == {endpoint: words[endpoint.host] for endpoint in endpoints}


def test_a_node_that_forbids_it() -> None:
    sshd = Sshd(forwarding=lambda _: int(paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED))
    with sshd.client() as transport, pytest.raises(Unreached) as caught:
        Tunnel(transport, there(1), PATIENT)
    assert caught.value.reason is Reason.FORBIDDEN
    assert not caught.value.reason.is_known
