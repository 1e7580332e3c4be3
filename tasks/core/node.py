"""One host over SSH: a Fabric connection that checks host keys, acts as root and leaves no half file."""

from __future__ import annotations

import secrets
import socket
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import fabric
import invoke
import paramiko

from . import commands, facts
from .errors import StepError, UsageError, last_lines
from .facts import Facts
from .host import Ended, Lines, last_words
from .hostkeys import changed_key, lookup_name
from .settings import Endpoint, NodeSpec, Proxy, parse_node
from .ssh import Session

KEEPALIVE = 30  # seconds
BACK_OFF = (0.3, 0.9, 2.0)  # seconds before each new try; sshd's MaxStartups drops what comes at once
_REACHED_AT = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - nothing is bound here
_AUTH_HINT = "set ssh.user or ssh.identity in hosts.toml, or IdentityFile in ssh_config"


class Node(fabric.Connection):  # type: ignore[misc]
    """One host. `label` is its name in reports; everything else is Fabric's."""

    label: str = ""
    session: Session
    # Fabric's connections are equal when user, host and port are; two nodes behind two gateways may be so
    __eq__ = object.__eq__
    __hash__ = object.__hash__
    _facts: Facts | None = None
    _never_opened: StepError | None = None

    def __init__(
        self,
        spec: NodeSpec,
        session: Session,
        gateway: fabric.Connection | str | bool | None = None,
        connect_kwargs: dict[str, Any] | None = None,
    ) -> None:
        ssh = session.ssh
        own = session.config.base_ssh_config.lookup(spec.host)
        exclusive = own.get("identitiesonly", "no") == "yes"
        kwargs: dict[str, Any] = {
            "banner_timeout": ssh.connect_timeout,
            "auth_timeout": ssh.connect_timeout,
            "channel_timeout": ssh.connect_timeout,
            "allow_agent": not exclusive,
            "look_for_keys": not exclusive,
            **(session.connect_kwargs if connect_kwargs is None else connect_kwargs),
        }
        if ssh.identity:
            given = kwargs.get("key_filename") or []
            given = [given] if isinstance(given, str) else list(given)
            kwargs["key_filename"] = [*given, ssh.identity]
        super().__init__(
            spec.host,
            user=spec.user or ssh.user or None,
            port=spec.port or ssh.port or None,
            config=session.config,
            gateway=gateway if gateway is not None else (gateway_for(spec, session) or False),
            connect_timeout=ssh.connect_timeout,
            connect_kwargs=kwargs,
        )
        keys = self.connect_kwargs.get("key_filename", [])
        # as OpenSSH does: an IdentityFile that is not there is passed over
        self.connect_kwargs["key_filename"] = [key for key in keys if Path(key).expanduser().is_file()]
        for name, value in (("label", spec.name), ("session", session)):
            object.__setattr__(self, name, value)

    def open(self) -> None:
        """Connects, unless connected.

        Raises StepError: unreachable, refused, a host key that is unknown or changed, or a login
        that failed. What sshd drops because too many come at once is tried again.
        """
        if self.is_connected:
            return
        if isinstance(self.gateway, Node):
            self.gateway.open_as_gateway()
        if missing := self.session.missing_file():
            raise StepError(f"{missing} does not exist", unreachable=True)
        for pause in (*BACK_OFF, None):
            began = monotonic()
            try:
                self._connect()
            except (paramiko.SSHException, OSError, EOFError, UnicodeError) as error:
                # sshd drops at once; what was silent until the timeout will be so again
                at_once = monotonic() - began < self.connect_timeout
                if pause is None or not at_once or not _worth_another_try(error):
                    raise self._explain(error) from None
                sleep(pause)
            else:
                return

    def open_as_gateway(self) -> None:
        """Connects once for all nodes behind it; if that fails, it fails for all of them at once."""
        with self.session.gateways_lock:  # two threads must not open one connection
            if self._never_opened:
                raise self._never_opened
            try:
                self.open()
            except StepError as error:
                message = f"the gateway {self.label}: {error.message}"
                failed = StepError(message, hint=error.hint, unreachable=True)
                object.__setattr__(self, "_never_opened", failed)
                raise failed from None

    def _connect(self) -> None:
        name = lookup_name(self.host, self.port)
        self.session.known_hosts.prepare(self.client, name, self.ssh_config)
        object.__setattr__(self, "_sftp", None)  # one of an earlier connection is dead
        super().open()
        transport = self.client.get_transport()
        transport.set_keepalive(KEEPALIVE)
        if isinstance(transport.sock, socket.socket):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def _explain(self, error: Exception) -> StepError:
        where = f"{self.host}:{self.port}"
        if isinstance(error, paramiko.BadHostKeyException):
            return changed_key(lookup_name(self.host, self.port), error.key, error.expected_key)
        if isinstance(error, paramiko.AuthenticationException):
            message = f"{self.user}@{where} refused the login: {error}"
            return StepError(message, hint=_AUTH_HINT, unreachable=True)
        if isinstance(error, socket.gaierror):
            message = f"the name {self.host} cannot be resolved: {error.strerror}"
            return StepError(message, unreachable=True)
        if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
            error = next(iter(error.errors.values()))
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return StepError(f"cannot connect to {where}: {why}", unreachable=True)

    def sh(
        self,
        script: str,
        *,
        root: bool = True,
        timeout: float | None = 90,
        each_line: Callable[[str], None] | None = None,
        check: bool = True,
        tail: int = 5,
    ) -> Ended:
        """Runs a POSIX sh script, as root unless `root` is false; `timeout` is in seconds.

        Raises StepError when it does not end with status 0 (unless `check` is false), does not end
        in time, or the connection breaks; its last `tail` lines of output are in the error.
        """
        self.open()
        kwargs: dict[str, Any] = {"hide": True, "warn": True, "in_stream": False, "timeout": timeout}
        if each_line:
            kwargs |= {"hide": "stderr", "out_stream": Lines(each_line)}
        try:
            result = self._run_as(commands.shell(script), root and self.session.ssh.sudo, kwargs)
        except invoke.exceptions.CommandTimedOut as error:
            tail_text = last_lines(error.result.stderr or error.result.stdout, tail)
            raise StepError(f"did not end within {timeout:g} s", command=script, tail=tail_text) from None
        except (invoke.exceptions.ThreadException, paramiko.SSHException, OSError, EOFError) as error:
            raise StepError(f"the connection broke: {_reason(error)}", command=script) from None
        ended = Ended(result.return_code, result.stdout, result.stderr)
        if ended.status < 0:
            raise StepError("the connection broke while the command ran", command=script)
        if check and ended.status:
            raise self._failed(script, ended, tail)
        return ended

    def _run_as(self, command: str, sudo: bool, kwargs: dict[str, Any]) -> Any:
        if not sudo:
            return self.run(command, **kwargs)
        if self.config.sudo.password is None:
            return self.run(f"sudo -n {command}", **kwargs)
        self.session.sudo_gate.pass_through(self)
        return self.sudo(command, **kwargs)

    def _failed(self, script: str, ended: Ended, tail: int) -> StepError:
        hint = ""
        if self.session.ssh.sudo and "sudo:" in ended.stderr:
            hint = f"let {self.user} use sudo without a password, or fab --prompt-for-sudo-password"
        return StepError(
            f"ended with status {ended.status}",
            command=script,
            status=ended.status,
            tail=last_words(ended, tail),
            hint=hint,
        )

    def survey(self, proxy: Proxy) -> Facts:
        """The node's facts, read in one round trip and kept until `forget`.

        Raises StepError when the login is not root's and hosts.toml does not ask for sudo.
        """
        seen = self._facts
        if seen is None:
            seen = facts.parse(self.sh(commands.survey(proxy), timeout=30).stdout)
            if seen.uid != 0:
                raise StepError(
                    f"logged in as {self.user}, who is not root",
                    hint='set ssh.user = "root", or ssh.sudo = true, in hosts.toml',
                )
            object.__setattr__(self, "_facts", seen)
        return seen

    def forget(self) -> None:
        """What was known may have changed: the next `survey` looks again."""
        object.__setattr__(self, "_facts", None)

    def ship(self, content: bytes, path: str, mode: str, known: Facts) -> bool:
        """Puts a file in place, owned by root; true if it was not there already, byte for byte.

        Raises StepError, as `send` does.
        """
        wanted = sha256(content).hexdigest(), mode.lstrip("0")
        if known.files.get(path) == wanted:
            return False
        self.send(content, path, mode)
        object.__setattr__(self, "_facts", replace(known, files={**known.files, path: wanted}))
        return True

    def send(self, content: bytes, path: str, mode: str, root: bool = True) -> None:
        """Uploads to a temporary name, checks the sha256 on the host, renames over `path`.

        Raises StepError: the folder is missing, not writable or full, or other bytes arrived.
        """
        self.open()
        folder, name = path.rsplit("/", 1)
        token = secrets.token_hex(4)
        through_tmp = root and self.session.ssh.sudo
        # the name is random, and opened with O_EXCL
        upload = f"/tmp/kube-nginx.{token}" if through_tmp else f"{folder}/.{name}.{token}"  # noqa: S108
        self._upload(content, upload)
        digest = sha256(content).hexdigest()
        self.sh(commands.install(upload, path, digest, mode, "0:0" if root else ""), root=root)

    def _upload(self, content: bytes, path: str) -> None:
        try:
            with self.sftp().open(path, "wx") as file:
                file.set_pipelined(True)
                file.write(content)
        except FileNotFoundError:
            raise StepError(
                f"{path.rsplit('/', 1)[0]} does not exist", hint="make it first: fab mkdir"
            ) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise StepError(f"cannot write {path}: {_reason(error)}") from None

    def fetch(self, path: str) -> bytes:
        """A file's content. Raises StepError."""
        try:
            with self.sftp().open(path, "rb") as file:
                file.prefetch()
                return bytes(file.read())
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise StepError(f"cannot read {path}: {_reason(error)}") from None

    def answers(self, listener: Endpoint, timeout: float = 5) -> bool | None:
        """Whether a TCP connection on the node to its own `listener` is accepted.

        It is opened by sshd (direct-tcpip), so nothing is needed on the node; None if sshd forbids it.
        """
        host = _REACHED_AT.get(listener.host, listener.host)
        try:
            self.transport.open_channel(
                "direct-tcpip", (host, listener.port), ("127.0.0.1", 0), timeout=timeout
            ).close()
        except paramiko.ChannelException as error:
            return None if error.code == 1 else False
        except (paramiko.SSHException, OSError, EOFError):
            return False
        return True


def gateway_for(spec: NodeSpec, session: Session) -> Node | str | None:
    """The jump host (or ProxyCommand) for a node; one connection serves all nodes behind it.

    hosts.toml's ssh.gateway wins over ssh_config's ProxyJump and ProxyCommand.
    """
    own = session.config.base_ssh_config.lookup(spec.host)
    jump = session.ssh.gateway or str(own.get("proxyjump", "none"))
    if jump != "none":
        return _gateway(jump, spec.host, session)
    command = str(own.get("proxycommand", "none"))
    return command if command != "none" else None


def _gateway(jump: str, behind: str, session: Session) -> Node | None:
    """The last hop of `jump` (ssh_config(5), ProxyJump), itself reached through the earlier ones."""
    earlier, _, last = jump.rpartition(",")
    try:
        spec = parse_node(last.strip().removeprefix("ssh://"))
    except ValueError as error:
        raise UsageError(f"the gateway of {behind}: {last}: {error}") from None
    if spec.host == behind:
        return None
    with session.gateways_lock:
        if jump not in session.gateways:
            via = _gateway(earlier, spec.host, session) if earlier else None
            session.gateways[jump] = Node(spec, session, gateway=via or False)
        gateway: Node = session.gateways[jump]
        return gateway


def _worth_another_try(error: BaseException) -> bool:
    if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
        return any(isinstance(e, ConnectionRefusedError) for e in error.errors.values())
    return isinstance(error, ConnectionResetError) or "SSH protocol banner" in str(error)


def _reason(error: BaseException) -> str:
    if isinstance(error, invoke.exceptions.ThreadException):
        error = error.exceptions[0].value  # its own text is a traceback
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
