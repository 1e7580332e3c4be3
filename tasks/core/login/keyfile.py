"""Key files, in every form that OpenSSH reads: what is public of them, and the private keys, read once."""

from __future__ import annotations

import io
import os
import re
import stat
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from shlex import quote
from threading import RLock

import paramiko
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from ..errors import reason
from ..localfiles import read_bounded
from .keys import PublicKey, fields, public_key

_MOST = 1 << 20  # bytes
_MAGIC = b"openssh-key-v1\0"
_BEGIN = re.compile(rb"^-----BEGIN (|[A-Z ]+ )PRIVATE KEY-----\r?$", re.M)
_OPENSSH = re.compile(rb"-----BEGIN OPENSSH PRIVATE KEY-----(.*?)-----END", re.S)
_ENCRYPTED = re.compile(rb"^(Proc-Type: 4,ENCRYPTED|-----BEGIN ENCRYPTED )", re.M)
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


Ask = Callable[[str, bool], str | None]
"""Asks the user a question, whose answer may be visible; None if there is none. Raises NotStarted: Ctrl-C."""
_Stamp = tuple[tuple[int, int, int] | None, ...]


class KeyFileError(Exception):
    """Why a key file cannot be used, in words that follow its name."""


class PassphraseError(KeyFileError):
    """It is encrypted, and the passphrase is missing, or `wrong`."""

    def __init__(self, why: str, wrong: bool = False) -> None:
        super().__init__(why)
        self.wrong = wrong


@dataclass(frozen=True)
class KeyFile:
    """A file that was named as a key, read once. `problem` says why it holds no private key, "" if it does.

    `remedy` is the command that would help. `public` is None where nothing public is known of it: OpenSSH
    then asks for its passphrase at once.
    """

    path: Path
    public: PublicKey | None = None
    certificate: PublicKey | None = None
    problem: str = ""
    remedy: str = ""
    encrypted: bool = False
    is_there: bool = True
    content: bytes = field(default=b"", repr=False)

    def load(self, passphrase: str | None) -> paramiko.PKey:
        """The private key. Raises KeyFileError: why there is none."""
        if self.problem:
            raise KeyFileError(self.problem)
        if self.encrypted and not passphrase:
            raise PassphraseError("is encrypted, and no passphrase was given")
        password = passphrase.encode() if passphrase and self.encrypted else None
        try:
            key = _pkey(self.content, password)
        except (UnsupportedAlgorithm, paramiko.SSHException) as error:
            raise KeyFileError(f"cannot be read: {reason(error)}") from None
        except (ValueError, TypeError):
            if self.encrypted:
                raise PassphraseError("is encrypted, and the passphrase is wrong", wrong=True) from None
            raise KeyFileError("holds no private key that can be read") from None
        if self.public and key.asbytes() != self.public.plain:
            raise KeyFileError(f"holds another key than {self.path.name}.pub")
        return key


def read_key_file(path: Path) -> KeyFile:
    """What stands in a file, and beside it: KEY.pub and KEY-cert.pub."""
    beside = _public(path.with_name(f"{path.name}-cert.pub"))
    certificate = beside if beside and beside.is_certificate and beside.is_of_users else None
    named = _public(path)
    public = named or _public(path.with_name(f"{path.name}.pub"))
    try:
        content = read_bounded(path, _MOST)
        problem, remedy = _unfit(path, content)
        if named:
            problem, remedy = "holds a public key; only an agent can sign with it", ""
    except OSError as error:
        there = not isinstance(error, FileNotFoundError)
        problem = f"cannot be read: {reason(error)}" if there else "does not exist"
        return KeyFile(path, public, certificate, problem, is_there=there)
    of_section, encrypted = _section(content)
    public = public or of_section
    if not problem and public and public.base_kind.startswith("sk-"):
        problem, remedy = (
            "is of a security key, with which only an agent can sign",
            f"ssh-add {quote(str(path))}",
        )
    encrypted = encrypted or bool(_ENCRYPTED.search(content))
    file = KeyFile(path, public, certificate, problem, remedy, encrypted)
    if problem:
        return file
    file = replace(file, content=content)
    if public or file.encrypted:
        return file
    try:
        return replace(file, public=PublicKey(file.load(None).asbytes()))
    except KeyFileError as error:
        return replace(file, problem=str(error), content=b"")


def read_certificate(path: Path) -> PublicKey | str:
    """The certificate of a CertificateFile; why there is none, in words that follow its name."""
    key = _public(path)
    if key is None:
        return "holds no certificate" if path.exists() else "does not exist"
    if not key.is_certificate:
        return "holds a key, no certificate"
    return key if key.is_of_users else "holds a certificate of a host"


def signed(key: paramiko.PKey, data: bytes, algorithm: str) -> bytes:
    """A signature by a key. Raises KeyFileError: paramiko cannot make it."""
    try:
        signature = key.sign_ssh_data(data, algorithm)
    except (KeyError, paramiko.SSHException):
        version = paramiko.__version__
        raise KeyFileError(f"paramiko {version} does not sign with {algorithm}; an agent may") from None
    return bytes(signature.asbytes() if isinstance(signature, paramiko.Message) else signature)


class Keyring:
    """Reads and decrypts each key file once, however many log in at once.

    `ask` asks for a passphrase, `ask_for_server` what a server wants to know; None: there is nobody to ask.
    """

    def __init__(self) -> None:
        self.ask: Ask | None = None
        self.ask_for_server: Ask | None = None
        self._lock = RLock()
        self._files: dict[Path, tuple[_Stamp, KeyFile]] = {}
        self._keys: dict[tuple[KeyFile, str | None, bool], paramiko.PKey | KeyFileError] = {}

    def file(self, path: Path) -> KeyFile:
        """What stands in a key file; it is read again once it, or KEY.pub beside it, has changed."""
        stamp = tuple(_stamp(path.with_name(path.name + suffix)) for suffix in ("", ".pub", "-cert.pub"))
        with self._lock:
            known = self._files.get(path)
            if known is None or known[0] != stamp:
                known = self._files[path] = (stamp, read_key_file(path))
            return known[1]

    def private(self, file: KeyFile, passphrase: str | None, prompts: int = 0) -> paramiko.PKey:
        """The private key of a file; a passphrase that was not given is asked for, at most `prompts` times.

        Raises KeyFileError: there is none; what was wrong once is not tried again. NotStarted: Ctrl-C.
        """
        asks = bool(file.encrypted and not file.problem and not passphrase and self.ask and prompts)
        key = (file, passphrase if file.encrypted else None, asks)
        with self._lock:  # who comes second waits for the answer of the first
            if key not in self._keys:
                try:
                    self._keys[key] = self._asked(file, prompts) if asks else file.load(passphrase)
                except KeyFileError as error:
                    self._keys[key] = error
            found = self._keys[key]
        if isinstance(found, KeyFileError):
            raise found.with_traceback(None)
        return found

    def _asked(self, file: KeyFile, prompts: int) -> paramiko.PKey:
        while True:
            prompts -= 1
            answer = self.ask(f"Enter passphrase for key '{file.path}': ", False) if self.ask else None
            try:
                return file.load(answer)
            except PassphraseError as error:
                if not (error.wrong and prompts):
                    raise


def _public(path: Path) -> PublicKey | None:
    try:
        return public_key(read_bounded(path, _MOST))
    except OSError:
        return None


def _unfit(path: Path, content: bytes) -> tuple[str, str]:
    """Why OpenSSH would not read a private key there, and the command that helps; "" if it would."""
    try:
        seen = os.stat(path)
    except OSError as error:
        return f"cannot be read: {reason(error)}", ""
    if seen.st_uid == os.getuid() and seen.st_mode & 0o077:
        mode = stat.S_IMODE(seen.st_mode)
        return f"is ignored, since others may read it (mode {mode:04o})", f"chmod 600 {quote(str(path))}"
    return ("", "") if _BEGIN.search(content) else ("holds no private key", "")


def _section(content: bytes) -> tuple[PublicKey | None, bool]:
    """The public section of the OpenSSH format, and whether the private one is encrypted."""
    found = _OPENSSH.search(content)
    try:
        data = b64decode(found[1]) if found else b""
    except ValueError:
        return None, False
    if not data.startswith(_MAGIC):
        return None, False
    data = data[len(_MAGIC) :]
    cipher, kdf, options = fields(data, 3)
    (blob,) = fields(data[12 + len(cipher) + len(kdf) + len(options) + 4 :])
    return PublicKey(blob), cipher != b"none"


def _pkey(content: bytes, password: bytes | None) -> paramiko.PKey:
    openssh = _OPENSSH.search(content)
    load = serialization.load_ssh_private_key if openssh else serialization.load_pem_private_key
    key = load(content, password)
    if isinstance(key, rsa.RSAPrivateKey):
        return paramiko.RSAKey(key=key)
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _CURVES:
        return paramiko.ECDSAKey(vals=(key, key.public_key()))
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise UnsupportedAlgorithm(f"paramiko has no keys of its kind ({type(key).__name__})")
    form = (serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption())
    return paramiko.Ed25519Key(file_obj=io.StringIO(key.private_bytes(*form).decode()))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        seen = os.stat(path)
    except (OSError, ValueError):
        return None
    return seen.st_ino, seen.st_size, seen.st_mtime_ns
