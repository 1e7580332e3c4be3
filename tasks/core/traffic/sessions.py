"""Which apiserver a node's sessions are on: what one look at the node saw, and the sums over a fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..config.settings import Endpoint, Settings
from ..errors import StepError
from ..facts.facts import Facts
from ..release import servers
from ..scripts.survey import Peers, SurveyAndPeers
from ..ssh.node import Node


@dataclass(frozen=True, slots=True)
class Sessions:
    """How many sessions there are: `counts` by each of the apiservers, `others` by any other peer."""

    counts: Mapping[Endpoint, int]
    others: Mapping[Endpoint, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.counts.values()) + sum(self.others.values())

    @property
    def imbalance(self) -> float | None:
        """Of the apiservers, the most that one has over what each has on average; None without sessions.

        1 is even; with all sessions on one of three it is 3.
        """
        sessions = sum(self.counts.values())
        return max(self.counts.values()) * len(self.counts) / sessions if sessions else None


def look(node: Node, settings: Settings) -> tuple[Facts, Sessions]:
    """A survey of the node, and its sessions; one round trip.

    Raises StepError: the service does not run there, or as `Node.survey` does.
    """
    names = servers.names(settings.apiservers)
    seen, peers = node.do(SurveyAndPeers(settings.proxy, tuple(names)))
    node.refuse_others_than_root(seen)
    if not seen.active:
        raise StepError(seen.state, hint="see why: fab status --limit {nodes}")
    return seen, assigned(peers, settings.apiservers, seen.addresses)


def count(node: Node, settings: Settings, addresses: servers.Addresses) -> Sessions:
    """The sessions alone, where the `addresses` of the apiservers' names are known. Raises StepError."""
    return assigned(node.do(Peers(settings.proxy)), settings.apiservers, addresses)


def assigned(
    found: Mapping[Endpoint, int], apiservers: Sequence[Endpoint], addresses: servers.Addresses
) -> Sessions:
    """Gives each peer's sessions to the first apiserver that has its address there."""
    owner: dict[Endpoint, Endpoint] = {}
    for apiserver in apiservers:
        for there in at(apiserver, addresses):
            owner.setdefault(there, apiserver)
    counts = dict.fromkeys(apiservers, 0)
    others: dict[Endpoint, int] = {}
    for peer, count in found.items():
        if peer in owner:
            counts[owner[peer]] += count
        else:
            others[peer] = count
    return Sessions(counts, others)


def at(apiserver: Endpoint, addresses: servers.Addresses) -> tuple[Endpoint, ...]:
    """The addresses of an apiserver as the kernel knows them: without a zone; () if its name has none."""
    there = servers.resolved([apiserver], addresses)
    bare = [Endpoint(server.host.partition("%")[0], server.port) for server in there]
    return tuple(server for server in bare if not servers.names([server]))


def together(seen: Iterable[Sessions], apiservers: Sequence[Endpoint]) -> Sessions:
    """The sums over nodes."""
    counts: Counter[Endpoint] = Counter(dict.fromkeys(apiservers, 0))
    others: Counter[Endpoint] = Counter()
    for sessions in seen:
        counts.update(sessions.counts)
        others.update(sessions.others)
    return Sessions(dict(counts), dict(others))
