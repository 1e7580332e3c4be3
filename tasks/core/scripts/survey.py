"""What is on a node: all that later steps need to know, and with whom the service has sessions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ..answer import Lines, read_answer
from ..config.address import REACHED_AT, Endpoint
from ..facts.facts import Facts
from ..facts.sockets import as_kernel, from_kernel
from ..facts.tools import lacking, needed, vital
from ..release import servers
from ..shell.command import CommandResult
from ..users.found import Users
from .script import OnNode

PROPERTIES = (
    "Result,NRestarts,ActiveEnterTimestamp,ActiveEnterTimestampMonotonic,LimitNOFILE,LimitNOFILESoft,User,"
    "PrivateMounts"
)
"""Those besides what templates/common.sh asks systemd for; what a systemd does not know it leaves out."""


def hexadecimal(endpoints: Iterable[Endpoint]) -> tuple[str, ...]:
    """Their ports as the kernel writes them, each once."""
    return tuple(dict.fromkeys(f"{endpoint.port:04X}" for endpoint in endpoints))


def _as_regular_expression(listener: Endpoint) -> str:
    """Its address as the kernel writes it; one on all addresses has any of its family."""
    address, _, port = as_kernel(listener).partition(":")
    return f"[0-9A-F]{{{len(address)}}}:{port}" if listener.host in REACHED_AT else f"{address}:{port}"


class Peers(OnNode[Mapping[Endpoint, int]]):
    """How many sessions the service has with each peer, without those of its clients."""

    files = ("common", "sessions")
    seconds_allowed = 30

    def derived(self) -> Mapping[str, object]:
        return {"ports": hexadecimal(self.proxy.listen)}

    def parse(self, result: CommandResult) -> Mapping[Endpoint, int]:
        found: Counter[Endpoint] = Counter()
        for address, count in Lines(result.values).below("peer").items():
            found[from_kernel(address)] += int(count)
        return found


@dataclass(frozen=True)
class Survey(OnNode[Facts]):
    """Everything that later steps need to know of a node; `hosts` are names that it is to resolve.

    Raises StepError where the node lacks what a survey is made with.
    """

    files = ("common", "survey")
    answer = Facts
    seconds_allowed = 30
    hosts: tuple[str, ...] = ()

    def derived(self) -> Mapping[str, object]:
        user = self.proxy.user
        given = {"user": user, "properties": PROPERTIES, "tools": needed(user)}
        return {**Peers(self.proxy).derived(), **given}

    def parse(self, result: CommandResult) -> Facts:
        seen = super().parse(result)
        if unread := vital(seen.missing):
            raise lacking(unread)
        return seen


@dataclass(frozen=True)
class SurveyAndPeers(OnNode[tuple[Facts, Mapping[Endpoint, int]]]):
    """Both in one round trip."""

    files = ("common", "survey", "sessions")
    seconds_allowed = 30
    hosts: tuple[str, ...] = ()

    def derived(self) -> Mapping[str, object]:
        return Survey(self.proxy).derived()

    def parse(self, result: CommandResult) -> tuple[Facts, Mapping[Endpoint, int]]:
        return Survey(self.proxy).parse(result), Peers(self.proxy).parse(result)


@dataclass(frozen=True)
class SurveyAndUsers(OnNode[tuple[Facts, Users]]):
    """A survey, and who uses the service there, or goes past it to one of `apiservers`; one round trip."""

    files = ("common", "survey", "users")
    seconds_allowed = 30
    apiservers: tuple[Endpoint, ...] = ()

    def derived(self) -> Mapping[str, object]:
        more = {"hosts": servers.names(self.apiservers), "apiserver_ports": hexadecimal(self.apiservers)}
        listen = "|".join(map(_as_regular_expression, self.proxy.listen))
        return {**Survey(self.proxy).derived(), **more, "listen": listen}

    def parse(self, result: CommandResult) -> tuple[Facts, Users]:
        return Survey(self.proxy).parse(result), read_answer(Users, result.values)
