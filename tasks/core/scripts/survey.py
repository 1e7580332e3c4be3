"""What is on a node: all that later steps need to know, and with whom the service has sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from ..config.settings import Endpoint, Proxy
from ..facts.answer import below, read
from ..facts.facts import Facts
from ..facts.sockets import from_kernel
from ..facts.tools import lacking, needed, vital
from ..shell.command import CommandResult
from .script import A, OnNode

PROPERTIES = (
    "LoadState,UnitFileState,ActiveState,SubState,Result,MainPID,NRestarts,"
    "ActiveEnterTimestamp,ActiveEnterTimestampMonotonic,NeedDaemonReload,DropInPaths,"
    "LimitNOFILE,LimitNOFILESoft,User"
)


@dataclass(frozen=True)
class _Survey(OnNode[A]):
    """Reads what is there; `hosts` are names that the node is to resolve."""

    files: ClassVar[tuple[str, ...]] = ("common", "survey")
    seconds_allowed = 30
    hosts: tuple[str, ...] = ()

    def parameters(self) -> Mapping[str, object]:
        """With what of the settings the survey is made."""
        given = {"user": self.proxy.user, "properties": PROPERTIES, "tools": needed(self.proxy.user)}
        return {**super().parameters(), **given, "ports": _ports(self.proxy)}


class Survey(_Survey[Facts]):
    """Everything that later steps need to know of a node."""

    def parse(self, result: CommandResult) -> Facts:
        """The facts. Raises StepError where the node lacks what a survey is made with."""
        seen = read(Facts, result.values)
        if unread := vital(seen.missing):
            raise lacking(unread)
        return seen


class Peers(OnNode[Mapping[Endpoint, int]]):
    """The peers of the service's sessions, but for its clients."""

    files = ("common", "sessions")
    seconds_allowed = 30

    def parameters(self) -> Mapping[str, object]:
        """With the listeners, whose sessions are those of clients."""
        return {**super().parameters(), "ports": _ports(self.proxy)}

    def parse(self, result: CommandResult) -> Mapping[Endpoint, int]:
        """How many sessions there are with each."""
        found: Counter[Endpoint] = Counter()
        for address, count in below(result.values, "peer").items():
            found[from_kernel(address)] += int(count)
        return found


class SurveyAndPeers(_Survey[tuple[Facts, Mapping[Endpoint, int]]]):
    """Both in one round trip."""

    files = ("common", "survey", "sessions")

    def parse(self, result: CommandResult) -> tuple[Facts, Mapping[Endpoint, int]]:
        """The facts, and the peers."""
        return Survey(self.proxy).parse(result), Peers(self.proxy).parse(result)


def _ports(proxy: Proxy) -> tuple[str, ...]:
    return tuple(f"{address.port:04X}" for address in proxy.listen)
