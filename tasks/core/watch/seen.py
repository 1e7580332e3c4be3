"""What the watch of a node says of its apiservers: what `fab status` and `fab check` show."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..config.model import Settings
from ..facts.facts import Facts
from ..facts.watch import Ejection
from ..results import output
from .needs import impossible


class WatchState(StrEnum):
    """How the watch of a node is."""

    OK = "ok"
    EJECTED = "ejected"
    SILENT = "silent"
    OFF = "off"
    NOT_POSSIBLE = "not possible"
    NOT_RUNNING = "not running"


@dataclass(frozen=True, slots=True)
class WatchSeen:
    """kube-nginx-watch on a node."""

    state: WatchState = output(f"`{'`, `'.join(WatchState)}`")
    why: str = output("why it is not `ok`, in words", "")
    ejected: tuple[Ejection, ...] = output("the apiservers that nginx is kept from", ())

    def __str__(self) -> str:
        """For a column."""
        if self.state == WatchState.EJECTED:
            return ", ".join(f"ejected {of.apiserver} for {of.seconds} s" for of in self.ejected)
        return self.state.value


def watch_of(facts: Facts, settings: Settings) -> WatchSeen:
    """The watch of a node, out of its survey."""
    told = facts.watch
    if not told.there:
        why = impossible(facts, settings.proxy) if settings.watch.enabled else ""
        if why:
            return WatchSeen(WatchState.NOT_POSSIBLE, f"not possible here: {why}")
        return WatchSeen(WatchState.OFF, "not deployed" if settings.watch.enabled else "")
    if not told.active:
        return WatchSeen(WatchState.NOT_RUNNING, told.state)
    if told.not_possible:
        return WatchSeen(WatchState.NOT_POSSIBLE, f"not possible here: {told.not_possible}")
    if ejected := told.ejected:
        return WatchSeen(WatchState.EJECTED, told.status, tuple(ejected.values()))
    return WatchSeen(WatchState.SILENT, told.silent) if told.silent else WatchSeen(WatchState.OK)
