"""A new configuration without one apiserver, and a new binary, under 200 open watches."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from benchmarks import netns
from benchmarks.bench import PROXY, Bench
from benchmarks.clients import fresh
from benchmarks.proxies import Proxy
from benchmarks.watches import Kubectl, Plain
from tasks.core.config.address import APISERVER_PORT

WATCHES = 200
KUBECTLS = 40
AT_ONCE = 4
CAP = 60.0
UPGRADE_CAP = 20.0
SETTLE = 3.0
WARM = 1.0
POLL = 0.05
HEARD = 0.5


async def reload(bench: Bench, name: str) -> dict[str, Any]:
    """Take away the apiserver that has most of the sessions, and reload."""
    configuration = bench.configuration(name)

    def act(proxy: Proxy) -> str:
        sessions = Counter(_upstreams(bench).values())
        removed = sessions.most_common(1)[0][0]
        proxy.reload(configuration.without(removed))
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
    kubectls = [Kubectl(bench.kubectl) for _ in range(4 if bench.quick else KUBECTLS)]
    plain = [Plain(PROXY, bench.context) for _ in range(WATCHES - len(kubectls))]
    with bench.proxy(bench.configuration(name), upgradable=True) as proxy:
        async with AsyncExitStack() as stack:
            await _open(stack, [*kubectls, *plain])
            before = set(_upstreams(bench))
            stream = await stack.enter_async_context(fresh(PROXY, bench.context))
            await asyncio.sleep(WARM)
            began = time.monotonic()
            removed = await asyncio.to_thread(act, proxy)
            gone = await _gone(bench, before, removed, began + (15 if bench.quick else cap))
            await asyncio.sleep(HEARD)
            ends = _ends(kubectls, plain, began)
    requests = stream.since(began)
    return ends | {
        "watches": WATCHES,
        "kubectls": len(kubectls),
        "requests": len(requests),
        "failed": sum(bool(request.error) for request in requests),
        "removed_gone": None if gone is None else gone - began,
        "cap": cap,
    }


async def _gone(bench: Bench, before: set[int], removed: str, deadline: float) -> float | None:
    """Wait until the sessions of before have ended; when there was none to the removed apiserver any more."""
    gone = None
    while True:
        now = _upstreams(bench)
        if gone is None and removed not in now.values():
            gone = time.monotonic()
        if not now.keys() & before or time.monotonic() > deadline:
            return gone
        await asyncio.sleep(POLL)


def _ends(kubectls: list[Kubectl], plain: list[Plain], began: float) -> dict[str, Any]:
    """How many watches ended, the first and the last how long after `began`, and what their clients said."""
    ends = [
        (when, f"{status} {said}" if status else "") for one in kubectls for when, status, said in one.ended
    ]
    ends += [one.ended for one in plain if one.ended]
    times = [when - began for when, _ in ends]
    return {
        "ended": len(ends),
        "first": min(times, default=None),
        "last": max(times, default=None),
        "errors": dict(Counter(error for _, error in ends if error)),
    }


async def _open(stack: AsyncExitStack, watches: list[Kubectl | Plain]) -> None:
    gate = asyncio.Semaphore(AT_ONCE)

    async def enter(watch: Kubectl | Plain) -> None:
        async with gate:
            await stack.enter_async_context(watch)

    await asyncio.gather(*map(enter, watches))


def _upstreams(bench: Bench) -> dict[int, str]:
    return netns.upstreams(list(bench.servers), APISERVER_PORT)
