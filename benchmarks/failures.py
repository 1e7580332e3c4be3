"""One apiserver of three fails, or all of them do: what clients see of it through the proxy."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from typing import Any

from benchmarks import netns, stats
from benchmarks.bench import FAULTS, PROXY, Bench, close_port, open_port
from benchmarks.clients import LIMIT, Request, Stream, fresh
from benchmarks.kept import Client
from benchmarks.watches import Kubectl
from tasks.core.config.address import APISERVER_PORT
from tests.lab.machine import LabError
from tests.lab.servers import Apiserver

CAP = 60.0
AFTER = 12.0
WARM = 1.5
SLOW = 0.5
KEPT_TICK = 0.1
CREATED = 1.0
MOST = 12
VARIANT = 8.0
RETRY = 0.05
# Lengths of total outages, in fail_timeouts: where in it an outage ends makes a difference.
LENGTHS = {3.0: (1.05, 1.2, 1.4, 1.6), 10.0: (1.05, 1.4)}
LENGTH = 3.0


async def one(bench: Bench, name: str, fault: str) -> dict[str, Any]:
    """Break the apiserver that the kept-alive clients are on, and see what all clients see."""
    configuration = bench.configuration(name)
    await bench.clear()
    try:
        with bench.proxy(configuration):
            async with Kubectl(bench.kubectl, again=True) as watch:
                victim = _only_upstream(bench)
                async with AsyncExitStack() as stack:
                    kept = await _on(bench, victim, stack)
                    return await _break(bench, victim, fault, watch, kept, configuration.fail_timeout)
    finally:
        await bench.mend()


def _only_upstream(bench: Bench) -> Apiserver:
    found = set(netns.upstreams(list(bench.servers), APISERVER_PORT).values())
    if len(found) != 1:
        raise LabError(f"a kubectl alone has sessions to {len(found)} apiservers")
    return bench.servers[found.pop()]


async def _on(bench: Bench, victim: Apiserver, stack: AsyncExitStack) -> Client:
    """A kept-alive client on the apiserver; with others, so that all apiservers have as many sessions.

    Without those, the least busy ones would be the healthy ones, and `least_conn` look better than it is.
    """
    found: Client | None = None
    for _ in range(MOST):
        client = Client(PROXY, bench.context2)
        stack.callback(client.close)
        if (await client.connection()).server == victim.name:
            found = found or client
        at = Counter(netns.upstreams(list(bench.servers), APISERVER_PORT).values())
        if found and all(at[server.address] >= at[victim.address] for server in bench.others(victim)):
            break
    if found is None:
        raise LabError(f"none of {MOST} connections went to {victim.name}")
    return found


async def _break(
    bench: Bench, victim: Apiserver, fault: str, watch: Kubectl, kept: Client, window: float
) -> dict[str, Any]:
    name = f"made-{secrets.token_hex(4)}"
    async with Stream(lambda: asyncio.ensure_future(kept.get()), KEPT_TICK) as requests:
        async with fresh(PROXY, bench.context) as stream:
            await asyncio.sleep(WARM)
            before = time.monotonic()
            await asyncio.to_thread(FAULTS[fault], victim)
            broken = time.monotonic()
            await asyncio.sleep(CREATED)
            await bench.create(bench.others(victim)[0], name)
            await asyncio.sleep((4 if bench.quick else AFTER) - CREATED)
        deadline = broken + (LIMIT + 5 if bench.quick else CAP)
        while time.monotonic() < deadline and not (_again(requests, broken) and watch.seen(name).done()):
            await asyncio.sleep(RETRY)
    seen = watch.seen(name)
    return _fresh(stream.seen, before, broken, window) | {
        "kept_requests": len(requests.since(before)),
        "kept_failed": sum(bool(request.error) and request.ended >= before for request in requests.seen),
        "kept_again": _again(requests, broken),
        "watch_seen": seen.result() - broken if seen.done() else None,
    }


def _fresh(seen: Sequence[Request], before: float, broken: float, window: float) -> dict[str, Any]:
    """Of requests with connections of their own: those under way at the fault apart from those after it."""
    under_way = [one for one in seen if one.began < broken and one.ended > before]
    after = [one for one in seen if one.began >= broken]
    slow = [one.began for one in after if one.seconds > SLOW]
    return {
        "requests": len(after),
        "failed": sum(bool(one.error) for one in after),
        "slowest": max(one.seconds for one in after),
        "slow": len(slow),
        "slow_in_window": stats.most_within(slow, window),
        "under_way": len(under_way),
        "under_way_failed": sum(bool(one.error) for one in under_way),
        "errors": sorted({one.error for one in after if one.error}),
    }


def _again(requests: Stream, since: float) -> float | None:
    """Seconds from `since` until the first good answer to a request that began after it."""
    good = [request.ended for request in requests.since(since) if not request.error]
    return min(good) - since if good else None


async def cut(bench: Bench, name: str) -> dict[str, Any]:
    """Drop the packets of one apiserver, with no other clients than those with new connections."""
    configuration = bench.configuration(name)
    victim = next(iter(bench.servers.values()))
    with bench.proxy(configuration):
        try:
            async with fresh(PROXY, bench.context) as stream:
                await asyncio.sleep(WARM)
                before = time.monotonic()
                close_port("dropped", [victim])
                broken = time.monotonic()
                await asyncio.sleep(3 if bench.quick else VARIANT)
        finally:
            open_port([victim])
    return _fresh(stream.seen, before, broken, configuration.fail_timeout)


async def outage(bench: Bench, name: str) -> dict[str, Any]:
    """All apiservers refuse, or drop, and come back at once: how long until the proxy has seen it."""
    configuration = bench.configuration(name)
    window = configuration.fail_timeout
    lengths = [max(window, LENGTH) * factor for factor in LENGTHS.get(max(window, LENGTH), (1.05,))]
    few = lengths[:1] if bench.quick or window > LENGTH else lengths[:2]
    refused = [await _outage(bench, name, "refused", length) for length in (few if bench.quick else lengths)]
    # as long a one as of the runbook's fail_timeout would be half a minute more, and show no more
    dropped = [await _outage(bench, name, "dropped", min(length, 2 * LENGTH)) for length in few]
    return {"lengths": lengths, "refused": refused, "dropped": dropped}


async def _outage(bench: Bench, name: str, kind: str, length: float) -> float | None:
    servers = list(bench.servers.values())
    with bench.proxy(bench.configuration(name)):
        async with AsyncExitStack() as stack:
            stack.callback(open_port, servers)
            proxied = await stack.enter_async_context(fresh(PROXY, bench.context, RETRY))
            direct = [
                await stack.enter_async_context(fresh(bench.direct(server), bench.context, RETRY))
                for server in servers
            ]
            await asyncio.sleep(WARM)
            close_port(kind, servers)
            await asyncio.sleep(length)
            back = time.monotonic()
            open_port(servers)
            while time.monotonic() < back + CAP and _again(proxied, back) is None:
                await asyncio.sleep(RETRY)
    first = min(again for stream in direct if (again := _again(stream, back)) is not None)
    through = _again(proxied, back)
    return None if through is None else max(0.0, through - first)
