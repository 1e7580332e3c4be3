"""An SSH server and TCP servers on loopback, inside the test process."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from typing import TypeVar, cast

import paramiko

from tasks.core.facts.facts import Facts
from tasks.core.scripts.script import Script
from tasks.core.scripts.survey import SurveyAndUsers
from tasks.core.shell.command import CommandResult
from tasks.core.ssh.node import Node
from tasks.core.transport import Transport
from tasks.core.users.found import Users

T = TypeVar("T")

_OPEN_FAILURE = 92  # RFC 4250, 4.1.2
_LOOPBACK = ("127.0.0.1", "localhost")
_GONE = (OSError, EOFError, paramiko.SSHException)


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A TCP server on 127.0.0.1 that hands each connection to `serve`, in a thread; its port."""
    connections: list[socket.socket] = []

    def handle(connection: socket.socket) -> None:
        with suppress(*_GONE):
            serve(connection)

    def accept() -> None:
        with suppress(OSError):  # the end: the listener is shut down
            while True:
                connection, _ = listener.accept()
                connections.append(connection)
                threading.Thread(target=handle, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for connection in connections:
                connection.close()


class Sshd:
    """A server that accepts every password and forwards to loopback, as sshd does.

    With `slots`, whoever comes while so many are unauthenticated is dropped (MaxStartups slots:100:slots);
    those that hold the slots are let in only after somebody was. `forwarding` says what becomes of a
    direct-tcpip request for an address: None, or a paramiko.OPEN_FAILED_... code. `said` is what it says
    where it could not connect. `keys` are its host keys.
    """

    def __init__(
        self,
        slots: int | None = None,
        forwarding: Callable[[tuple[str, int]], int | None] = lambda address: None,
        said: str = "Connection refused",
        keys: Sequence[paramiko.PKey] = (),
    ) -> None:
        self.said = said
        self.slots = slots
        self.forwarding = forwarding
        self.asked: list[tuple[str, int]] = []
        self.dropped = threading.Event()
        self._keys = keys or [paramiko.ECDSAKey.generate()]
        self._unauthenticated = 0
        self._lock = threading.Lock()

    def serve(self, connection: socket.socket) -> None:
        """One connection, to its end."""
        with self._lock:
            full = self._unauthenticated == self.slots
            self._unauthenticated += not full
        if full:
            connection.close()
            self.dropped.set()
            return
        transport = _Transport(connection)
        transport.said = self.said
        for key in self._keys:
            transport.add_server_key(key)
        server = _Server(self)
        transport.start_server(server=server, event=threading.Event())
        while transport.is_active():
            if channel := transport.accept(0.5):
                _join(channel, server.targets.pop(channel.get_id()))

    def authenticated(self) -> None:
        """One that held a slot is in."""
        if self.slots is not None:
            assert self.dropped.wait(30)
        with self._lock:
            self._unauthenticated -= 1

    @contextmanager
    def client(self) -> Iterator[Transport]:
        """A connection to this server."""
        with listening(self.serve) as port, socket.create_connection(("127.0.0.1", port)) as connection:
            transport = Transport(connection)
            transport.connect(username="root", password="any")
            try:
                yield transport
            finally:
                transport.close()


@dataclass
class NodeOver:
    """As much of a node as a prober needs: a connection, and what its `programs` say if asked."""

    transport: Transport
    programs: str = ""
    facts: Facts = field(default_factory=Facts)
    users: Users = field(default_factory=Users)
    label: str = "n1"

    @property
    def is_connected(self) -> bool:
        """Whether the connection lives."""
        return bool(self.transport.is_active())

    def survey(self, *wanted: object) -> Facts:
        """What is known of it."""
        return self.facts

    def open(self) -> None:
        """It is open."""

    def refuse_others_than_root(self, seen: Facts) -> None:
        """The login is root's."""

    def do(self, script: Script[T]) -> T:
        """What is known of it, or what the programs say, whatever the script."""
        if isinstance(script, SurveyAndUsers):
            return cast(T, (self.facts, self.users))
        return script.parse(CommandResult(0, self.programs, ""))


def over(
    transport: Transport, programs: str = "", facts: Facts | None = None, users: Users | None = None
) -> Node:
    """The node at the other end, without curl, openssl and bash unless `programs` tells what they met."""
    return cast(Node, NodeOver(transport, programs, facts or Facts(), users or Users()))


class _Transport(paramiko.Transport):  # type: ignore[misc]
    """Says in words, as OpenSSH does, why a channel is not opened: paramiko leaves them out."""

    said = ""

    def _send_message(self, message: paramiko.Message) -> None:
        whole = message.asbytes()
        if whole[0] == _OPEN_FAILURE:
            code = int.from_bytes(whole[5:9], "big")
            message = paramiko.Message()
            message.add_bytes(whole[:9])
            message.add_string(self.said if code == paramiko.OPEN_FAILED_CONNECT_FAILED else "open failed")
            message.add_string("")
        super()._send_message(message)


class _Server(paramiko.ServerInterface):  # type: ignore[misc]
    def __init__(self, sshd: Sshd) -> None:
        self.sshd = sshd
        self.targets: dict[int, socket.socket] = {}

    def get_allowed_auths(self, username: str) -> str:
        return "password"

    def check_auth_password(self, username: str, password: str) -> int:
        self.sshd.authenticated()
        return int(paramiko.AUTH_SUCCESSFUL)

    def check_channel_direct_tcpip_request(
        self, chanid: int, origin: tuple[str, int], destination: tuple[str, int]
    ) -> int:
        self.sshd.asked.append(destination)
        refusal = self.sshd.forwarding(destination)
        if refusal is not None:
            return refusal
        if destination[0] not in _LOOPBACK:
            return int(paramiko.OPEN_FAILED_CONNECT_FAILED)
        try:
            self.targets[chanid] = socket.create_connection(("127.0.0.1", destination[1]), timeout=30)
        except OSError:
            return int(paramiko.OPEN_FAILED_CONNECT_FAILED)
        return int(paramiko.OPEN_SUCCEEDED)


def _join(channel: paramiko.Channel, target: socket.socket) -> None:
    def up() -> None:
        with suppress(*_GONE):
            while data := channel.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)

    def down() -> None:
        with suppress(*_GONE), target, closing(channel):
            while data := target.recv(65536):
                channel.sendall(data)

    for copy in (up, down):
        threading.Thread(target=copy, daemon=True).start()
