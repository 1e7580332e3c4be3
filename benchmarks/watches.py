"""Watches: kubectl's, and plain ones of which this process can hold many."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Sequence
from contextlib import suppress

from benchmarks.clients import Address

# A reflector of client-go waits 0.8 s before it lists and watches again.
PAUSE = 0.8
PATH = "/api/v1/namespaces/default/configmaps"
READY = 60.0


class Kubectl:
    """`kubectl get configmaps --watch`, started again `PAUSE` seconds after it has ended if `again`.

    It must run while the `async with` block does. `ended`: of each end, when, with which status, and
    the last line on stderr.
    """

    def __init__(self, kubectl: Sequence[str], *, again: bool = False) -> None:
        watch = ("--namespace=default", "get", "configmaps", "--watch", "--output=name")
        self._command = ["setpriv", "--pdeathsig", "KILL", "--", *kubectl, *watch]
        self._again = again
        self.ended: list[tuple[float, int, str]] = []
        self._seen: dict[str, asyncio.Future[float]] = {}

    async def __aenter__(self) -> Kubectl:
        self._process = await self._start()
        self._runs = asyncio.create_task(self._run())
        await asyncio.wait_for(self.seen("first"), READY)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._runs.cancel()
        with suppress(asyncio.CancelledError):
            await self._runs
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.communicate()

    def seen(self, name: str) -> asyncio.Future[float]:
        """When the configmap of this name was first seen (CLOCK_MONOTONIC)."""
        return self._seen.setdefault(name, asyncio.get_running_loop().create_future())

    async def _start(self) -> asyncio.subprocess.Process:
        pipe = asyncio.subprocess.PIPE
        nothing = asyncio.subprocess.DEVNULL
        return await asyncio.create_subprocess_exec(*self._command, stdin=nothing, stdout=pipe, stderr=pipe)

    async def _run(self) -> None:
        while True:
            await self._read(self._process)
            _, said = await self._process.communicate()
            last = said.decode(errors="replace").strip().splitlines()[-1:]
            self.ended.append((time.monotonic(), self._process.returncode or 0, "".join(last)))
            if not self._again:
                return
            await asyncio.sleep(PAUSE)
            self._process = await self._start()

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            one = self.seen(line.decode().strip().removeprefix("configmap/"))
            if not one.done():
                one.set_result(time.monotonic())


class Plain:
    """A watch over HTTP/1.1 of this process; `ended`: when, and the error, "" if it was closed."""

    def __init__(self, address: Address, context: ssl.SSLContext) -> None:
        self._address, self._context = address, context
        self.ended: tuple[float, str] | None = None

    async def __aenter__(self) -> Plain:
        self._reader, self._writer = await asyncio.open_connection(*self._address, ssl=self._context)
        self._writer.write(f"GET {PATH}?watch=1 HTTP/1.1\r\nHost: kubernetes\r\n\r\n".encode())
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
