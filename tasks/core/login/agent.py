"""An SSH agent, as draft-miller-ssh-agent speaks with it: which keys it holds, and their signatures.

paramiko's own client has no time limit, and no message of its own; what a subclass would use is private.
"""

from __future__ import annotations

import socket
import struct

from ..errors import reason
from .keys import CERTIFICATE, PublicKey, fields, string

_REQUEST_IDENTITIES, _IDENTITIES = 11, 12
_SIGN_REQUEST, _SIGNATURE = 13, 14
_EXTENSION = 27
_FLAGS = {"rsa-sha2-256": 2, "rsa-sha2-512": 4}
_MOST = 256 << 10  # bytes of an answer, as OpenSSH takes it
_FAILED = (OSError, EOFError, ValueError)
TOUCH = 100.0
"""Seconds for a signature: a person may have to touch or confirm; sshd waits for 120."""


class AgentError(Exception):
    """What an agent did not do, in words that follow "the agent"."""


class Agent:
    """One connection to the agent at a socket; each of its answers may take `seconds`.

    An agent answers one connection after the other: each login has its own.
    """

    def __init__(self, path: str, seconds: float) -> None:
        self.path = path
        self._seconds = seconds
        self._socket: socket.socket | None = None

    def keys(self) -> list[PublicKey]:
        """The keys and certificates that it holds, in its order. Raises AgentError."""
        try:
            answer = self._ask(bytes((_REQUEST_IDENTITIES,)))
        except _FAILED as error:
            raise AgentError(f"{self.path} {self._why(error)}") from None
        if answer[:1] != bytes((_IDENTITIES,)):
            raise AgentError(f"{self.path} refuses to list its keys")
        count = int.from_bytes(answer[1:5], "big")
        parts = [*fields(answer[5:], 2 * min(count, _MOST // 8))]
        pairs = zip(parts[::2], parts[1::2], strict=True)
        return [PublicKey(blob, comment.decode(errors="replace")) for blob, comment in pairs]

    def sign(self, key: PublicKey, data: bytes, algorithm: str) -> bytes:
        """A signature with one of its keys. Raises AgentError."""
        name = algorithm.removesuffix(CERTIFICATE)
        flags = struct.pack(">I", _FLAGS.get(name, 0))
        try:
            self._seconds = max(self._seconds, TOUCH)
            if self._socket:
                _limit(self._socket, self._seconds)
            answer = self._ask(bytes((_SIGN_REQUEST,)) + string(key.blob) + string(data) + flags)
        except _FAILED as error:
            raise AgentError(self._why(error)) from None
        if answer[:1] != bytes((_SIGNATURE,)):
            raise AgentError("refuses to sign (locked, not confirmed, or not for this host?)")
        (signature,) = fields(answer[1:])
        (used,) = fields(signature)
        if key.base_kind == "ssh-rsa" and used.decode(errors="replace") != name:
            raise AgentError(f"signs with {used.decode(errors='replace')}, not with {name}")
        return signature

    def bind(self, host_key: bytes, session_id: bytes, signature: bytes) -> None:
        """Tells it whom it signs for: keys that were added with `ssh-add -h` need it. Others ignore it."""
        parts = (b"session-bind@openssh.com", host_key, session_id, signature)
        try:
            self._ask(bytes((_EXTENSION,)) + b"".join(map(string, parts)) + b"\0")
        except _FAILED as error:
            raise AgentError(f"{self.path} {self._why(error)}") from None

    def close(self) -> None:
        """Ends the connection."""
        if self._socket:
            self._socket.close()
        self._socket = None

    def _ask(self, request: bytes) -> bytes:
        if self._socket is None:
            self._socket = _connected(self.path, self._seconds)
        self._socket.sendall(string(request))
        size = int.from_bytes(self._read(4), "big")
        if not 1 <= size <= _MOST:
            raise ValueError(f"answers with {size} bytes")
        return self._read(size)

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._socket.recv(size - len(data)) if self._socket else b""
            if not part:
                raise EOFError("ended the connection")
            data += part
        return data

    def _why(self, error: BaseException) -> str:
        self.close()
        if isinstance(error, BlockingIOError | TimeoutError):
            return f"did not answer within {self._seconds:.0f} s"
        return f"cannot be reached: {reason(error)}" if isinstance(error, OSError) else str(error)


def _connected(path: str, seconds: float) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    _limit(sock, seconds)
    try:
        sock.connect(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _limit(sock: socket.socket, seconds: float) -> None:
    limit = struct.pack("ll", int(seconds), int(seconds % 1 * 1e6))
    # the kernel's own, which also has connect() wait where many ask at once; Python's would fail there
    for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
        sock.setsockopt(socket.SOL_SOCKET, option, limit)
