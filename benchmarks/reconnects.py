"""How many connections a second a rollout brings the apiservers: a simulation, the same every time.

    python -m benchmarks.reconnects --nodes 10000 --shards 4 --batch 4 --limit 100

A node's turn begins with a handshake, by which deploy looks at it. Then the sessions of its clients are cut:
at once (restart), or worker_shutdown_timeout later (reload, upgrade), which only moves them; each client
connects again within client-go's first back-off. It ends with the proof, a handshake for each apiserver. All
nodes of a batch have their turns together, as far as fab can work on so many at a time.
"""

from __future__ import annotations

import argparse
import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random

from tasks.core.config.model import Rollout
from tasks.core.rollout.rolling import batches
from tasks.core.shell.pool import MOST_BEGUN

BUSY = 0.5
"""Seconds that fab is at work on a node in its turn; rollout.settle follows, and by chance as much again."""
BACK_OFF = 1.6
"""Seconds within which a client that was cut has another connection: client-go's first back-off, jittered."""
ROWS, COLUMNS = 6, 60


@dataclass(frozen=True, slots=True)
class Fleet:
    """`clients`: sessions of a node, as `fab connections` counts them; `shards` run at the same time."""

    nodes: int
    shards: int = 1
    clients: int = 2
    apiservers: int = 3

    @property
    def of_a_turn(self) -> int:
        """The connections that one node's turn brings."""
        return self.clients + self.apiservers + 1


def most_at_once(fleet: Fleet, limit: int) -> int:
    """The largest batch of each shard with which no second can have more than `limit`."""
    return max(1, limit // (fleet.of_a_turn * fleet.shards))


def connections(fleet: Fleet, rollout: Rollout) -> list[int]:
    """New connections to all apiservers in each second of the rollout."""
    seen: Counter[int] = Counter()
    for shard in range(fleet.shards):
        share = fleet.nodes // fleet.shards + (shard < fleet.nodes % fleet.shards)
        seen.update(int(moment) for moment in _moments(fleet, rollout, share, Random(shard)))
    return [seen[second] for second in range(max(seen) + 1)]


def _moments(fleet: Fleet, rollout: Rollout, nodes: int, chance: Random) -> Iterator[float]:
    """When a connection comes, of one shard's."""
    now = 0.0
    for number, batch in enumerate(batches(range(nodes), rollout)):
        now += rollout.pause if number else 0
        places, ends = [now] * rollout.parallel, [now]
        turns = [now] * rollout.parallel * MOST_BEGUN
        for _ in batch:
            begins = max(heapq.heappop(places), heapq.heappop(turns))
            acted = begins + BUSY
            ends.append(acted + rollout.settle + chance.uniform(0, BUSY))
            heapq.heappush(turns, ends[-1])
            yield begins
            yield from (acted + chance.uniform(0, BACK_OFF) for _ in range(fleet.clients))
            yield from (ends[-1] for _ in range(fleet.apiservers))
            heapq.heappush(places, acted)
        now = max(ends)


def chart(seen: Sequence[int], limit: int, top: int) -> str:
    """The first minute, a column a second; dots are at the limit, and `top` is the upper edge."""
    rows = []
    for row in range(ROWS, 0, -1):
        above, below = top * row / ROWS, top * (row - 1) / ROWS
        marked = below < limit <= above
        cells = "".join(
            _cell(count, below, above) or ("·" if marked else " ")
            for count in [*seen, *[0] * COLUMNS][:COLUMNS]
        )
        rows.append(f"{limit if marked else '':>5} {'┤' if marked else '│'}{cells.rstrip()}")
    axis = "".join("┬" if second % 10 == 0 else "─" for second in range(COLUMNS))
    numbers = "".join(f"{second:<10}" for second in range(0, COLUMNS, 10))
    return "\n".join([*rows, f"{0:>5} └{axis}", f"{'':7}{numbers.rstrip()} s"])


def _cell(count: int, below: float, above: float) -> str:
    return "▁▂▃▄▅▆▇█"[min(7, int((count - below) / (above - below) * 8))] if count > below else ""


def told(fleet: Fleet, rollout: Rollout, limit: int) -> str:
    """The figures of a rollout, in words."""
    seen = connections(fleet, rollout)
    return (
        f"{fleet.nodes:,} nodes, {fleet.of_a_turn} connections each: {max(seen):,} in the worst second, "
        f"{'within' if max(seen) <= limit else 'over'} {limit}; {sum(seen) / len(seen):,.0f} on average; "
        f"{len(seen) / 60:,.0f} minutes; by the rule, batch = {most_at_once(fleet, limit)}"
    )


def main() -> None:
    """Simulates what is asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.reconnects", description=(__doc__ or "").splitlines()[0]
    )
    usual = Rollout()
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--shards", type=int, default=1, help="that run at the same time")
    parser.add_argument(
        "--clients", type=int, default=2, help="sessions of a node, as fab connections counts them"
    )
    parser.add_argument("--apiservers", type=int, default=3)
    parser.add_argument("--limit", type=int, default=100, help="new connections a second that are well")
    for name in ("canary", "batch", "parallel", "pause", "settle"):
        parser.add_argument(f"--{name}", default=getattr(usual, name), help="as in [rollout]")
    given = parser.parse_args()
    fleet = Fleet(given.nodes, given.shards, given.clients, given.apiservers)
    batch = given.batch if str(given.batch).endswith("%") else int(given.batch)
    rollout = Rollout(
        int(given.parallel), int(given.canary), batch, int(given.pause), settle=int(given.settle)
    )
    print(told(fleet, rollout, given.limit))
    print(chart(connections(fleet, rollout), given.limit, max(given.limit, *connections(fleet, rollout))))


if __name__ == "__main__":
    main()
