"""An SSH connection that checks host keys, shares gateways, and explains why it could not be made."""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from random import uniform
from threading import BoundedSemaphore, RLock
from time import monotonic, sleep
from typing import Any

import fabric
import paramiko

from ..config.address import NodeSpec
from ..errors import StepError, UsageError, reason
from ..login.given import Login
from ..login.given import given as given_keys
from ..login.strategy import Strategy
from ..openssh.host import HostConfig
from ..shell.delays import CAUSES, Delays
from ..transport import LOOK, Client
from .dial import Hop, Proxy, dial, jump_hosts, proxy_command
from .hostkeys import HostKey
from .options import key_files
from .session import MOST_HANDSHAKES, Session

KEEPALIVE = 10  # seconds between questions to a host from which nothing has come
BACK_OFF = (0.2, 2.0)  # seconds: the longest pause before the second try, and before any
REFUSED_FOR = 3.0  # seconds in which a rebooting sshd may begin to listen
_AUTH_HINT = "set ssh.user or ssh.identity in hosts.toml, or IdentityFile in ssh_config"


class Link(fabric.Connection):  # type: ignore[misc]
    """A connection to one host. `label` is its name in reports; everything else is Fabric's."""

    label: str
    session: Session
    host_config: HostConfig
    host_key: HostKey
    delays: Delays
    transport: Any
    login: Login
    handshakes: BoundedSemaphore
    # Fabric's connections are equal when user, host and port are; two nodes behind two gateways may be so
    __eq__ = object.__eq__
    __hash__ = object.__hash__
    _not_opened: tuple[float, StepError] | None = None
    _proxy: Proxy | None = None
    _said = ""
    _agent_handler: Any

    def __init__(
        self,
        spec: NodeSpec,
        session: Session,
        gateway: fabric.Connection | str | bool | None = None,
        connect_kwargs: dict[str, Any] | None = None,
        connect_timeout: int | None = None,
        forward_agent: bool | None = None,
        host_config: HostConfig | None = None,
    ) -> None:
        config = session.host_config(spec) if host_config is None else host_config
        seconds = connect_timeout or session.connect_timeout(config)
        given = session.options.connect_kwargs if connect_kwargs is None else connect_kwargs
        files = key_files(given.get("key_filename"), session.ssh.identity)
        forwards = config.get("ForwardAgent", "yes" if session.config.forward_agent else "no")
        self.label, self.session, self.host_config, self.delays = spec.name, session, config, Delays()
        self.host_key = HostKey(session.known_hosts, config, session.accepts_new(config))
        gate = session.password_gate(config.user)
        self.login = Login(config, session.keyring, given_keys(given, tuple(files)), gate, seconds)
        self.handshakes = BoundedSemaphore(MOST_HANDSHAKES)
        self._opening = RLock()
        super().__init__(
            config.hostname,
            user=config.user,
            port=config.port,
            config=session.config,
            gateway=_gateway_for(config, session) if gateway is None else gateway,
            forward_agent=forwards != "no" if forward_agent is None else forward_agent,
            connect_timeout=seconds,
            connect_kwargs={
                **dict.fromkeys(("banner_timeout", "auth_timeout", "channel_timeout"), seconds),
                **given,
                "key_filename": files,
                "transport_factory": self.host_key.transport,
                "compress": config.says("Compression") or given.get("compress", False),
                "auth_strategy": Strategy(self.login),
            },
        )
        self.client = Client()
        self.client.set_missing_host_key_policy(self.host_key)

    def __setattr__(self, name: str, value: object) -> None:
        object.__setattr__(self, name, value)  # Invoke has what no class knows become a setting, for all

    def resolve_connect_kwargs(self, connect_kwargs: dict[str, Any]) -> dict[str, Any]:
        """All of them: what Fabric would add from settings and ssh_config is ours to read."""
        return connect_kwargs

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

    def open_gateway(self) -> Any:
        """What the connection is made over: a ProxyCommand's socket, or a channel of the jump host."""
        if isinstance(self.gateway, str):
            proxy = Proxy(self.gateway)
            self._proxy = proxy
            return proxy.socket
        if isinstance(self.gateway, Link):
            self.gateway.open_as_gateway()
        channel = super().open_gateway()
        channel._set_transport(Hop(channel.transport))
        return channel

    def close(self) -> None:
        """Ends the connection, and its ProxyCommand."""
        self.hang_up()
        if self.transport:
            # its thread, about to read, would else wait for what has the socket's number next
            self.transport.join(LOOK)
        self.client.close()
        super().close()
        if self._agent_handler:  # Fabric's own, which it closes only while there is a connection
            self._agent_handler.close()
            self._agent_handler = None
        self.transport = None  # with all that it held
        proxy, self._proxy = self._proxy, None
        if proxy:
            self._said = proxy.close()

    def hang_up(self) -> None:
        """Ends the connection below, at which paramiko's thread ends."""
        sock = self.transport.sock if self.is_connected else None
        if isinstance(sock, socket.socket | paramiko.Channel):
            with suppress(OSError, EOFError):
                sock.shutdown(socket.SHUT_RDWR)

    def open_as_gateway(self) -> None:
        """Connects once for all nodes behind it; if that fails, it fails for all that ask soon after."""
        with self._opening:  # two threads must not open one connection
            if self._not_opened and monotonic() - self._not_opened[0] < self.connect_timeout:
                raise self._not_opened[1].with_traceback(None)
            try:
                self.open()
            except StepError as error:
                message = f"the gateway {self.label}: {error.message}"
                failed = StepError(message, hint=error.hint, unreachable=True)
                self._not_opened = (monotonic(), failed)
                raise failed from None

    def _connect(self) -> None:
        try:
            with self._slot():
                began = monotonic()
                if not self.gateway:
                    self.connect_kwargs["sock"] = dial(self.host_config, self.connect_timeout)
                super().open()
        except BaseException:
            self.close()
            raise
        self.delays.add("login", monotonic() - began - self.login.waited)
        keepalive = self.host_config.seconds("ServerAliveInterval") or KEEPALIVE
        self.client.get_transport().settle(keepalive)

    def _slot(self) -> AbstractContextManager[Any]:
        """What bounds how many shake hands at a time through one jump host, or by ProxyCommands."""
        if isinstance(self.gateway, Link):
            return self.gateway.handshakes
        return self.session.handshakes if isinstance(self.gateway, str) else nullcontext()

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
            if isinstance(self.gateway, str):
                message += f"; its ProxyCommand says: {self._said}" if self._said else "; by its ProxyCommand"
        return StepError(message, hint=hint, unreachable=True)


def _gateway_for(config: HostConfig, session: Session, seen: tuple[str, ...] = ()) -> Link | str | bool:
    """The jump host (or ProxyCommand) of a host; one connection serves all that are behind it.

    `seen` are the hosts behind it, the farthest first. Raises UsageError.
    """
    if hops := jump_hosts(config, "" if seen else session.ssh.gateway):
        return _jump_host(hops, session, (*seen, config.name))
    return proxy_command(config, None if seen else session.options.get("gateway")) or False


def _jump_host(hops: Sequence[NodeSpec], session: Session, seen: tuple[str, ...]) -> Link:
    """The last of `hops`, reached through the earlier ones; the first as its own ssh_config says."""
    *earlier, last = hops
    if last.host in seen:
        raise UsageError(f"the gateways of {seen[0]} form a circle: {' -> '.join((*seen, last.host))}")
    key = tuple(hops)
    with session.gateways_lock:
        if key not in session.gateways:
            config = session.host_config(last, jump_host=True)
            behind = (*seen, last.host)
            via = _jump_host(earlier, session, behind) if earlier else _gateway_for(config, session, seen)
            session.gateways[key] = Link(last, session, gateway=via, host_config=config)
        gateway: Link = session.gateways[key]
        return gateway
