"""A node's ways to the apiservers: each directly, and those through its own proxy."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ..config import servers
from ..config.address import REACHED_AT
from ..config.settings import Endpoint, Settings
from ..errors import StepError
from ..remote.facts import Facts
from ..remote.node import Node
from ..remote.remedy import brings_up
from . import fallback
from .drift import Drift, drift
from .probe import FAILED, OK, STATES, WARNING, Cell, Seen, judge, look
from .tunnel import each

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

    def __init__(self, node: Node, settings: Settings, trust: ssl.SSLContext | None) -> None:
        self._node = node
        self._settings = settings
        self._trust = trust
        self._facts = node.survey(settings.proxy, servers.names(settings.apiservers))

    def row(self) -> Row:
        """Everything, once."""
        settings, facts = self._settings, self._facts
        direct = {a: judge(self._named(a, seen)) for a, seen in self._ask(settings.apiservers).items()}
        # a hung apiserver accepts, which is all that the proxy looks at, so it may swallow a try or two
        hopeless = all(cell.way is False for cell in direct.values())
        tries = 1 if hopeless else len(servers.resolved(settings.apiservers, facts.addresses)) + 1
        # one after the other, and after the direct ones: paramiko keeps one error a connection
        through = {listener: self._through(listener, tries) for listener in settings.proxy.listen}
        remedy = brings_up(facts, settings.proxy)
        return Row(self._node.label, facts, direct, through, drift(settings, facts), remedy)

    def _ask(self, endpoints: Sequence[Endpoint]) -> dict[Endpoint, Seen]:
        timeout, transport = self._settings.check.timeout, self._node.transport

        def ask(endpoint: Endpoint) -> Seen:
            return look(transport, endpoint, timeout, self._trust, self._facts.clock)

        seen = each(endpoints, ask, lambda s: not s.ok and s.connected is None and s.seconds < timeout)
        if not transport.is_active():
            raise StepError("the connection broke while apiservers were asked")
        forbidden = [endpoint for endpoint, met in seen.items() if met.ok is None]
        return seen | (fallback.ask(self._node, forbidden, timeout) if forbidden else {})

    def _named(self, apiserver: Endpoint, seen: Seen) -> Seen:
        """With what the node's own resolver says, where sshd does not tell what failed."""
        found = self._facts.addresses.get(apiserver.host)
        if seen.word != "refused" or seen.by or found is None:
            return seen
        if not found:
            return replace(seen, word="no address", text="does not resolve on the node")
        return replace(seen, text=f"refused the connection ({', '.join(found)})")

    def _through(self, listener: Endpoint, tries: int) -> Cell:
        """What the proxy leads to; a way that is only found at a later try is a bad one."""
        if holder := self._facts.holder(listener):
            return self._foreign(listener, f"is held by {holder}, not by kube-nginx")
        missed: list[str] = []
        for _ in range(tries):
            cell = self._once(listener)
            if cell.way is not False:
                break
            missed.append(cell.detail)
        told = "; ".join(dict.fromkeys(missed))
        if cell.way is False:
            return self._without_service(replace(cell, detail=told))
        if not missed:
            return cell
        detail = f"an apiserver answers at try {len(missed) + 1} only; before: {told}"
        return replace(cell, state=WARNING, word=f"at try {len(missed) + 1}", detail=detail)

    def _once(self, listener: Endpoint) -> Cell:
        return judge(self._ask([listener])[listener], REACHED_AT.get(listener.host, listener.host))

    def _foreign(self, listener: Endpoint, why: str) -> Cell:
        cell = self._once(listener)
        detail = "; ".join(filter(None, (why, cell.detail)))
        word = cell.word if cell.word == "untrusted" else "not ours"
        return replace(cell, state=FAILED, way=False, word=word, detail=detail)

    def _without_service(self, cell: Cell) -> Cell:
        facts = self._facts
        if facts.state == "not installed":
            return replace(cell, word="not there", detail="kube-nginx is not installed there")
        if facts.active:
            return cell
        word = facts.unit.get("ActiveState", "not active")
        return replace(cell, word=word, detail=f"the service is {facts.state}")
