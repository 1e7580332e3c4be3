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
from collections.abc import Mapping
from functools import cache
from getpass import getuser
from pathlib import Path
from threading import Lock
from typing import Any

import paramiko

from ..config.model import expanded
from ..errors import StepError, UsageError
from .knownhosts import AUTHORITY, REVOKED, RSA, Entry, Key, KnownHostsFile, revoked_keys


def lookup_name(host: str, port: int) -> str:
    """The name under which known_hosts holds `host`, as sshd(8) writes it."""
    return host if port == 22 else f"[{host}]:{port}"


class KnownHosts:
    """All known_hosts files of a run, each read once. Whoever asks holds `lock`.

    `tokens` of ssh_config(5) are those that are the same for all hosts.
    """

    def __init__(self, accept_new: bool) -> None:
        self.accept_new = accept_new
        self.lock = Lock()
        self.file = cache(KnownHostsFile)
        self.revoked = cache(revoked_keys)
        name = socket.gethostname()
        self.tokens = {"%": "%", "d": str(expanded("~")), "i": str(os.getuid()), "l": name, "u": getuser()}
        self.tokens["L"] = name.partition(".")[0]


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
        tokens = {**known.tokens, "h": self.host, "k": alias or typed, "n": typed, "p": str(port), "r": user}
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
        with self.known.lock:  # hosts may share a name
            if not self._is_known(Key(key.get_name(), key.asbytes())):
                self._record(key)

    def _is_known(self, seen: Key) -> bool:
        """Whether it is the host's; if not, it may be recorded. Raises StepError: the host is refused."""
        entries = self._entries(self.name)
        # the name without the port speaks, too, unless it speaks of another key
        elsewhere = self._entries(self.portless) if self.portless else []
        lines = [*entries, *elsewhere]
        revoked = [line.where for line in lines if line.marker == REVOKED and line.key == seen]
        revoked += [str(path) for path in self.revoked_files if seen.blob in self.known.revoked(path)]
        if revoked:
            raise self._refusal(
                f"is REVOKED by {revoked[0]}: {seen}",
                "whoever has that key may be answering in the host's place; give the host a new one",
            )
        plain = [line for line in entries if not line.marker]
        if any(line.key == seen for line in plain or elsewhere if not line.marker):
            return True
        if plain:
            old = plain[0]
            raise self._refusal(
                f"HAS CHANGED: known is {old.key}, seen is {seen}",
                "somebody may be answering in its place; if the host was reinstalled, the old key is "
                f"{old.where}: ssh-keygen -R '{self.name}' -f {old.file}",
            )
        if authority := next((line.where for line in lines if line.marker == AUTHORITY), ""):
            why = f"{authority} names a certificate authority for it, and certificates are not read here"
            raise self._refusal(f"is unknown: {seen}; {why}", self._how_to_know())
        if not self.accept_new:
            other = "" if self.known.accept_new else '; or set ssh.host_keys = "accept-new"'
            raise self._refusal(f"is unknown: {seen}", self._how_to_know() + other)
        return False

    def _entries(self, name: str) -> list[Entry]:
        return [entry for path in self.files for entry in self.known.file(path).lookup(name)]

    def _refusal(self, what: str, hint: str) -> StepError:
        return StepError(f"the host key of {self.name} {what}", hint=hint, unreachable=True)

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

    def _how_to_know(self) -> str:
        scan = f"ssh-keyscan {self.host}" if self.port == 22 else f"ssh-keyscan -p {self.port} {self.host}"
        if self.name != lookup_name(self.host, self.port):
            scan += f" | sed 's/^[^ ]*/{self.name}/'"
        file = next(iter(self.user_files), "~/.ssh/known_hosts")
        own = "ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub there"
        return f"compare it with the host's own ({own}), then {scan} >> {file}"


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
        if found is None:
            raise UsageError(f"ssh_config: {key} {text}: {match[0]} stands for nothing; write the path")
        return found

    filled = (re.sub(r"%(.?)|\$\{(\w*)\}", value, name) if tokens else name for name in names)
    return [expanded(name) for name in filled if name != "none"]
