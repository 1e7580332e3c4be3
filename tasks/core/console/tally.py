"""A step under way: what became of the hosts that are done, and who is still waited for."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from threading import Lock
from time import monotonic

from ..folding.alike import alike
from ..results import State
from .summary import Record

_SOON = 0.1
"""The part of a step after which the rest of it can be guessed."""


class Tally:
    """Counts `total` hosts in a `step`; hosts begin in any thread."""

    def __init__(self, step: str, total: int) -> None:
        self.step, self.total = step, total
        self.records: list[Record] = []
        self._began = monotonic()
        self._out: dict[str, float] = {}
        self._changing = Lock()

    @property
    def seconds(self) -> float:
        """For how long the step is under way."""
        return monotonic() - self._began

    def begins(self, host: str) -> None:
        """The host's turn has come."""
        with self._changing:
            self._out[host] = monotonic()

    def ends(self, record: Record) -> None:
        """The host is done."""
        with self._changing:
            self._out.pop(record.host, None)
        self.records.append(record)

    def counts(self, *without: State) -> str:
        """`2 changed, 1 failed`."""
        states = [record.outcome.state for record in self.records]
        return ", ".join(
            f"{states.count(state)} {state}" for state in State if state in {*states} - {*without}
        )

    def worst(self) -> State:
        """Of all that are done; a step that not all have done is no success."""
        states = {record.outcome.state for record in self.records}
        if State.FAILED not in states and len(self.records) < self.total:
            return State.WARNING
        return next((s for s in (State.FAILED, State.WARNING, State.CHANGED) if s in states), State.OK)

    def slowest(self) -> tuple[str, float]:
        """Who is out longest, and for how many seconds; "" if nobody is."""
        with self._changing:
            return next(((host, monotonic() - began) for host, began in self._out.items()), ("", 0.0))

    def left(self, part: float) -> float | None:
        """How many seconds the rest may take, when this `part` (0 to 1) is done; None: too early to tell."""
        return self.seconds * (1 - part) / part if _SOON <= part < 1 else None

    def so_far(self) -> str:
        """`status: 100 of 1000 after 12 s: 98 ok, 2 failed; about 108 s left; slowest: worker-0017, 9 s`."""
        done, (host, seconds) = len(self.records), self.slowest()
        left = self.left(done / self.total) if self.total and host else None
        parts = [
            self.counts(),
            f"about {left:.0f} s left" if left else "",
            f"slowest: {host}, {seconds:.0f} s" if host else "",
        ]
        head = f"{self.step}: {done} of {self.total} after {self.seconds:.0f} s"
        return ": ".join(filter(None, (head, "; ".join(filter(None, parts)))))

    def in_common(self) -> str:
        """What the hosts did that did not fail, in a line."""
        good = (State.OK, State.CHANGED)
        return told_once({r.host: r.outcome.detail for r in self.records if r.outcome.state in good})

    def noted(self) -> Iterator[tuple[State, str, list[str]]]:
        """What has to be told of hosts: failures and warnings, each once with its hosts."""
        for state in (State.FAILED, State.WARNING):
            bad = [(r, r.outcome.detail) for r in self.records if r.outcome.state == state]
            slow = [(r, r.slow) for r in self.records if r.slow and state == State.WARNING]
            for (text,), hosts in alike((r.host, r.address, [text]) for r, text in (*bad, *slow)):
                yield state, text, hosts


def told_once(details: Mapping[str, str]) -> str:
    """What the hosts of a step did, in one line: all the same, or which (or how many) did what."""
    if len(set(details.values())) <= 1:
        return "".join(set(details.values()))
    heads: dict[str, list[str]] = {}
    for host, detail in sorted(details.items()):
        heads.setdefault(re.split("[:,;]", detail)[0], []).append(host)
    if len(heads) > 4:
        return ""
    return "; ".join(f"{', '.join(h) if len(h) <= 2 else len(h)} {head}" for head, h in heads.items())
