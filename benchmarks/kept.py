"""An HTTP/2 client that keeps its connection, and looks whether it lives as client-go does."""

from __future__ import annotations

import asyncio
import ssl
import time
from contextlib import suppress

from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, PingAckReceived, ResponseReceived, StreamEnded, StreamReset
from h2.exceptions import ProtocolError

from benchmarks.clients import LIMIT, Address, Request, server_of

# client-go's HTTP2_READ_IDLE_TIMEOUT_SECONDS and HTTP2_PING_TIMEOUT_SECONDS, as they are by default.
IDLE = 30.0
PING = 15.0


class Connection:
    """One connection with any number of requests at a time.

    It sends a PING after `idle` seconds without a frame, and is closed if nothing comes for `ping` more.
    """

    def __init__(
        self, streams: tuple[asyncio.StreamReader, asyncio.StreamWriter], idle: float, ping: float
    ) -> None:
        self._reader, self._writer = streams
        self._idle, self._ping = idle, ping
        self._h2 = H2Connection(H2Configuration(client_side=True))
        self._answers: dict[int, asyncio.Future[str]] = {}
        self._status: dict[int, str] = {}
        self._last = time.monotonic()
        self._h2.initiate_connection()
        self._flush()
        self._tasks = [asyncio.create_task(self._read()), asyncio.create_task(self._watch())]
        self.is_open = True

    @property
    def server(self) -> str:
        """The name in the server's certificate."""
        return server_of(self._writer)

    async def get(self, path: str) -> str:
        """The status of the answer; raises ConnectionError if the connection ends before it."""
        if not self.is_open:
            raise ConnectionResetError
        number = self._h2.get_next_available_stream_id()
        heads = [(":method", "GET"), (":path", path), (":scheme", "https"), (":authority", "kubernetes")]
        self._h2.send_headers(number, heads, end_stream=True)
        self._flush()
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        try:
            status: str = await answer
        except asyncio.CancelledError:
            with suppress(ProtocolError):
                self._h2.reset_stream(number)
                self._flush()
            raise
        finally:
            self._answers.pop(number, None)
        return status

    def close(self) -> None:
        """End it; requests under way fail."""
        self.is_open = False
        for task in self._tasks:
            task.cancel()
        self._writer.transport.abort()
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(ConnectionResetError())

    async def _read(self) -> None:
        with suppress(OSError, ProtocolError):
            while data := await self._reader.read(65536):
                self._last = time.monotonic()
                for event in self._h2.receive_data(data):
                    self._take(event)
                self._flush()
        self.close()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(max(0.0, self._last + self._idle - time.monotonic()))
            asked = time.monotonic()
            if asked - self._last < self._idle:
                continue
            self._h2.ping(b"kube-ngx")
            self._flush()
            await asyncio.sleep(self._ping)
            if self._last < asked:
                self.close()

    def _take(self, event: object) -> None:
        match event:
            case ResponseReceived(stream_id=number, headers=headers) if number and headers:
                self._status[number] = next(
                    _text(value) for name, value in headers if _text(name) == ":status"
                )
            case DataReceived(stream_id=number, flow_controlled_length=length) if number and length:
                self._h2.acknowledge_received_data(length, number)
            case StreamEnded(stream_id=number) if number in self._answers:
                self._answers[number].set_result(self._status.pop(number, ""))
            case StreamReset(stream_id=number) if number in self._answers:
                self._answers[number].set_exception(ConnectionResetError())
            case PingAckReceived():
                self._last = time.monotonic()

    def _flush(self) -> None:
        self._writer.write(self._h2.data_to_send())


def _text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


class Client:
    """Sends all its requests over one connection, and opens another when it has ended."""

    def __init__(
        self, address: Address, context: ssl.SSLContext, idle: float = IDLE, ping: float = PING
    ) -> None:
        self._address, self._context = address, context
        self._patience = idle, ping
        self._connection: Connection | None = None
        self._opening = asyncio.Lock()

    async def connection(self) -> Connection:
        """The connection, opened if there is none; raises OSError or TimeoutError."""
        async with self._opening:
            if self._connection is None or not self._connection.is_open:
                async with asyncio.timeout(LIMIT):
                    streams = await asyncio.open_connection(*self._address, ssl=self._context)
                self._connection = Connection(streams, *self._patience)
            return self._connection

    async def get(self, path: str = "/readyz") -> Request:
        """GET; whatever goes wrong is in the request's error."""
        began = time.monotonic()
        error = ""
        try:
            async with asyncio.timeout(LIMIT):
                status = await (await self.connection()).get(path)
            error = "" if status == "200" else f"answered {status}"
        except (OSError, TimeoutError) as failure:
            error = type(failure).__name__
        return Request(began, time.monotonic() - began, error)

    def close(self) -> None:
        """End its connection."""
        if self._connection:
            self._connection.close()
