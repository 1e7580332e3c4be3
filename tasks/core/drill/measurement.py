"""What clients of a node notice, measured in phases: intact, dead, healed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep

from ..errors import StepError
from ..traffic.cut import Cut
from .clients import EVERY, Clients, Request
from .sorting import Measured, is_bad, new, slow_from

BASELINE = 3  # seconds
RECOVERED = 1.5  # seconds of requests as they were before, after which a node has recovered
GRACE_PERIOD = 15  # seconds that are given to that
NOTHING = "interrupted; nothing was cut"
_TRIES = 6  # how often sessions are opened anew, until they are spread so that something can be seen
_BROKE = (
    "the SSH connection broke during the drill, so that nothing is known of the requests; "
    "the rules are gone, which was looked at"
)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Watches `clients` before, during and after a fault of so many `seconds`.

    It tells `progress`: what happens, and at which second; and ends early where `interrupted` says so, and
    when the SSH connection breaks. `count` says how many sessions are on the apiserver, and on the one of
    the others that has most.
    """

    clients: Clients
    seconds: int
    progress: Callable[[str, float], None]
    interrupted: Callable[[], bool]
    count: Callable[[], tuple[int, int]]

    def run(self, cut: Cut) -> Measured:
        """Cuts, and heals whatever happens. Raises StepError: nothing was cut, or is known of the clients."""
        self._spread_sessions()
        self._baseline()
        try:
            began = cut.begin(self.seconds)
            self._wait(began + self.seconds, cut.fault, BASELINE)
        finally:
            self.progress("removing the rules", BASELINE + self.seconds)
            over = monotonic()
            healed = cut.end()
        ended = over if healed is None else healed
        recovered = self._until_recovered(began, ended)
        if not self.clients.connected:
            raise StepError(_BROKE)
        return Measured(began, ended, healed is not None, recovered, self.clients.requests())

    def _spread_sessions(self) -> None:
        """Has sessions on the apiserver, but not so many that least_conn would keep new ones away from it."""
        for _ in range(_TRIES):
            on_it, elsewhere = self.count()
            if 0 < on_it <= elsewhere or self.interrupted():
                return
            self.clients.reopen()

    def _baseline(self) -> None:
        """How the requests are without a fault. Raises StepError: they fail, or Ctrl-C came."""
        self._wait(monotonic() + BASELINE, "intact", 0)
        if self.interrupted():
            raise StepError(NOTHING)
        ended = [r for r in self._new() if r.ended is not None]
        failed = [r.error for r in ended if r.error]
        if failed or not ended:
            count, why = f"{len(failed)} of {len(ended)}", failed[0] if failed else "none was answered"
            raise StepError(f"nothing was cut: {count} requests failed before it: {why}")

    def _until_recovered(self, began: float, ended: float) -> bool:
        """Whether requests became as they were before; waits until they had time enough for it."""
        limit = slow_from(self.clients.requests(), began)
        while (now := monotonic()) < ended + GRACE_PERIOD and self._goes_on:
            self._wait(now + EVERY, "healed", BASELINE + self.seconds)
            lately = [r for r in self._new() if r.began > max(ended, now - RECOVERED) or r.ended is None]
            if now > ended + RECOVERED and not any(is_bad(r, limit) for r in lately):
                return True
        return False

    @property
    def _goes_on(self) -> bool:
        return self.clients.connected and not self.interrupted()

    def _new(self) -> list[Request]:
        return new(self.clients.requests())

    def _wait(self, until: float, what: str, done: float) -> None:
        began = monotonic()
        while (now := monotonic()) < until and self._goes_on:
            requests = self._new()
            failed = sum(bool(r.error) for r in requests)
            self.progress(f"{what}: {failed} of {len(requests)} requests failed", done + now - began)
            sleep(min(EVERY, until - now))
