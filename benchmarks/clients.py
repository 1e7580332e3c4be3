"""Clients of the proxy: a new TLS connection for every request, one HTTP/2 connection for all, a watch."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import ResponseReceived
from h2.exceptions import ProtocolError

LIMIT = 10.0
TICK = 0.02
READY = 60.0
# client-go's HTTP2_READ_IDLE_TIMEOUT_SECONDS and HTTP2_PING_TIMEOUT_SECONDS, as they are by default.
IDLE, PING = 30.0, 15.0
CONFIGMAPS = "/api/v1/namespaces/default/configmaps"
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Request:
    """A request: when it began (CLOCK_MONOTONIC), how long it took, in seconds; error is "" if it is good.

    `server` is who answered one with a connection of its own.
    """

    began: float
    seconds: float
    error: str = ""
    server: str = ""

    @property
    def ended(self) -> float:
        """When it was over."""
        return self.began + self.seconds


def tls(authority: Path, certificate: Path, *protocols: str) -> ssl.SSLContext:
    """A client's context: apiservers must be certified by `authority`; its own is certificate.crt."""
    context = ssl.create_default_context(cafile=str(authority))
    context.load_cert_chain(certificate.with_suffix(".crt"), certificate.with_suffix(".key"))
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context


async def timed(status: Awaitable[str]) -> Request:
    """A request that waits for a status of HTTP; whatever goes wrong is its error."""
    began, error = time.monotonic(), ""
    try:
        async with asyncio.timeout(LIMIT):
            answered = await status
        error = "" if answered.startswith("2") else f"answered {answered!r}"
    except (OSError, TimeoutError) as failure:
        error = type(failure).__name__
    return Request(began, time.monotonic() - began, error)


async def call(
    address: Address, context: ssl.SSLContext, what: str = "GET /readyz", body: str = ""
) -> Request:
    """A request over a new connection."""
    servers = [""]
    request = await timed(_exchange(address, context, what, body, servers))
    return replace(request, server=servers[-1])


async def _exchange(
    address: Address, context: ssl.SSLContext, what: str, body: str, servers: list[str]
) -> str:
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    try:
        servers.append(_name(writer))
        heads = f"Host: kubernetes\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        writer.write(f"{what} HTTP/1.1\r\n{heads}\r\nConnection: close\r\n\r\n{body}".encode())
        return (await reader.readline()).decode(errors="replace").strip().removeprefix("HTTP/1.1 ")
    finally:
        writer.transport.abort()


def _name(writer: asyncio.StreamWriter) -> str:
    """The common name in the certificate of a connection's server."""
    subject = writer.get_extra_info("ssl_object").getpeercert()["subject"]
    return str(next(value for part in subject for key, value in part if key == "commonName"))


class Stream:
    """A request every `tick` seconds, whatever becomes of those before it, while the `async with` block runs.

    A tick that this process is late for by more than a tick is left out. At the end of the block it
    waits for the answers that are still to come.
    """

    def __init__(self, send: Callable[[], Awaitable[Request]], tick: float = TICK) -> None:
        self.seen: list[Request] = []
        self._send, self._tick = send, tick
        self._open: set[asyncio.Future[Request]] = set()

    async def __aenter__(self) -> Stream:
        self._runs = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._runs.cancel()
        with suppress(asyncio.CancelledError):
            await self._runs
        await asyncio.gather(*self._open)

    def since(self, began: float) -> list[Request]:
        """The requests that began at `began` or later, and are over."""
        return [request for request in self.seen if request.began >= began]

    def again(self, since: float) -> float | None:
        """Seconds from `since` until the first good answer to a request that began after it."""
        return min((one.ended - since for one in self.since(since) if not one.error), default=None)

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            if time.monotonic() - due < self._tick:
                one = asyncio.ensure_future(self._send())
                self._open.add(one)
                one.add_done_callback(self._close)
            due += self._tick
            await asyncio.sleep(due - time.monotonic())

    def _close(self, one: asyncio.Future[Request]) -> None:
        self._open.discard(one)
        if not one.cancelled():
            self.seen.append(one.result())


class Kept:
    """Sends all its requests over one HTTP/2 connection, and opens another when it has ended.

    As client-go does, it sends a PING after `idle` seconds without a frame, and gives the connection up if
    nothing comes for `ping` seconds more.
    """

    def __init__(
        self, address: Address, context: ssl.SSLContext, idle: float = IDLE, ping: float = PING
    ) -> None:
        self._address, self._context, self._idle, self._ping = address, context, idle, ping
        self._opening = asyncio.Lock()
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._tasks: list[asyncio.Task[None]] = []
        self.is_open = False
        self.opened = 0

    async def open(self) -> str:
        """Connect, unless connected; the name in the server's certificate. Raises OSError."""
        async with self._opening:
            if not self.is_open:
                self._reader, self._writer = await asyncio.open_connection(*self._address, ssl=self._context)
                self._h2 = H2Connection(H2Configuration(client_side=True))
                self._h2.initiate_connection()
                self._writer.write(self._h2.data_to_send())
                self._last = time.monotonic()
                self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]
                self.is_open = True
                self.opened += 1
        return _name(self._writer)

    async def get(self) -> Request:
        """GET /readyz."""
        return await timed(self._status())

    def close(self) -> None:
        """End its connection; requests under way fail."""
        if self.is_open:
            self.is_open = False
            self._writer.transport.abort()
            for task in self._tasks:
                task.cancel()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError())

    async def _status(self) -> str:
        await self.open()
        h2 = self._h2
        number = h2.get_next_available_stream_id()
        heads = [(":method", "GET"), (":path", "/readyz"), (":scheme", "https"), (":authority", "kubernetes")]
        h2.send_headers(number, heads, end_stream=True)
        self._writer.write(h2.data_to_send())
        self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            return await self._answers[number]
        except asyncio.CancelledError:  # by its limit of time
            with suppress(ProtocolError):
                h2.reset_stream(number)
            raise
        finally:
            del self._answers[number]

    async def _read(self) -> None:
        with suppress(OSError, ProtocolError):
            while data := await self._reader.read(65536):
                self._last = time.monotonic()
                for event in self._h2.receive_data(data):
                    if isinstance(event, ResponseReceived) and event.stream_id in self._answers:
                        heads = dict(event.headers or ())
                        self._answers[event.stream_id].set_result(bytes(heads[b":status"]).decode())
                self._writer.write(self._h2.data_to_send())
        self.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._last + self._idle - time.monotonic()))
            asked = time.monotonic()
            if asked - self._last >= self._idle:
                self._h2.ping(b"kube-ngx")
                self._writer.write(self._h2.data_to_send())
                await asyncio.sleep(self._ping)
                if self._last < asked:
                    self.close()


class Watch:
    """A watch over HTTP/1.1; `ended`: when, and the error, "" if it was closed."""

    def __init__(self, address: Address, context: ssl.SSLContext) -> None:
        self._address, self._context = address, context
        self.ended: tuple[float, str] | None = None

    async def __aenter__(self) -> Watch:
        self._reader, self._writer = await asyncio.open_connection(*self._address, ssl=self._context)
        self._writer.write(f"GET {CONFIGMAPS}?watch=1 HTTP/1.1\r\nHost: kubernetes\r\n\r\n".encode())
        async with asyncio.timeout(READY):
            while b'"first"' not in (line := await self._reader.readline()):
                if not line:
                    raise ConnectionResetError("a watch was closed before it began")
        self._runs = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._runs.cancel()
        self._writer.transport.abort()

    async def _run(self) -> None:
        error = ""
        try:
            while await self._reader.read(65536):
                pass
        except OSError as failure:
            error = type(failure).__name__
        self.ended = time.monotonic(), error
