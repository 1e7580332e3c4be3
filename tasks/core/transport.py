"""An SSH transport: paramiko's, which costs less, and keeps what a server says.

Names that paramiko does not publish are used here and in login.userauth alone, since there is no public way:
_kex_info, _preferred_kex     curve25519-sha256 by the name that RFC 8731 gave it
_preferred_ciphers            their order
_parse_disconnect             gets what a server says when it hangs up; what it said is in no exception
_verify_key                   gets the host key with its signature, which an agent wants to see (session-bind)
_parse_debug                  would write what sshd says at each login into a log that nobody keeps
_handler_table                is emptied in the end: by it a Transport holds itself, and all that it received
_host_keys, _system_host_keys are empty: paramiko makes a class for each look into them
_next_channel                 which channel a thread opens, and
_parse_channel_open_failure   why a server does not open it: paramiko raises the reason of one for all that
                              fail at the same time
"""

from __future__ import annotations

import socket
from threading import local
from time import monotonic
from typing import Any, ClassVar

import paramiko
from paramiko.packet import Packetizer

RFC_8731 = "curve25519-sha256"
"""The name of what paramiko knows by its first one only."""
_AHEAD = 1 << 13  # bytes that are read from a connection at a time
_NEVER = float("inf")
LOOK = 5.0
"""Seconds after which its thread looks up from a silent connection; until the login, 0.1."""
_GONE_AFTER = 15  # seconds without an acknowledgement, after which a host is taken for gone


class Transport(paramiko.Transport):  # type: ignore[misc]
    """paramiko's Transport, for clients."""

    _kex_info: ClassVar[dict[str, Any]] = {
        **paramiko.Transport._kex_info,
        RFC_8731: paramiko.Transport._kex_info[f"{RFC_8731}@libssh.org"],
    }
    _preferred_kex = (*paramiko.Transport._preferred_kex, RFC_8731)
    # those of GCM bring a proof of their own, which paramiko else compares in Python, byte by byte
    _preferred_ciphers = (*sorted(paramiko.Transport._preferred_ciphers, key=lambda name: "gcm" not in name),)
    farewell = ""
    """What the server said when it hung up."""
    proof: tuple[bytes, bytes] | None = None
    """The server's host key, and what it signed with it first."""

    def __init__(self, sock: Any, **options: Any) -> None:
        super().__init__(sock, packetizer_class=_Packets, **options)
        self._here = local()
        self._refusals: dict[int, tuple[int, str]] = {}

    def run(self) -> None:
        """Its thread; when that ends, nothing in it holds itself: what nobody else holds is free at once."""
        super().run()
        self._handler_table.clear()
        if error := self.saved_exception:  # the frames that it passed
            error.__traceback__ = error.__context__ = None

    def settle(self, keepalive: int) -> None:
        """The login is over: a silent host is asked after so many seconds whether it is there."""
        self.set_keepalive(keepalive)
        self.sock.settimeout(LOOK)
        if is_tcp(self.sock) and hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _GONE_AFTER * 1000)

    def refusal(self) -> tuple[int, str] | None:
        """Why the server did not open the channel that this thread asked for last; None if it did not say.

        The number is that of RFC 4254, 5.1; the text is the server's own.
        """
        return self._refusals.pop(self._here.channel, None)

    def open_channel(self, *args: Any, **options: Any) -> paramiko.Channel:
        """As paramiko does."""
        self._here.channel = None  # until it has a number
        return super().open_channel(*args, **options)

    def _next_channel(self) -> int:
        self._here.channel = number = int(super()._next_channel())
        return number

    def _parse_channel_open_failure(self, m: paramiko.Message) -> None:
        number, code = m.get_int(), m.get_int()
        self._refusals[number] = (code, m.get_string().decode(errors="replace"))
        m.rewind()
        super()._parse_channel_open_failure(m)

    def _parse_disconnect(self, m: paramiko.Message) -> None:
        m.get_int()
        self.farewell = m.get_string().decode(errors="replace")

    def _parse_debug(self, m: paramiko.Message) -> None:
        pass

    def _verify_key(self, host_key: bytes, signature: bytes) -> None:
        super()._verify_key(host_key, signature)
        self.proof = self.proof or (host_key, signature)


class Client(paramiko.SSHClient):  # type: ignore[misc]
    """paramiko's, which knows no host's key: its policy is asked for each."""

    def __init__(self) -> None:
        super().__init__()
        self._host_keys = self._system_host_keys = _Nobody()


class _Nobody(paramiko.HostKeys):  # type: ignore[misc]
    """A known_hosts without a line."""

    def lookup(self, hostname: str) -> None:
        return None


class _Packets(Packetizer):  # type: ignore[misc]
    """paramiko's, with one call of the system for what has come, and no thread beside for the handshake."""

    _until = _NEVER

    def __init__(self, sock: Any) -> None:
        super().__init__(_Ahead(sock))

    def start_handshake(self, timeout: float) -> None:
        """From now on it is late after so many seconds."""
        self._until = monotonic() + timeout

    def handshake_timed_out(self) -> bool:
        """Whether it is late."""
        return monotonic() > self._until

    def complete_handshake(self) -> None:
        """It is late no more."""
        self._until = _NEVER


class _Ahead:
    """What a packetizer needs of a socket, which is read ahead of what is asked for.

    On TCP what is sent goes at once, and what has come is acknowledged at once: sshd waits for that before it
    sends more (Nagle's algorithm), which would be 40 ms in each of several steps.
    """

    def __init__(self, sock: Any) -> None:
        self._sock = sock
        self._data = b""
        self._acknowledges = is_tcp(sock) and hasattr(socket, "TCP_QUICKACK")  # Linux has it
        if is_tcp(sock):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.send, self.close = sock.send, sock.close

    def recv(self, size: int) -> bytes:
        if not self._data:
            self._data = self._sock.recv(_AHEAD)
            if self._acknowledges:  # which the kernel forgets
                self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)
        data, self._data = self._data[:size], self._data[size:]
        return bytes(data)


def is_tcp(sock: Any) -> bool:
    """Whether a transport goes by TCP itself, and not through a jump host or a ProxyCommand."""
    return isinstance(sock, socket.socket) and sock.family in (socket.AF_INET, socket.AF_INET6)
