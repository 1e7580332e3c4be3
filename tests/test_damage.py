"""From the requests of a drill to what is told of it."""

from __future__ import annotations

import json

import pytest

from tasks.core.config.settings import Proxy
from tasks.core.traffic import damage
from tasks.core.traffic.clients import Request
from tasks.core.traffic.damage import ENDED, HUNG, UNHARMED, Fate

CUT, HEALED = 1000.0, 1020.0


def ask(at: float, took: float | None = 0.03, error: str = "", session: int | None = None) -> Request:
    """A request that began `at` seconds after the cut; `took` None: it still waits."""
    return Request(CUT + at, session, None if took is None else CUT + at + took, error)


BEFORE = [ask(-3), ask(-2, 0.05), ask(-1)]


def assessed(*more: Request, calm: bool = True) -> damage.Damage:
    requests = [*BEFORE, *more]
    return damage.assess(requests, damage.slow_from(requests, CUT), CUT, HEALED, calm)


def test_slow_is_what_takes_100_ms_longer_than_all_before() -> None:
    assert damage.slow_from([*BEFORE, ask(1, 9)], CUT) == pytest.approx(0.15)
    seen = assessed(ask(1, 0.14), ask(2, 0.16))
    assert (seen.after.requests, seen.after.slow, seen.after.failed) == (2, 1, 0)


def test_sessions_are_not_among_the_requests() -> None:
    seen = assessed(ask(-1, 0.9, session=0), ask(1, 9, session=0))
    assert (seen.before.requests, seen.after.requests) == (3, 0)
    assert seen.before.slowest == pytest.approx(0.05)


def test_one_that_was_under_way_at_the_cut_could_not_be_saved() -> None:
    seen = assessed(ask(-0.01, 5.0, "did not answer within 5 s"), ask(-0.01, 0.05), ask(0, 0.04))
    assert (seen.before.requests, seen.after.requests, seen.after.failed) == (3, 1, 0)
    assert (seen.caught, seen.first) == (1, None)
    assert damage.of_connections(seen) == [
        "requests under way at the cut that failed or were slow, as is to be expected: 1"
    ]


def test_first_and_last() -> None:
    seen = assessed(ask(0.5), ask(1.5, 1.0), ask(3, 5, "did not answer within 5 s"), ask(9), ask(9.5))
    assert [seen.first, seen.last] == pytest.approx([1.5, 8.0])
    assert (seen.after.failed, seen.after.slow, seen.error) == (1, 1, "did not answer within 5 s")
    nothing = assessed(ask(1))
    assert (nothing.first, nothing.last, nothing.error) == (None, None, "")


def test_who_did_not_become_calm_did_not_recover() -> None:
    seen = assessed(ask(1, 1.0), ask(34, 1.0), calm=False)
    assert damage.as_data(seen)["recovered_after"] is None
    assert not damage.as_data(seen)["as_before"]
    assert damage.rows(seen)[-1] == ("as before the cut", "", "not while it was looked at")


@pytest.mark.parametrize(
    ("last", "fate"),
    [
        (ask(19.5, 1.0, session=0), Fate(UNHARMED)),
        (ask(0.5, 25, session=0), Fate(HUNG, 0.5, 5.5)),
        (ask(-0.5, 20.5, session=0), Fate(HUNG, 0.0, 0.0)),
        (ask(3, 8, session=0), Fate(UNHARMED)),
        (ask(4, 0.5, "closed", session=0), Fate(ENDED, 4.5)),
    ],
)
def test_the_fate_of_a_session(last: Request, fate: Fate) -> None:
    assert assessed(ask(-1, session=0), last).fates == (fate,)


def test_a_session_that_still_waits_hangs() -> None:
    waits = Request(0.0, 0)  # since long ago
    fate = damage.assess([waits], 0.1, 0.0, 20.0, True).fates[0]
    assert (fate.what, fate.back) == (HUNG, None)


def test_what_programs_read() -> None:
    data = json.loads(json.dumps(damage.as_data(assessed(ask(1, 1.0), ask(0.2, 30, session=4)))))
    assert data == {
        "baseline": {"requests": 3, "failed": 0, "slowest_ms": 50},
        "requests": 1,
        "failed": 0,
        "slow": 1,
        "caught": 0,
        "slow_from_ms": 150,
        "slowest_ms": 1000,
        "first_after": 1.0,
        "recovered_after": 2.0,
        "as_before": True,
        "sessions": [{"fate": "hung", "after": 0.2, "back_after": 10.2}],
    }


def test_what_people_read() -> None:
    hit = assessed(ask(1, 1.0), ask(0.2, 30, session=1), ask(1, session=2))
    assert damage.rows(hit)[-2:] == [
        ("last slow or failed", "", "after 2.0 s"),
        ("as before the cut", "", "yes"),
    ]
    first, second = damage.of_connections(hit)
    assert first == (
        "1 of 2 kept-alive sessions hung for the whole cut, from 0.2 s after its beginning on: "
        "a client notices by its own time limit; 1 of them answered again 10.2 s after its end"
    )
    assert second == "1 of 2 kept-alive sessions noticed nothing"
    ended = assessed(ask(4, 0.5, "closed", session=0), ask(5, 0.5, "closed", session=1))
    assert damage.of_connections(ended) == [
        "2 of 2 kept-alive sessions ended 4.5 s after the cut: a client notices at once"
    ]
    text = damage.means(hit, Proxy(connect_timeout="2s"), on_it=0)
    assert "1 of 1 only after nginx had tried the dead one (connect_timeout 2s" in text
    assert "sessions that are on the dead one hang" in text
    assert damage.means(assessed(ask(1)), Proxy(), on_it=0) == "for kubelet: new connections notice nothing"
    failed = assessed(ask(1, 5, "did not answer within 5 s"))
    assert "failed though another apiserver lived (first: did not answer" in damage.means(failed, Proxy(), 0)
