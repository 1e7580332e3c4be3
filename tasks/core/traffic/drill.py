"""One apiserver dies for one node, for a while: whether that may be tried, and what clients there see."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic, sleep
from typing import Any

import paramiko

from ..config.settings import Endpoint, Settings
from ..errors import StepError, UsageError
from ..facts.paths import conf_path
from ..probes import probe, reach
from ..probes.tunnel import each
from ..release.servers import Addresses, servers_of
from ..results import StepResult
from ..run.run import Run
from ..ssh.node import Node
from . import damage, sessions
from .clients import EVERY, Clients
from .cut import Cut, in_test_network
from .damage import Damage

BASELINE = 3  # seconds
_CALM = 1.5  # seconds of requests as they were before, after which a node has recovered
_PATIENCE = 15  # seconds that are given to that
_TRIES = 6  # how often sessions are opened anew, until they are spread so that something can be seen
_DIRECT = 3  # seconds in which an apiserver must answer the node directly
_LEFTOVER = "an earlier drill had left its rules there; they were removed first"
_GONE = "the rules were gone already when we came to remove them"
_NOTHING = "interrupted; nothing was cut"
_NOT_CALM = f"but requests are not as before {_PATIENCE} s after the end"


def named(settings: Settings, text: str) -> Endpoint:
    """The apiserver of hosts.toml that `text` means, with or without its port. Raises UsageError."""
    known = ", ".join(map(str, settings.apiservers))
    if not text:
        raise UsageError(f"--apiserver names the one that is to die: {known}")
    found = [a for a in settings.apiservers if text in (str(a), a.host, f"[{a.host}]")]
    if len(found) != 1:
        raise UsageError(f"--apiserver {text}: {'names several' if found else 'not one'} of {known}")
    return found[0]


def see_ways(
    transport: paramiko.Transport, settings: Settings, apiserver: Endpoint, others: Sequence[Endpoint]
) -> None:
    """Looks whether a node can do without `apiserver`, and has it now.

    Raises StepError: none of `others` is ready, or it is dead already, or that cannot be seen.
    """

    def ask(endpoint: Endpoint) -> probe.Seen:
        return probe.look(transport, endpoint, _DIRECT)

    met = each([apiserver, *others], ask)
    if unknown := [f"{endpoint}: {seen.text}" for endpoint, seen in met.items() if seen.ok is None]:
        raise StepError(
            f"{unknown[0]}, and that is how a drill measures",
            hint="AllowTcpForwarding and PermitOpen in the node's sshd_config",
        )
    if not any(met[other].ready for other in others):
        tried = "; ".join(f"{other} {probe.judge(met[other]).detail}" for other in others)
        raise StepError(
            f"nothing was cut: {apiserver} is the last way of this node"
            f" ({tried or 'its kube-nginx.conf names no other apiserver'})"
        )
    if not met[apiserver].ok:
        said = met[apiserver].text
        raise StepError(f"nothing was cut: {apiserver} is dead for this node already: it {said}")
    answering = [endpoint for endpoint, seen in met.items() if seen.ok]
    proof = reach.proof(transport, settings.proxy.listen, answering, _DIRECT)
    if proof.state != "ok":
        raise StepError(f"nothing was cut: the proxy does not work there now: {proof.text}")


class Drill:
    """`apiserver` dies for the one node of `r`, for `seconds`.

    `for_tests`, which `survey` finds out, is whether the node is in a test network for certain.
    """

    def __init__(self, r: Run, apiserver: Endpoint, seconds: int) -> None:
        self.for_tests = False
        self.damage: Damage | None = None
        self.on_it = 0
        self.leftover = False
        self._run = r
        self._proxy = r.settings.proxy
        self._apiserver = apiserver
        self._seconds = seconds
        self._addresses: Addresses = {}
        self._servers: tuple[Endpoint, ...] = ()
        self._others: list[Endpoint] = []
        self._made: Cut | None = None

    def survey(self, node: Node) -> StepResult[object]:
        """Looks whether there is anything to be tried. Raises StepError."""
        facts, seen = sessions.look(node, self._run.settings)
        self._addresses = facts.addresses
        self._servers = sessions.at(self._apiserver, facts.addresses)
        if not self._servers:
            raise StepError(
                f"{self._apiserver.host} does not resolve on the node: getent ahosts finds nothing"
            )
        there, _ = servers_of(facts.texts.get(conf_path(self._proxy), ""))
        self._others = [s for s in there if not set(sessions.at(s, facts.addresses)) <= set(self._servers)]
        if len(self._others) == len(there):
            what = f"{self._apiserver} is not in the node's kube-nginx.conf"
            raise StepError(what, hint="fab deploy --limit {nodes}")
        self.for_tests = in_test_network(node, self._servers)
        self.on_it = seen.counts[self._apiserver]  # before the drill has sessions of its own there
        return StepResult("ok", f"{self.on_it} of {seen.total} sessions are on it")

    def apply(self, node: Node) -> StepResult[object]:
        """Cuts, measures, heals; whatever happens, the node is healed before this ends, or by itself.

        Raises StepError: nothing was cut, since that could harm or show nothing; or a step failed.
        """
        self._run.lock(node)
        cut = Cut(node, self._servers)
        self._tell(node, "seeing whether it may be cut", 0)
        self.leftover = cut.look()
        if self.leftover:
            self._run.console.print(_LEFTOVER, markup=False)
        see_ways(node.transport, self._run.settings, self._apiserver, self._others)
        with Clients(node.transport, self._proxy.listen[0], self._wanted()) as clients:
            self._place(node, clients)
            self._baseline(node, clients)
            began, ended, by_us = self._cut(node, cut, clients)
            limit = damage.slow_from(clients.requests(), began)
            calm = self._until_calm(node, clients, ended, limit)
            if not clients.connected:
                raise StepError(
                    "the SSH connection broke during the drill, so that nothing is known of the requests; "
                    "the rules are gone, which was looked at"
                )
            self.damage = damage.assess(clients.requests(), limit, began, ended, calm)
        return self._outcome(cut, ended - began, by_us)

    def left_so(self, node: Node) -> StepError:
        """How the node is left when it does not answer in time after Ctrl-C."""
        return self._made.left_so() if self._made else StepError(_NOTHING)

    def _go_on(self) -> None:
        """Raises StepError after Ctrl-C."""
        if self._run.interrupt.came:
            raise StepError(_NOTHING)

    def _wanted(self) -> int:
        """So many sessions that one of them is on the apiserver, as a rule."""
        return min(max(2 * len(self._run.settings.apiservers), 4), 10)

    def _place(self, node: Node, clients: Clients) -> None:
        """Has sessions on the apiserver, but not so many that least_conn would keep new ones away from it."""
        for _ in range(_TRIES):
            on_it, elsewhere = self._counts(node)
            if 0 < on_it <= elsewhere or self._run.interrupt.came:
                return
            clients.reopen()

    def _counts(self, node: Node) -> tuple[int, int]:
        """How many sessions of the node are on the apiserver, and on the one of the others that has most."""
        seen = sessions.count(node, self._run.settings, self._addresses)
        others = [count for server, count in seen.counts.items() if server != self._apiserver]
        return seen.counts[self._apiserver], max(others, default=0)

    def _baseline(self, node: Node, clients: Clients) -> None:
        """How the requests are without a cut. Raises StepError: they fail."""
        self._wait(node, clients, monotonic() + BASELINE, "intact", 0)
        self._go_on()
        seen = [r for r in clients.requests() if r.session is None and r.ended is not None]
        failed = [r.error for r in seen if r.error]
        if failed or not seen:
            why = failed[0] if failed else "none was answered"
            raise StepError(f"nothing was cut: {len(failed)} of {len(seen)} requests failed before it: {why}")

    def _cut(self, node: Node, cut: Cut, clients: Clients) -> tuple[float, float, bool]:
        """When it began and ended, and whether it was we who ended it."""
        self._made = cut
        self._go_on()  # from now on Ctrl-C finds a cut
        try:
            began = cut.begin(self._seconds)
            self._wait(node, clients, began + self._seconds, "cut", BASELINE)
        finally:
            self._tell(node, "removing the rules", BASELINE + self._seconds)
            over = monotonic()
            healed = cut.end()
        return began, over if healed is None else healed, healed is not None

    def _until_calm(self, node: Node, clients: Clients, since: float, limit: float) -> bool:
        """Whether requests became as they were before the cut; waits for it until they had time enough."""
        while (now := monotonic()) < since + _PATIENCE and clients.connected and not self._run.interrupt.came:
            self._wait(node, clients, now + EVERY, "healed", BASELINE + self._seconds)
            new = [r for r in clients.requests() if r.session is None]
            lately = [r for r in new if r.began > max(since, now - _CALM) or r.ended is None]
            if now > since + _CALM and not any(damage.is_bad(r, limit) for r in lately):
                return True
        return False

    def _wait(self, node: Node, clients: Clients, until: float, what: str, done: float) -> None:
        began = monotonic()
        while (now := monotonic()) < until and clients.connected and not self._run.interrupt.came:
            new = [r for r in clients.requests() if r.session is None]
            failed = sum(bool(r.error) for r in new)
            self._tell(node, f"{what}: {failed} of {len(new)} requests failed", done + now - began)
            sleep(min(EVERY, until - now))

    def _tell(self, node: Node, what: str, done: float) -> None:
        whole = BASELINE + self._seconds + round(_CALM)
        self._run.reporter.progress(node.label, what, min(int(done), whole), whole)

    def _outcome(self, cut: Cut, seconds: float, by_us: bool) -> StepResult[object]:
        assert self.damage is not None  # noqa: S101 - for mypy
        after = self.damage.after
        data: dict[str, Any] = {
            "drill": {
                "apiserver": str(self._apiserver),
                "addresses": [str(server) for server in self._servers],
                "tool": cut.tool,
                "seconds": round(seconds, 2),
                "ended_by": "drill" if by_us else "other",
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
            return StepResult("failed", why, data, StepError(why, hint=hint))
        early = ", then it was interrupted" if self._run.interrupt.came else ""
        told = f"{gone}{early}: 0 of {after.requests} requests failed, {after.slow} were slow"
        told += "; healed" if by_us else f"; {_GONE}"
        if self.damage.calm or self._run.interrupt.came:
            return StepResult("ok", told, data)
        return StepResult("warning", f"{told}, {_NOT_CALM}", data)
