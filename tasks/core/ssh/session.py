"""What all connections of a run share: ssh_config, known_hosts, gateways, the sudo password's verdict."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Lock, RLock
from typing import Any

import fabric
import fabric.runners
import invoke
import paramiko

from ..config.model import expanded
from ..config.settings import Settings, Ssh
from ..errors import StepError
from ..shell.bounded import Bounded
from . import sshconfig
from .hostkeys import KnownHosts
from .options import Options

# what fails is told by our own messages; without a handler, paramiko's log ends up on stderr as tracebacks
logging.getLogger("paramiko").addHandler(logging.NullHandler())

DEFAULT_CONFIG = expanded("~/.ssh/config")
SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")


class Runner(Bounded, fabric.runners.Remote):  # type: ignore[misc]
    """Fabric's runner with bounds, and with its waits cut: 45 ms a command become 3 ms."""

    input_sleep = 0.001
    read_chunk_size = 32768


class Session:
    """The shared half of all connections made from one hosts.toml and one command line."""

    def __init__(self, settings: Settings, options: Options, config: invoke.Config) -> None:
        self.settings = settings
        self.ssh: Ssh = settings.ssh
        self.options = options
        self.known_hosts = KnownHosts(accept_new=self.ssh.host_keys == "accept-new")
        self.sudo_gate = SudoGate()
        self.warnings: list[str] = []
        own = {
            "user": self.ssh.user or options.get("user") or "root",
            "port": options.get("port"),
            "forward_agent": options.get("forward_agent"),
            "runners": {"remote": Runner},
            "sudo": {"password": config.sudo.password, "prompt": config.sudo.prompt},
        }
        self.config = fabric.Config(
            ssh_config=self._ssh_config(),
            overrides={key: value for key, value in own.items() if value is not None},
            lazy=True,  # what Fabric's files say is in `options`
        )
        self.gateways: dict[str, fabric.Connection] = {}
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
        return [] if own is None else [own, SYSTEM_CONFIG] if own == DEFAULT_CONFIG else [own]

    def _ssh_config(self) -> paramiko.SSHConfig:
        merged = paramiko.SSHConfig()
        files = self._ssh_files()
        for file in files:
            if not (file.is_file() if file in (DEFAULT_CONFIG, SYSTEM_CONFIG) else file.exists()):
                continue
            text = sshconfig.read(merged, file)
            if file == files[0] and re.search(r"(?im)^\s*include\b", text):
                self.warnings.append(f"{file}: Include is not followed; name the file in ssh.config")
        return merged

    def missing_file(self) -> str:
        """Which file that hosts.toml names is not there; "" if all are."""
        config = next(iter(self._ssh_files()), None)
        for key, file in (("config", config), ("identity", self.ssh.identity)):
            if file and file != DEFAULT_CONFIG and not Path(file).is_file():
                return f"ssh.{key}: {file} {'is no file' if Path(file).exists() else 'does not exist'}"
        return ""

    def connect_timeout(self, ssh_config: Mapping[str, Any]) -> int:
        """How long connecting to a host may take, in seconds; `ssh_config` is what that says of it."""
        if self.options.timeout:
            return self.options.timeout
        if not self.settings.sets_ssh("connect_timeout"):
            own = str(ssh_config.get("connecttimeout", ""))
            if re.fullmatch("[0-9]{1,9}", own) and int(own):
                return int(own)
            if seconds := self.options.get("timeouts.connect"):
                return int(seconds)
        return self.ssh.connect_timeout

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

    def pass_through(self, where: str, attempt: Callable[[], invoke.Result]) -> None:
        """Returns when the password has been accepted on some node; `attempt` tries it on this one.

        Raises StepError: it was refused, here or by the node that was first.
        """
        with self._lock:
            if self._refused:
                raise self._refused
            if self._proved:
                return
            try:
                self._proved = attempt().ok
            except invoke.exceptions.Failure as failure:
                if not isinstance(failure.reason, invoke.exceptions.ResponseNotAccepted):
                    raise
                self._refused = StepError(
                    f"sudo refused the password (tried once, on {where})",
                    hint="give the right one: fab --prompt-for-sudo-password TASK",
                )
                raise self._refused from None
