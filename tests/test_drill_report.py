"""From the requests of a drill to what is told of it."""

from __future__ import annotations

import json

import pytest

from tasks.core.config.address import Endpoint
from tasks.core.config.model import Proxy
from tasks.core.drill import sorting, words
from tasks.core.drill.clients import Request
from tasks.core.drill.report import DrillReport, DrillResult, Outcome, SessionOutcome
from tasks.core.drill.sorting import Measured
from tasks.core.drill.watching import WatchReport
from tasks.core.results import as_json
from tasks.core.scripts.drill import Fault
from tasks.core.traffic.target import Target

CUT, HEALED = 1000.0, 1020.0


def ask(at: float, took: float | None = 0.03, error: str = "", session: int | None = None) -> Request:
    """A request that began `at` seconds after the cut; `took` None: it still waits."""
    return Request(CUT + at, session, None if took is None else CUT + at + took, error)


BEFORE = [ask(-3), ask(-2, 0.05), ask(-1)]


APISERVER = Endpoint("api-1", 6443)
PROXY = Proxy()
ADDRESS = Endpoint("198.18.0.1", 6443)


def target(on_it: int = 0) -> Target:
    return Target(APISERVER, (ADDRESS,), (), {}, for_tests=True, on_it=on_it, sessions=on_it)


def reported(
    *more: Request,
    recovered: bool = True,
    proxy: Proxy = PROXY,
    on_it: int = 0,
    fault: Fault = Fault.CUT,
    watch: WatchReport | None = None,
) -> DrillReport:
    measured = Measured(CUT, HEALED, True, recovered, [*BEFORE, *more])
    return sorting.drill_report(target(on_it), measured, proxy, "nft", fault=fault, watch=watch)


def test_slow_is_what_takes_100_ms_longer_than_all_before() -> None:
    assert sorting.slow_from([*BEFORE, ask(1, 9)], CUT) == pytest.approx(0.15)
    seen = reported(ask(1, 0.14), ask(2, 0.16))
    assert (seen.requests, seen.slow, seen.failed) == (2, 1, 0)


def test_sessions_are_not_among_the_requests() -> None:
    seen = reported(ask(-1, 0.9, session=0), ask(1, 9, session=0))
    assert (seen.baseline.requests, seen.requests) == (3, 0)
    assert seen.baseline.slowest_ms == 50


def test_one_that_was_under_way_at_the_cut_could_not_be_saved() -> None:
    seen = reported(ask(-0.01, 5.0, "did not answer within 5 s"), ask(-0.01, 0.05), ask(0, 0.04))
    assert (seen.baseline.requests, seen.requests, seen.failed) == (3, 1, 0)
    assert (seen.caught, seen.first_after) == (1, None)
    assert [*words.sentences(seen)][1:-2] == [
        "requests under way at the cut that failed or were slow, as is to be expected: 1"
    ]


def test_first_and_last() -> None:
    seen = reported(ask(0.5), ask(1.5, 1.0), ask(3, 5, "did not answer within 5 s"), ask(9), ask(9.5))
    assert [seen.first_after, seen.last_bad] == pytest.approx([1.5, 8.0])
    assert (seen.failed, seen.slow, seen.error) == (1, 1, "did not answer within 5 s")
    nothing = reported(ask(1))
    assert (nothing.first_after, nothing.last_bad, nothing.error) == (None, None, "")


def test_what_did_not_become_as_before_has_not_recovered() -> None:
    seen = reported(ask(1, 1.0), ask(34, 1.0), recovered=False)
    assert as_json(seen)["recovered_after"] is None
    assert not as_json(seen)["as_before"]
    assert words.rows(seen)[-1] == ("as before the cut", "", "not while it was looked at")


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        (ask(19.5, 1.0, session=0), SessionOutcome(Outcome.UNHARMED, gap=21.5)),
        (ask(0.5, 25, session=0), SessionOutcome(Outcome.HUNG, 0.5, 5.5, 26.5)),
        (ask(-0.5, 20.5, session=0), SessionOutcome(Outcome.HUNG, 0.0, 0.0, 21.0)),
        (ask(3, 8, session=0), SessionOutcome(Outcome.UNHARMED, gap=12.0)),
        (ask(4, 0.5, "closed", session=0), SessionOutcome(Outcome.ENDED, 4.5, gap=5.5)),
    ],
)
def test_what_becomes_of_a_session(last: Request, outcome: SessionOutcome) -> None:
    assert reported(ask(-1, 0.0, session=0), last).sessions == (outcome,)


def test_the_silence_of_a_session_lasts_until_its_client_has_an_answer_again() -> None:
    ended = [ask(0.1, 4.0, "closed", 0), ask(4.2, 0.1, "closed", 0), ask(4.5, 0.5, session=0)]
    seen = reported(ask(-1, 1.0, session=0), *ended, ask(5, 0.1, session=0), ask(-1, 30, session=1))
    first = seen.sessions[0]
    assert [first.outcome, first.after, first.gap] == [Outcome.ENDED, pytest.approx(4.1), pytest.approx(5.0)]
    assert seen.gap == pytest.approx(30)


def test_a_session_that_still_waits_hangs() -> None:
    waits = Request(0.0, 0)  # since long ago
    (outcome,) = sorting.drill_report(
        target(), Measured(0.0, 20.0, True, True, [waits]), PROXY, "nft"
    ).sessions
    assert (outcome.outcome, outcome.back_after) == (Outcome.HUNG, None)


def test_what_programs_read() -> None:
    result = DrillResult(reported(ask(1, 1.0), ask(0.2, 30, session=4), on_it=2))
    data = json.loads(json.dumps(as_json(result)))["drill"]
    assert data.pop("means").startswith("for kubelet: every new connection reaches another apiserver, 1 of 1")
    assert data == {
        "apiserver": "api-1:6443",
        "addresses": ["198.18.0.1:6443"],
        "fault": "cut",
        "tool": "nft",
        "seconds": 20.0,
        "ended_by": "drill",
        "leftover_removed": False,
        "sessions_on_it": 2,
        "baseline": {"requests": 3, "failed": 0, "slowest_ms": 50},
        "requests": 1,
        "failed": 0,
        "failed_late": 0,
        "slow": 1,
        "caught": 0,
        "slow_from_ms": 150,
        "slowest_ms": 1000,
        "first_after": 1.0,
        "recovered_after": 2.0,
        "as_before": True,
        "sessions": [{"fate": "hung", "after": 0.2, "back_after": 10.2, "gap": 30.0}],
        "gap": 30.0,
        "watch": None,
    }


def test_what_people_read() -> None:
    hit = reported(ask(1, 1.0), ask(0.2, 30, session=1), ask(1, session=2))
    assert words.rows(hit)[-2:] == [
        ("last slow or failed", "", "after 2.0 s"),
        ("as before the cut", "", "yes"),
    ]
    first, second, third = [*words.sentences(hit)][1:-1]
    assert first == (
        "1 of 2 kept-alive sessions hung for the whole cut, from 0.2 s after its beginning on: "
        "a client notices by its own time limit; 1 of them answered again 10.2 s after its end"
    )
    assert second == "1 of 2 kept-alive sessions noticed nothing"
    assert third == (
        "no kube-nginx-watch runs there, which would close silent sessions; "
        "the longest silence of a session was 30.0 s"
    )
    ended = reported(ask(4, 0.5, "closed", session=0), ask(5, 0.5, "closed", session=1))
    assert [*words.sentences(ended)][:-2] == [
        "sessions of the node's own that were on it: 0",
        "2 of 2 kept-alive sessions ended 4.5 s after the cut: a client notices at once, "
        "and was without an answer for 0.5 s",
    ]


def test_what_it_means_for_kubelet() -> None:
    slow, hung = ask(1, 1.0), ask(0.2, 30, session=1)
    text = reported(slow, hung, proxy=Proxy(connect_timeout="2s")).means
    assert "1 of 1 only after nginx had tried the dead one (connect_timeout 2s" in text
    assert "sessions that are on the dead one hang" in text
    assert "sessions that are on the dead one hang" in reported(ask(1), on_it=1).means
    assert reported(ask(1)).means == "for kubelet: new connections notice nothing"
    failed = reported(ask(1, 5, "did not answer within 5 s"))
    assert "failed though another apiserver lived (first: did not answer" in failed.means


HANGS = WatchReport("ejected 198.18.0.1:6443 for 1 s (no answer to a TLS hello)", 4.0)
FAILED = ask(1, 5, "did not answer within 5 s")
LATE = ask(5, 5, "did not answer within 5 s")


def test_what_the_watch_did_is_told() -> None:
    seen = reported(ask(0.1, 4, "closed", 0), FAILED, fault=Fault.HANG, watch=HANGS)
    assert (seen.failed, seen.failed_late, seen.error) == (1, 0, "did not answer within 5 s")
    *_, told, means = words.sentences(seen)
    had = f"kube-nginx-watch had it ejected 4.0 s after the hang (its status: {HANGS.status}); the longest"
    assert told.startswith(had)
    assert "failed until it was ejected (first: did not answer within 5 s), and none later; " in means
    assert means.endswith("closed 4.0 s after the hang, and kubelet connects again at once")
    assert as_json(seen)["watch"] == {"status": HANGS.status, "ejected_after": 4.0}
    assert words.rows(seen)[-1][0] == "as before the hang"


def test_what_nginx_alone_cannot_tell() -> None:
    means = reported(FAILED, ask(3, 1.0), fault=Fault.HANG).means
    assert means == (
        "for kubelet: 2 of 2 new connections waited for one that hangs, which nginx alone cannot tell "
        "(first: did not answer within 5 s)"
    )


IDLE = WatchReport("silent 198.18.0.1:6443, and not ejected: no other answers")
IMPOSSIBLE = WatchReport("not possible here: Linux 3.10 closes no sessions of others", can_eject=False)


@pytest.mark.parametrize(
    ("fault", "watch", "request_", "why"),
    [
        (Fault.CUT, None, FAILED, "did not answer within 5 s"),
        (Fault.CUT, HANGS, FAILED, "did not answer within 5 s"),
        (Fault.CUT, None, ask(1, 1.0), ""),
        (Fault.HANG, None, FAILED, ""),
        (Fault.HANG, IMPOSSIBLE, FAILED, ""),
        (Fault.HANG, HANGS, FAILED, ""),
        (Fault.HANG, HANGS, LATE, "did not answer within 5 s"),
        (Fault.HANG, IDLE, ask(1), f"kube-nginx-watch did not eject it (its status: {IDLE.status})"),
    ],
)
def test_what_should_not_have_been(
    fault: Fault, watch: WatchReport | None, request_: Request, why: str
) -> None:
    assert sorting.unexpected(reported(request_, fault=fault, watch=watch)) == why
