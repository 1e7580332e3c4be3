"""To which apiserver connections go: the first one of each start, and many of one start."""

from __future__ import annotations

import asyncio
import socket
import time
from contextlib import ExitStack
from typing import Any

from benchmarks import netns
from benchmarks.bench import PROXY, Bench
from tasks.core.config.address import APISERVER_PORT

STARTS = 300
SESSIONS = 300
PATIENCE = 5.0


async def first(bench: Bench, name: str) -> dict[str, Any]:
    """Start the proxy, open a connection, see where it goes, end the proxy: STARTS times."""
    configuration = bench.configuration(name)
    counts = dict.fromkeys(bench.servers, 0)
    for _ in range(STARTS // 20 if bench.quick else STARTS):
        with bench.proxy(configuration), _connect():
            counts[_settled(bench, 1)[0]] += 1
        await asyncio.sleep(0)  # for Ctrl-C
    return {"counts": list(counts.values())}


async def many(bench: Bench, name: str) -> dict[str, Any]:
    """Open SESSIONS connections through one proxy, one after the other, and see where they are."""
    with bench.proxy(bench.configuration(name)), ExitStack() as stack:
        for number in range(SESSIONS):
            stack.enter_context(_connect())
            found = _settled(bench, number + 1)
    return {"counts": [found.count(server) for server in bench.servers]}


def _connect() -> socket.socket:
    return socket.create_connection(PROXY, timeout=PATIENCE)


def _settled(bench: Bench, number: int) -> list[str]:
    """The server of each of the `number` sessions, once they are there; raises TimeoutError."""
    deadline = time.monotonic() + PATIENCE
    while len(found := netns.upstreams(list(bench.servers), APISERVER_PORT)) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(found)} of {number} sessions are there after {PATIENCE:g} s")
        time.sleep(0.0005)
    return list(found.values())
