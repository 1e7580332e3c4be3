"""A client with a new TLS connection for every request."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

LIMIT = 10.0
TICK = 0.02
Address = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Request:
    """A request: when it began (CLOCK_MONOTONIC), how long it took, in seconds; error is "" if it is good."""

    began: float
    seconds: float
    error: str = ""

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


def server_of(writer: asyncio.StreamWriter) -> str:
    """The name in the certificate of whoever is at the other end."""
    subject = writer.get_extra_info("ssl_object").getpeercert()["subject"]
    return str(next(value for part in subject for key, value in part if key == "commonName"))


async def get(address: Address, context: ssl.SSLContext, path: str = "/readyz") -> Request:
    """GET over a new connection; whatever goes wrong is in the request's error."""
    return await call(address, context, f"GET {path} HTTP/1.1")


async def call(address: Address, context: ssl.SSLContext, line: str, body: str = "") -> Request:
    """Any request over a new connection; answers of 2xx are good."""
    began = time.monotonic()
    error = ""
    try:
        async with asyncio.timeout(LIMIT):
            status = await _exchange(address, context, line, body)
        error = "" if status.startswith(b"HTTP/1.1 2") else f"answered {status!r}"
    except (OSError, TimeoutError) as failure:
        error = type(failure).__name__
    return Request(began, time.monotonic() - began, error)


async def _exchange(address: Address, context: ssl.SSLContext, line: str, body: str) -> bytes:
    reader, writer = await asyncio.open_connection(*address, ssl=context)
    try:
        heads = f"Host: kubernetes\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
        writer.write(f"{line}\r\n{heads}\r\nConnection: close\r\n\r\n{body}".encode())
        return await reader.readline()
    finally:
        writer.transport.abort()


class Stream:
    """A request every `tick` seconds, whatever becomes of those before it, while the `async with` block runs.

    A tick that this process is late for by more than a tick is left out. At the end of the block it
    waits for the answers that are still to come.
    """

    def __init__(self, send: Callable[[], asyncio.Future[Request]], tick: float = TICK) -> None:
        self.seen: list[Request] = []
        self._send = send
        self._tick = tick
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

    async def _run(self) -> None:
        due = time.monotonic()
        while True:
            if time.monotonic() - due < self._tick:
                one = self._send()
                self._open.add(one)
                one.add_done_callback(self._close)
            due += self._tick
            await asyncio.sleep(due - time.monotonic())

    def _close(self, one: asyncio.Future[Request]) -> None:
        self._open.discard(one)
        if not one.cancelled():
            self.seen.append(one.result())


def fresh(address: Address, context: ssl.SSLContext, tick: float = TICK) -> Stream:
    """A stream of GET /readyz, each over a connection of its own."""
    return Stream(lambda: asyncio.ensure_future(get(address, context)), tick)
