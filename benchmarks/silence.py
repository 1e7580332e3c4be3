"""What clients see of an apiserver that falls silent: for a while, with all others, again and again."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from benchmarks.alternatives import running
from benchmarks.bench import PROXY, Bench, closed_port
from benchmarks.clients import Kept, Request, Stream
from tests.lab.machine import LabError
from tests.lab.servers import Apiserver

STOPPED, GONE = 60.0, 20.0
ALL = 15.0
FLAP, FLAPS = 4.0, 15
EJECTED = 8.0
"""Seconds from a fault on after which whoever looks should have seen it."""
BACK, SPREAD_AFTER = 12.0, 5.0
WARM, KEPT_TICK, NEW_TICK, RETRY = 2.0, 0.1, 0.05, 0.05
MOST, LATEST = 24, 30.0
Fault = Callable[[Sequence[Apiserver]], Any]


@contextmanager
def stopped(those: Sequence[Apiserver]) -> Iterator[None]:
    """SIGSTOP for as long as the block runs."""
    try:
        for server in those:
            server.pause()
        yield
    finally:
        for server in those:
            server.resume()


FAULTS: dict[str, tuple[Fault, float]] = {
    "stop": (stopped, STOPPED),
    "vanished": (partial(closed_port, "vanished"), GONE),
    "dropped": (partial(closed_port, "dropped"), GONE),
    "unheard": (partial(closed_port, "unheard"), GONE),
}
"""SIGSTOP, or packets dropped: both ways, on the way to it, on the way from it; for so many seconds."""


@dataclass(frozen=True, slots=True)
class Seen:
    """The streams of clients: one on each apiserver's kept session, and one of new connections."""

    kept: dict[str, Kept]
    streams: dict[str, Stream]
    new: Stream

    def closed(self) -> dict[str, int]:
        """How often each kept session had to be opened."""
        return {name: one.opened for name, one in self.kept.items()}


async def one(bench: Bench, name: str, fault: str) -> dict[str, Any]:
    """One apiserver of three is silent, and comes back."""
    inject, seconds = FAULTS[fault]
    seconds = min(seconds, EJECTED + 2) if bench.quick else seconds
    victim = next(iter(bench.servers.values()))
    async with _clients(bench, name) as seen:
        before, broken = seen.closed(), time.monotonic()
        with inject([victim]):
            await asyncio.sleep(seconds)
        back = time.monotonic()
        await asyncio.sleep(BACK)
        after, ended = seen.closed(), time.monotonic()
    new = seen.new.since(broken)
    late = [request for request in new if broken + EJECTED <= request.began < back]
    again = [r for r in new if r.began >= back and not r.error]
    spread = [r.server == victim.name for r in again if r.began >= back + SPREAD_AFTER]
    return _sessions(seen, victim.name, before, after, broken, ended) | {
        "seconds": seconds,
        **_failed("new", new),
        **_failed("late", late),
        "back": min((r.ended - back for r in again if r.server == victim.name), default=None),
        "share": sum(spread) / len(spread) if spread else 0.0,
    }


async def all_of_them(bench: Bench, name: str) -> dict[str, Any]:
    """All three are stopped, and one goes on: how long until the first good answer through the proxy."""
    servers = [*bench.servers.values()]
    async with _clients(bench, name) as seen:
        with stopped(servers):
            await asyncio.sleep(ALL)
            back = time.monotonic()
            servers[0].resume()
            while seen.new.again(back) is None and time.monotonic() < back + LATEST:
                await asyncio.sleep(RETRY)
    return {"seconds": ALL, "again": seen.new.again(back)}


async def flaps(bench: Bench, name: str) -> dict[str, Any]:
    """One is stopped for FLAP seconds, goes on for as long, and so on."""
    victim = next(iter(bench.servers.values()))
    times = 2 if bench.quick else FLAPS
    async with _clients(bench, name) as seen:
        before, broken = seen.closed(), time.monotonic()
        for _ in range(times):
            with stopped([victim]):
                await asyncio.sleep(FLAP)
            await asyncio.sleep(FLAP)
        after, ended = seen.closed(), time.monotonic()
    return _sessions(seen, victim.name, before, after, broken, ended) | {
        "times": times,
        **_failed("new", seen.new.since(broken)),
    }


class _clients:  # noqa: N801 - a context manager
    """A kept-alive client on each apiserver, and one with new connections, while the block runs."""

    def __init__(self, bench: Bench, name: str) -> None:
        self._bench, self._name = bench, name

    async def __aenter__(self) -> Seen:
        async with AsyncExitStack() as stack:
            stack.enter_context(running(self._bench, self._name))
            kept = await _one_on_each(self._bench, stack)
            streams = {
                server: await stack.enter_async_context(Stream(client.get, KEPT_TICK))
                for server, client in kept.items()
            }
            new = await stack.enter_async_context(self._bench.stream(tick=NEW_TICK))
            await asyncio.sleep(WARM)
            self._stack = stack.pop_all()
        return Seen(kept, streams, new)

    async def __aexit__(self, *_: object) -> None:
        try:
            await self._stack.aclose()
        finally:
            await self._bench.mend()


async def _one_on_each(bench: Bench, stack: AsyncExitStack) -> dict[str, Kept]:
    found: dict[str, Kept] = {}
    names = {server.name for server in bench.servers.values()}
    for _ in range(MOST):
        client = Kept(PROXY, bench.tls("h2"))
        stack.callback(client.close)
        found.setdefault(await client.open(), client)
        if names == found.keys():
            return found
    raise LabError(f"{MOST} connections went to {', '.join(found)} alone")


def _sessions(
    seen: Seen, victim: str, before: dict[str, int], after: dict[str, int], since: float, until: float
) -> dict[str, Any]:
    """What became of the kept session on the one that failed, and of those on the others."""
    gaps = {name: gap(stream.seen, since, until) for name, stream in seen.streams.items()}
    ends = {name: after[name] - before[name] for name in gaps}
    others = [name for name in gaps if name != victim]
    return {
        "gap": gaps[victim],
        "ended": ends[victim],
        "others_gap": max(gaps[name] for name in others),
        "others_ended": sum(ends[name] for name in others),
    }


def gap(requests: Sequence[Request], since: float, until: float) -> float:
    """The longest time between good answers of which some is between these moments, in seconds."""
    good = sorted(request.ended for request in requests if not request.error)
    first = max((moment for moment in good if moment < since), default=since)
    moments = [first, *(moment for moment in good if since <= moment <= until), until]
    return max(later - earlier for earlier, later in pairwise(moments))


def _failed(what: str, requests: Sequence[Request]) -> dict[str, Any]:
    return {
        what: len(requests),
        f"{what}_failed": sum(bool(request.error) for request in requests),
        f"{what}_slowest": max((request.seconds for request in requests), default=0.0),
    }
