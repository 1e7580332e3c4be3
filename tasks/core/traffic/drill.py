"""One apiserver dies for one node, for a while: whether that may be tried, and what clients there see."""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import suppress
from time import monotonic, sleep
from typing import Any

from ..config.settings import Endpoint, Settings, parse_endpoint
from ..errors import StepError, UsageError
from ..probes import reach
from ..probes.tunnel import each
from ..remote.commands import conf_path
from ..remote.facts import Facts
from ..remote.node import Node
from ..report import Outcome
from ..run import Run
from . import damage, sessions
from .clients import EVERY, Clients
from .cut import Cut
from .damage import Damage

BASELINE = 3  # seconds
_CALM = 1.5  # seconds of requests as they were before, after which a node has recovered
_PATIENCE = 15  # seconds that are given to that
_TRIES = 6  # how often sessions are opened anew, until they are spread so that something can be seen
_DIRECT = 3  # seconds in which an apiserver must answer the node directly
_SERVER = re.compile(r"^\s*server\s+([^\s;{]+)", re.MULTILINE)


def named(settings: Settings, text: str) -> Endpoint:
    """The apiserver of hosts.toml that `text` means, with or without its port. Raises UsageError."""
    known = ", ".join(map(str, settings.apiservers))
    if not text:
        raise UsageError(f"--apiserver names the one that is to die: {known}")
    found = [a for a in settings.apiservers if text in (str(a), a.host, f"[{a.host}]")]
    if len(found) != 1:
        raise UsageError(f"--apiserver {text}: {'names several' if found else 'not one'} of {known}")
    return found[0]


class Drill:
    """`apiserver` dies for the one node of `r`, for `seconds`."""

    def __init__(self, r: Run, apiserver: Endpoint, seconds: int) -> None:
        self.damage: Damage | None = None
        self.on_it = 0
        self.leftover = False
        self._run = r
        self._proxy = r.settings.proxy
        self._apiserver = apiserver
        self._seconds = seconds
        self._servers: tuple[Endpoint, ...] = ()
        self._others: list[Endpoint] = []

    def survey(self, node: Node) -> Outcome:
        """Looks whether there is anything to be tried. Raises StepError."""
        facts, seen = sessions.look(node, self._run.settings)
        self._servers = sessions.at(self._apiserver, facts.addresses)
        if not self._servers:
            raise StepError(
                f"{self._apiserver.host} does not resolve on the node: getent ahosts finds nothing"
            )
        there = _upstream(facts, conf_path(self._proxy))
        self._others = [s for s in there if not set(sessions.at(s, facts.addresses)) <= set(self._servers)]
        if len(self._others) == len(there):
            what = f"{self._apiserver} is not in the node's kube-nginx.conf"
            raise StepError(what, hint="fab deploy --limit {nodes}")
        return Outcome("ok", f"{seen.counts[self._apiserver]} of {seen.total} sessions are on it")

    def carry_out(self, node: Node) -> Outcome:
        """Cuts, measures, heals; whatever happens, the node is healed before this ends, or by itself.

        Raises StepError: nothing was cut, since that could harm or show nothing; or a step failed.
        """
        self._run.lock(node)
        cut = Cut(node, self._servers)
        self._tell(node, "seeing whether it may be cut", 0)
        self._see_ways(node)
        self.leftover = cut.look()
        with Clients(node.transport, self._proxy.listen[0], self._wanted()) as clients:
            self._place(node, clients)
            self._baseline(node, clients)
            self.on_it, _ = self._counts(node)
            began, ended, by_us = self._cut(node, cut, clients)
            limit = damage.slow_from(clients.requests(), began)
            self._until_calm(node, clients, ended, limit)
            self.damage = damage.assess(clients.requests(), limit, began, ended)
        return self._outcome(cut, ended - began, by_us)

    def _wanted(self) -> int:
        """So many sessions that one of them is on the apiserver, as a rule."""
        return min(max(2 * len(self._run.settings.apiservers), 4), 10)

    def _place(self, node: Node, clients: Clients) -> None:
        """Has sessions on the apiserver, but not so many that least_conn would keep new ones away from it."""
        for _ in range(_TRIES):
            on_it, elsewhere = self._counts(node)
            if 0 < on_it <= elsewhere or self._run.interrupted:
                return
            clients.reopen()

    def _counts(self, node: Node) -> tuple[int, int]:
        """How many sessions of the node are on the apiserver, and on the one of the others that has most."""
        _, seen = sessions.look(node, self._run.settings)
        others = [count for server, count in seen.counts.items() if server != self._apiserver]
        return seen.counts[self._apiserver], max(others, default=0)

    def _see_ways(self, node: Node) -> None:
        def ask(endpoint: Endpoint) -> reach.Reached:
            return reach.handshake(node.transport, endpoint, _DIRECT)

        met = each([self._apiserver, *self._others], ask, lambda reached: reached.ok is False)
        if any(reached.ok is None for reached in met.values()):
            raise StepError(
                f"{met[self._apiserver].text}, and that is how a drill measures",
                hint="AllowTcpForwarding and PermitOpen in the node's sshd_config",
            )
        others = {endpoint: reached for endpoint, reached in met.items() if endpoint != self._apiserver}
        if not any(reached.ok for reached in others.values()):
            tried = "; ".join(f"{endpoint} {reached.text}" for endpoint, reached in others.items())
            raise StepError(
                f"nothing was cut: {self._apiserver} is the last way of this node"
                f" ({tried or 'its kube-nginx.conf names no other apiserver'})"
            )
        if not met[self._apiserver].ok:
            said = met[self._apiserver].text
            raise StepError(f"nothing was cut: {self._apiserver} is dead for this node already: it {said}")
        proof = reach.proof(node.transport, self._proxy.listen, self._run.settings.apiservers, _DIRECT)
        if proof.state != "ok":
            raise StepError(f"nothing was cut: the proxy does not work there now: {proof.text}")

    def _baseline(self, node: Node, clients: Clients) -> None:
        """How the requests are without a cut. Raises StepError: they fail."""
        self._wait(node, clients, monotonic() + BASELINE, "intact", 0)
        seen = [r for r in clients.requests() if r.session is None and r.ended is not None]
        failed = [r.error for r in seen if r.error]
        if failed or not seen:
            why = failed[0] if failed else "none was answered"
            raise StepError(f"nothing was cut: {len(failed)} of {len(seen)} requests failed before it: {why}")
        if self._run.interrupted:
            raise StepError("interrupted; nothing was cut")

    def _cut(self, node: Node, cut: Cut, clients: Clients) -> tuple[float, float, bool]:
        """When it began and ended, and whether it was we who ended it."""
        try:
            began = cut.begin(self._seconds)
            self._wait(node, clients, began + self._seconds, "cut", BASELINE)
        finally:
            self._tell(node, "removing the rules", BASELINE + self._seconds)
            ended = monotonic()
            by_us = cut.end()
        if not clients.connected:
            raise StepError(
                "the SSH connection broke during the drill, so that nothing is known of the requests; "
                "the rules are gone: looked at through a new one"
            )
        return began, ended, by_us

    def _until_calm(self, node: Node, clients: Clients, since: float, limit: float) -> None:
        """Returns when requests are as they were before the cut, or when they have had time enough."""
        while (now := monotonic()) < since + _PATIENCE and clients.connected and not self._run.interrupted:
            self._wait(node, clients, now + EVERY, "healed", BASELINE + self._seconds)
            new = [r for r in clients.requests() if r.session is None]
            lately = [r for r in new if r.began > max(since, now - _CALM) or r.ended is None]
            if now > since + _CALM and not any(damage.is_bad(r, limit) for r in lately):
                return

    def _wait(self, node: Node, clients: Clients, until: float, what: str, done: float) -> None:
        began = monotonic()
        while (now := monotonic()) < until and clients.connected and not self._run.interrupted:
            new = [r for r in clients.requests() if r.session is None]
            failed = sum(bool(r.error) for r in new)
            self._tell(node, f"{what}: {failed} of {len(new)} requests failed", done + now - began)
            sleep(min(EVERY, until - now))

    def _tell(self, node: Node, what: str, done: float) -> None:
        whole = BASELINE + self._seconds + round(_CALM)
        self._run.reporter.progress(node.label, what, min(int(done), whole), whole)

    def _outcome(self, cut: Cut, seconds: float, by_us: bool) -> Outcome:
        assert self.damage is not None  # noqa: S101 - for mypy
        after = self.damage.after
        data: dict[str, Any] = {
            "drill": {
                "apiserver": str(self._apiserver),
                "addresses": [str(server) for server in self._servers],
                "tool": cut.tool,
                "seconds": round(seconds, 2),
                "ended_by": "drill" if by_us else "timer",
                "leftover_removed": self.leftover,
                "sessions_on_it": self.on_it,
                **damage.as_data(self.damage),
                "means": damage.means(self.damage, self._proxy, self.on_it),
            }
        }
        gone = f"{self._apiserver} was dead for {seconds:.1f} s"
        if after.failed:
            why = f"{gone}: {after.failed} of {after.requests} requests failed: {self.damage.error}"
            hint = "see why: fab logs --limit {nodes}; is what runs there what hosts.toml says: fab diff"
            return Outcome("failed", why, data, StepError(why, hint=hint))
        early = ", then it was interrupted" if self._run.interrupted else ""
        told = f"{gone}{early}: 0 of {after.requests} requests failed, {after.slow} were slow; healed"
        return Outcome("ok", told, data)


def _upstream(facts: Facts, path: str) -> Sequence[Endpoint]:
    """The apiservers in a node's kube-nginx.conf."""
    found = []
    for text in _SERVER.findall(facts.texts.get(path, "")):
        with suppress(ValueError):
            found.append(parse_endpoint(text))
    return found
