"""What a connection costs, and in what order it ends."""

from __future__ import annotations

import socket
import threading
import weakref
from collections.abc import Iterator

import pytest

from tasks.core.transport import Transport
from tests.sshd import Sshd, listening


@pytest.fixture
def transport() -> Iterator[Transport]:
    with Sshd().client() as transport:
        yield transport


def test_the_cipher_brings_its_own_proof(transport: Transport) -> None:
    assert transport.remote_cipher == transport.local_cipher == "aes128-gcm@openssh.com"


def test_what_is_sent_goes_at_once(transport: Transport) -> None:
    assert transport.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_no_thread_waits_beside_a_handshake(monkeypatch: pytest.MonkeyPatch) -> None:
    made = []

    class Timer(threading.Timer):
        def start(self) -> None:
            made.append(self)
            super().start()

    monkeypatch.setattr(threading, "Timer", Timer)
    with Sshd().client():
        assert len(made) == 1  # the server's, which is paramiko's own


def test_a_handshake_that_does_not_go_on() -> None:
    def silent(connection: socket.socket) -> None:
        connection.sendall(b"SSH-2.0-silent\r\n")
        connection.recv(1)
        gone.wait(30)

    gone = threading.Event()
    with listening(silent) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        transport = Transport(connection)
        transport.handshake_timeout = 0.2
        with pytest.raises(EOFError):
            transport.start_client(timeout=30)
        gone.set()


class Counting:
    """A socket whose reads are counted."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self.reads = 0

    def __getattr__(self, name: str) -> object:
        return getattr(self._sock, name)

    def recv(self, size: int) -> bytes:
        self.reads += 1
        return self._sock.recv(size)


def test_what_has_come_is_read_at_once() -> None:
    with listening(Sshd().serve) as port, socket.create_connection(("127.0.0.1", port)) as connection:
        counting = Counting(connection)
        transport = Transport(counting)
        transport.connect(username="root", password="any")
        read = counting.reads
        packets = 0

        def counted(reading: object = transport.packetizer.read_message) -> object:
            nonlocal packets
            packets += 1
            return reading()  # type: ignore[operator]

        transport.packetizer.read_message = counted
        for _ in range(5):
            transport.global_request("keepalive@example", wait=True)
        transport.close()
    assert packets >= 5
    assert counting.reads - read <= packets + 2  # paramiko's own reads a packet in two parts


@pytest.mark.usefixtures("no_collection")
def test_nothing_of_it_stays_when_it_has_ended() -> None:
    with Sshd().client() as transport:
        gone = weakref.ref(transport)
        transport.close()
        transport.join(10)
    del transport
    assert gone() is None
