"""A node's ways to the apiservers: each directly, and those through its own proxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..config.address import REACHED_AT
from ..config.settings import Endpoint, Settings
from ..errors import StepError
from ..facts.facts import Facts
from ..facts.remedy import brings_up
from ..probes import fallback
from ..probes.certificate import Trust
from ..probes.probe import FAILED, OK, STATES, WARNING, Cell, Seen, judge, look
from ..probes.reach import Reached, handshake, through
from ..release import servers
from ..shell.pool import together
from ..ssh.node import Node
from .drift import Drift, drift

_REFUSES = (
    "see why: fab status --limit {nodes}, fab logs --limit {nodes}; when all apiservers were down, nginx "
    "refuses clients until proxy.fail_timeout has passed"
)
_STRANGERS = "is [check] ca in hosts.toml that of this cluster, and is it still valid?"
_FIREWALL = "do the apiservers run, and does a firewall stand between them and the node?"


@dataclass(frozen=True, slots=True)
class Row:
    """What one node met: at each apiserver, through each listener of its proxy, and what has drifted.

    `remedy` is what to do where it is the service that is missing.
    """

    node: str
    facts: Facts
    direct: Mapping[Endpoint, Cell]
    through: Mapping[Endpoint, Cell]
    drift: tuple[Drift, ...] = ()
    remedy: str = ""

    @property
    def worst(self) -> Cell:
        """Of the listeners, the one that is worst."""
        return max(self.through.values(), key=lambda cell: STATES.index(cell.state))

    @property
    def state(self) -> str:
        """One of STATES: "failed" if the node cannot work, "warning" if anything is bad."""
        if self.failure:
            return FAILED
        cells = (*self.direct.values(), *self.through.values())
        return WARNING if self.drift or any(cell.state != OK for cell in cells) else OK

    @property
    def failure(self) -> StepError | None:
        """Why the node cannot work: its proxy does not answer, or there is no way at all."""
        direct = {cell.way for cell in self.direct.values()}
        silent = {listener: cell for listener, cell in self.through.items() if cell.way is False}
        if direct == {False} and not any(cell.way for cell in self.through.values()):
            neither = f", neither directly nor through {_listed(silent)}" if silent else ""
            strangers = all(cell.seen.distrust for cell in self.direct.values())
            hint = self.remedy or (_STRANGERS if strangers else _FIREWALL)
            return StepError(f"no way to any ready apiserver{neither}", hint=hint)
        if not silent:
            return None
        told = "; ".join(dict.fromkeys(cell.detail for cell in silent.values()))
        hint = self.remedy or _REFUSES
        return StepError(f"no ready apiserver answers through {_listed(silent)}: {told}", hint=hint)


def _listed(listeners: Mapping[Endpoint, Cell]) -> str:
    return " and ".join(map(str, listeners))


class Ways:
    """Looks from one node. Raises StepError where the node itself fails."""

    def __init__(self, node: Node, settings: Settings, trust: Trust | None) -> None:
        self._node = node
        self._settings = settings
        self._trust = trust
        self._facts = node.survey(settings.proxy, servers.names(settings.apiservers))

    def row(self) -> Row:
        """Everything, once."""
        settings, facts = self._settings, self._facts
        asked = zip(settings.apiservers, self._ask(settings.apiservers), strict=True)
        seen = {apiserver: self._named(apiserver, met) for apiserver, met in asked}
        usual = min((s.connected for s in seen.values() if s.connected), default=0.0)
        names = list(dict.fromkeys(map(_reached_at, settings.proxy.listen)))
        direct = {apiserver: judge(met, names, usual=usual) for apiserver, met in seen.items()}
        through = {listener: self._through(listener, direct, usual) for listener in settings.proxy.listen}
        remedy = brings_up(facts, settings.proxy)
        return Row(self._node.label, facts, direct, through, drift(settings, facts), remedy)

    def _ask(self, endpoints: Sequence[Endpoint]) -> list[Seen]:
        """What is met at each, all at once."""
        timeout, transport = self._settings.check.timeout, self._node.transport

        def ask(endpoint: Endpoint) -> Seen:
            return look(transport, endpoint, timeout, self._trust, self._facts.clock)

        met = together(endpoints, ask)
        if not transport.is_active():
            raise StepError("the connection broke while apiservers were asked")
        forbidden = [endpoint for endpoint, seen in zip(endpoints, met, strict=True) if seen.ok is None]
        instead = fallback.ask(self._node, [*dict.fromkeys(forbidden)], timeout) if forbidden else {}
        return [
            instead[endpoint] if seen.ok is None else seen
            for endpoint, seen in zip(endpoints, met, strict=True)
        ]

    def _named(self, apiserver: Endpoint, seen: Seen) -> Seen:
        """With the addresses that were tried, where they are those of a name."""
        found = self._facts.addresses.get(apiserver.host)
        if seen.word not in ("refused", "no route") or seen.by or not found:
            return seen
        return replace(seen, text=f"{seen.text} ({', '.join(found)})")

    def _through(self, listener: Endpoint, direct: Mapping[Endpoint, Cell], usual: float) -> Cell:
        """What the proxy leads to, tried until it has led to all that answer directly, or often enough."""
        if holder := self._facts.holder(listener):
            return self._foreign(listener, f"is held by {holder}, not by kube-nginx")
        wanted = {cell.seen.peer for cell in direct.values()} - {""}
        met: list[Cell] = []
        for tries in self._rounds(direct):
            programs = bool(met and met[-1].seen.by)  # which ask once, and do not see who answers
            met += self._tried(listener, 1 if programs else tries, usual)
            led = any(cell.way is not False for cell in met)
            if all(cell.seen.word == "refused" for cell in met):
                break
            if led and (met[-1].seen.by or wanted <= {cell.seen.peer for cell in met}):
                break
        return self._summed(met, direct)

    def _rounds(self, direct: Mapping[Endpoint, Cell]) -> Sequence[int]:
        """How many tries are made at once, and then again.

        Of three, a given one is missed by all 13 of them once in 200 times. A hung apiserver accepts,
        which is all that the proxy looks at, so it may swallow any of them.
        """
        if all(cell.way is False for cell in direct.values()):
            return (1,)
        behind = len(servers.resolved(self._settings.apiservers, self._facts.addresses))
        return (1, behind, behind, 2 * behind)

    def _tried(self, listener: Endpoint, tries: int, usual: float) -> list[Cell]:
        name = (_reached_at(listener),)
        return [judge(seen, name, True, usual) for seen in self._ask([listener] * tries)]

    def _summed(self, met: Sequence[Cell], direct: Mapping[Endpoint, Cell]) -> Cell:
        """All tries as one cell: the worst of those that led to an apiserver, if any did."""
        good = [cell for cell in met if cell.way is not False]
        bad = [cell for cell in met if cell.way is False]
        worst = max(good or bad, key=lambda cell: STATES.index(cell.state))
        peers = {cell.seen.peer for cell in met} - {""}
        led = tuple(apiserver for apiserver, cell in direct.items() if cell.seen.peer in peers)
        cell = replace(worst, detail=_told(good or bad, direct), led=led)
        if not good:
            return self._without_service(cell)
        if bad:
            share = f"{len(good)} of {len(met)} tries"
            text = f"an apiserver answers at {share} only; else: {_told(bad, direct)}"
            return _with(replace(cell, state=WARNING, word=share), text)
        missed = [str(a) for a, there in direct.items() if there.seen.peer and a not in led]
        if not missed or not peers:
            return cell
        some = " and ".join(map(str, led)) or "others"
        return _with(cell, f"{len(met)} tries led to {some}, not to {' and '.join(missed)}")

    def _foreign(self, listener: Endpoint, why: str) -> Cell:
        (cell,) = self._tried(listener, 1, 0.0)
        word = cell.word if cell.word == "untrusted" else "not ours"
        foreign = replace(cell, state=FAILED, way=False, word=word, detail=why)
        return _with(foreign, cell.detail)

    def _without_service(self, cell: Cell) -> Cell:
        facts = self._facts
        if facts.state == "not installed":
            return replace(cell, word="not there", detail="kube-nginx is not installed there")
        if facts.active:
            return cell
        word = facts.unit.get("ActiveState", "not active")
        return replace(cell, word=word, detail=f"the service is {facts.state}")


def _reached_at(listener: Endpoint) -> str:
    return REACHED_AT.get(listener.host, listener.host)


def _with(cell: Cell, text: str) -> Cell:
    return replace(cell, detail="; ".join(filter(None, (cell.detail, text))))


def _told(met: Sequence[Cell], direct: Mapping[Endpoint, Cell]) -> str:
    """What is told of the tries, each thing once, and of which apiserver."""

    def told(cell: Cell) -> str:
        peer = cell.seen.peer
        who = [str(a) for a, there in direct.items() if peer and there.seen.peer == peer]
        return f"{' or '.join(who)}: {cell.detail}" if who else cell.detail

    return "; ".join(dict.fromkeys(told(cell) for cell in met if cell.detail))


def answering(node: Node, settings: Settings, listener: Endpoint) -> tuple[str, str]:
    """What a TLS handshake through a listener meets, in a word or two; and why no apiserver answers.

    Where sshd forbids trying, what the kernel lists.
    """
    facts, tries = node.survey(settings.proxy), 2 * len(settings.apiservers)
    if holder := facts.holder(listener):
        return f"is held by {holder}", ""

    reached = handshake(node.transport, listener, settings.check.timeout)
    if reached.ok is False and facts.listens(listener):
        again = through(node.transport, listener, tries, settings.check.timeout)
        reached = again if again.ok else reached
    if reached.ok is None:
        seen = fallback.ask(node, [listener], settings.check.timeout)[listener]
        reached = Reached(seen.ok, seen.text, 0.0)
    if reached.ok is None:
        return "listens" if facts.listens(listener) else "nobody listens", ""
    if reached.ok:
        return "answers", ""
    return ("accepts", reached.text) if facts.listens(listener) else ("refuses", "")
