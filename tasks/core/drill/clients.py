"""Clients of a node's own listener, as kubelet is one: new connections all the time, and lasting sessions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from threading import Event, Lock, Thread
from time import monotonic
from typing import Self

import paramiko

from ..config.address import Endpoint
from ..probes.prober import PATH
from ..probes.result import Reason, Unreached
from ..probes.tunnel import Tunnel

EVERY = 0.1  # seconds from one request to the next
_TIMEOUT = 5.0  # seconds that a request on a new connection may take
_LONG = 3600.0  # a session waits as long as the drill lasts


@dataclass(slots=True)
class Request:
    """One request. Times are those of `monotonic`; `ended` is None while it waits; `error` is why it failed.

    `session` is the number of the kept-alive session that it was on, None for a connection of its own.
    """

    began: float
    session: int | None = None
    ended: float | None = None
    error: str = ""

    @property
    def seconds(self) -> float:
        """How long it took, or has taken until now."""
        return (self.ended or monotonic()) - self.began


class Clients:
    """At work while its `with` block runs; a session that cannot be opened is left out."""

    def __init__(self, transport: paramiko.Transport, listener: Endpoint, sessions: int) -> None:
        self._transport = transport
        self._listener = listener
        self._sessions = sessions
        self._requests: list[Request] = []
        self._lock = Lock()
        self._over = Event()
        self._tunnels: list[Tunnel] = []

    @property
    def connected(self) -> bool:
        """Whether the SSH connection lives, without which nothing is known of the proxy."""
        return bool(self._transport.is_active())

    def requests(self) -> list[Request]:
        """All of them so far."""
        with self._lock:
            return list(self._requests)

    def reopen(self) -> None:
        """Gives up all sessions, and what was seen of them, and opens new ones."""
        with self._lock:
            self._requests = [request for request in self._requests if request.session is None]
            given_up, self._tunnels = self._tunnels, []
        for tunnel in given_up:
            tunnel.close()
        for number in range(self._sessions):
            with suppress(Unreached):
                tunnel = Tunnel(self._transport, self._listener, _TIMEOUT)
                self._tunnels.append(tunnel)
                _start(self._stay, tunnel, number)

    def __enter__(self) -> Self:
        self.reopen()
        _start(self._come_and_go)
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        for tunnel in self._tunnels:
            tunnel.close()

    def _come_and_go(self) -> None:
        """A new connection for each request, however long the earlier ones take."""
        due = monotonic()
        while not self._over.wait(max(0.0, due - monotonic())):
            due = max(due + EVERY, monotonic())
            _start(self._once)

    def _once(self) -> None:
        request = Request(monotonic())
        with self._lock:
            self._requests.append(request)
        with self._noted(request), Tunnel(self._transport, self._listener, _TIMEOUT) as tunnel:
            _get(tunnel, max(round(request.began + _TIMEOUT - monotonic(), 1), 0.1))

    def _stay(self, tunnel: Tunnel, number: int) -> None:
        limit = _LONG
        while not self._over.is_set():
            request = Request(monotonic(), number)
            with self._lock:
                if tunnel not in self._tunnels:
                    return
                self._requests.append(request)
            with self._noted(request):
                _get(tunnel, limit)
            if request.error:
                tunnel, limit = self._instead_of(tunnel), _TIMEOUT
            self._over.wait(max(0.0, request.began + EVERY - monotonic()))

    def _instead_of(self, ended: Tunnel) -> Tunnel:
        """A new session in the place of one that has ended; that one, if there can be none."""
        with suppress(Unreached):
            tunnel = Tunnel(self._transport, self._listener, _TIMEOUT)
            with self._lock:
                if ended in self._tunnels and not self._over.is_set():
                    self._tunnels[self._tunnels.index(ended)] = tunnel
                    ended.close()
                    return tunnel
            tunnel.close()
        return ended

    @contextmanager
    def _noted(self, request: Request) -> Iterator[None]:
        """Notes in `request` how what is done meanwhile has ended."""
        error = ""
        try:
            yield
        except Unreached as unreached:
            error = unreached.text
        if not self._over.is_set():  # what we broke off ourselves says nothing
            request.error, request.ended = error, monotonic()


def _get(tunnel: Tunnel, timeout: float) -> None:
    status = tunnel.get(PATH, timeout).status
    if status >= 500:
        raise Unreached(Reason.NOT_READY, status)


def _start(work: Callable[..., None], *given: object) -> None:
    Thread(target=work, args=given, daemon=True).start()
