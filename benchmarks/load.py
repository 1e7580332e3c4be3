"""What the proxy costs: memory, processor time, throughput, latency.

All but the latency of TLS requests is measured to plain TCP servers in the apiservers' place, so that
it is the proxy that is measured. The clients are not asyncio's, which would be slower than the proxy.
"""

from __future__ import annotations

import http.client
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from benchmarks import plain, stats
from benchmarks.bench import PROXY, Bench
from benchmarks.clients import Address
from benchmarks.configurations import OURS, Configuration
from benchmarks.proxies import Proxy
from tasks.core.config.address import APISERVER_PORT

PLAIN_PORT = 7000
MESSAGE = bytes(100)
COUNTS = (0, 100, 1000, 4000)
ENOUGH = 16384
ROOMS = (1024, 4096, 16384, 65536)
TRIED = 2500
SECONDS = 10.0
FLOOD_SECONDS = 3.0
ROUNDS = 3
REQUESTS = 3000
WAIT = 2.0


async def cost(bench: Bench, _: str) -> dict[str, Any]:
    """Memory and processor time at numbers of sessions, and how many the default allows."""
    ours = bench.configuration(OURS).on_port(PLAIN_PORT)
    with plain_servers(bench):
        roomy = ours.with_connections(ENOUGH)
        at = {str(number): _at(bench, roomy, number) for number in COUNTS}
        rooms = {str(number): _empty(bench, ours.with_connections(number)) for number in ROOMS}
        with bench.proxy(ours) as proxy, _sessions(TRIED) as sessions:
            _beat(sessions, 1)  # those that are there still work
            limit = {"tried": TRIED, "open": len(sessions), "bytes": proxy.memory()}
    return {"sessions": at, "worker_connections": rooms, "limit": limit, "enough": ENOUGH}


def _at(bench: Bench, configuration: Configuration, number: int) -> dict[str, Any]:
    seconds = 2.0 if bench.quick else SECONDS
    with bench.proxy(configuration) as proxy, _sessions(number) as sessions:
        idle = proxy.cpu()
        time.sleep(seconds)
        idle = proxy.cpu() - idle
        memory = proxy.memory()
        busy = proxy.cpu()
        exchanged = _beat(sessions, seconds)
        busy = proxy.cpu() - busy
        used = proxy.memory()
    return {
        "open": len(sessions),
        "bytes": memory,
        "bytes_used": used,
        "idle": idle / seconds,
        "busy": busy / seconds,
        "rate": exchanged / seconds,
    }


def _empty(bench: Bench, configuration: Configuration) -> int:
    with bench.proxy(configuration) as proxy:
        return proxy.memory()


def _beat(sessions: Sequence[socket.socket], seconds: float) -> int:
    """Send and get back a message a second on each session, evenly spread; raises OSError if one is dead."""
    began = time.monotonic()
    total = int(len(sessions) * seconds)
    for number in range(total):
        time.sleep(max(0.0, began + number / len(sessions) - time.monotonic()))
        _exchange(sessions[number % len(sessions)])
    return total


def _exchange(session: socket.socket) -> float:
    """Send a message and get it back; seconds."""
    began = time.perf_counter()
    session.sendall(MESSAGE)
    left = len(MESSAGE)
    while left:
        data = session.recv(left)
        if not data:
            raise ConnectionResetError("the session has ended")
        left -= len(data)
    return time.perf_counter() - began


@contextmanager
def _sessions(number: int) -> Iterator[list[socket.socket]]:
    """That many sessions through the proxy, or as many of them as it lets through."""
    found: list[socket.socket] = []
    try:
        for _ in range(number):
            session = _open(PROXY)
            try:
                _exchange(session)
            except OSError:
                session.close()
            else:
                found.append(session)
        yield found
    finally:
        for session in found:
            session.close()


def _open(address: Address) -> socket.socket:
    session = socket.create_connection(address, timeout=WAIT)
    session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return session


async def speed(bench: Bench, _: str) -> dict[str, Any]:
    """Throughput and latency, in turns through the proxy and directly to the same server."""
    only = bench.configuration(OURS)
    first, *others = bench.servers
    for server in others:
        only = only.without(server)
    with plain_servers(bench), bench.proxy(only.on_port(PLAIN_PORT)) as proxy:
        floods = [_floods((first, PLAIN_PORT), proxy) for _ in range(1 if bench.quick else ROUNDS)]
        echoes = _in_turns(_echoing((first, PLAIN_PORT)), _echoing(PROXY))
    with bench.proxy(only):
        answers = _in_turns(_answering(bench, (first, APISERVER_PORT)), _answering(bench, PROXY))
    best = max(floods, key=lambda flood: flood["proxied"])
    return best | {"direct": max(flood["direct"] for flood in floods), "echo": echoes, "request": answers}


def _floods(there: Address, proxy: Proxy) -> dict[str, float]:
    """Bytes a second, directly and through the proxy, and what share of a core that takes the proxy."""
    direct = _flood(there)
    before = proxy.cpu()
    proxied = _flood(PROXY)
    return {"direct": direct, "proxied": proxied, "cpu": (proxy.cpu() - before) / FLOOD_SECONDS}


def _flood(address: Address) -> float:
    buffer = bytearray(1 << 20)
    received = 0
    with _open(address) as session:
        session.sendall(plain.FLOOD)
        began = time.perf_counter()
        while (seconds := time.perf_counter() - began) < FLOOD_SECONDS:
            received += session.recv_into(buffer)
    return received / seconds


def _echoing(address: Address) -> Callable[[], float]:
    session = _open(address)
    return lambda: _exchange(session)


def _answering(bench: Bench, address: Address) -> Callable[[], float]:
    """GET /version on a kept-alive TLS connection."""
    connection = http.client.HTTPSConnection(*address, timeout=WAIT, context=bench.context)

    def answer() -> float:
        began = time.perf_counter()
        connection.request("GET", "/version")
        connection.getresponse().read()
        return time.perf_counter() - began

    return answer


def _in_turns(direct: Callable[[], float], proxied: Callable[[], float]) -> dict[str, float]:
    """Median and 99th percentile of both, in seconds."""
    for _ in range(REQUESTS // 10):
        direct(), proxied()
    pairs = [(direct(), proxied()) for _ in range(REQUESTS)]
    kinds = dict(zip(("direct", "proxied"), zip(*pairs, strict=True), strict=True))
    return {
        f"{kind}_{name}": stats.percentile(seconds, share)
        for kind, seconds in kinds.items()
        for name, share in (("median", 0.5), ("p99", 0.99))
    }


@contextmanager
def plain_servers(bench: Bench) -> Iterator[None]:
    """A plain server beside each apiserver, on PLAIN_PORT."""
    command = [sys.executable, "-I", str(Path(plain.__file__)), str(PLAIN_PORT)]
    with ExitStack() as stack:
        for server in bench.servers.values():
            inside = ["setpriv", "--pdeathsig", "KILL", "--", "ip", "netns", "exec", server.netns, *command]
            process = stack.enter_context(subprocess.Popen(inside, stdout=subprocess.PIPE, text=True))
            stack.callback(process.kill)
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise RuntimeError(f"the plain server beside {server.name} did not start")
        yield
