"""Threads over many items: how many work at a time, and who makes room for others."""

from __future__ import annotations

import threading

import pytest

from tasks.core.shell import pool
from tasks.core.shell.pool import MOST_BEGUN, fan_out, together, waiting

LONG = 20.0  # seconds


class Count:
    """How many are at work, and never more than the pool itself thinks."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.at_work = 0

    def add(self, number: int) -> int:
        """How many there are then."""
        with self._lock:
            self.at_work += number
            return self.at_work


def test_all_may_wait_at_once() -> None:
    met = threading.Barrier(MOST_BEGUN)

    def work(item: int) -> int:
        with waiting(after=0):
            met.wait(LONG)
        return item

    everybody = range(MOST_BEGUN)
    assert dict(fan_out(everybody, work, 1, patient=True)) == {item: item for item in everybody}


@pytest.mark.parametrize(
    ("patient", "after", "room"), [(True, 0, True), (True, 0.2, True), (True, 3600, False), (False, 0, False)]
)
def test_who_makes_room(patient: bool, after: float, room: bool) -> None:
    second = threading.Event()

    def work(item: int) -> bool:
        if item == 0:
            with waiting(after):
                return second.wait(LONG if room else 0.5)
        second.set()
        return True

    assert dict(fan_out(range(2), work, 1, patient=patient)) == {0: room, 1: True}


def test_nobody_begins_while_enough_are_at_work() -> None:
    """Those who have waited go on when there is room, before others begin."""
    count, ready = Count(), threading.Event()
    order: list[int] = []

    def work(item: int) -> int:
        if item < 5:
            with waiting(after=0):
                ready.wait(LONG)
        most = count.add(1)
        order.append(item)
        if item == 6:
            ready.set()  # all five may go on now
        pause.wait(0.02)
        count.add(-1)
        return most

    pause = threading.Event()
    found = dict(fan_out(range(47), work, 2, patient=True))
    assert {found[item] for item in range(47)} <= {1, 2}
    assert count.at_work == 0
    assert {0, 1, 2, 3, 4} & {*order[-10:]} == set(), "they need not wait for all others"


def test_those_that_wait_are_bounded_too() -> None:
    count, most, lock = 0, 0, threading.Lock()
    full = threading.Event()

    def work(item: int) -> None:
        nonlocal count, most
        with lock:
            count += 1
            most = max(most, count)
            if count == MOST_BEGUN:
                full.set()
        with waiting(after=0):
            full.wait(LONG)
            second.wait(0.3)  # whoever would be let in by mistake comes now
        with lock:
            count -= 1

    second = threading.Event()
    list(fan_out(range(3 * MOST_BEGUN), work, 1, patient=True))
    assert full.is_set()
    assert most == MOST_BEGUN


def test_what_fails_while_it_waits_is_told() -> None:
    def work(item: int) -> None:
        with waiting(after=0):
            raise ValueError(item)

    found = dict(fan_out(range(3), work, 1, patient=True))
    assert [str(found[item]) for item in range(3)] == ["0", "1", "2"]


def test_one_that_waits_in_another_wait_counts_once() -> None:
    inner, second = threading.Event(), threading.Event()

    def work(item: int) -> bool:
        if item == 0:
            with waiting(after=0):
                with waiting(after=3600):
                    inner.set()
                return second.wait(LONG)
        second.set()
        return inner.is_set()

    assert dict(fan_out(range(2), work, 1, patient=True)) == {0: True, 1: True}


class Unstarted(threading.Thread):
    """Where the machine gives no more than so many threads."""

    left = 0

    def start(self) -> None:
        if type(self).left <= 0:
            raise RuntimeError("can't start new thread")
        type(self).left -= 1
        super().start()


@pytest.mark.parametrize("given", [0, 1, 3])
@pytest.mark.parametrize("patient", [True, False])
def test_no_more_threads_can_be_had(monkeypatch: pytest.MonkeyPatch, given: int, patient: bool) -> None:
    monkeypatch.setattr(Unstarted, "left", given)
    monkeypatch.setattr(pool, "Thread", Unstarted)

    def work(item: int) -> int:
        with waiting(after=0):
            return item

    assert dict(fan_out(range(50), work, 8, patient=patient)) == {item: item for item in range(50)}


def test_one_alone_needs_no_thread() -> None:
    assert together([0], lambda _: threading.current_thread()) == [threading.current_thread()]


@pytest.mark.parametrize("count", [1, 2])
def test_what_one_of_them_raises_is_raised(count: int) -> None:
    with pytest.raises(ZeroDivisionError):
        together(range(count), lambda item: 1 // item)
