"""A drill's report as people read it: a table, and sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from ..config.model import Proxy
from ..scripts.drill import Fault
from .report import DrillReport, Outcome, SessionOutcome


def rows(report: DrillReport) -> list[tuple[str, str, str]]:
    """What, before the fault, from the fault on."""
    before = report.baseline
    return [
        ("requests", str(before.requests), str(report.requests)),
        ("failed", str(before.failed), str(report.failed)),
        (f"slow (over {report.slow_from_ms} ms)", str(before.slow), str(report.slow)),
        ("slowest", f"{before.slowest_ms} ms", f"{report.slowest_ms} ms"),
        ("first slow or failed", "", _moment(report.first_after)),
        ("last slow or failed", "", _moment(report.last_bad)),
        (f"as before the {report.fault}", "", "yes" if report.as_before else "not while it was looked at"),
    ]


def sentences(report: DrillReport) -> Iterator[str]:
    """What became of connections that stood when the fault came, what the watch did, and what follows."""
    fault = report.fault
    yield f"sessions of the node's own that were on it: {report.sessions_on_it}"
    if report.caught:
        caught = f"requests under way at the {fault} that failed or were slow, as is to be expected"
        yield f"{caught}: {report.caught}"
    for fate in Outcome:
        if found := [session for session in report.sessions if session.outcome == fate]:
            yield f"{len(found)} of {len(report.sessions)} kept-alive sessions {_noticed(fate, found, fault)}"
    yield _watch(report)
    yield report.means


def with_meaning(report: DrillReport, proxy: Proxy) -> DrillReport:
    """That report, with what follows for kubelet and all other clients of this node's proxy."""
    bad = f"{report.slow + report.failed} of {report.requests}"
    ejected = report.watch is not None and report.watch.ejected_after is not None
    clients = "new connections notice nothing"
    if report.failed and ejected and not report.failed_late:
        clients = f"new connections failed until it was ejected (first: {report.error}), and none later"
    elif report.fault == Fault.HANG and not ejected and (report.failed or report.slow):
        first = f" (first: {report.error})" if report.failed else ""
        clients = f"{bad} new connections waited for one that hangs, which nginx alone cannot tell{first}"
    elif report.failed:
        clients = f"new connections failed though another apiserver lived (first: {report.error})"
    elif report.slow:
        clients = (
            f"every new connection reaches another apiserver, {bad} only after nginx had "
            f"tried the dead one (connect_timeout {proxy.connect_timeout}, until max_fails {proxy.max_fails} "
            f"within fail_timeout {proxy.fail_timeout})"
        )
    return replace(report, means=f"for kubelet: {clients}{_sessions(report)}")


def _sessions(report: DrillReport) -> str:
    watch = report.watch
    if watch and watch.ejected_after is not None:
        closed = f"sessions that were on the dead one were closed {watch.ejected_after:.1f} s after the"
        return f"; {closed} {report.fault}, and kubelet connects again at once"
    if not report.sessions_on_it and all(one.outcome != Outcome.HUNG for one in report.sessions):
        return ""
    return (
        "; sessions that are on the dead one hang, since no packet says that it is "
        "gone, until kubelet's own HTTP/2 ping gives up (by default 30 s of silence and 15 s for an answer)"
    )


def _watch(report: DrillReport) -> str:
    watch = report.watch
    silent = f"the longest silence of a session was {report.gap:.1f} s"
    if watch is None:
        return f"no kube-nginx-watch runs there, which would close silent sessions; {silent}"
    if watch.ejected_after is not None:
        soon = f"{watch.ejected_after:.1f} s after the {report.fault}"
        return f"kube-nginx-watch had it ejected {soon} (its status: {watch.status}); {silent}"
    return f"kube-nginx-watch did not eject it (its status: {watch.status or 'none'}); {silent}"


def _noticed(fate: Outcome, found: Sequence[SessionOutcome], fault: Fault) -> str:
    first = min((session.after for session in found if session.after is not None), default=0.0)
    if fate == Outcome.UNHARMED:
        return "noticed nothing"
    if fate == Outcome.ENDED:
        again = f", and was without an answer for {max(session.gap for session in found):.1f} s"
        return f"ended {first:.1f} s after the {fault}: a client notices at once{again}"
    back = [session.back_after for session in found if session.back_after is not None]
    again = f"; {len(back)} of them answered again {max(back):.1f} s after its end" if back else ""
    hung = f"hung for the whole {fault}, from {first:.1f} s after its beginning on"
    return f"{hung}: a client notices by its own time limit{again}"


def _moment(seconds: float | None) -> str:
    return "-" if seconds is None else f"after {seconds:.1f} s"
