"""When an apiserver is ejected and let in: judge.c on invented clocks."""

import re
import shutil
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.watch.judge import ANSWERED, EJECT, LET_IN, NEVER, NO_CONNECTION, NO_HELLO, REFUSED, Judge, library

LIMIT = 2000
STEP = 50
Answers = Callable[[int, int], int | None]
Make = Callable[[int], Judge]


@pytest.fixture(scope="module")
def make(tmp_path_factory: pytest.TempPathFactory) -> Make:
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    loaded = library(tmp_path_factory.mktemp("judge"))
    return lambda count: Judge(loaded, count)


def good(*silent: int) -> Answers:
    """How long each takes for an answer, in ms; the silent ones have none."""
    return lambda which, _: None if which in silent else 5


def spend(
    judge: Judge, ms: int, answers: Answers, sessions: Callable[[int], None] = lambda _: None
) -> list[tuple[int, int, int]]:
    """Let time go by, as the watch would spend it; gives the changes, and when they were."""
    changes = []
    for _ in range(ms // STEP):
        judge.now += STEP
        for question in [*judge.open]:
            which, begun = question
            took = answers(which, begun)
            if took is not None and judge.now - begun >= took:
                judge.end(question, ANSWERED)
            elif judge.now - begun >= LIMIT:
                judge.end(question, NO_HELLO)
        sessions(judge.now)
        changes += [(judge.now, *change) for change in judge.decide()]
        for which in range(judge.count):
            if judge.now >= judge.next(which):
                judge.ask(which)
    return changes


def answer(judge: Judge, which: int) -> None:
    """Ask one, and have it answer at once."""
    judge.ask(which)
    judge.end((which, judge.now), ANSWERED)


def test_all_answer(make: Make) -> None:
    judge = make(3)
    assert spend(judge, 60_000, good()) == []


def test_who_is_idle_is_asked_each_five_seconds(make: Make) -> None:
    judge = make(1)
    asked = []
    for _ in range(600):
        before = judge.of[0].asked
        spend(judge, STEP, good())
        if judge.of[0].asked != before:
            asked.append(judge.now)
    assert {later - earlier for earlier, later in pairwise(asked)} == {5000}


def test_who_is_heard_is_not_asked(make: Make) -> None:
    judge = make(1)
    spend(judge, STEP, good())
    first = judge.of[0].asked
    spend(judge, 30_000, good(), lambda now: judge.see(0, 1, NEVER, now - 100))
    assert judge.of[0].asked == first


def test_a_session_that_waits_is_reason_to_ask_once(make: Make) -> None:
    judge = make(1)
    spend(judge, 2000, good())
    sent = judge.now
    spend(judge, 4000, good(), lambda _: judge.see(0, 1, sent, sent - 10_000))
    assert sent < judge.of[0].good_begun < sent + 3100
    once = judge.of[0].asked
    spend(judge, 900, good(), lambda _: judge.see(0, 1, sent, sent - 10_000))
    assert judge.of[0].asked == once


def test_one_is_silent_and_comes_back(make: Make) -> None:
    judge = make(3)
    spend(judge, 6000, good())
    (ejected,) = spend(judge, 20_000, good(1))
    assert ejected[1:] == (1, EJECT)
    assert judge.of[1].reason == NO_HELLO
    (back,) = spend(judge, 5000, good())
    assert back[1:] == (1, LET_IN)


def test_two_questions_and_three_seconds(make: Make) -> None:
    judge = make(2)
    for _ in range(2):
        judge.ask(0)
    judge.ask(1)
    judge.end((1, judge.now), ANSWERED)
    begun = judge.now
    judge.now += LIMIT
    for question in [*judge.open]:
        judge.end(question, NO_CONNECTION)
    answer(judge, 1)
    assert judge.decide() == []
    judge.now = begun + 2999
    answer(judge, 1)
    assert judge.decide() == []
    judge.now += 1
    assert judge.decide() == [(0, EJECT)]


def test_one_question_is_not_enough(make: Make) -> None:
    judge = make(2)
    judge.ask(0)
    judge.now += LIMIT
    judge.end(judge.open[0], NO_CONNECTION)
    judge.now += 60_000
    answer(judge, 1)
    assert judge.decide() == []


def test_more_than_half_only_if_all_the_rest_have_just_answered(make: Make) -> None:
    judge = make(5)
    for which in (0, 1, 2):
        for _ in range(2):
            judge.ask(which)
    judge.now += LIMIT
    for question in [*judge.open]:
        judge.end(question, NO_HELLO)
    answer(judge, 4)
    judge.now += 1001
    answer(judge, 3)
    assert judge.decide() == []
    answer(judge, 4)
    judge.now += 1000
    assert judge.decide() == [(0, EJECT), (1, EJECT), (2, EJECT)]


def test_a_byte_in_a_session_is_an_answer(make: Make) -> None:
    judge = make(2)
    spend(judge, 6000, good())
    changes = spend(judge, 60_000, good(0), lambda now: judge.see(0, 1, now - 100, now - now % 2500))
    assert changes == []


def test_where_no_question_is_answered_nobody_is_ejected(make: Make) -> None:
    """As where the node's own table of connections is full: old sessions go on, and no new one is opened."""
    judge = make(2)
    spend(judge, 6000, good())
    assert spend(judge, 60_000, good(0, 1), lambda now: judge.see(1, 1, NEVER, now)) == []


def test_an_answer_of_before_the_silence_is_none(make: Make) -> None:
    judge = make(2)
    spend(judge, 6000, good())
    heard = judge.now
    changes = spend(judge, 10_000, good(0), lambda now: judge.see(0, 1, now - 100, heard))
    assert [change[1:] for change in changes] == [(0, EJECT)]


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_nobody_is_ejected_when_all_are_silent(make: Make, count: int) -> None:
    judge = make(count)
    spend(judge, 6000, good())
    assert spend(judge, 60_000, good(*range(count))) == []
    assert all(judged.silent for judged in judge.of)
    changes = spend(judge, 3000, good(*range(1, count)))
    assert sorted(change[1:] for change in changes) == [(i, EJECT) for i in range(1, count)]


def test_the_last_one_falls_silent(make: Make) -> None:
    judge = make(3)
    spend(judge, 6000, good())
    spend(judge, 20_000, good(0, 1))
    assert judge.ejected == {0, 1}
    changes = spend(judge, 10_000, good(0, 1, 2))
    assert [change[1:] for change in changes] == [(0, LET_IN), (1, LET_IN)]


def test_the_one_that_is_held_is_better_than_none(make: Make) -> None:
    judge = make(2)
    spend(judge, 6000, good())
    for _ in range(6):
        spend(judge, 10_000, good(0))
        spend(judge, 65_000, good())
    spend(judge, 9000, good(0))
    assert (judge.ejected, judge.of[0].hold) == ({0}, 60_000)
    changes = spend(judge, 10_000, good(1))
    assert [change[1:] for change in changes] == [(0, LET_IN), (1, EJECT)]


def test_who_refuses_is_not_ejected(make: Make) -> None:
    judge = make(2)
    for _ in range(400):
        judge.now += STEP
        judge.see(1, 1, NEVER, judge.now)
        for question in [*judge.open]:
            judge.end(question, REFUSED if question[0] == 0 else ANSWERED)
        assert judge.decide() == []
        for which in range(2):
            if judge.now >= judge.next(which):
                judge.ask(which)
    assert judge.of[0].last == REFUSED


def test_who_refuses_while_sessions_wait_is_ejected(make: Make) -> None:
    judge = make(2)
    changes = []
    for _ in range(400):
        judge.now += STEP
        judge.see(0, 1, judge.now - 600, NEVER)
        judge.see(1, 1, NEVER, judge.now)
        for question in [*judge.open]:
            judge.end(question, REFUSED if question[0] == 0 else ANSWERED)
        changes += judge.decide()
        for which in range(2):
            if judge.now >= judge.next(which):
                judge.ask(which)
    assert changes == [(0, EJECT)]


def test_ejections_are_damped(make: Make) -> None:
    judge = make(2)
    spend(judge, 6000, good())
    lasted = []
    for _ in range(9):
        (out,) = spend(judge, 9000, good(0))
        changes = spend(judge, 65_000, good())
        lasted.append(changes[0][0] - out[0])
    assert lasted == sorted(lasted)
    assert max(lasted) <= 60_000 + STEP
    assert judge.of[0].hold == 60_000
    spend(judge, 120_000, good())
    spend(judge, 9000, good(0))
    assert judge.of[0].hold == 2000


def test_flaps_of_four_seconds(make: Make) -> None:
    judge = make(3)
    spend(judge, 6000, good())
    changes = []
    for _ in range(15):
        changes += spend(judge, 4000, good(0))
        changes += spend(judge, 4000, good())
    assert sum(act == EJECT for _, _, act in changes) <= 6


def test_who_is_late_believes_nothing(make: Make) -> None:
    judge = make(2)
    spend(judge, 6000, good())
    changes = []
    for _ in range(40):
        changes += spend(judge, 2900, good(0))
        judge.now += 300
        judge.late()
    assert changes == []
    assert [change[1:] for change in spend(judge, 4000, good(0))] == [(0, EJECT)]


Move = tuple[str, int, int]
MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ["time", "time", "time", "silent", "good", "refuse", "slow", "heard", "waits", "late"]
        ),
        st.integers(0, 4),
        st.integers(1, 80),
    ),
    max_size=120,
)


class World:
    """Apiservers of which each answers in its own way, until a move changes that."""

    def __init__(self, judge: Judge) -> None:
        self.judge = judge
        self.ways = ["good"] * judge.count
        self.answered = [NEVER] * judge.count
        self.let_in = [NEVER] * judge.count
        self.late_at = judge.now

    def step(self) -> None:
        """A moment of the watch, and what has to hold at its end."""
        judge = self.judge
        judge.now += STEP
        for question in [*judge.open]:
            self.answer(*question)
        before = judge.ejected
        doubts = {i for i, judged in enumerate(judge.of) if judged.begun != NEVER}
        changes = judge.decide()
        after = judge.ejected
        for which, act in changes:
            self.holds(which, act, doubts)
        assert len(after) < judge.count
        if after - before:
            assert any(judge.now - self.answered[i] <= 1000 for i in range(judge.count) if i not in after)
        if 2 * len(after) > judge.count and after - before:
            rest = [i for i in range(judge.count) if i not in after]
            assert all(judge.now - self.answered[i] <= 1000 for i in rest if not judge.of[i].silent)
        for which in range(judge.count):
            if judge.now >= judge.next(which):
                judge.ask(which)
                assert judge.of[which].open <= 6

    def holds(self, which: int, act: int, doubts: set[int]) -> None:
        """Tell whether a change was due."""
        now, judged = self.judge.now, self.judge.of[which]
        if act == EJECT:
            assert which in doubts
            assert now - self.answered[which] >= 3000
            assert now - self.late_at >= 3000
            return
        self.let_in[which] = now
        early = now - judged.ejected_at < judged.hold
        others = [i for i in range(self.judge.count) if i != which and i not in self.judge.ejected]
        assert not early or all(
            self.judge.of[i].silent or self.judge.of[i].last == REFUSED or self.let_in[i] == now
            for i in others
        )

    def answer(self, which: int, begun: int) -> None:
        """End a question, if it is time."""
        way, age = self.ways[which], self.judge.now - begun
        if way == "refuse":
            self.judge.end((which, begun), REFUSED)
        elif (way == "good" and age >= STEP) or (way == "slow" and age >= 1500):
            self.judge.end((which, begun), ANSWERED)
            self.answered[which] = self.judge.now
        elif age >= LIMIT:
            self.judge.end((which, begun), NO_HELLO)

    def move(self, what: str, which: int, number: int) -> None:
        """Change something, or let time go by."""
        which %= self.judge.count
        now = self.judge.now
        if what == "time":
            for _ in range(number):
                self.step()
        elif what == "heard":
            self.judge.see(which, 1, NEVER, now)
            self.answered[which] = now
        elif what == "waits":
            self.judge.see(which, 1, now - 10 * number, NEVER)
        elif what == "late":
            self.judge.late()
            self.late_at = now
        else:
            self.ways[which] = what


@given(count=st.integers(1, 5), moves=MOVES)
@settings(max_examples=150, deadline=None)
def test_whatever_happens(make: Make, count: int, moves: list[Move]) -> None:
    world = World(make(count))
    for move in moves:
        world.move(*move)
    world.ways = ["good"] * count
    for _ in range(20):
        world.move("time", 0, 80)
    assert world.judge.ejected == set()


def test_no_clock_that_may_jump_is_read() -> None:
    folder = Path(__file__).parent.parent.parent / "templates" / "watch"
    text = "".join(file.read_text() for file in folder.iterdir())
    assert {*re.findall(r"\bCLOCK_(?!H\b)\w+", text)} == {"CLOCK_MONOTONIC", "CLOCK_BOOTTIME"}
    assert re.findall(r"\b(?:time|gettimeofday|timespec_get)\(", text) == []
