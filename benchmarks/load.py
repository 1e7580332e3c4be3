"""What the proxy costs: memory, processor time, throughput, latency.

All but the latency of TLS requests is measured to plain TCP servers in the apiservers' place, so that
it is the proxy that is measured. The clients are not asyncio's, which would be slower than the proxy.
"""

from __future__ import annotations

import http.client
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks import plain
from benchmarks.bench import PROXY, Bench, connect
from benchmarks.clients import Address
from benchmarks.configurations import OURS
from tasks.core.config.address import APISERVER_PORT

PLAIN_PORT = 7000
MESSAGE = bytes(100)
COUNTS = (0, 100, 1000, 4000)
ENOUGH = 16384
ROOMS = (1024, 4096, 16384, 65536)
TRIED = 2500
SECONDS, FLOOD_SECONDS = 10.0, 3.0
ROUNDS, REQUESTS = 3, 3000


async def cost(bench: Bench, _: str) -> dict[str, Any]:
    """Memory and processor time at numbers of sessions, and how many the default allows."""
    ours = bench.configuration(OURS).replace(f":{APISERVER_PORT}", f":{PLAIN_PORT}")
    rooms = {}
    with plain_servers(bench):
        at = {str(number): _at(bench, with_connections(ours, ENOUGH), number) for number in COUNTS}
        for room in ROOMS:
            with bench.proxy(with_connections(ours, room)) as proxy:
                with _sessions(1):  # once its worker works
                    pass
                rooms[str(room)] = proxy.memory()
        with bench.proxy(ours) as proxy, _sessions(TRIED) as sessions:
            _beat(sessions, 1)  # those that are there still work
            limit = {"tried": TRIED, "open": len(sessions), "bytes": proxy.memory()}
    return {"sessions": at, "worker_connections": rooms, "limit": limit, "enough": ENOUGH}


def with_connections(text: str, number: int) -> str:
    """A configuration with other worker_connections."""
    return re.sub(r"worker_connections \d+", f"worker_connections {number}", text)


def _at(bench: Bench, text: str, number: int) -> dict[str, Any]:
    seconds = 2.0 if bench.quick else SECONDS
    with bench.proxy(text) as proxy, _sessions(number) as sessions:
        began = proxy.cpu()
        time.sleep(seconds)
        idle, memory = proxy.cpu() - began, proxy.memory()
        began = proxy.cpu()
        exchanged = _beat(sessions, seconds)
        busy = proxy.cpu() - began
        used = proxy.memory()
    rates = {"idle": idle / seconds, "busy": busy / seconds, "rate": exchanged / seconds}
    return {"open": len(sessions), "bytes": memory, "bytes_used": used, **rates}


def _beat(sessions: Sequence[socket.socket], seconds: float) -> int:
    """Send and get back a message a second on each session, evenly spread; raises OSError if one is dead."""
    began = time.monotonic()
    total = int(len(sessions) * seconds)
    for number in range(total):
        time.sleep(max(0.0, began + number / len(sessions) - time.monotonic()))
        _exchange(sessions[number % len(sessions)])
    return total


def _exchange(session: socket.socket) -> None:
    """Send a message and get it back."""
    session.sendall(MESSAGE)
    left = len(MESSAGE)
    while left:
        data = session.recv(left)
        if not data:
            raise ConnectionResetError("the session has ended")
        left -= len(data)


@contextmanager
def _sessions(number: int) -> Iterator[list[socket.socket]]:
    """That many sessions through the proxy, or as many of them as it lets through."""
    found: list[socket.socket] = []
    with ExitStack() as stack:
        for _ in range(number):
            session = connect()
            try:
                _exchange(session)
            except OSError:
                session.close()
            else:
                found.append(stack.enter_context(session))
        yield found


async def speed(bench: Bench, _: str) -> dict[str, Any]:
    """Throughput and latency, in turns through the proxy and directly to the same server."""
    there, *others = bench.servers
    text = bench.configuration(OURS, *others)
    floods = []
    with plain_servers(bench), bench.proxy(text.replace(f":{APISERVER_PORT}", f":{PLAIN_PORT}")) as proxy:
        for _round in range(1 if bench.quick else ROUNDS):
            direct, before = _flood((there, PLAIN_PORT)), proxy.cpu()
            proxied = _flood(PROXY)
            cpu = (proxy.cpu() - before) / FLOOD_SECONDS
            floods.append({"direct": direct, "proxied": proxied, "cpu": cpu})
        with connect((there, PLAIN_PORT)) as here, connect(PROXY) as through:
            echoes = _in_turns(lambda: _exchange(here), lambda: _exchange(through))
    with bench.proxy(text):
        addresses = (there, APISERVER_PORT), PROXY
        kept = [http.client.HTTPSConnection(*one, timeout=5, context=bench.context) for one in addresses]
        answers = _in_turns(lambda: _version(kept[0]), lambda: _version(kept[1]))
    best = max(floods, key=lambda flood: flood["proxied"])
    return best | {"direct": max(flood["direct"] for flood in floods), "echo": echoes, "request": answers}


def _flood(address: Address) -> float:
    """Bytes a second."""
    buffer = bytearray(1 << 20)
    received = 0
    with connect(address) as session:
        session.sendall(b"F")
        began = time.perf_counter()
        while (seconds := time.perf_counter() - began) < FLOOD_SECONDS:
            received += session.recv_into(buffer)
    return received / seconds


def _version(connection: http.client.HTTPSConnection) -> None:
    connection.request("GET", "/version")
    connection.getresponse().read()


def _in_turns(direct: Callable[[], object], proxied: Callable[[], object]) -> dict[str, float]:
    """Median and 99th percentile of both, in seconds."""
    took: dict[str, list[float]] = {"direct": [], "proxied": []}
    for turn in range(-REQUESTS // 10, REQUESTS):
        for act, seconds in ((direct, took["direct"]), (proxied, took["proxied"])):
            began = time.perf_counter()
            act()
            if turn >= 0:
                seconds.append(time.perf_counter() - began)
    return {f"{kind}_median": median(seconds) for kind, seconds in took.items()} | {
        f"{kind}_p99": quantiles(seconds, n=100)[98] for kind, seconds in took.items()
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
            if not process.stdout or process.stdout.readline() != "ready\n":
                raise RuntimeError(f"the plain server beside {server.name} did not start")
        yield
