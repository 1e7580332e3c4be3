"""How a host is reached, as ssh_config(5) says: ProxyJump, ProxyCommand, BindAddress, AddressFamily."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import nullcontext, suppress
from shlex import split
from tempfile import TemporaryFile
from threading import Lock
from typing import Any

import paramiko
from paramiko.common import cMSG_CHANNEL_CLOSE, cMSG_CHANNEL_EOF

from ..config.address import NodeSpec, parse_node
from ..errors import UsageError
from ..openssh.host import HostConfig

_DYING = 1.0  # seconds that a ProxyCommand is given to end
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


def jump_hosts(config: HostConfig, gateway: str) -> list[NodeSpec]:
    """The jump hosts in their order, the one beside the host last; none where it is reached otherwise.

    `gateway` is that of hosts.toml, which counts more than ssh_config. Raises UsageError.
    """
    jump = gateway or config.fill("ProxyJump", config.get("ProxyJump", "none"))
    if jump == "none":
        return []
    hops = []
    for word in jump.split(","):
        try:
            hops.append(parse_node(word.strip().removeprefix("ssh://").rstrip("/")))
        except ValueError as error:
            raise UsageError(f"the gateway of {config.name}: {word}: {error}") from None
    # a pattern that holds for the jump host, too, means the hosts behind it
    itself = (hop for hop in hops if hop.host == config.name and hop.port in (None, config.port))
    return [] if any(itself) else hops


def proxy_command(config: HostConfig, setting: str | None) -> str:
    """The ProxyCommand of a host, its tokens filled in; "" where it has none.

    `setting` is Fabric's, which counts less than ssh_config. Raises UsageError: it is no command.
    """
    default = setting if "proxyjump" not in config.values else None
    command = config.get("ProxyCommand", default or "none")
    if command == "none":
        return ""
    try:
        split(command)
    except ValueError as error:
        raise UsageError(f"the ProxyCommand of {config.name}: {command}: {error}") from None
    return config.fill("ProxyCommand", command, variables=False)


class Hop:
    """The transport below a channel through a jump host, on which nothing follows the channel's close.

    Several threads write to a channel, and paramiko keeps no order among them; sshd ends the connection, and
    with it all nodes behind the jump host, when it is told something of a channel that was closed.
    """

    def __init__(self, transport: paramiko.Transport) -> None:
        self._transport = transport
        self._writing = Lock()
        self._closed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def _send_user_message(self, message: paramiko.Message) -> None:  # paramiko.Channel's only way out
        with self._writing:
            if self._closed:
                return
            kind = message.asbytes()[:1]
            self._closed = kind == cMSG_CHANNEL_CLOSE
            at_the_end = kind in (cMSG_CHANNEL_EOF, cMSG_CHANNEL_CLOSE)
            with suppress(EOFError) if at_the_end else nullcontext():  # it is closed, too, if all is gone
                self._transport._send_user_message(message)


class Proxy:
    """A ProxyCommand that runs, as OpenSSH runs it: by the user's shell. `socket` is its input and output.

    Raises OSError: it cannot be run.
    """

    def __init__(self, command: str) -> None:
        self.socket, its = socket.socketpair()
        self._said = TemporaryFile()  # noqa: SIM115 - as long as this
        shell = os.environ.get("SHELL") or "/bin/sh"
        with its:
            # of its own group: Ctrl-C is for fab, which still ends what it has begun
            self._process = subprocess.Popen(
                (shell, "-c", f"exec {command}"),
                stdin=its.fileno(),
                stdout=its.fileno(),
                stderr=self._said,
                process_group=0,
            )

    def close(self) -> str:
        """Ends it; the last line that it wrote to standard error, "" if none."""
        self.socket.close()
        for number in (signal.SIGTERM, signal.SIGCONT, signal.SIGKILL):  # it may be stopped, or deaf
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)
            if number != signal.SIGTERM:
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=_DYING)
                    break
        with self._said:
            self._said.seek(max(0, self._said.seek(0, os.SEEK_END) - 1000))
            lines = self._said.read().decode(errors="replace").splitlines()
        return next((line.strip() for line in reversed(lines) if line.strip()), "")


def dial(config: HostConfig, seconds: float) -> socket.socket | None:
    """A connection as AddressFamily and BindAddress want it; None where they want nothing.

    Raises OSError, or NoValidConnectionsError: what each address said.
    """
    family = _FAMILIES.get(config.get("AddressFamily"), socket.AF_UNSPEC)
    bound = config.get("BindAddress", "none")
    if family == socket.AF_UNSPEC and bound == "none":
        return None
    errors: dict[tuple[str, int], OSError] = {}
    for kind, _, _, _, address in socket.getaddrinfo(
        config.hostname, config.port, family, socket.SOCK_STREAM
    ):
        try:
            return _connected(kind, address, "" if bound == "none" else bound, seconds)
        except OSError as error:
            errors[(str(address[0]), int(address[1]))] = error
    raise paramiko.ssh_exception.NoValidConnectionsError(errors)


def _connected(
    kind: socket.AddressFamily, address: tuple[object, ...], bound: str, seconds: float
) -> socket.socket:
    sock = socket.socket(kind, socket.SOCK_STREAM)
    try:
        sock.settimeout(seconds)
        if bound:
            sock.bind(socket.getaddrinfo(bound, 0, kind, socket.SOCK_STREAM)[0][4])
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return sock
