"""What all connections made from one hosts.toml share: ssh_config, known_hosts, gateways, sudo's password."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from threading import BoundedSemaphore, RLock
from typing import Any

import fabric
import invoke
import paramiko

from ..config.address import NodeSpec
from ..config.model import Settings, expanded
from ..gate import Gate
from ..login.keyfile import Keyring
from ..openssh.alike import Asked
from ..openssh.config import SshConfig
from ..openssh.files import OWN, SYSTEM
from ..openssh.host import HostConfig
from .hostkeys import KnownHosts
from .options import Options

# our own messages say what fails; without a handler, paramiko's log ends up on stderr as tracebacks
logging.getLogger("paramiko").addHandler(logging.NullHandler())

MOST_HANDSHAKES = 8  # through one jump host at a time: from 10 on sshd drops some (MaxStartups)


class _NoSshConfig(paramiko.SSHConfig):  # type: ignore[misc]
    """What Fabric looks into for each host; ours says all that it would look for."""

    def lookup(self, hostname: str) -> paramiko.SSHConfigDict:
        return paramiko.SSHConfigDict()


class Session:
    """The shared half of all connections made from one hosts.toml and one command line."""

    def __init__(self, settings: Settings, options: Options, config: invoke.Config) -> None:
        self.settings = settings
        self.ssh = settings.ssh
        self.options = options
        self.known_hosts = KnownHosts()
        self.keyring = Keyring()
        self.sudo_gate, self.sudo_password = Gate(), config.sudo.password
        self._password_gates: defaultdict[str, Gate] = defaultdict(Gate)
        self.ssh_files = self._ssh_files()
        self.user = self.ssh.user or options.get("user") or "root"
        own = {
            "user": self.user,
            "forward_agent": options.get("forward_agent"),
            "sudo": {"password": self.sudo_password},
        }
        self.config = fabric.Config(
            ssh_config=_NoSshConfig(),
            overrides={key: value for key, value in own.items() if value is not None},
            lazy=True,  # what Fabric's files say is in `options`
        )
        self.nodes: dict[tuple[object, str], Any] = {}
        self.gateways: dict[tuple[NodeSpec, ...], fabric.Connection] = {}
        self.handshakes = BoundedSemaphore(MOST_HANDSHAKES)  # by ProxyCommands
        self.gateways_lock = RLock()

    def _ssh_files(self) -> list[Path]:
        """OpenSSH's files in OpenSSH's order; a file that is named is the only one, as with -F."""
        if self.options.ssh_config:
            return [self.options.ssh_config]
        own = self.ssh.config
        if not self.settings.sets_ssh("config"):
            if path := self.options.get("ssh_config_path"):
                return [expanded(path)]
            if self.options.get("load_ssh_configs") is False:
                return []
        return [] if own is None else [own, SYSTEM] if own == OWN else [own]

    def missing_file(self) -> str:
        """Which file that hosts.toml names is not there; "" if all are."""
        for key, file in (("config", next(iter(self.ssh_files), None)), ("identity", self.ssh.identity)):
            if file and file != OWN and not Path(file).is_file():
                return f"ssh.{key}: {file} {'is no file' if Path(file).exists() else 'does not exist'}"
        return ""

    @cached_property
    def _ssh_config(self) -> SshConfig:
        port = self.ssh.port or self.options.get("port") or 22
        return SshConfig(self.ssh_files, self.user, port)

    def prepare(self, specs: Sequence[NodeSpec]) -> None:
        """Finds out at once what ssh_config says of many nodes. Raises UsageError."""
        self._ssh_config.prepare([self._asked(spec) for spec in specs])

    def host_config(self, spec: NodeSpec, jump_host: bool = False) -> HostConfig:
        """What OpenSSH would use for a host. Raises UsageError.

        What hosts.toml sets for nodes counts less than ssh_config for a `jump_host`, which is none.
        """
        return self._ssh_config.host(
            Asked(spec.host, spec.user, spec.port) if jump_host else self._asked(spec)
        )

    def _asked(self, spec: NodeSpec) -> Asked:
        return Asked(spec.host, spec.user or self.ssh.user or None, spec.port or self.ssh.port or None)

    def accepts_new(self, config: HostConfig) -> bool:
        """Whether an unknown host key is recorded, and not refused: hosts.toml decides, else ssh_config."""
        if self.settings.sets_ssh("host_keys"):
            return self.ssh.host_keys == "accept-new"
        return config.get("StrictHostKeyChecking").lower() in ("accept-new", "no", "off", "false")

    def connect_timeout(self, config: HostConfig) -> int:
        """How long connecting to a host may take, in seconds."""
        if self.options.timeout:
            return self.options.timeout
        if not self.settings.sets_ssh("connect_timeout"):
            if own := config.seconds("ConnectTimeout"):
                return own
            if seconds := self.options.get("timeouts.connect"):
                return int(seconds)
        return self.ssh.connect_timeout

    def password_gate(self, user: str) -> Gate:
        """What all who log in as `user` with a password pass through."""
        with self.gateways_lock:
            return self._password_gates[user]

    def close(self) -> None:
        """Closes all connections."""
        for node in self.nodes.values():
            node.hang_up()
        for connection in (*self.nodes.values(), *self.gateways.values()):
            connection.close()
