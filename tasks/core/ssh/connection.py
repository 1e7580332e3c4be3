"""An SSH connection that checks host keys, shares gateways, and explains why it could not be made."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from random import uniform
from shlex import split
from time import monotonic, sleep
from typing import Any

import fabric
import paramiko

from ..config.address import NodeSpec, parse_node
from ..config.model import expanded
from ..errors import StepError, UsageError, reason
from ..shell.delays import CAUSES, Delays
from .hostkeys import HostKey
from .options import key_files
from .session import Session

KEEPALIVE = 10  # seconds between questions to a host from which nothing has come
GONE_AFTER = 15  # seconds without an acknowledgement, after which a host is taken for gone
BACK_OFF = (0.2, 2.0)  # seconds: the longest pause before the second try, and before any
REFUSED_FOR = 3.0  # seconds in which a rebooting sshd may begin to listen
_AUTH_HINT = "set ssh.user or ssh.identity in hosts.toml, or IdentityFile in ssh_config"


class Link(fabric.Connection):  # type: ignore[misc]
    """A connection to one host. `label` is its name in reports; everything else is Fabric's."""

    label: str
    session: Session
    host_key: HostKey
    delays: Delays
    # Fabric's connections are equal when user, host and port are; two nodes behind two gateways may be so
    __eq__ = object.__eq__
    __hash__ = object.__hash__
    _not_opened: tuple[float, StepError] | None = None

    def __init__(
        self,
        spec: NodeSpec,
        session: Session,
        gateway: fabric.Connection | str | bool | None = None,
        connect_kwargs: dict[str, Any] | None = None,
        connect_timeout: int | None = None,
        forward_agent: bool | None = None,
    ) -> None:
        ssh = session.ssh
        own = session.ssh_config.lookup(spec.host)
        exclusive = own.get("identitiesonly", "no") == "yes"
        seconds = connect_timeout or session.connect_timeout(own)
        given = session.options.connect_kwargs if connect_kwargs is None else connect_kwargs
        if forward_agent is None:  # Fabric falls over a `true`, and over the name of a socket
            setting = str(own.get("forwardagent", session.config.forward_agent))
            forward_agent = setting.lower() in ("yes", "true")
        super().__init__(
            spec.host,
            user=spec.user or ssh.user or None,
            port=spec.port or ssh.port or None,
            config=session.config,
            gateway=_gateway_for(spec, session, own) if gateway is None else gateway,
            forward_agent=forward_agent,
            connect_timeout=seconds,
            connect_kwargs={
                **dict.fromkeys(("banner_timeout", "auth_timeout", "channel_timeout"), seconds),
                **dict.fromkeys(("allow_agent", "look_for_keys"), not exclusive),
                **given,
                "key_filename": key_files(given.get("key_filename"), ssh.identity),
            },
        )
        host_key = HostKey(session.known_hosts, spec.host, self.host, self.port, self.user, self.ssh_config)
        self._set(label=spec.name, session=session, host_key=host_key, delays=Delays())
        self.connect_kwargs["transport_factory"] = host_key.transport
        # as OpenSSH does: an IdentityFile that is not there is passed over
        keys = self.connect_kwargs.get("key_filename", [])
        self.connect_kwargs["key_filename"] = [key for key in keys if expanded(key).is_file()]

    def open(self) -> None:
        """Connects, unless connected.

        Raises StepError: unreachable, refused, a host key that is unknown or changed, or a login
        that failed. What sshd drops because too many come at once (MaxStartups) is tried again until
        its connect_timeout's seconds have passed, what is refused for 3 s at most.
        """
        if self.is_connected:
            return
        if isinstance(self.gateway, Link):
            self.gateway.open_as_gateway()
        if missing := self.session.missing_file():
            raise StepError(missing, unreachable=True)
        began, (pause, longest) = monotonic(), BACK_OFF
        while True:
            try:
                self._connect()
            except (paramiko.SSHException, OSError, EOFError, UnicodeError) as error:
                left = began + self._retried_for(error) - monotonic()
                if left <= 0:
                    raise self._explain(error) from None
            else:
                return
            # random, or all that were dropped together would come back together
            sleep(min(uniform(0, pause), left))  # noqa: S311 - nothing secret
            pause = min(pause * 2, longest)

    def hang_up(self) -> None:
        """Ends the connection below, or `close` would wait until paramiko's thread looks at it again."""
        sock = self.transport.sock if self.is_connected else None
        if isinstance(sock, socket.socket):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def open_as_gateway(self) -> None:
        """Connects once for all nodes behind it; if that fails, it fails for all that ask soon after."""
        with self.session.gateways_lock:  # two threads must not open one connection
            if self._not_opened and monotonic() - self._not_opened[0] < self.connect_timeout:
                raise self._not_opened[1].with_traceback(None)
            try:
                self.open()
            except StepError as error:
                message = f"the gateway {self.label}: {error.message}"
                failed = StepError(message, hint=error.hint, unreachable=True)
                self._set(_not_opened=(monotonic(), failed))
                raise failed from None

    def _connect(self) -> None:
        self.client.set_missing_host_key_policy(self.host_key)
        began = monotonic()
        try:
            super().open()
        except BaseException:
            self.client.close()  # or paramiko reads the end of a ProxyCommand again and again
            raise
        self.delays.add("login", monotonic() - began)
        transport = self.client.get_transport()
        transport.set_keepalive(KEEPALIVE)
        if isinstance(transport.sock, socket.socket):
            transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; elsewhere the timeouts of each step remain
                transport.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_AFTER * 1000)

    def _retried_for(self, error: BaseException) -> float:
        """For how many seconds after the first try `error` may still be cured by another one."""
        if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
            refused = any(isinstance(e, ConnectionRefusedError) for e in error.errors.values())
            return min(REFUSED_FOR, self.connect_timeout) if refused else 0
        dropped = isinstance(error, ConnectionResetError) or "SSH protocol banner" in str(error)
        return float(self.connect_timeout) if dropped else 0

    def _explain(self, error: Exception) -> StepError:
        where, hint = f"{self.host}:{self.port}", ""
        if isinstance(error, paramiko.AuthenticationException) and "timeout" in str(error).lower():
            message = f"{self.user}@{where} did not answer the login within {self.connect_timeout} s"
            hint = f"{CAUSES['login']}; or wait longer: ssh.connect_timeout in hosts.toml"
        elif isinstance(error, paramiko.AuthenticationException):
            message, hint = f"{self.user}@{where} refused the login: {error}", _AUTH_HINT
        elif isinstance(error, socket.gaierror):
            message = f"the name {self.host} cannot be resolved: {error.strerror}"
        elif isinstance(error, paramiko.ChannelException) and isinstance(self.gateway, Link):
            message = f"the gateway {self.gateway.label} does not connect to {where}: {reason(error)}"
            hint = "what does its sshd_config say of AllowTcpForwarding and PermitOpen, and is the node up?"
        else:
            if isinstance(error, paramiko.ssh_exception.NoValidConnectionsError):
                error = next(iter(error.errors.values()))
            message = f"cannot connect to {where}: {reason(error)}"
        return StepError(message, hint=hint, unreachable=True)


def _gateway_for(spec: NodeSpec, session: Session, own: Mapping[str, Any]) -> Link | str | bool:
    """The jump host (or ProxyCommand) for a node; one connection serves all nodes behind it.

    hosts.toml's ssh.gateway wins over ssh_config's ProxyJump and ProxyCommand, those over Fabric's setting.
    """
    jump = session.ssh.gateway or str(own.get("proxyjump", "none"))
    if jump != "none":
        return _gateway(jump, spec.host, session) or False
    setting = None if "proxyjump" in own else session.options.get("gateway")
    command = str(own.get("proxycommand", setting) or "none")
    try:
        split(command)
    except ValueError as error:
        raise UsageError(f"the ProxyCommand of {spec.host}: {command}: {error}") from None
    return command if command != "none" else False


def _gateway(jump: str, behind: str, session: Session) -> Link | None:
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
            session.gateways[jump] = Link(spec, session, gateway=via or False)
        gateway: Link = session.gateways[jump]
        return gateway
