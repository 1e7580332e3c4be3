"""A security key made of software, with its key file, and an agent that holds it; sshd cannot tell.

OpenSSH's PROTOCOL.u2f says how such a key signs, draft-miller-ssh-agent what an agent is asked.
"""

from __future__ import annotations

import os
import socket
import threading
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KIND = b"sk-ssh-ed25519@openssh.com"
APPLICATION = b"ssh:"
TOUCHED = b"\x01"
WANTS_IDENTITIES, IDENTITIES, WANTS_SIGNATURE, SIGNATURE = b"\x0b", b"\x0c", b"\x0d", b"\x0e"
NO = b"\x05"


def _string(content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + content


@dataclass(frozen=True)
class SecurityKey:
    """A key that somebody touches whenever it is to sign."""

    private: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)

    @property
    def blob(self) -> bytes:
        """The public key, as it goes over the wire."""
        return _string(KIND) + _string(self.private.public_key().public_bytes_raw()) + _string(APPLICATION)

    def write(self, path: Path) -> None:
        """Writes the key file, which names the key and cannot sign, and path.pub."""
        check = os.urandom(4)
        handle = TOUCHED + _string(b"handle") + _string(b"")
        secret = check * 2 + self.blob + handle + _string(path.name.encode())
        secret += bytes(range(1, 1 + -len(secret) % 8))
        whole = b"openssh-key-v1\0" + _string(b"none") * 2 + _string(b"") + (1).to_bytes(4, "big")
        text = b64encode(whole + _string(self.blob) + _string(secret)).decode()
        lines = "\n".join(text[at : at + 70] for at in range(0, len(text), 70))
        path.write_text(f"-----BEGIN OPENSSH PRIVATE KEY-----\n{lines}\n-----END OPENSSH PRIVATE KEY-----\n")
        path.chmod(0o600)
        public = f"{KIND.decode()} {b64encode(self.blob).decode()} {path.name}\n"
        path.with_name(f"{path.name}.pub").write_text(public)

    def sign(self, data: bytes) -> bytes:
        """A signature, after a touch."""
        told = TOUCHED + (1).to_bytes(4, "big")
        signed = self.private.sign(sha256(APPLICATION).digest() + told + sha256(data).digest())
        return _string(KIND) + _string(signed) + told

    @contextmanager
    def agent(self, path: Path) -> Iterator[None]:
        """An agent that holds this key, at a socket."""
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(path))
            listener.listen()
            threading.Thread(target=self._accept, args=(listener,), daemon=True).start()
            try:
                yield
            finally:
                listener.shutdown(socket.SHUT_RDWR)
                path.unlink()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):  # the end: the listener is shut down
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as asked:
            while size := asked.read(4):
                answer = self._answer(asked.read(int.from_bytes(size, "big")))
                connection.sendall(_string(answer))

    def _answer(self, request: bytes) -> bytes:
        if request[:1] == WANTS_IDENTITIES:
            return IDENTITIES + (1).to_bytes(4, "big") + _string(self.blob) + _string(b"touch")
        mine = WANTS_SIGNATURE + _string(self.blob)
        if request.startswith(mine):
            size = int.from_bytes(request[len(mine) : len(mine) + 4], "big")
            data = request[len(mine) + 4 : len(mine) + 4 + size]
            return SIGNATURE + _string(self.sign(data))
        return NO
