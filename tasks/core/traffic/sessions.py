"""Which apiserver a node's sessions are on: what one look at the node saw, and the sums over a fleet."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ..config.address import Endpoint
from ..config.model import Settings
from ..errors import StepError
from ..facts.facts import Facts
from ..release import servers
from ..results import State, StepResult, output
from ..scripts.survey import Peers, SurveyAndPeers
from ..ssh.node import Node


@dataclass(frozen=True, slots=True)
class Sessions:
    """How many sessions there are, and on whom."""

    counts: Mapping[Endpoint, int] = output("how many are on each apiserver of hosts.toml", key="sessions")
    others: Mapping[Endpoint, int] = output("how many are on any other peer")
    total: int = output("all of them")
    imbalance: float | None = output(
        "the most that one apiserver has over what each has on average: 1 is even; null: no sessions",
        digits=3,
    )

    @staticmethod
    def of(counts: Mapping[Endpoint, int], others: Mapping[Endpoint, int]) -> Sessions:
        """By each of the apiservers, and by any other peer."""
        ours = sum(counts.values())
        imbalance = max(counts.values()) * len(counts) / ours if ours else None
        return Sessions(counts, others, ours + sum(others.values()), imbalance)


def look(node: Node, settings: Settings) -> tuple[Facts, Sessions]:
    """A survey of the node, and its sessions; one round trip.

    Raises StepError: the service does not run there, or as `Node.survey` does.
    """
    names = servers.names(settings.apiservers)
    facts, peers = node.do(SurveyAndPeers(settings.proxy, tuple(names)))
    node.refuse_others_than_root(facts)
    if not facts.active:
        raise StepError(facts.state, hint="see why: fab status --limit {nodes}")
    return facts, assigned(peers, settings.apiservers, facts.addresses)


def counted(node: Node, settings: Settings) -> StepResult[Sessions]:
    """The step that looks at a node. Raises StepError, as `look` does."""
    _, sessions = look(node, settings)
    return StepResult(State.OK, f"{sessions.total} sessions", value=sessions)


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
    sessions = dict.fromkeys(apiservers, 0)
    others: dict[Endpoint, int] = {}
    for peer, count in found.items():
        if peer in owner:
            sessions[owner[peer]] += count
        else:
            others[peer] = count
    return Sessions.of(sessions, others)


def at(apiserver: Endpoint, addresses: servers.Addresses) -> tuple[Endpoint, ...]:
    """The addresses of an apiserver as the kernel knows them: without a zone; () if its name has none."""
    there = servers.resolved([apiserver], addresses)
    bare = [Endpoint(server.host.partition("%")[0], server.port) for server in there]
    return tuple(server for server in bare if not servers.names([server]))


def together(seen: Iterable[Sessions], apiservers: Sequence[Endpoint]) -> Sessions:
    """The sums over nodes."""
    sessions: Counter[Endpoint] = Counter(dict.fromkeys(apiservers, 0))
    others: Counter[Endpoint] = Counter()
    for one in seen:
        sessions.update(one.counts)
        others.update(one.others)
    return Sessions.of(dict(sessions), dict(others))
