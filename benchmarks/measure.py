"""What clients see through the proxy: of its start, of apiservers that fail, of a reload and an upgrade."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from typing import Any

from benchmarks.bench import FAULTS, PROXY, Bench, closed_port, connect
from benchmarks.clients import LIMIT, Kept, Request, Stream, Watch
from benchmarks.configurations import fail_timeout
from benchmarks.proxy import Proxy
from tests.lab.machine import LabError
from tests.lab.servers import Apiserver
from tests.lab.watches import Watches

CAP, UPGRADE_CAP = 60.0, 20.0
WARM, AFTER, SLOW = 1.5, 12.0, 0.5
CREATED = 1.0
MOST = 12
VARIANT = 8.0
RETRY = 0.05
# Lengths of total outages, in fail_timeouts: where in it an outage ends makes a difference.
LENGTHS = {3.0: (1.05, 1.2, 1.4, 1.6), 10.0: (1.05, 1.4)}
LENGTH = 3.0
WATCHES, KUBECTLS = 200, 40
SETTLE, HEARD = 3.0, 0.5


async def starts(bench: Bench, name: str, starts: int, sessions: int) -> dict[str, Any]:
    """To which apiserver so many connections of each start go, opened one after the other."""
    text, counts = bench.configuration(name), Counter[str]()
    for _ in range(max(1, starts // 20) if bench.quick else starts):
        with bench.proxy(text), ExitStack() as stack:
            for number in range(1, sessions + 1):
                stack.enter_context(connect())
                found = _settled(bench, number)
            counts.update(found)
        await asyncio.sleep(0)  # for Ctrl-C
    return {"counts": [counts[server] for server in bench.servers]}


def _settled(bench: Bench, number: int) -> list[str]:
    """The server of each of the `number` sessions, once they are there; raises TimeoutError."""
    deadline = time.monotonic() + 5
    while len(found := bench.upstreams()) < number:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{len(found)} of {number} sessions are there after 5 s")
        time.sleep(0.0005)
    return list(found.values())


async def one(bench: Bench, name: str, fault: str) -> dict[str, Any]:
    """Break the apiserver that the kept-alive clients are on, and see what all clients see."""
    text = bench.configuration(name)
    await bench.clear()
    try:
        with bench.proxy(text), Watches(bench.node, again=True) as watches:
            (victim,) = {bench.servers[address] for address in bench.upstreams().values()}
            async with AsyncExitStack() as stack:
                kept = await _on(bench, victim, stack)
                return await _break(bench, victim, fault, watches, kept, fail_timeout(text))
    finally:
        await bench.mend()


async def _on(bench: Bench, victim: Apiserver, stack: AsyncExitStack) -> Kept:
    """A kept-alive client on the apiserver; with others, so that all apiservers have as many sessions.

    Without those, the least busy ones would be the healthy ones, and `least_conn` look better than it is.
    """
    found: Kept | None = None
    for _ in range(MOST):
        client = Kept(PROXY, bench.tls("h2"))
        stack.callback(client.close)
        if await client.open() == victim.name:
            found = found or client
        at = Counter(bench.upstreams().values())
        if found and all(at[address] >= at[victim.address] for address in bench.servers):
            return found
    if found is None:
        raise LabError(f"none of {MOST} connections went to {victim.name}")
    return found


async def _break(
    bench: Bench, victim: Apiserver, fault: str, watches: Watches, kept: Kept, window: float
) -> dict[str, Any]:
    name = f"made-{secrets.token_hex(4)}"
    other = next(server for server in bench.servers.values() if server != victim)
    async with Stream(kept.get, 0.1) as requests:
        async with bench.stream() as stream:
            await asyncio.sleep(WARM)
            before = time.monotonic()
            await asyncio.to_thread(FAULTS[fault], victim)
            broken = time.monotonic()
            seen = asyncio.create_task(_seen(watches, f"configmap/{name}", broken))
            await asyncio.sleep(CREATED)
            await bench.create(other, name)
            await asyncio.sleep((4 if bench.quick else AFTER) - CREATED)
        deadline = broken + (LIMIT + 5 if bench.quick else CAP)
        while time.monotonic() < deadline and not (requests.again(broken) and seen.done()):
            await asyncio.sleep(RETRY)
    seen.cancel()
    return _fresh(stream.seen, before, broken, window) | {
        "kept_requests": len(requests.since(before)),
        "kept_failed": sum(bool(request.error) and request.ended >= before for request in requests.seen),
        "kept_again": requests.again(broken),
        "watch_seen": seen.result() if seen.done() else None,
    }


async def _seen(watches: Watches, line: str, since: float) -> float:
    """Seconds from `since` until kubectl has shown a line."""
    while line not in watches.all[0].seen:
        await asyncio.sleep(RETRY / 5)
    return time.monotonic() - since


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
        "slow_in_window": most_within(slow, window),
        "under_way": len(under_way),
        "under_way_failed": sum(bool(one.error) for one in under_way),
        "errors": sorted({one.error for one in after if one.error}),
    }


def most_within(times: Sequence[float], window: float) -> int:
    """The greatest number of `times` within any `window`, both in seconds."""
    return max((sum(start <= time < start + window for time in times) for start in times), default=0)


async def cut(bench: Bench, name: str) -> dict[str, Any]:
    """Drop the packets of one apiserver, with no other clients than those with new connections."""
    text = bench.configuration(name)
    with bench.proxy(text):
        async with bench.stream() as stream:
            await asyncio.sleep(WARM)
            before = time.monotonic()
            with closed_port("dropped", [next(iter(bench.servers.values()))]):
                broken = time.monotonic()
                await asyncio.sleep(3 if bench.quick else VARIANT)
    return _fresh(stream.seen, before, broken, fail_timeout(text))


async def outage(bench: Bench, name: str) -> dict[str, Any]:
    """All apiservers refuse, or drop, and come back at once: how long until the proxy has seen it."""
    text = bench.configuration(name)
    window = max(fail_timeout(text), LENGTH)
    lengths = [window * factor for factor in LENGTHS.get(window, (1.05,))]
    few = lengths[:1] if bench.quick or window > LENGTH else lengths[:2]
    refused = [await _outage(bench, text, "refused", length) for length in (few if bench.quick else lengths)]
    # as long a one as of the runbook's fail_timeout would be half a minute more, and show no more
    dropped = [await _outage(bench, text, "dropped", min(length, 2 * LENGTH)) for length in few]
    return {"lengths": lengths, "refused": refused, "dropped": dropped}


async def _outage(bench: Bench, text: str, kind: str, length: float) -> float | None:
    servers = list(bench.servers.values())
    with bench.proxy(text):
        async with AsyncExitStack() as stack:
            addresses = [PROXY, *map(bench.direct, servers)]
            proxied, *direct = [
                await stack.enter_async_context(bench.stream(address, RETRY)) for address in addresses
            ]
            await asyncio.sleep(WARM)
            with closed_port(kind, servers):
                await asyncio.sleep(length)
                back = time.monotonic()
            while time.monotonic() < back + CAP and proxied.again(back) is None:
                await asyncio.sleep(RETRY)
    earliest = min(again for stream in direct if (again := stream.again(back)) is not None)
    through = proxied.again(back)
    return None if through is None else max(0.0, through - earliest)


async def reload(bench: Bench, name: str) -> dict[str, Any]:
    """Take away the apiserver that has most of the sessions, and reload."""

    def act(proxy: Proxy) -> str:
        removed = Counter(bench.upstreams().values()).most_common(1)[0][0]
        proxy.reload(bench.configuration(name, removed))
        return removed

    return await _under_watches(bench, name, act, CAP)


async def upgrade(bench: Bench, name: str) -> dict[str, Any]:
    """Start the binary anew, and end the process before it."""

    def act(proxy: Proxy) -> str:
        proxy.upgrade(SETTLE)
        return ""

    return await _under_watches(bench, name, act, UPGRADE_CAP)


async def _under_watches(bench: Bench, name: str, act: Callable[[Proxy], str], cap: float) -> dict[str, Any]:
    await bench.clear()
    kubectls = 4 if bench.quick else KUBECTLS
    plain = [Watch(PROXY, bench.context) for _ in range(WATCHES - kubectls)]
    with bench.proxy(bench.configuration(name)) as proxy, Watches(bench.node, kubectls) as watches:
        async with AsyncExitStack() as stack:
            for watch in plain:
                await stack.enter_async_context(watch)
            before = set(bench.upstreams())
            stream = await stack.enter_async_context(bench.stream())
            await asyncio.sleep(WARM)
            began = time.monotonic()
            removed = await asyncio.to_thread(act, proxy)
            gone = await _gone(bench, before, removed, began + (15 if bench.quick else cap))
            await asyncio.sleep(HEARD)
            ends = [one.ended for one in plain if one.ended]
            for one in watches.all:
                if one.ended:
                    status = one.process.returncode
                    ends.append((one.ended, f"{status} {''.join(one.seen[-1:])}" if status else ""))
    times = [when - began for when, _ in ends]
    requests = stream.since(began)
    return {
        "ended": len(ends),
        "first": min(times, default=None),
        "last": max(times, default=None),
        "errors": dict(Counter(error for _, error in ends if error)),
        "watches": WATCHES,
        "kubectls": kubectls,
        "requests": len(requests),
        "failed": sum(bool(request.error) for request in requests),
        "removed_gone": None if gone is None else gone - began,
        "cap": cap,
    }


async def _gone(bench: Bench, before: set[int], removed: str, deadline: float) -> float | None:
    """Wait until the sessions of before have ended; when there was none to the removed apiserver any more."""
    gone = None
    while (now := bench.upstreams()).keys() & before and time.monotonic() < deadline:
        if gone is None and removed not in now.values():
            gone = time.monotonic()
        await asyncio.sleep(RETRY)
    return gone or (None if removed in now.values() else time.monotonic())
