"""Host keys as OpenSSH means them: known_hosts is believed, unknown keys are refused or recorded.

Fabric accepts any key, and paramiko's known_hosts has no patterns and no markers. The rules are in
ssh_config(5), StrictHostKeyChecking. Certificates are not read: a host for which a @cert-authority line
speaks, and no line with its own key, is refused.
"""

from __future__ import annotations

import socket
from functools import cache
from threading import Lock
from typing import Any

import paramiko

from ..errors import StepError
from ..openssh.algorithms import restrict
from ..openssh.host import HostConfig
from ..transport import Transport
from .knownhosts import AUTHORITY, REVOKED, RSA, Entry, Key, KnownHostsFile, revoked_keys


def lookup_name(host: str, port: int) -> str:
    """The name under which known_hosts holds `host`, as sshd(8) writes it."""
    return host if port == 22 else f"[{host}]:{port}"


class KnownHosts:
    """All known_hosts files of a run, each read once. Whoever asks holds `lock`."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.file = cache(KnownHostsFile)
        self.revoked = cache(revoked_keys)


class HostKey(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """The verdict on one host's key. paramiko, whose own store stays empty, asks it for every key.

    With `accept_new` one that is unknown is recorded. Raises UsageError: a file name in ssh_config that
    has no meaning.
    """

    def __init__(self, known: KnownHosts, config: HostConfig, accept_new: bool) -> None:
        alias = config.get("HostKeyAlias").lower()
        self.known, self.config = known, config
        self.host, self.port = _canonical(config.hostname), config.port
        self.name = alias or lookup_name(self.host, self.port)
        self.portless = "" if alias or self.port == 22 else self.host
        self.user_files = config.known_hosts()
        self.files = self.user_files + config.known_hosts_of_all()
        self.revoked_files = config.revoked_keys()
        self.hashed = config.says("HashKnownHosts")
        self.accept_new = accept_new

    def transport(self, sock: Any, **options: Any) -> Transport:
        """A transport that asks for a key of a kind that is known, as OpenSSH's order_hostkeyalgs does."""
        with self.known.lock:
            kinds = {entry.key.kind for entry in self._entries(self.name) if not entry.marker}
        if "ssh-rsa" in kinds:
            kinds |= {*RSA}
        transport = Transport(sock, **options)
        restrict(transport, self.config)
        offered = transport.get_security_options()
        if offered.key_types[0] not in kinds:
            offered.key_types = sorted(offered.key_types, key=lambda kind: kind not in kinds)
        return transport

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:
        """Returns if the key is known, or is recorded now. Raises StepError: the host is refused."""
        address = _peer(client)
        alone = self.config.says("NoHostAuthenticationForLocalhost") and not self.config.get("HostKeyAlias")
        if alone and _is_loopback(address):
            return
        seen = Key(key.get_name(), key.asbytes())
        with self.known.lock:  # hosts may share a name
            if not self._is_known(seen):
                self._record(key)
            if address and self.config.says("CheckHostIP"):
                self._refuse_other(lookup_name(address, self.port), seen)

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
        self._refuse_other(self.name, seen)
        if authority := next((line.where for line in lines if line.marker == AUTHORITY), ""):
            why = f"{authority} names a certificate authority for it, and certificates are not read here"
            raise self._refusal(f"is unknown: {seen}; {why}", self._how_to_know())
        if not self.accept_new:
            other = '; or set ssh.host_keys = "accept-new"'
            raise self._refusal(f"is unknown: {seen}", self._how_to_know() + other)
        return False

    def _refuse_other(self, name: str, seen: Key) -> None:
        """Raises StepError if another key is known by that name, and not this one."""
        plain = [line for line in self._entries(name) if not line.marker]
        if plain and all(line.key != seen for line in plain):
            old = plain[0]
            of = "" if name == self.name else f" for {name}"
            raise self._refusal(
                f"HAS CHANGED{of}: known is {old.key}, seen is {seen}",
                "somebody may be answering in its place; if the host was reinstalled, the old key is "
                f"{old.where}: ssh-keygen -R '{name}' -f {old.file}",
            )

    def _entries(self, name: str) -> list[Entry]:
        return [entry for path in self.files for entry in self.known.file(path).lookup(name)]

    def _refusal(self, what: str, hint: str) -> StepError:
        return StepError(f"the host key of {self.name} {what}", hint=hint, unreachable=True)

    def _record(self, key: paramiko.PKey) -> None:
        try:
            if not self.user_files:
                return  # "none": known for this run of ssh, and no longer
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


def _peer(client: object) -> str:
    """The address that a connection goes to; "" through a gateway."""
    transport = client.get_transport() if isinstance(client, paramiko.SSHClient) else None
    sock = transport.sock if transport else None
    if isinstance(sock, socket.socket) and sock.family != socket.AF_UNIX:
        return str(sock.getpeername()[0])
    return ""


def _is_loopback(address: str) -> bool:
    return address == "::1" or address.startswith("127.")


def _canonical(host: str) -> str:
    """The host as OpenSSH looks it up: in lower case, an address as the system writes it."""
    try:
        address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST)[0][4]
        return socket.getnameinfo(address, socket.NI_NUMERICHOST | socket.NI_NUMERICSERV)[0]
    except (OSError, UnicodeError):
        return host.lower()
