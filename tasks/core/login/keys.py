"""Public keys and certificates: their blobs, as RFC 4253, 6.6 and PROTOCOL.certkeys write them."""

from __future__ import annotations

import re
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from hashlib import sha256

CERTIFICATE = "-cert-v01@openssh.com"
_LINE = re.compile(rb"^[ \t]*([a-z0-9@.-]+)[ \t]+([A-Za-z0-9+/=]+)(?:[ \t]+([^\r\n]*))?", re.M)
_SHOWN = 16  # characters of a fingerprint
_USER = 1  # the type of a certificate that logs in; others are of hosts
_FIELDS = {  # of a public key, behind its kind
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}
_RSA = ("rsa-sha2-512", "rsa-sha2-256")
_OF_BLOBS = {kind.removesuffix("@openssh.com"): kind for kind in _FIELDS}


@dataclass(frozen=True)
class PublicKey:
    """A public key, or a certificate of one. Two are equal when their blobs are."""

    blob: bytes
    comment: str = ""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and self.blob == other.blob

    def __hash__(self) -> int:
        return hash(self.blob)

    @cached_property
    def kind(self) -> str:
        """The name of its kind, such as ssh-ed25519, or ssh-ed25519-cert-v01@openssh.com."""
        return next(fields(self.blob)).decode("ascii", "replace")

    @property
    def is_certificate(self) -> bool:
        """Whether it is a certificate."""
        return self.kind.endswith(CERTIFICATE)

    @cached_property
    def base_kind(self) -> str:
        """The kind of the key itself, where it is a certificate's."""
        short = self.kind.removesuffix(CERTIFICATE)
        return _OF_BLOBS.get(short, short)

    @cached_property
    def plain(self) -> bytes:
        """The blob of the key itself, where it is a certificate's; b"" if it cannot be told."""
        if not self.is_certificate:
            return self.blob
        _, _, *rest = fields(self.blob, 2 + _FIELDS.get(self.base_kind, 0))
        return b"".join(map(string, (self.base_kind.encode(), *rest)))

    @cached_property
    def is_of_users(self) -> bool:
        """Whether it can log in: a certificate may be a host's."""
        if not self.is_certificate:
            return True
        before = sum(4 + len(part) for part in fields(self.blob, 2 + _FIELDS.get(self.base_kind, 0)))
        kind = self.blob[before + 8 : before + 12]  # behind the serial number
        return len(kind) == 4 and struct.unpack(">I", kind)[0] == _USER

    @property
    def fingerprint(self) -> str:
        """As `ssh-add -l` shows it, from the left as far as it takes to tell keys apart."""
        text = b64encode(sha256(self.plain or self.blob).digest()).decode()
        return f"SHA256:{text[:_SHOWN]}..."

    def __str__(self) -> str:
        name = re.sub("^(sk-)?(ssh-)?|-sha2-.*|@.*", r"\1", self.base_kind).upper().rstrip("-")
        return f"{name}{'-CERT' if self.is_certificate else ''} {self.fingerprint}"


def fields(blob: bytes, count: int = 1) -> Iterator[bytes]:
    """The first strings of a blob; fewer, the last one cut short, where it ends before."""
    at = 0
    for _ in range(count):
        end = at + 4 + int.from_bytes(blob[at : at + 4], "big")
        yield blob[at + 4 : end]
        at = end


def string(data: bytes) -> bytes:
    """As a blob holds it."""
    return struct.pack(">I", len(data)) + data


def public_key(text: bytes) -> PublicKey | None:
    """The first key or certificate of a .pub file's text; None if there is none."""
    for match in _LINE.finditer(text):
        kind, encoded, comment = match.groups()
        try:
            key = PublicKey(b64decode(encoded, validate=True), (comment or b"").decode(errors="replace"))
        except ValueError:
            continue
        if key.kind == kind.decode():
            return key
    return None


def algorithms(key: PublicKey, accepted: Sequence[str] | None, server: Sequence[str]) -> list[str]:
    """The signature algorithms that may be used with a key, the best first; none if there is no common one.

    `accepted` are the patterns of PubkeyAcceptedAlgorithms, None for OpenSSH's own list; `server` are the
    server-sig-algs (RFC 8308), empty where it sent none. They tell what it takes of an RSA key.
    """
    suffix = CERTIFICATE if key.is_certificate else ""
    if key.base_kind != "ssh-rsa":
        return [key.kind] if accepted is None or _matches(key.kind, accepted) else []
    names = [*_RSA, "ssh-rsa"]
    found = [name for name in names if not server or name in server]
    if accepted is None:
        found = [name for name in found if name in _RSA]
    else:
        found = [name for name in found if _matches(name + suffix, accepted)]
        found.sort(key=lambda name: _place(name + suffix, accepted))
    return [name + suffix for name in found]


def accepted_algorithms(value: str) -> list[str] | None:
    """What PubkeyAcceptedAlgorithms says, as patterns; None where it says nothing.

    `ssh -G` has put + - ^ together with its own list; where there is no ssh, that is done here.
    """
    if not value:
        return None
    names = value.lstrip("+-^").split(",")
    if value[0] not in "+-^":
        return names
    usual = [name + suffix for suffix in ("", CERTIFICATE) for name in (*_FIELDS, *_RSA) if name != "ssh-rsa"]
    usual = [name.replace(f"@openssh.com{CERTIFICATE}", CERTIFICATE) for name in usual]
    if value[0] == "-":
        return [name for name in usual if not _matches(name, names)]
    return usual + names if value[0] == "+" else names + usual


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def _place(name: str, patterns: Sequence[str]) -> int:
    return next(at for at, pattern in enumerate(patterns) if fnmatchcase(name, pattern))
