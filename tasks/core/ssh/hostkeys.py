"""Host keys as OpenSSH means them: known_hosts is believed, unknown keys are refused or recorded.

Fabric accepts any key, and paramiko's known_hosts has no patterns and no markers. The rules are in
ssh_config(5), StrictHostKeyChecking. Certificates are not read: a host for which a @cert-authority line
speaks, and no line with its own key, is refused.
"""

from __future__ import annotations

import os
import re
import shlex
import socket
from collections.abc import Callable, Mapping
from getpass import getuser
from pathlib import Path
from threading import Lock
from typing import Any

import paramiko

from ..config.model import expanded
from ..errors import StepError, UsageError
from .knownhosts import AUTHORITY, REVOKED, RSA, Entry, Key, KnownHostsFile, revoked_keys

_LOCAL: Mapping[str, Callable[[], str]] = {
    "%": lambda: "%",
    "d": lambda: str(expanded("~")),
    "i": lambda: str(os.getuid()),
    "L": lambda: socket.gethostname().partition(".")[0],
    "l": socket.gethostname,
    "u": getuser,
}
"""What the tokens of ssh_config(5) that are the same for all hosts stand for."""


def lookup_name(host: str, port: int) -> str:
    """The name under which known_hosts holds `host`, as sshd(8) writes it."""
    return host if port == 22 else f"[{host}]:{port}"


class KnownHosts:
    """All known_hosts files of a run, each read once. Whoever asks holds `lock`."""

    def __init__(self, accept_new: bool) -> None:
        self.accept_new = accept_new
        self.lock = Lock()
        self._files: dict[Path, KnownHostsFile] = {}
        self._revoked: dict[Path, frozenset[bytes]] = {}

    def file(self, path: Path) -> KnownHostsFile:
        """One file. Raises StepError: it cannot be read."""
        if path not in self._files:
            self._files[path] = KnownHostsFile(path)
        return self._files[path]

    def revoked(self, path: Path) -> frozenset[bytes]:
        """The keys of a file of RevokedHostKeys. Raises StepError: it cannot be read."""
        if path not in self._revoked:
            self._revoked[path] = revoked_keys(path)
        return self._revoked[path]


class HostKey(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """The verdict on one host's key. paramiko, whose own store stays empty, asks it for every key.

    `typed` is the host as the user names it, `host` what ssh_config makes of that. Raises UsageError: a
    file name in ssh_config that has no meaning.
    """

    def __init__(
        self, known: KnownHosts, typed: str, host: str, port: int, user: str, ssh_config: Mapping[str, Any]
    ) -> None:
        alias = str(ssh_config.get("hostkeyalias", "")).lower()
        self.known, self.host, self.port = known, _canonical(host), port
        self.name = alias or lookup_name(self.host, port)
        self.portless = "" if alias or port == 22 else self.host
        tokens = {"h": self.host, "k": alias or typed, "n": typed, "p": str(port), "r": user}
        own, machine = "~/.ssh/known_hosts", "/etc/ssh/ssh_known_hosts"
        self.user_files = _files(ssh_config, "UserKnownHostsFile", f"{own} {own}2", tokens)
        self.files = self.user_files + _files(ssh_config, "GlobalKnownHostsFile", f"{machine} {machine}2", {})
        self.revoked_files = _files(ssh_config, "RevokedHostKeys", "none", tokens)
        self.hashed = ssh_config.get("hashknownhosts") == "yes"
        # a command that is not run here may know the host otherwise
        self.accept_new = known.accept_new and ssh_config.get("knownhostscommand", "none") == "none"

    def transport(self, sock: Any, **options: Any) -> paramiko.Transport:
        """A transport that asks for a key of a kind that is known, as OpenSSH's order_hostkeyalgs does."""
        with self.known.lock:
            kinds = {entry.key.kind for entry in self._entries(self.name) if not entry.marker}
        if "ssh-rsa" in kinds:
            kinds |= {*RSA}
        transport = paramiko.Transport(sock, **options)
        offered = transport.get_security_options()
        if offered.key_types[0] not in kinds:
            offered.key_types = sorted(offered.key_types, key=lambda kind: kind not in kinds)
        return transport

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:
        """Returns if the key is known, or is recorded now. Raises StepError: the host is refused."""
        seen = Key(key.get_name(), key.asbytes())
        with self.known.lock:  # hosts may share a name
            entries = self._entries(self.name)
            # the name without the port speaks, too, unless it speaks of another key
            elsewhere = self._entries(self.portless) if self.portless else []
            self._refuse_revoked(seen, [*entries, *elsewhere])
            plain = [entry for entry in entries if not entry.marker]
            plain = plain or [entry for entry in elsewhere if not entry.marker and entry.key == seen]
            if any(entry.key == seen for entry in plain):
                return
            if plain:
                raise self._changed(seen, plain[0])
            for entry in (*entries, *elsewhere):
                if entry.marker == AUTHORITY:
                    raise self._certified(seen, entry)
            if not self.accept_new:
                raise self._unknown(seen)
            self._record(key)

    def _entries(self, name: str) -> list[Entry]:
        return [entry for path in self.files for entry in self.known.file(path).lookup(name)]

    def _record(self, key: paramiko.PKey) -> None:
        try:
            if not self.user_files:
                raise OSError(0, "UserKnownHostsFile is none")
            self.known.file(self.user_files[0]).record(self.name, key, self.hashed)
        except OSError as error:
            raise StepError(
                f"cannot record the host key of {self.name} in known_hosts: {error.strerror}",
                hint="name a file that you may write to in ssh_config: UserKnownHostsFile",
                unreachable=True,
            ) from None

    def _refuse_revoked(self, seen: Key, entries: list[Entry]) -> None:
        places = [e.where for e in entries if e.marker == REVOKED and e.key == seen]
        places += [str(path) for path in self.revoked_files if seen.blob in self.known.revoked(path)]
        if places:
            raise StepError(
                f"the host key of {self.name} is REVOKED by {places[0]}: {seen}",
                hint="whoever has that key may be answering in the host's place; give the host a new one",
                unreachable=True,
            )

    def _changed(self, seen: Key, known: Entry) -> StepError:
        return StepError(
            f"the host key of {self.name} HAS CHANGED: known is {known.key}, seen is {seen}",
            hint=f"somebody may be answering in its place; if the host was reinstalled, the old key is "
            f"{known.where}: ssh-keygen -R '{self.name}' -f {known.file}",
            unreachable=True,
        )

    def _certified(self, seen: Key, authority: Entry) -> StepError:
        return StepError(
            f"the host key of {self.name} is unknown: {seen}; {authority.where} names a certificate "
            "authority for it, and certificates are not read here",
            hint=self._how_to_know(),
            unreachable=True,
        )

    def _unknown(self, seen: Key) -> StepError:
        other = "" if self.known.accept_new else '; or set ssh.host_keys = "accept-new"'
        return StepError(
            f"the host key of {self.name} is unknown: {seen}",
            hint=self._how_to_know() + other,
            unreachable=True,
        )

    def _how_to_know(self) -> str:
        scan = f"ssh-keyscan {self.host}" if self.port == 22 else f"ssh-keyscan -p {self.port} {self.host}"
        if self.name != lookup_name(self.host, self.port):
            scan += f" | sed 's/^[^ ]*/{self.name}/'"
        file = next(iter(self.user_files), "~/.ssh/known_hosts")
        return (
            "compare it with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub there), then "
            f"{scan} >> {file}"
        )


def _canonical(host: str) -> str:
    """The host as OpenSSH looks it up: in lower case, an address as the system writes it."""
    try:
        address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4]
        return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    except (OSError, UnicodeError):
        return host.lower()


def _files(ssh_config: Mapping[str, Any], key: str, default: str, tokens: Mapping[str, str]) -> list[Path]:
    text = str(ssh_config.get(key.lower(), default))
    try:
        names = shlex.split(text)
    except ValueError:
        names = text.split()  # paramiko takes the outer quotes away

    def value(match: re.Match[str]) -> str:
        token, variable = match.groups()
        found = os.environ.get(variable) if variable else tokens.get(token)
        if found is None and token in _LOCAL:
            found = _LOCAL[token]()
        if found is None:
            raise UsageError(f"ssh_config: {key} {text}: {match[0]} stands for nothing; write the path")
        return found

    filled = (re.sub(r"%(.?)|\$\{(\w*)\}", value, name) if tokens else name for name in names)
    return [expanded(name) for name in filled if name != "none"]
