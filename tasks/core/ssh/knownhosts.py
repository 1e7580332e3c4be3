"""known_hosts as OpenSSH reads it: sshd(8), SSH_KNOWN_HOSTS FILE FORMAT."""

from __future__ import annotations

import hmac
import re
from base64 import b64decode, b64encode
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import paramiko

from ..errors import StepError
from ..localfiles import read_bounded

REVOKED, AUTHORITY = "@revoked", "@cert-authority"
# a blank ends a marker; a tab does so only where the line has no blank at all
_LINE = re.compile(
    rf"[ \t]*(?!#)(?:({REVOKED}|{AUTHORITY})(?: |\t(?=[^ ]*$))[ \t]*)?(?!@)([^ \t]+)[ \t]+(.+)", re.DOTALL
)
RSA = ("rsa-sha2-256", "rsa-sha2-512")
"""How an ssh-rsa key signs."""
_OPENSSH_ONLY = ("ssh-dss", "sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com")
_Test = Callable[[str], bool]
_Line = tuple[int, str, str]  # its number, marker and key


@dataclass(frozen=True, slots=True)
class Key:
    """A public key: its name in known_hosts, and its bytes."""

    kind: str
    blob: bytes

    def __str__(self) -> str:
        return f"{self.kind} SHA256:{b64encode(sha256(self.blob).digest()).decode().rstrip('=')}"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line that is for the host in question. `marker` is REVOKED, AUTHORITY or ""."""

    file: Path
    number: int
    marker: str
    key: Key

    @property
    def where(self) -> str:
        """The line, as OpenSSH names it."""
        return f"{self.file}:{self.number}"


class KnownHostsFile:
    """One file. Literal names are looked up; only patterns and hashes are gone through.

    Raises StepError: it is there and cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._count = 0
        self._literal: dict[str, list[_Line]] = defaultdict(list)
        self._tests: list[tuple[_Test, _Line]] = []
        self._found: dict[str, list[Entry]] = {}
        if text := _read(path, missing=b"").decode(errors="replace"):
            for line in text.removesuffix("\n").split("\n"):
                self._add(line)

    def _add(self, text: str) -> None:
        self._count += 1
        if not (found := _LINE.match(text)):
            return
        marker, names, key = found.groups(default="")
        line = (self._count, marker, key)
        if names.startswith("|"):
            self._tests.append((_hashed(names), line))
        elif re.search("[*?!]", names):
            self._tests.append((_patterns(names.lower().split(",")), line))
        else:
            for name in set(names.lower().split(",")):
                self._literal[name].append(line)

    def lookup(self, name: str) -> list[Entry]:
        """The lines for `name`, which is in lower case; those that hold no key are passed over."""
        if name not in self._found:
            lines = [*self._literal.get(name, ()), *(line for test, line in self._tests if test(name))]
            keys = ((number, marker, parse_key(text)) for number, marker, text in lines)
            self._found[name] = [Entry(self.path, number, marker, key) for number, marker, key in keys if key]
        return self._found[name]

    def record(self, name: str, key: paramiko.PKey, hashed: bool) -> None:
        """Adds a line at the end of the file, as ssh does for accept-new. Raises OSError."""
        names = paramiko.HostKeys.hash_host(name) if hashed else name
        line = f"{names} {key.get_name()} {key.get_base64()}"
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.path.open("ab+") as stream:
            whole = not stream.seek(0, 2) or stream.seek(-1, 2) < 0 or stream.read(1) == b"\n"
            stream.write(f"{'' if whole else chr(10)}{line}\n".encode())
        self._add(line)
        self._found.pop(name, None)


def revoked_keys(path: Path) -> frozenset[bytes]:
    """The keys of a file of RevokedHostKeys. Raises StepError: it cannot be read, or is no text."""
    held = _read(path)
    if held.startswith(b"SSHKRL"):
        raise StepError(
            f"{path} (RevokedHostKeys) is a revocation list in binary form, which is not read here",
            hint="name a text file in its place: one public key a line",
            unreachable=True,
        )
    keys = (parse_key(line.strip(" \t")) for line in held.decode(errors="replace").split("\n"))
    return frozenset(key.blob for key in keys if key)


def parse_key(text: str) -> Key | None:
    """A public key in OpenSSH's text form; None where OpenSSH sees none."""
    kind, *rest = re.split("[ \t]+", text, maxsplit=2)
    kind = "ssh-rsa" if kind in RSA else kind
    try:
        blob = b64decode("".join(rest[0].split()), validate=True)
        if kind in _OPENSSH_ONLY:
            whole = blob.startswith(len(kind).to_bytes(4, "big") + kind.encode())
        else:
            whole = paramiko.PKey.from_type_string(kind, blob).asbytes() == blob
    except (IndexError, ValueError, paramiko.SSHException, paramiko.pkey.UnknownKeyType):
        return None
    return Key(kind, blob) if whole else None


def _read(path: Path, missing: bytes | None = None) -> bytes:
    try:
        return read_bounded(path)
    except OSError as error:
        if missing is not None and isinstance(error, FileNotFoundError):
            return missing
        raise StepError(f"cannot read {path}: {error.strerror}", unreachable=True) from None


def _hashed(names: str) -> _Test:
    try:
        _, version, salt, digest = names.split("|")
        key, wanted = b64decode(salt, validate=True), b64decode(digest, validate=True)
    except ValueError:
        version = ""
    return lambda name: version == "1" and hmac.digest(key, name.encode(), "sha1") == wanted


def _patterns(names: Sequence[str]) -> _Test:
    def compiled(patterns: list[str]) -> re.Pattern[str]:
        each = (re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".") for pattern in patterns)
        return re.compile("|".join(each) if patterns else "(?!)", re.DOTALL)

    wanted = compiled([name for name in names if not name.startswith("!")])
    never = compiled([name[1:] for name in names if name.startswith("!")])
    return lambda name: bool(wanted.fullmatch(name)) and not never.fullmatch(name)
