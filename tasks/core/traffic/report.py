"""What a drill showed: from the requests of its clients to numbers, a table and sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from ..config.address import Endpoint
from ..config.model import Proxy
from ..results import output
from .clients import Request
from .target import Target

_SLOWER = 0.1  # seconds over the slowest request before the cut, from which on one is slow
_HANGS = 1.0  # seconds without an answer, from which on a session hung


@dataclass(frozen=True, slots=True)
class Measured:
    """The `requests` of clients around a cut, which `began` and `ended` by the clock of `monotonic`.

    `by_us`: it was we who ended it; `recovered`: requests were seen to become as they were before.
    """

    began: float
    ended: float
    by_us: bool
    recovered: bool
    requests: Sequence[Request]


class Outcome(StrEnum):
    """What became of a kept-alive session."""

    HUNG = "hung"
    ENDED = "ended"
    UNHARMED = "unharmed"


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """What became of one kept-alive session; times in seconds."""

    outcome: Outcome = output("`hung`, `ended` or `unharmed`", key="fate")
    after: float | None = output(
        "from the cut to the first request that failed or had no answer", None, digits=2
    )
    back_after: float | None = output(
        "from the end of the cut to that answer; null: none came", None, digits=2
    )


@dataclass(frozen=True, slots=True)
class Baseline:
    """The requests on new connections before the cut."""

    requests: int = output("how many there were")
    failed: int = output("how many failed")
    slowest_ms: int = output("milliseconds that the slowest took")
    slow: int = 0


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What was cut, and what clients noticed: in JSON under `drill`. Times are in seconds from the cut."""

    apiserver: Endpoint = output("the one that died")
    addresses: tuple[Endpoint, ...] = output("its addresses, as the node resolves them")
    tool: str = output("what cut it off: `nft` or `iptables`")
    seconds: float = output("for how long it was dead", digits=2)
    ended_by: str = output("`drill`, or `other`: the rules were gone already")
    leftover_removed: bool = output("whether an earlier drill had left its rules there")
    sessions_on_it: int = output("how many sessions of the node's own were on it before")
    baseline: Baseline = output("the requests before the cut")
    requests: int = output("how many there were from the cut on")
    failed: int = output("how many of them failed")
    slow: int = output("how many of them were slow")
    caught: int = output(
        "how many that were under way when the cut came failed or were slow: none can be saved"
    )
    slow_from_ms: int = output("from how many milliseconds on one is slow")
    slowest_ms: int = output("milliseconds that the slowest took")
    first_after: float | None = output("to the beginning of the first that was slow or failed", digits=2)
    recovered_after: float | None = output(
        "to the end of the last that was; null also if more may follow", digits=2
    )
    as_before: bool = output("whether requests were seen to become as they were before")
    sessions: tuple[SessionOutcome, ...] = output("what became of each kept-alive session")
    means: str = output("what follows for kubelet, in a sentence")
    last_bad: float | None = None  # the end of the last request that was slow or failed
    error: str = ""  # why the first one failed


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What a drill says of its node."""

    drill: DrillReport = output("what was cut, and what clients noticed")


def slow_from(requests: Sequence[Request], cut: float) -> float:
    """From how many seconds on a request is slow, by those that were over before the cut."""
    return max((r.seconds for r in _before(requests, cut)), default=0.0) + _SLOWER


def is_bad(request: Request, limit: float) -> bool:
    """Whether a request failed, or takes longer than `limit` seconds."""
    return bool(request.error) or request.seconds > limit


def drill_report(
    target: Target, measured: Measured, proxy: Proxy, tool: str, leftover: bool = False
) -> DrillReport:
    """Sorts the requests by when the cut began and ended."""
    requests, began = measured.requests, measured.began
    limit, before = slow_from(requests, began), _before(requests, began)
    after = [r for r in new(requests) if r.began >= began]
    caught = [r for r in new(requests) if r.began < began and r not in before]
    bad = [r for r in after if is_bad(r, limit)]
    errors = [r.error for r in after if r.error]
    last = max(r.began + r.seconds for r in bad) - began if bad else None
    numbers = sorted({r.session for r in requests if r.session is not None})
    sessions = tuple(
        _outcome([r for r in requests if r.session == n], measured, max(limit, _HANGS)) for n in numbers
    )
    hang = bool(target.on_it) or any(session.outcome == Outcome.HUNG for session in sessions)
    return DrillReport(
        apiserver=target.apiserver,
        addresses=target.addresses,
        tool=tool,
        seconds=measured.ended - began,
        ended_by="drill" if measured.by_us else "other",
        leftover_removed=leftover,
        sessions_on_it=target.on_it,
        baseline=_baseline(before, limit),
        requests=len(after),
        failed=len(errors),
        slow=len(bad) - len(errors),
        caught=sum(is_bad(r, limit) for r in caught),
        slow_from_ms=_ms(limit),
        slowest_ms=_slowest(after),
        first_after=min(r.began for r in bad) - began if bad else None,
        recovered_after=last if measured.recovered else None,
        as_before=measured.recovered,
        sessions=sessions,
        means=_means(errors[0] if errors else "", f"{len(bad)} of {len(after)}" if bad else "", hang, proxy),
        last_bad=last,
        error=errors[0] if errors else "",
    )


def new(requests: Sequence[Request]) -> list[Request]:
    """Those on new connections."""
    return [r for r in requests if r.session is None]


def _before(requests: Sequence[Request], cut: float) -> list[Request]:
    return [r for r in new(requests) if r.ended is not None and r.ended < cut]


def _baseline(before: Sequence[Request], limit: float) -> Baseline:
    failed = sum(bool(r.error) for r in before)
    return Baseline(len(before), failed, _slowest(before), sum(is_bad(r, limit) for r in before) - failed)


def _outcome(requests: Sequence[Request], measured: Measured, hangs: float) -> SessionOutcome:
    began, healed = measured.began, measured.ended
    for request in requests:
        ended = request.ended
        if ended is not None and ended < began:
            continue
        if request.error and ended is not None:
            return SessionOutcome(Outcome.ENDED, ended - began)
        # whatever else was late on a busy machine did not wait for the end of the cut
        if request.began < healed and (ended is None or ended >= healed) and request.seconds > hangs:
            back = None if ended is None else ended - healed
            return SessionOutcome(Outcome.HUNG, max(0.0, request.began - began), back)
    return SessionOutcome(Outcome.UNHARMED)


def rows(report: DrillReport) -> list[tuple[str, str, str]]:
    """For people: what, before the cut, from the cut on."""
    before = report.baseline
    return [
        ("requests", str(before.requests), str(report.requests)),
        ("failed", str(before.failed), str(report.failed)),
        (f"slow (over {report.slow_from_ms} ms)", str(before.slow), str(report.slow)),
        ("slowest", f"{before.slowest_ms} ms", f"{report.slowest_ms} ms"),
        ("first slow or failed", "", _moment(report.first_after)),
        ("last slow or failed", "", _moment(report.last_bad)),
        ("as before the cut", "", "yes" if report.as_before else "not while it was looked at"),
    ]


def sentences(report: DrillReport) -> Iterator[str]:
    """For people: what became of connections that stood when the cut came, and what follows."""
    yield f"sessions of the node's own that were on it: {report.sessions_on_it}"
    if report.caught:
        yield f"requests under way at the cut that failed or were slow, as is to be expected: {report.caught}"
    for fate in Outcome:
        if found := [session for session in report.sessions if session.outcome == fate]:
            yield f"{len(found)} of {len(report.sessions)} kept-alive sessions {_noticed(fate, found)}"
    yield report.means


def _noticed(fate: Outcome, found: Sequence[SessionOutcome]) -> str:
    first = min((session.after for session in found if session.after is not None), default=0.0)
    if fate == Outcome.UNHARMED:
        return "noticed nothing"
    if fate == Outcome.ENDED:
        return f"ended {first:.1f} s after the cut: a client notices at once"
    back = [session.back_after for session in found if session.back_after is not None]
    again = f"; {len(back)} of them answered again {max(back):.1f} s after its end" if back else ""
    hung = f"hung for the whole cut, from {first:.1f} s after its beginning on"
    return f"{hung}: a client notices by its own time limit{again}"


def _means(error: str, slow: str, hang: bool, proxy: Proxy) -> str:
    """What follows for kubelet and all other clients of this node's proxy."""
    clients = "new connections notice nothing"
    if error:
        clients = f"new connections failed though another apiserver lived (first: {error})"
    elif slow:
        clients = (
            f"every new connection reaches another apiserver, {slow} only after nginx had tried the dead one "
            f"(connect_timeout {proxy.connect_timeout}, until max_fails {proxy.max_fails} "
            f"within fail_timeout {proxy.fail_timeout})"
        )
    if not hang:
        return f"for kubelet: {clients}"
    return (
        f"for kubelet: {clients}; sessions that are on the dead one hang, since no packet says that it is "
        "gone, until kubelet's own HTTP/2 ping gives up (by default 30 s of silence and 15 s for an answer)"
    )


def _slowest(requests: Sequence[Request]) -> int:
    return _ms(max((r.seconds for r in requests), default=0.0))


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _moment(seconds: float | None) -> str:
    return "-" if seconds is None else f"after {seconds:.1f} s"
