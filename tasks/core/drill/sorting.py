"""From the requests of a drill's clients to numbers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from ..config.model import Proxy
from ..scripts.drill import Fault
from ..traffic.target import Target
from . import words
from .clients import Request
from .report import Baseline, DrillReport, Outcome, SessionOutcome
from .watching import WatchReport

_SLOWER = 0.1  # seconds over the slowest request before the fault, from which on one is slow
_EJECTED = 10.0  # seconds after which kube-nginx-watch should have ejected an apiserver
_HANGS = 1.0  # seconds without an answer, from which on a session hung


@dataclass(frozen=True, slots=True)
class Measured:
    """The `requests` of clients around a fault, which `began` and `ended` by the clock of `monotonic`.

    `by_us`: it was we who ended it; `recovered`: requests were seen to become as they were before.
    """

    began: float
    ended: float
    by_us: bool
    recovered: bool
    requests: Sequence[Request]


def slow_from(requests: Sequence[Request], began: float) -> float:
    """From how many seconds on a request is slow, by those that were over before the fault."""
    return max((r.seconds for r in _before(requests, began)), default=0.0) + _SLOWER


def is_bad(request: Request, limit: float) -> bool:
    """Whether a request failed, or takes longer than `limit` seconds."""
    return bool(request.error) or request.seconds > limit


def new(requests: Sequence[Request]) -> list[Request]:
    """Those on new connections."""
    return [r for r in requests if r.session is None]


def drill_report(
    target: Target,
    measured: Measured,
    proxy: Proxy,
    tool: str,
    leftover: bool = False,
    fault: Fault = Fault.CUT,
    watch: WatchReport | None = None,
) -> DrillReport:
    """Sorts the requests by when the fault began and ended."""
    requests, began = measured.requests, measured.began
    limit, before = slow_from(requests, began), _before(requests, began)
    after = [r for r in new(requests) if r.began >= began]
    caught = [r for r in new(requests) if r.began < began and r not in before]
    bad = [r for r in after if is_bad(r, limit)]
    failed = [r for r in after if r.error]
    ejected = watch.ejected_after if watch else None
    late = [r for r in failed if ejected is None or r.began >= began + ejected]
    last = max(r.began + r.seconds for r in bad) - began if bad else None
    sessions = _sessions(measured, max(limit, _HANGS))
    report = DrillReport(
        apiserver=target.apiserver,
        addresses=target.addresses,
        fault=fault,
        tool=tool,
        seconds=measured.ended - began,
        ended_by="drill" if measured.by_us else "other",
        leftover_removed=leftover,
        sessions_on_it=target.on_it,
        baseline=_baseline(before, limit),
        requests=len(after),
        failed=len(failed),
        failed_late=len(late),
        slow=len(bad) - len(failed),
        caught=sum(is_bad(r, limit) for r in caught),
        slow_from_ms=_ms(limit),
        slowest_ms=_slowest(after),
        first_after=min(r.began for r in bad) - began if bad else None,
        recovered_after=last if measured.recovered else None,
        as_before=measured.recovered,
        sessions=sessions,
        gap=max((session.gap for session in sessions), default=0.0),
        watch=watch,
        means="",
        last_bad=last,
        error=next((r.error for r in late or failed), ""),
    )
    return words.with_meaning(report, proxy)


def can_eject(report: DrillReport) -> bool:
    """Whether the node has a kube-nginx-watch that can do its work there."""
    return report.watch is not None and report.watch.can_eject


def unexpected(report: DrillReport) -> str:
    """What should not have been, "" if all is as it should be; nginx alone cannot pass by one that hangs."""
    if report.fault == Fault.CUT:
        return report.error
    watch = report.watch
    if watch is None or not watch.can_eject:
        return ""
    if watch.ejected_after is not None:
        return report.error if report.failed_late else ""
    short = report.seconds < _EJECTED
    return "" if short else f"kube-nginx-watch did not eject it (its status: {watch.status or 'none'})"


def _before(requests: Sequence[Request], began: float) -> list[Request]:
    return [r for r in new(requests) if r.ended is not None and r.ended < began]


def _baseline(before: Sequence[Request], limit: float) -> Baseline:
    failed = sum(bool(r.error) for r in before)
    return Baseline(len(before), failed, _slowest(before), sum(is_bad(r, limit) for r in before) - failed)


def _sessions(measured: Measured, hangs: float) -> tuple[SessionOutcome, ...]:
    requests = measured.requests
    numbers = sorted({r.session for r in requests if r.session is not None})
    return tuple(_outcome([r for r in requests if r.session == n], measured, hangs) for n in numbers)


def _outcome(requests: Sequence[Request], measured: Measured, hangs: float) -> SessionOutcome:
    began, healed, gap = measured.began, measured.ended, _gap(requests, measured.began)
    for request in requests:
        ended = request.ended
        if ended is not None and ended < began:
            continue
        if request.error and ended is not None:
            return SessionOutcome(Outcome.ENDED, ended - began, gap=gap)
        # whatever else was late on a busy machine did not wait for the end of the fault
        if request.began < healed and (ended is None or ended >= healed) and request.seconds > hangs:
            back = None if ended is None else ended - healed
            return SessionOutcome(Outcome.HUNG, max(0.0, request.began - began), back, gap)
    return SessionOutcome(Outcome.UNHARMED, gap=gap)


def _gap(requests: Sequence[Request], began: float) -> float:
    """The longest that a session was without an answer, where the fault was not over before its end."""
    last = requests[-1]
    answered = [r.ended for r in requests if r.ended is not None and not r.error]
    moments = [requests[0].began, *answered, last.began + last.seconds]
    return max((later - earlier for earlier, later in pairwise(moments) if later > began), default=0.0)


def _slowest(requests: Sequence[Request]) -> int:
    return _ms(max((r.seconds for r in requests), default=0.0))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
