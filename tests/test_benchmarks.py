"""What of the benchmarks needs no lab: figures, configurations, the HTTP/2 client, and the page."""

from __future__ import annotations

import asyncio
import json
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import RequestReceived

from benchmarks import clients, page
from benchmarks.alternatives import haproxy_cfg
from benchmarks.behaviour import ROWS
from benchmarks.configurations import CONFIGURATIONS, OURS, VARIANTS, configuration, fail_timeout
from benchmarks.load import with_connections
from benchmarks.measure import most_within
from benchmarks.silence import FAULTS, gap
from tests.lab.keys import Authority

SERVERS = ["10.0.0.1", "10.0.0.2", "10.0.0.3"]
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@pytest.mark.parametrize(
    ("counts", "spread"), [((300, 0, 0), 3.0), ((100, 100, 100), 1.0), ((125, 100, 75), 1.25)]
)
def test_spread(counts: tuple[int, ...], spread: float) -> None:
    assert page.spread(counts) == spread


def test_spread_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        page.spread([0, 0])


def test_most_within() -> None:
    assert most_within([0.0, 1.0, 2.9, 3.0, 7.0], 3.0) == 3
    assert most_within([], 3.0) == 0


@pytest.mark.parametrize(
    ("ends", "longest"),
    [
        ([9.0, 11.0, 13.0, 15.0, 17.0, 20.0], 2.0),
        ([9.0, 13.0, 20.0], 5.0),
        ([9.0], 9.0),
        ([], 8.0),
    ],
)
def test_the_longest_time_without_a_good_answer(ends: list[float], longest: float) -> None:
    requests = [clients.Request(end - 1, 1) for end in ends] + [clients.Request(10, 6, "TimeoutError")]
    assert gap(requests, 10, 18) == longest


def test_haproxy_asks_every_server() -> None:
    text = haproxy_cfg(SERVERS)
    assert [line.split()[2] for line in text.splitlines() if line.split()[0] == "server"] == [
        f"{server}:6443" for server in SERVERS
    ]


@pytest.mark.parametrize("name", [*CONFIGURATIONS, *VARIANTS])
def test_configurations(name: str, tmp_path: Path) -> None:
    whole = configuration(name, SERVERS, tmp_path)
    assert all(whole.count(f"server {server}:6443") == 1 for server in SERVERS)
    assert "proxy_connect_timeout" in whole
    fewer = configuration(name, [SERVERS[0], SERVERS[2]], tmp_path)
    assert fewer == "".join(line for line in whole.splitlines(keepends=True) if SERVERS[1] not in line)
    assert "worker_connections 5;" in with_connections(whole, 5)


def test_variants_differ(tmp_path: Path) -> None:
    texts = {name: configuration(name, SERVERS, tmp_path) for name in VARIANTS}
    assert len(set(texts.values())) == len(VARIANTS)
    assert texts["defaults"] == configuration(OURS, SERVERS, tmp_path)
    assert fail_timeout(configuration("fail_timeout 10s", SERVERS, tmp_path)) == 10


def test_the_page_is_what_was_measured() -> None:
    assert page.PAGE.read_text() == page.text(json.loads(page.RESULTS.read_text()))


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """The TLS of a server at 127.0.0.1, and of its clients."""
    authority = Authority(tmp_path / "pki")
    authority.issue(tmp_path / "server", "api-1", addresses=["127.0.0.1"])
    authority.issue(tmp_path / "client", "somebody")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "server.crt", tmp_path / "server.key")
    server.set_alpn_protocols(["h2"])
    return server, clients.tls(authority.certificate, tmp_path / "client", "h2")


@asynccontextmanager
async def served(serve: Serve, context: ssl.SSLContext) -> AsyncIterator[clients.Address]:
    """A server on a free port of 127.0.0.1."""
    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    try:
        yield server.sockets[0].getsockname()
    finally:
        server.close()


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """HTTP/2: 200 for everything, and whatever the protocol itself asks for."""
    h2 = H2Connection(H2Configuration(client_side=False))
    h2.initiate_connection()
    with suppress(OSError):
        while True:
            writer.write(h2.data_to_send())
            if not (data := await reader.read(65536)):
                break
            for event in h2.receive_data(data):
                if isinstance(event, RequestReceived) and event.stream_id:
                    h2.send_headers(event.stream_id, [(":status", "200")])
                    h2.send_data(event.stream_id, b"ok", end_stream=True)
    writer.close()


async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Take everything, answer nothing."""
    while await reader.read(65536):
        pass
    writer.close()


def test_one_connection_for_many_requests(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def ask() -> None:
        async with served(answer, contexts[0]) as address:
            client = clients.Kept(address, contexts[1], idle=0.05, ping=0.3)
            assert await client.open() == "api-1"
            first = client._reader
            requests = await asyncio.gather(*(client.get() for _ in range(20)))
            assert {request.error for request in requests} == {""}
            await asyncio.sleep(0.5)  # several pings, all answered
            assert (await client.get()).error == ""
            assert client._reader is first
            client.close()

    asyncio.run(ask())


def test_a_dead_connection_is_noticed(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def ask() -> None:
        async with served(say_nothing, contexts[0]) as address:
            client = clients.Kept(address, contexts[1], idle=0.1, ping=0.2)
            request = await client.get()
            assert request.error == "ConnectionResetError"
            assert 0.3 <= request.seconds < 5
            assert not client.is_open

    asyncio.run(ask())


def test_a_request_says_what_went_wrong(contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\n\r\n")
        writer.close()

    async def ask() -> None:
        async with served(refuse, contexts[0]) as address:
            assert "503" in (await clients.call(address, contexts[1])).error
        assert (await clients.call(address, contexts[1])).error == "ConnectionRefusedError"

    asyncio.run(ask())


def test_a_stream_does_not_wait_for_answers() -> None:
    async def ask() -> None:
        gate = asyncio.Event()

        async def one() -> clients.Request:
            began = time.monotonic()
            await gate.wait()
            return clients.Request(began, time.monotonic() - began)

        async with clients.Stream(one, 0.01) as stream:
            while len(stream._open) < 5:
                await asyncio.sleep(0.01)
            assert stream.seen == []
            gate.set()
        assert len(stream.seen) >= 5

    asyncio.run(ask())


COST = {
    "sessions": {"0": {"bytes": 3e6, "idle": 0.0, "busy": 0.0, "rate": 0.0}},
    "worker_connections": {"4096": 3e6, "16384": 8e6},
    "limit": {"tried": 2500, "open": 2047},
    "enough": 16384,
}
TIMES = {f"{kind}_{name}": 0.001 for kind in ("direct", "proxied") for name in ("median", "p99")}
FAILURE = {
    **{"requests": 600, "failed": 0, "slowest": 1.0, "slow": 4, "slow_in_window": 2},
    **{"under_way": 2, "under_way_failed": 1, "kept_requests": 450, "kept_failed": 1},
    **{"kept_again": 45.1, "watch_seen": None},
}
CHANGE = {
    **{
        "watches": 200,
        "kubectls": 40,
        "ended": 200,
        "first": 10.0,
        "last": 10.1,
        "requests": 500,
        "failed": 0,
    },
    **{"removed_gone": 10.0, "cap": 60.0, "errors": {}},
}
SILENT = {
    **{"seconds": 60.0, "gap": 4.5, "ended": 1, "others_gap": 0.2, "others_ended": 0},
    **{"new": 900, "new_failed": 2, "new_slowest": 10.0, "late": 500, "late_failed": 0, "late_slowest": 0.2},
    **{"back": None, "share": 0.33},
}
SEEN: dict[str, dict[str, Any]] = {
    "first": {"counts": [110, 100, 90]},
    "many": {"counts": [100, 100, 100]},
    "outage": {"refused": [0.1, 2.9], "dropped": [1.0]},
    "reload": CHANGE,
    "upgrade": CHANGE,
    "cost": COST,
    "speed": {"direct": 2e9, "proxied": 1e9, "cpu": 0.9, "echo": TIMES, "request": TIMES},
    "variant-first": {"counts": [100, 100, 100]},
    "variant-outage": {"refused": [1.0], "dropped": [2.0]},
    **dict.fromkeys(FAULTS, SILENT),
    "all": {"seconds": 15.0, "again": 2.5},
    "flaps": SILENT | {"times": 15},
}


def results(**changes: dict[str, Any]) -> dict[str, Any]:
    """Raw results in which all settings do equally well; `changes` are of ours, by row."""
    keys = ("date", "cores", "cpu", "memory_gb", "kernel", "nginx", "haproxy")
    rows = {
        row: {name: SEEN.get(row, FAILURE) | (changes.get(row, {}) if name == OURS else {}) for name in names}
        for row, (_, names) in ROWS.items()
    }
    return {"environment": dict.fromkeys(keys, "x"), **rows}


def test_a_page_of_what_is_reached() -> None:
    text = page.text(results())
    assert text.count("| reached |") == 6
    assert "not reached" not in text
    assert "| recommended | 110 100 90 | 1.10 | 100 100 100 | 1.00 |" in text
    assert "| recommended | 0 of 600 | 1.00 s | 4 | 2 | 1 of 450 | 45 s | > 60 s |" in text
    assert (
        "| HAProxy | 4.50 s | 1 | 2 of 900 | 10 s | 0 of 500 | 0.20 s | 0 | 0.20 s | > 12 s | 33% |" in text
    )
    assert "recommended: 2.50 s, recommended + watch: 2.50 s, HAProxy: 2.50 s." in text
    assert max(map(len, text.splitlines())) < 250


@pytest.mark.parametrize(
    ("row", "change", "line"),
    [
        ("first", {"counts": [300, 0, 0]}, "max / mean at most 1.25 | 3.00"),
        ("kill", {"failed": 1}, "begins after it | 1"),
        ("cut", {"failed": 2}, "new connection fails | 2"),
        ("cut", {"slowest": 1.21}, "1.2 s | 1.21 s"),
        ("cut", {"slow_in_window": 3}, "each `fail_timeout` | 3"),
        ("outage", {"refused": [0.0, 3.6]}, "they are back | 3.60 s"),
        ("outage", {"refused": [0.0, None]}, "they are back | > 60 s"),
    ],
)
def test_a_page_of_what_is_not(row: str, change: dict[str, Any], line: str) -> None:
    text = page.text(results(**{row: change}))
    assert f"{line} | **not reached** |" in text
    assert text.count("| reached |") == 5
