"""A step that goes over the fleet batch by batch."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, cast

import invoke
import pytest

from tasks import rollout as rollouts
from tasks.core.config.model import Proxy, Rollout
from tasks.core.config.validation import shown
from tasks.core.console import report
from tasks.core.errors import StepError, UsageError
from tasks.core.facts.facts import Facts, Holder
from tasks.core.results import Result, State, StepResult
from tasks.core.rollout import rolling
from tasks.core.rollout.activation import Activation, Order
from tasks.core.rollout.plan import Action
from tasks.core.run import flags as flags_module
from tasks.core.run import locks
from tasks.core.run.flags import seconds
from tasks.core.run.opening import run
from tasks.core.shell.piped import Piped
from tasks.core.shell.pool import waiting
from tasks.core.ssh.fleet import Fleet

from .test_run import OK, Held, Host, begun, context, doing, ended, failing, over

__all__ = ["context"]


class Steps(report.Silent):
    """Remembers which steps began, with which hosts, under which title."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, str, str]] = []

    def step_begins(self, step: str, hosts: Sequence[str], title: str = "") -> None:
        self.seen.append((step, " ".join(hosts), title))


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds that would have been slept."""
    slept: list[float] = []
    monkeypatch.setattr(rolling, "sleep", slept.append)
    return slept


@pytest.fixture(autouse=True)
def held(monkeypatch: pytest.MonkeyPatch) -> dict[str, Held]:
    """The locks that were had, by host."""
    had: dict[str, Held] = {}

    def acquire(node: Host, me: str, wait: int, *_: object) -> Piped:
        had[node.label] = Held(wait)
        return cast(Piped, had[node.label])

    monkeypatch.setattr(locks, "acquire", acquire)
    return had


def rolled(
    names: str,
    work: Callable[[Any], StepResult[object]],
    nodes: str | None = None,
    before: Callable[[Host], StepResult[object]] | None = None,
    new: str = "",
    batch_given: bool = False,
    **rollout: Any,
) -> tuple[Any, list[tuple[str, str, str]]]:
    """The run after `work` was done on `nodes` (None: all that are alive), and the steps of it."""
    r = begun(*names)
    if before:
        r.step("before", before)
    r.reporter = steps = Steps()
    chosen: Any = [host for host in r.alive if nodes is None or host.label in nodes]
    r.rollout, r.batch_given = Rollout(**rollout), batch_given
    rolling.rolling(r, "activate", work, chosen, [node for node in chosen if node.label in new])
    return r, steps.seen


def stopped_after(begun: str, names: str, r: Any, steps: list[tuple[str, str, str]]) -> None:
    """Those had their turns, in this order, and no other of the nodes."""
    assert "".join(hosts for _, hosts, _ in steps).replace(" ", "") == begun
    assert r.summary.not_started == [name for name in names if name not in begun]


def well(host: Host) -> StepResult[object]:
    return OK


def test_the_canary_and_then_the_batches() -> None:
    r, steps = rolled("abcdef", well, canary=1, batch=2)
    assert steps == [
        ("activate", "a", "activate 1/4"),
        ("activate", "b c", "activate 2/4"),
        ("activate", "d e", "activate 3/4"),
        ("activate", "f", "activate 4/4"),
    ]
    assert sorted(record.host for record in r.summary.records) == [*"abcdef"]
    assert (r.summary.not_started, r.summary.why_not) == ([], "")


def test_a_batch_begins_when_the_one_before_is_over() -> None:
    seen: list[str] = []

    def work(host: Host) -> StepResult[object]:
        assert len(seen) >= "abcde".index(host.label) // 2 * 2
        seen.append(host.label)
        return OK

    r, _ = rolled("abcde", work, canary=2, batch=2)
    assert (len(seen), r.summary.failed) == (5, [])


@pytest.mark.parametrize(
    ("batch_given", "waves"), [(False, ["a", "c d f", "b", "e"]), (True, ["a", "b", "c", "d", "e", "f"])]
)
def test_those_that_are_new_go_at_once_unless_a_batch_was_given(batch_given: bool, waves: list[str]) -> None:
    _, steps = rolled("abcdef", well, new="acdf", batch_given=batch_given, canary=1, batch=1)
    assert [hosts for _, hosts, _ in steps] == waves


@pytest.mark.parametrize(
    ("bad", "max_failures", "begun", "why"),
    [
        ("a", 0, "a", "1 failed, and max_failures is 0"),
        ("a", 9, "a", "1 failed, and no canary worked"),
        ("c", 0, "acdf", "1 failed, and max_failures is 0"),
        ("cd", 1, "acdf", "2 failed, and max_failures is 1"),
        ("cd", 2, "acdfbe", ""),
        ("b", 1, "acdfbe", ""),
        ("b", 0, "acdfb", "1 failed, and max_failures is 0"),
    ],
)
def test_harm_stops_it_after_those_that_are_new_too(
    bad: str, max_failures: int, begun: str, why: str
) -> None:
    r, steps = rolled("abcdef", failing(*bad), new="acdf", canary=1, batch=1, max_failures=max_failures)
    stopped_after(begun, "abcdef", r, steps)
    assert r.summary.why_not == why


@pytest.mark.parametrize(("batch", "given"), [(None, False), ("25%", True)])
def test_whether_a_batch_was_given(context: invoke.Context, batch: str | None, given: bool) -> None:
    with run(context, "deploy", hosts=over("a"), batch=batch) as r:
        assert r.batch_given is given


def test_a_node_that_only_waits_makes_room_for_another() -> None:
    r, met = begun(*"abcde", parallel=1), threading.Barrier(5)

    def work(host: Any) -> StepResult[object]:
        with waiting(after=0):
            met.wait(20)
        return OK

    nodes: Any = r.alive
    r.rollout = Rollout(canary=0, batch="100%")
    rolling.rolling(r, "activate", work, nodes)
    assert (len(r.summary.records), r.summary.failed) == (5, [])


def test_so_does_one_that_somebody_else_has(monkeypatch: pytest.MonkeyPatch) -> None:
    turn = threading.Event()

    def acquire(node: Host, me: str, wait: int, *_: object) -> Piped:
        if node.label == "a":
            assert turn.wait(20)
        turn.set()
        return cast(Piped, Held())

    monkeypatch.setattr(locks, "acquire", acquire)
    r = begun(*"ab", parallel=1)
    nodes: Any = r.alive
    r.rollout = Rollout(canary=0, batch="100%")
    rolling.rolling(r, "activate", well, nodes)
    assert (len(r.summary.records), r.summary.failed) == (2, [])


def test_one_batch_is_not_numbered() -> None:
    assert rolled("a", well)[1] == [("activate", "a", "activate")]


def test_some_nodes_only() -> None:
    r, steps = rolled("abcd", well, nodes="bd", canary=1, batch=1)
    assert [hosts for _, hosts, _ in steps] == ["b", "d"]
    assert r.summary.not_started == []


def test_no_node() -> None:
    r, steps = rolled("ab", well, nodes="")
    assert (steps, r.summary.not_started) == ([], [])


@pytest.mark.parametrize(
    ("bad", "max_failures", "begun", "why"),
    [
        ("", 0, "abcdef", ""),
        ("a", 0, "a", "1 failed, and max_failures is 0"),
        ("a", 1, "a", "1 failed, and no canary worked"),
        ("b", 0, "abc", "1 failed, and max_failures is 0"),
        ("bc", 1, "abc", "2 failed, and max_failures is 1"),
        ("bd", 1, "abcde", "2 failed, and max_failures is 1"),
        ("bcd", 2, "abcde", "3 failed, and max_failures is 2"),
        ("bcd", 9, "abcdef", ""),
    ],
)
def test_it_stops_when_it_does_harm(bad: str, max_failures: int, begun: str, why: str) -> None:
    r, steps = rolled("abcdef", failing(*bad), canary=1, batch=2, max_failures=max_failures)
    stopped_after(begun, "abcdef", r, steps)
    assert r.summary.failed == [*bad]
    assert r.summary.why_not == why


@pytest.mark.parametrize(
    ("bad", "canary", "begun", "why"),
    [
        ("a", 2, "abcd", ""),
        ("ab", 2, "ab", "2 failed, and no canary worked"),
        ("ab", 0, "abcd", ""),  # nobody was to try it first
        ("abcd", 4, "abcd", ""),  # nobody is left
    ],
)
def test_one_canary_that_worked_is_enough(bad: str, canary: int, begun: str, why: str) -> None:
    r, steps = rolled("abcd", failing(*bad), canary=canary, batch=2, max_failures=9)
    stopped_after(begun, "abcd", r, steps)
    if r.summary.not_started:
        assert r.summary.why_not == why


def test_the_recap_of_one_that_stopped() -> None:
    r, _ = rolled("abc", failing("a"), canary=1)
    assert ended(r) == (
        1,
        [
            "a: activate: no",
            "  hint: try --limit a",
            "not started: b, c: 1 failed, and max_failures is 0",
            "retry: fab deploy --limit a,b,c",
        ],
    )


def test_a_failure_in_the_last_batch_leaves_nobody() -> None:
    r, _ = rolled("ab", failing("b"), canary=1)
    assert r.summary.not_started == []
    assert "not started" not in "\n".join(ended(r)[1])


def test_failures_of_earlier_steps_do_not_count() -> None:
    r, steps = rolled("abcd", failing("c"), before=failing("a"), canary=1, batch=1, max_failures=1)
    assert [hosts for _, hosts, _ in steps] == ["b", "c", "d"]
    assert (r.summary.failed, r.summary.not_started) == (["a", "c"], [])


@pytest.mark.parametrize(("pause", "slept"), [(0, []), (7, [7, 7])])
def test_the_pause_is_between_batches(pauses: list[float], pause: int, slept: list[float]) -> None:
    rolled("abc", well, canary=1, batch=1, pause=pause)
    assert pauses == slept


def test_no_pause_after_it_has_stopped(pauses: list[float]) -> None:
    rolled("abc", failing("a"), canary=1, batch=1, pause=7)
    assert pauses == []


def test_each_node_is_unlocked_when_its_turn_is_over(held: dict[str, Held]) -> None:
    r = begun(*"abcd")
    r.step("stage", doing(r.lock))
    seen: list[list[int]] = []

    def work(node: Any) -> StepResult[object]:
        seen.append([held[name].closed for name in "abcd"])
        if node.label == "b":
            raise StepError("no")
        return OK

    r.rollout = Rollout(canary=1, batch=1)
    rolling.rolling(r, "activate", work, r.alive)
    assert seen == [[0, 0, 0, 0], [1, 0, 0, 0]]
    assert [held[name].closed for name in "abcd"] == [1, 1, 0, 0]
    assert r.summary.not_started == ["c", "d"]
    r.locks.close()
    assert [held[name].closed for name in "abcd"] == [1, 1, 1, 1]


def test_each_node_is_locked_when_its_turn_comes(held: dict[str, Held]) -> None:
    r = begun(*"abc")
    seen: list[dict[str, int]] = []

    def work(node: Any) -> StepResult[object]:
        seen.append({name: one.closed for name, one in held.items()})
        return OK

    r.rollout, r.wait = Rollout(canary=1, batch=1), 7
    rolling.rolling(r, "activate", work, r.alive)
    assert seen == [{"a": 0}, {"a": 1, "b": 0}, {"a": 1, "b": 1, "c": 0}]
    assert [one.wait for one in held.values()] == [7, 7, 7]
    assert [one.closed for one in held.values()] == [1, 1, 1]


def test_a_node_that_somebody_else_has_fails_in_its_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    def acquire(node: Host, me: str, wait: int, *_: object) -> Piped:
        if node.label == "b":
            raise StepError("locked by x@y")
        return cast(Piped, Held())

    monkeypatch.setattr(locks, "acquire", acquire)
    done: list[str] = []
    r, _ = rolled("abc", doing(lambda node: done.append(node.label)), canary=1, batch=1)
    assert (done, r.summary.failed, r.summary.not_started) == (["a"], ["b"], ["c"])


def test_each_node_is_looked_at_anew_when_its_turn_comes(held: dict[str, Held]) -> None:
    class Known(Host):
        def invalidate_facts(self) -> None:
            assert held[self.label].closed == 0  # nobody else changes it any more
            forgotten.append(self.label)

    forgotten: list[str] = []
    r = begun("a")
    nodes: Any = [Known("a"), Known("b")]
    r.fleet, r.summary.hosts = Fleet.from_connections(nodes), ["a", "b"]
    r.rollout = Rollout()
    rolling.rolling(
        r, "activate", lambda node: StepResult(State.OK if node.label in forgotten else State.FAILED), nodes
    )
    assert (sorted(forgotten), r.summary.failed) == (["a", "b"], [])


@pytest.mark.parametrize(
    ("given", "flags"),
    [
        ((None, None, None, "0"), {}),
        (("2", "25%", "1", "60"), {"canary": "2", "batch": "25%", "max-failures": "1", "wait": "60"}),
        ((None, "1", None, 5), {"batch": "1", "wait": 5}),
        (("0", None, "0", 0), {"canary": "0", "max-failures": "0"}),
    ],
)
def test_the_flags_for_the_line_that_repeats_it(given: Any, flags: dict[str, object]) -> None:
    names = ("canary", "batch", "max_failures", "wait")
    assert dict(flags_module.given(dict(zip(names, given, strict=True)))) == flags


class TestInterrupt:
    """Ctrl-C: those that have begun finish, the others are left."""

    def test_within_a_batch(self) -> None:
        r = begun(*"abcd", parallel=1)
        nodes: Any = r.alive

        def work(node: Any) -> StepResult[object]:
            if node.label == "b":
                r.interrupt.handle(signal.SIGINT, None)
            return OK

        r.rollout = Rollout(canary=1, batch=2)
        rolling.rolling(r, "activate", work, list(nodes))
        assert [record.host for record in r.summary.records] == ["a", "b"]
        assert (r.summary.not_started, r.summary.why_not) == (["c", "d"], "interrupted")
        assert ended(r)[0] == 130

    def test_within_the_last_batch(self) -> None:
        r = begun("a")

        def work(node: Any) -> StepResult[object]:
            r.interrupt.handle(signal.SIGINT, None)
            return StepResult(State.OK, result="unchanged")

        nodes: Any = r.alive
        r.rollout = Rollout()
        rolling.rolling(r, "activate", work, nodes)
        assert (r.summary.not_started, ended(r)) == ([], (130, ["interrupted"]))

    def test_within_a_pause(
        self, context: invoke.Context, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(rolling, "sleep", lambda seconds: signal.raise_signal(signal.SIGINT))
        done: StepResult[object] = StepResult(State.CHANGED, result="restarted")

        def rolled() -> None:
            with run(context, "deploy", hosts=over("a", "b", "c")) as r:
                r.rollout = Rollout(canary=1, pause=9)
                rolling.rolling(r, "activate", lambda node: done, r.alive)

        with pytest.raises(invoke.Exit) as caught:
            rolled()
        assert caught.value.code == 130
        assert (caught.value.message or "").strip().splitlines()[:2] == [
            "restarted: a",
            "not started: b, c: interrupted",
        ]
        assert "deploy: 1 restarted, 2 not started\n" in capsys.readouterr().out


class TestRollback:
    """What a node is asked for by `fab rollback`."""

    KEPT = Facts(releases={"current": "r1", "previous": "r0"}, kept={"current": {}, "previous": {}})

    @pytest.fixture
    def orders(self, monkeypatch: pytest.MonkeyPatch) -> list[Order]:
        asked: list[Order] = []

        def apply(activation: Activation, order: Order) -> StepResult[object]:
            asked.append(order)
            return OK

        monkeypatch.setattr(Activation, "apply", apply)
        return asked

    def back(self, facts: Facts) -> StepResult[object]:
        class Seen(Host):
            def survey(self, proxy: Any) -> Facts:
                return facts

        node: Any = Seen("a")
        return rollouts._rollback(begun("a"), node)

    def test_it_is_rolled_back(self, orders: list[Order]) -> None:
        assert self.back(self.KEPT) is OK
        assert orders == [Order(Action.RESTART, Result.ROLLED_BACK, "r0", listen=())]

    def test_somebody_else_has_the_port(self, orders: list[Order]) -> None:
        (address,) = Proxy().listen
        with pytest.raises(StepError, match="is held by other"):
            self.back(replace(self.KEPT, listening={address: Holder(9, "", "/x", "other")}))
        assert orders == []

    def test_the_release_before_has_gone_meanwhile(self, orders: list[Order]) -> None:
        with pytest.raises(StepError, match="somebody has removed the release before"):
            self.back(replace(self.KEPT, releases={"current": "r1"}))
        assert orders == []


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("60", 60), (60, 60)])
def test_seconds(text: Any, number: int) -> None:
    assert seconds("--wait", text) == number


@pytest.mark.parametrize("text", ["", "x", "-1", "1.5", "5 s", " 5", "²", "٣", "86401", "7" * 5000])
def test_no_seconds(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        seconds("--wait", text)
    assert (
        str(caught.value) == f"--wait {shown(text)}: must be a number of seconds from 0 to 86400, such as 60"
    )
