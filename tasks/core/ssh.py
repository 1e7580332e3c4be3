"""What all connections of a run share: ssh_config, known_hosts, gateways, the sudo password's verdict."""

from __future__ import annotations

import re
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import fabric
import fabric.runners
import paramiko

from .errors import StepError
from .hostkeys import KnownHosts
from .model import expanded
from .settings import Settings, Ssh

DEFAULT_CONFIG = expanded("~/.ssh/config")


class Runner(fabric.runners.Remote):  # type: ignore[misc]
    """Fabric's runner with its waits cut: 45 ms a command become 3 ms."""

    input_sleep = 0.001
    read_chunk_size = 32768


class Session:
    """The shared half of all connections made from one hosts.toml and one command line."""

    def __init__(self, settings: Settings, config: fabric.Config) -> None:
        self.ssh: Ssh = settings.ssh
        self.known_hosts = KnownHosts(accept_new=self.ssh.host_keys == "accept-new")
        self.sudo_gate = SudoGate()
        self.warnings: list[str] = []
        self.connect_kwargs: dict[str, Any] = dict(config.connect_kwargs or {})
        self.config = fabric.Config(
            ssh_config=self._ssh_config(),
            overrides={
                "user": self.ssh.user or "root",
                "runners": {"remote": Runner},
                "sudo": {"password": config.sudo.password},
            },
        )
        self.gateways: dict[str, fabric.Connection] = {}
        self.gateways_lock = RLock()

    def _ssh_config(self) -> paramiko.SSHConfig:
        """OpenSSH's files in OpenSSH's order; a file named in hosts.toml is the only one, as with -F."""
        merged = paramiko.SSHConfig()
        own = self.ssh.config
        files = [own] if own else []
        if own == DEFAULT_CONFIG:
            files.append(Path("/etc/ssh/ssh_config"))
        for file in files:
            if not file.is_file():
                continue
            text = file.read_text(errors="replace")
            if file == own and re.search(r"(?im)^\s*include\b", text):
                self.warnings.append(f"{file}: Include is not followed; name the file in ssh.config")
            merged.parse(text.splitlines())
        return merged

    def missing_config(self) -> Path | None:
        """The ssh_config that hosts.toml names, if it is not there."""
        file = self.ssh.config
        return file if file and file != DEFAULT_CONFIG and not file.is_file() else None

    def close(self) -> None:
        """Closes the gateways; nodes are closed by their fleet."""
        for gateway in self.gateways.values():
            gateway.close()


class SudoGate:
    """Lets one node try the sudo password first, so that a wrong one is sent once, not once a node."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._proved = False
        self._refused: StepError | None = None

    def first(self) -> AbstractContextManager[object]:
        """Holds all others back until the first attempt has ended."""
        return nullcontext() if self._proved else self._lock

    def check(self) -> None:
        """Raises what the first attempt raised."""
        if self._refused:
            raise self._refused

    def proved(self) -> None:
        """The password was right."""
        self._proved = True

    def refuse(self, where: str) -> StepError:
        """The password was wrong; everybody else will hear the same."""
        self._refused = StepError(
            f"sudo refused the password (tried once, on {where})",
            hint="give the right one: fab --prompt-for-sudo-password TASK",
        )
        return self._refused
