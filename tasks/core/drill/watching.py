"""What kube-nginx-watch on the node does about an apiserver that dies, looked at while it is dead."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from threading import Event, Thread
from time import monotonic
from typing import Self

from ..config.address import Endpoint
from ..errors import StepError
from ..facts.watch import WatchUnit
from ..results import output
from ..scripts.drill import LookAtWatch
from ..ssh.node import Node

_EVERY = 0.5  # seconds from one look to the next


@dataclass(frozen=True, slots=True)
class WatchReport:
    """What kube-nginx-watch did."""

    status: str = output("its status line: when it had ejected the apiserver, or else the last one seen")
    ejected_after: float | None = output(
        "from the fault until it was seen to have ejected the apiserver; null: it did not", None, digits=2
    )
    can_eject: bool = True


class Watching:
    """Looks at kube-nginx-watch of `node` while its `with` block runs; it may well not be there."""

    def __init__(self, node: Node, addresses: tuple[Endpoint, ...]) -> None:
        self._node = node
        self._addresses = frozenset(map(str, addresses))
        self._over = Event()
        self._seen: list[tuple[float, WatchUnit]] = []

    def report(self, began: float, ended: float) -> WatchReport | None:
        """What it did about a fault between these times (`monotonic`); None: it does not run there."""
        seen = [one for at, one in self._seen if one.active and at <= ended]
        if not seen:
            return None
        for at, one in self._seen:
            if began <= at <= ended and self._addresses & one.ejected.keys():
                return WatchReport(one.status, at - began)
        return WatchReport(seen[-1].status, can_eject=not seen[-1].not_possible)

    def __enter__(self) -> Self:
        self._look()
        Thread(target=self._go_on, daemon=True).start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()

    def _go_on(self) -> None:
        while not self._over.wait(_EVERY):
            self._look()

    def _look(self) -> None:
        """One that fails says nothing; the clients notice a connection that broke."""
        with suppress(StepError):
            seen = self._node.do(LookAtWatch())
            self._seen.append((monotonic(), seen))
