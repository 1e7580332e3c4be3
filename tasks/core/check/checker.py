"""Checks one node: its ways to the apiservers, each directly, and those through its own proxy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from time import time

from ..config.address import REACHED_AT, Endpoint
from ..config.model import Settings
from ..facts.facts import Facts
from ..facts.remedy import brings_up
from ..facts.watch import Ejection
from ..probes.certificate import Trust
from ..probes.classify import EndpointCheck, classify, worst
from ..probes.prober import Prober
from ..probes.result import ProbeResult, Reason
from ..release import servers
from ..results import State
from ..scripts.survey import SurveyAndUsers
from ..ssh.node import Node
from ..users.found import Users
from ..users.judged import users_check
from ..watch.seen import watch_of
from .drift import drift
from .node_check import ListenerCheck, NodeCheck, node_check, values_of

Direct = Mapping[Endpoint, EndpointCheck]


class NodeChecker:
    """Surveys a node, which may take long, and then looks from there. Raises StepError if the node fails."""

    def __init__(self, node: Node, settings: Settings, trust: Trust | None) -> None:
        self._settings = settings
        facts, users = _looked(node, settings)
        self._facts, self._users = facts, users_check(users, settings, facts.addresses)
        known = facts.addresses if facts.resolver else {}  # without getent, sshd has to resolve names
        self._prober = Prober(node, settings.check.timeout, trust=trust, clock=facts.clock, addresses=known)
        self._usual = 0.0
        self._peers: frozenset[str] = frozenset()

    def check(self) -> NodeCheck:
        """Everything, once."""
        settings, facts = self._settings, self._facts
        met = dict(zip(settings.apiservers, self._prober.ask(settings.apiservers), strict=True))
        self._usual = min((r.connected for r in met.values() if r.connected), default=0.0)
        self._peers = frozenset(result.peer for result in met.values()) - {""}
        names = list(dict.fromkeys(n for listener in settings.proxy.listen for n in self._names(listener)))
        direct = {
            apiserver: classify(self._with_addresses(apiserver, result), names, usual=self._usual)
            for apiserver, result in met.items()
        }
        watched = watch_of(facts, settings)
        for ejection in watched.ejected:
            direct |= {server: _ejected(direct[server]) for server in self._named(ejection)}
        through = {listener: self._through(listener, direct) for listener in settings.proxy.listen}
        remedy = brings_up(facts, settings.proxy)
        drifts = drift(settings, facts)
        return node_check(facts, direct, through, drifts, remedy, watched, self._users)

    def _named(self, ejection: Ejection) -> list[Endpoint]:
        """The apiservers of hosts.toml that are at an address from which nginx is kept."""
        found = {a: servers.resolved([a], self._facts.addresses) for a in self._settings.apiservers}
        return [named for named, addresses in found.items() if ejection.apiserver in map(str, addresses)]

    def _names(self, listener: Endpoint) -> tuple[str, ...]:
        """What the node's clients call it: for that the certificate has to hold."""
        return self._users.names.get(listener, (_reached_at(listener),))

    def _with_addresses(self, apiserver: Endpoint, result: ProbeResult) -> ProbeResult:
        """Tells the addresses that were tried, where they are those of a name."""
        found = self._facts.addresses.get(apiserver.host)
        unconnected = result.reason and result.reason.word in ("refused", "no route")
        if not found or not unconnected or result.program:
            return result
        return replace(result, text=f"{result.text} ({', '.join(found)})")

    def _through(self, listener: Endpoint, direct: Direct) -> ListenerCheck:
        """What the proxy leads to, tried until it has led to all that answer directly, or often enough."""
        if holder := self._facts.holder(listener):
            return self._foreign(listener, f"is held by {holder}, not by kube-nginx")
        met: list[EndpointCheck] = []
        for tries in self._rounds(direct):
            by_program = bool(met and met[-1].result.program)  # which ask once, and do not see who answers
            met += self._tried(listener, 1 if by_program else tries, self._usual)
            if all(check.result.reason is Reason.REFUSED for check in met):
                break
            leads = any(check.way is not False for check in met)
            if leads and (met[-1].result.program or self._peers <= {check.result.peer for check in met}):
                break
        return self._summed(met, direct)

    def _rounds(self, direct: Direct) -> Sequence[int]:
        """How many tries are made at once, and then again.

        Of three, a given one is missed by all 13 of them once in 200 times. A hung apiserver accepts,
        which is all that the proxy looks at, so it may swallow any of them.
        """
        if all(check.way is False for check in direct.values()):
            return (1,)
        behind = len(servers.resolved(self._settings.apiservers, self._facts.addresses))
        return (1, behind, behind, 2 * behind)

    def _tried(self, listener: Endpoint, tries: int, usual: float) -> list[EndpointCheck]:
        names, met = self._names(listener), self._prober.ask([listener] * tries)
        known = {*self._peers, ""}
        return [classify(result, names, result.peer in known, usual) for result in met]

    def _summed(self, met: Sequence[EndpointCheck], direct: Direct) -> ListenerCheck:
        """All tries as one: the worst of those that led to an apiserver, if any did."""
        good = [check for check in met if check.way is not False]
        bad = [check for check in met if check.way is False]
        peers = {check.result.peer for check in met} - {""}
        led = tuple(apiserver for apiserver, check in direct.items() if check.result.peer in peers)
        check = ListenerCheck(**values_of(worst(good or bad)), led_to=led)
        if not good:
            return self._without_service(replace(check, detail=_details(bad, direct)))
        details = [_details(good, direct)]
        missed = [str(a) for a, there in direct.items() if there.result.peer and a not in led]
        if bad:
            share = f"{len(good)} of {len(met)} tries"
            details.append(f"an apiserver answers at {share} only; else: {_details(bad, direct)}")
            check = replace(check, state=State.WARNING, word=share)
        elif missed and peers:
            some = " and ".join(map(str, led)) or "others"
            details.append(f"{len(met)} tries led to {some}, not to {' and '.join(missed)}")
        return replace(check, detail="; ".join(filter(None, details)))

    def _foreign(self, listener: Endpoint, why: str) -> ListenerCheck:
        (check,) = self._tried(listener, 1, 0.0)
        word = check.word if check.word == "untrusted" else "not ours"
        detail = "; ".join(filter(None, (why, check.detail)))
        check = replace(check, state=State.FAILED, way=False, word=word, detail=detail)
        return ListenerCheck(**values_of(check), led_to=())

    def _without_service(self, check: ListenerCheck) -> ListenerCheck:
        facts = self._facts
        if facts.state == "not installed":
            return replace(check, word="not there", detail="kube-nginx is not installed there")
        if facts.active:
            return check
        word = facts.unit.get("ActiveState", "not active")
        return replace(check, word=word, detail=f"the service is {facts.state}")


def _ejected(check: EndpointCheck) -> EndpointCheck:
    """nginx is kept from it, however it answers now."""
    state = check.state if check.state == State.FAILED else State.WARNING
    return replace(check, state=state, word=f"{check.word}, ejected")


def _looked(node: Node, settings: Settings) -> tuple[Facts, Users]:
    """A survey, and the users of the service; one round trip. Raises StepError."""
    node.open()
    asked = time()
    facts, users = node.do(SurveyAndUsers(settings.proxy, settings.apiservers))
    node.refuse_others_than_root(facts)
    return facts.compared(asked, time()), users


def _reached_at(listener: Endpoint) -> str:
    return REACHED_AT.get(listener.host, listener.host)


def _details(met: Sequence[EndpointCheck], direct: Direct) -> str:
    """What is told of the tries, each thing once, and of which apiserver."""

    def text(check: EndpointCheck) -> str:
        peer = check.result.peer
        who = [str(a) for a, there in direct.items() if peer and there.result.peer == peer]
        return f"{' or '.join(who)}: {check.detail}" if who else check.detail

    return "; ".join(dict.fromkeys(text(check) for check in met if check.detail))
