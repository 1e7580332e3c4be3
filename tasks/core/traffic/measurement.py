"""What clients of a node notice, measured in phases: intact, cut, healed."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic, sleep

from ..errors import StepError
from .clients import EVERY, Clients, Request
from .report import is_bad, new, slow_from

BASELINE = 3  # seconds
RECOVERED = 1.5  # seconds of requests as they were before, after which a node has recovered
GRACE_PERIOD = 15  # seconds that are given to that
_TRIES = 6  # how often sessions are opened anew, until they are spread so that something can be seen


class Measurement:
    """Watches `clients` for a drill whose cut lasts `seconds`, and tells `progress`: what, and seconds done.

    It ends early when `interrupted` says so, and when the SSH connection breaks.
    """

    def __init__(
        self,
        clients: Clients,
        seconds: int,
        progress: Callable[[str, float], None],
        interrupted: Callable[[], bool],
    ) -> None:
        self._clients = clients
        self._seconds = seconds
        self._progress = progress
        self._interrupted = interrupted

    def spread_sessions(self, count: Callable[[], tuple[int, int]]) -> None:
        """Has sessions on the apiserver, but not so many that least_conn would keep new ones away from it.

        `count` says how many are on it, and on the one of the others that has most.
        """
        for _ in range(_TRIES):
            on_it, elsewhere = count()
            if 0 < on_it <= elsewhere or self._interrupted():
                return
            self._clients.reopen()

    def baseline(self) -> None:
        """How the requests are without a cut. Raises StepError: they fail."""
        self._wait(monotonic() + BASELINE, "intact", 0)
        if self._interrupted():
            return
        ended = [r for r in self._new() if r.ended is not None]
        failed = [r.error for r in ended if r.error]
        if failed or not ended:
            why = failed[0] if failed else "none was answered"
            raise StepError(
                f"nothing was cut: {len(failed)} of {len(ended)} requests failed before it: {why}"
            )

    def during(self, began: float) -> None:
        """While the apiserver is cut off."""
        self._wait(began + self._seconds, "cut", BASELINE)

    def until_recovered(self, began: float, ended: float) -> bool:
        """Whether requests became as they were before the cut; waits until they had time enough for it."""
        limit = slow_from(self._clients.requests(), began)
        while (now := monotonic()) < ended + GRACE_PERIOD and self._goes_on:
            self._wait(now + EVERY, "healed", BASELINE + self._seconds)
            lately = [r for r in self._new() if r.began > max(ended, now - RECOVERED) or r.ended is None]
            if now > ended + RECOVERED and not any(is_bad(r, limit) for r in lately):
                return True
        return False

    @property
    def _goes_on(self) -> bool:
        return self._clients.connected and not self._interrupted()

    def _new(self) -> list[Request]:
        return new(self._clients.requests())

    def _wait(self, until: float, what: str, done: float) -> None:
        began = monotonic()
        while (now := monotonic()) < until and self._goes_on:
            requests = self._new()
            failed = sum(bool(r.error) for r in requests)
            self._progress(f"{what}: {failed} of {len(requests)} requests failed", done + now - began)
            sleep(min(EVERY, until - now))
