"""Steps over hosts: who drops out, what Ctrl-C does, what is told at the end."""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast

import invoke
import pytest

from tasks.core.config.model import Proxy, Rollout, Settings
from tasks.core.console import report, screen
from tasks.core.console.summary import Summary
from tasks.core.errors import KubeNginxError, StepError, UsageError
from tasks.core.results import State, StepResult
from tasks.core.run import locks, opening
from tasks.core.run import run as run_module
from tasks.core.run.interrupt import Interrupt, Left
from tasks.core.run.locks import Locks
from tasks.core.run.opening import run
from tasks.core.run.run import Run
from tasks.core.shell.delays import Delays
from tasks.core.shell.piped import Piped
from tasks.core.ssh.fleet import Fleet

OK: StepResult[object] = StepResult(State.OK)
CHANGED: StepResult[object] = StepResult(State.CHANGED)


@dataclass(frozen=True)
class Host:
    """All that a run needs to know of one."""

    label: str
    delays: Delays = field(default_factory=Delays, compare=False)

    def invalidate_facts(self) -> None:
        """Nothing is known of it."""

    def survey(self, proxy: object) -> object:
        """Nothing is to be known of it."""


def begun(*names: str, as_json: bool = False, parallel: int = 32, hint: str = "") -> Run:
    """A run of `deploy` over hosts of these names, which shows nothing while it runs."""
    fleet = Fleet.from_connections([Host(name) for name in names])
    fleet.parallel = parallel
    interrupt = Interrupt()
    return Run(
        Settings(None, "recommended", (), ()),
        fleet,
        screen.console_for(as_json),
        report.Silent(),
        Summary("deploy", list(names), "fab {task} --limit {names}", hint),
        interrupt,
        Locks("somebody", lambda: interrupt.came, Proxy()),
        Rollout(),
        as_json=as_json,
    )


def interrupted(r: Run) -> None:
    """Ctrl-C comes while nothing has to finish."""
    with pytest.raises(KeyboardInterrupt):
        r.interrupt.handle(signal.SIGINT)


def failing(*names: str) -> Callable[[Host], StepResult[object]]:
    """Work that fails on the hosts of these names."""

    def work(host: Host) -> StepResult[object]:
        if host.label in names:
            raise StepError("no", hint="try --limit {nodes}")
        return OK

    return work


def doing(act: Callable[[Any], object]) -> Callable[[Host], StepResult[object]]:
    """Work that does this to each host, and is well."""

    def work(host: Host) -> StepResult[object]:
        act(host)
        return OK

    return work


def ended(r: Run) -> tuple[int, list[str]]:
    """Exit status of the recap, and the lines that go with it."""
    with pytest.raises(invoke.Exit) as caught:
        opening.finish(r, quiet=False)
    return caught.value.code, (caught.value.message or "").strip().splitlines()


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until something is true."""
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end
        sleep(0.001)


class TestStep:
    """Work on those that have not failed yet."""

    def test_a_host_that_fails_drops_out(self) -> None:
        r = begun("a", "b", "c")
        r.step("one", failing("b"))
        seen: list[str] = []
        r.step("two", doing(lambda host: seen.append(host.label)))
        assert sorted(seen) == ["a", "c"]
        assert [host.label for host in r.alive] == ["a", "c"]
        assert r.summary.failed == ["b"]
        found = {(record.host, record.step): record.outcome.state for record in r.summary.records}
        assert found == {
            ("a", "one"): "ok",
            ("b", "one"): "failed",
            ("c", "one"): "ok",
            ("a", "two"): "ok",
            ("c", "two"): "ok",
        }

    def test_an_outcome_may_be_a_failure_too(self) -> None:
        r = begun("a", "b")
        r.step("one", lambda host: StepResult(State.FAILED, "no") if host.label == "a" else OK)
        assert r.summary.failed == ["a"]
        assert [host.label for host in r.alive] == ["b"]

    def test_on_some_hosts(self) -> None:
        r = begun("a", "b", "c")
        r.step("one", failing("b"))
        seen: list[str] = []
        first, second, _ = r.fleet
        r.step("two", doing(lambda host: seen.append(host.label)), [first, second])
        assert seen == ["a"]

    def test_on_none(self) -> None:
        r = begun("a")
        r.reporter = cast(report.Reporter, None)  # is not told
        r.step("one", failing("a"), [])
        assert r.summary.records == []

    def test_no_more_than_parallel_at_once(self) -> None:
        r = begun(*"abcdef", parallel=1)
        seen: list[str] = []
        r.step("one", doing(lambda host: seen.append(host.label)))
        assert seen == list("abcdef")

    @pytest.mark.parametrize(
        ("error", "message", "hint"),
        [
            (StepError("no", hint="do"), "no", "do"),
            (KubeNginxError("no"), "no", ""),
            (
                PermissionError(13, "Permission denied", "/x"),
                "/x: Permission denied",
                "can you read and write",
            ),
            (ValueError("odd"), "ValueError: odd", "this is a fault of kube-nginx"),
        ],
    )
    def test_how_an_exception_reads(self, error: Exception, message: str, hint: str) -> None:
        def work(host: Host) -> StepResult[object]:
            raise error

        r = begun("a")
        r.step("one", work)
        (record,) = r.summary.records
        assert record.error is not None
        assert (record.outcome.state, record.error.message) == ("failed", message)
        assert record.error.hint.startswith(hint)

    def test_the_seconds_are_those_of_the_host(self, monkeypatch: pytest.MonkeyPatch) -> None:
        now = [0.0]
        monkeypatch.setattr(run_module, "monotonic", lambda: now[0])

        def work(host: Host) -> StepResult[object]:
            now[0] += {"a": 5.0, "b": 7.0}[host.label]
            return OK

        r = begun("a")
        r.step("one", work)
        assert [record.seconds for record in r.summary.records] == [5.0]


class TestDelays:
    """What a host kept us waiting for is told once, with the step in which it did."""

    def test_they_are_told(self, capsys: pytest.CaptureFixture[str]) -> None:
        def work(host: Host) -> StepResult[object]:
            host.delays.add("sudo", 20)
            return StepResult(State.OK, "fine")

        r = begun("a")
        r.reporter = report.Plain(r.console)
        r.step("one", work)
        r.step("two", lambda host: OK)
        one, two = capsys.readouterr().out.splitlines()
        assert "fine; sudo alone took 20 s: does /etc/hosts there lack the node's own name" in one
        assert "sudo" not in two

    def test_a_failure_has_them_as_a_hint(self) -> None:
        def work(host: Host) -> StepResult[object]:
            host.delays.add("login", 20)
            raise StepError("no answer", hint="look")

        r = begun("a")
        r.step("one", work)
        assert r.summary.records[0].error is not None
        assert r.summary.records[0].error.hint.startswith(
            "look; login alone took 20 s: does sshd there look up "
        )


class TestInterrupt:
    """Ctrl-C: once, and once more."""

    def test_what_has_begun_finishes_and_no_other_host_begins(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        r = begun("a", "b", "c", parallel=1)
        began: list[str] = []

        def work(host: Host) -> StepResult[object]:
            began.append(host.label)
            r.interrupt.handle(signal.SIGINT, None)
            return CHANGED

        r.step("one", work, finish=True)
        assert began == ["a"]
        assert [(record.host, record.outcome.state) for record in r.summary.records] == [("a", "changed")]
        assert capsys.readouterr().err == "\nfinishing what has begun; Ctrl-C again leaves at once\n"
        r.step("two", work, finish=True)
        assert began == ["a"]

    def test_a_step_that_need_not_finish_is_left(self) -> None:
        r = begun("a")
        with pytest.raises(KeyboardInterrupt):
            r.interrupt.handle(signal.SIGINT, None)
        assert r.interrupt.came

    def test_after_a_step_that_finishes_it_need_not_wait(self) -> None:
        r = begun("a", "b")
        r.step("one", failing("b"), finish=True)
        with pytest.raises(KeyboardInterrupt):
            r.interrupt.handle(signal.SIGINT, None)

    def test_with_a_moment_to_finish_it_is_told_how_a_host_is_left(self) -> None:
        r, over = begun("a", "b"), threading.Event()

        def work(host: Host) -> StepResult[object]:
            if host.label == "a":
                eventually(lambda: [record.host for record in r.summary.records] == ["b"])
                r.interrupt.handle(signal.SIGINT, None)
                over.wait(30)
            return CHANGED

        r.step("one", work, finish=True, left_behind=lambda host: StepError(f"{host.label} is left"))
        over.set()
        assert [(record.host, record.outcome.detail) for record in r.summary.records] == [
            ("b", ""),
            ("a", "a is left"),
        ]

    def test_with_a_moment_to_finish_what_is_over_in_it_counts(self) -> None:
        r = begun("a")

        def work(host: Host) -> StepResult[object]:
            r.interrupt.handle(signal.SIGINT, None)
            return CHANGED

        r.step("one", work, finish=True, left_behind=lambda host: StepError("left"))
        assert [record.outcome for record in r.summary.records] == [CHANGED]

    def test_the_second_one_leaves_at_once(self, capsys: pytest.CaptureFixture[str]) -> None:
        r = begun("a")
        interrupted(r)
        with pytest.raises(Left):
            r.interrupt.handle(signal.SIGINT)
        assert r.interrupt.status == 130
        assert "left; what has begun on a node finishes there by itself" in capsys.readouterr().err


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> invoke.Context:
    """Of a project with a hosts.toml; the hosts of these tests are not in it."""
    path = tmp_path / "hosts.toml"
    path.write_text('nodes = ["node-1"]\napiservers = ["10.0.0.1"]\n[ssh]\nconfig = ""\n')
    monkeypatch.setenv("KUBE_NGINX_HOSTS", str(path))
    return invoke.Context()


def over(*names: str) -> Callable[[], Sequence[Any]]:
    return lambda: [Host(name) for name in names]


class TestSignal:
    """The same, with the signal itself."""

    @pytest.mark.parametrize("before", [0, 1])
    def test_while_locks_are_let_go_of(
        self, context: invoke.Context, monkeypatch: pytest.MonkeyPatch, before: int
    ) -> None:
        monkeypatch.setattr(Locks, "close", lambda self: signal.raise_signal(signal.SIGTERM))

        def work(host: Host) -> StepResult[object]:
            for _ in range(before):
                os.kill(os.getpid(), signal.SIGINT)
                eventually(lambda: r.interrupt.came)
            return OK

        with pytest.raises(invoke.Exit) as caught, run(context, "stop", hosts=over("a")) as r:
            r.step("stop", work, finish=True)
        assert caught.value.code == 143

    def test_a_step_that_finishes(self, context: invoke.Context, capfd: pytest.CaptureFixture[str]) -> None:
        before = signal.getsignal(signal.SIGINT)

        def work(host: Host) -> StepResult[object]:
            os.kill(os.getpid(), signal.SIGINT)
            eventually(lambda: r.interrupt.came)
            return StepResult(State.CHANGED, result="restarted")

        with pytest.raises(invoke.Exit) as caught, run(context, "restart", hosts=over("a")) as r:
            r.step("restart", work, finish=True)
        assert (caught.value.code, caught.value.message) == (130, "interrupted")
        assert signal.getsignal(signal.SIGINT) is before
        assert "restart: 1 restarted\n" in capfd.readouterr().out

    def test_a_step_that_need_not_finish(self, context: invoke.Context) -> None:
        before, over_again = signal.getsignal(signal.SIGINT), threading.Event()

        def work(host: Host) -> StepResult[object]:
            os.kill(os.getpid(), signal.SIGINT)
            over_again.wait(20)
            return OK

        def both() -> None:
            with run(context, "stage", hosts=over("a", "b")) as r:
                r.step("one", lambda host: OK)
                r.step("two", work)
                pytest.fail("it goes on")

        with pytest.raises(invoke.Exit) as caught:
            both()
        over_again.set()
        assert caught.value.code == 130
        assert (caught.value.message or "").splitlines()[-2:] == [
            "not started: a, b: interrupted",
            "retry: fab stage",
        ]
        assert signal.getsignal(signal.SIGINT) is before

    def test_what_had_not_begun_is_told_where_others_finish(self, context: invoke.Context) -> None:
        """Of two that wait for their locks when Ctrl-C comes, none begins."""
        begun_on: list[str] = []

        def work(host: Host) -> StepResult[object]:
            if host.label == "a":
                os.kill(os.getpid(), signal.SIGINT)
                eventually(lambda: r.interrupt.came)
                return CHANGED
            eventually(lambda: r.interrupt.came)
            r.interrupt.check()
            begun_on.append(host.label)
            return CHANGED

        with pytest.raises(invoke.Exit) as caught, run(context, "stop", hosts=over("a", "b", "c")) as r:
            r.step("stop", work, finish=True)
        assert caught.value.code == 130
        assert (caught.value.message or "").splitlines()[-2:] == [
            "not started: b, c: interrupted",
            "retry: fab stop",
        ]
        assert begun_on == []

    def test_what_is_quiet_ends_quietly(
        self, context: invoke.Context, capfd: pytest.CaptureFixture[str]
    ) -> None:
        def interrupted(host: Host) -> StepResult[object]:
            os.kill(os.getpid(), signal.SIGINT)
            return StepResult(State.OK if threading.Event().wait(20) else State.FAILED)

        with pytest.raises(invoke.Exit) as caught, run(context, "logs", quiet=True, hosts=over("a")) as r:
            r.step("logs", interrupted)
        assert (caught.value.code, caught.value.message) == (130, "")
        assert capfd.readouterr() == ("", "")

    def test_only_the_main_thread_listens(self, context: invoke.Context) -> None:
        done: list[str] = []

        def elsewhere() -> None:
            with run(context, "status", hosts=over("a")) as r:
                r.step("one", doing(lambda host: done.append(host.label)))

        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        assert done == ["a"]


class TestRecap:
    """What became of the hosts, and what to do next."""

    def test_all_well(self, capsys: pytest.CaptureFixture[str]) -> None:
        r = begun("a")
        r.step("one", lambda host: OK)
        opening.finish(r, quiet=False)
        assert capsys.readouterr() == ("", "")

    def test_the_counts(self, capsys: pytest.CaptureFixture[str]) -> None:
        r = begun("a", "b", "c", "d", "e", "f", parallel=1)
        r.step("survey", lambda host: StepResult(State.OK, result="unchanged" if host.label == "a" else None))
        results = {"b": "reloaded", "c": "reloaded", "d": "rolled back"}

        def activate(host: Host) -> StepResult[object]:
            if host.label == "e":
                raise StepError("the connection broke")
            state = State.FAILED if host.label == "d" else State.CHANGED
            return StepResult(state, result=results[host.label], error=StepError("no"))

        r.step("activate", activate, list(r.fleet)[1:5])
        r.summary.not_started, r.summary.why_not = ["f"], "2 failed, and max_failures is 1"
        code, lines = ended(r)
        assert capsys.readouterr().out == (
            "deploy: 1 unchanged, 2 reloaded, 1 rolled back, 1 failed, 1 not started\n"
        )
        assert code == 1
        assert lines[-2:] == [
            "not started: f: 2 failed, and max_failures is 1",
            "retry: fab deploy --limit d,e,f",
        ]

    def test_a_failure(self) -> None:
        r = begun("a", "b", "c")
        r.step("one", failing("c", "a"))
        assert ended(r) == (
            1,
            [
                "deploy: 2 of 3 failed",
                "a, c: one: no",
                "  hint: try --limit a,c",
                "retry: fab deploy --limit a,c",
            ],
        )

    @pytest.mark.parametrize(("unreachable", "told"), [(True, True), (False, False)])
    def test_the_hint_for_hosts_that_do_not_answer(self, unreachable: bool, told: bool) -> None:
        def work(host: Host) -> StepResult[object]:
            raise StepError("no", unreachable=unreachable)

        r = begun("a", hint="is the lab up?")
        r.step("one", work)
        assert ("  hint: is the lab up?" in ended(r)[1]) == told

    def test_interrupted_with_nothing_left(self) -> None:
        r = begun("a")
        r.step("deploy", lambda host: OK)
        interrupted(r)
        assert ended(r) == (130, ["interrupted"])

    def test_interrupted_with_hosts_left(self) -> None:
        r = begun("a", "b")
        interrupted(r)
        r.summary.counts = True
        r.summary.stop(["b"], "interrupted")
        assert ended(r) == (130, ["not started: b: interrupted", "retry: fab deploy --limit b"])

    def test_interrupted_with_hosts_left_in_a_task_without_results(self) -> None:
        r = begun("a", "b")
        interrupted(r)
        r.summary.stop(["b"], "interrupted")
        assert ended(r) == (130, ["not started: b: interrupted", "retry: fab deploy --limit b"])

    def test_the_document_of_a_task_without_results_that_was_interrupted(
        self, capsys: pytest.CaptureFixture[str]
    ) -> None:
        r = begun("a", "b", as_json=True)
        r.step("one", lambda host: OK, list(r.fleet)[:1])
        interrupted(r)
        r.summary.stop(["b"], "interrupted")
        ended(r)
        document = json.loads(capsys.readouterr().out)
        assert (document["ok"], [node["ok"] for node in document["nodes"]]) == (False, [True, False])

    def test_interrupted_and_failed(self) -> None:
        r = begun("a", "b")
        r.step("one", failing("a"))
        interrupted(r)
        assert ended(r)[0] == 130

    def test_names_are_quoted_for_a_shell(self) -> None:
        r = begun("fe80::1%eth0", "it's")
        r.step("one", failing("it's", "fe80::1%eth0"))
        assert ended(r)[1][-1] == "retry: fab deploy --limit 'fe80::1%eth0,it'\"'\"'s'"

    def test_the_document(self, capsys: pytest.CaptureFixture[str]) -> None:
        r = begun("a", "b", "c", as_json=True)
        r.step("one", failing("b"), list(r.fleet)[:2])
        r.summary.counts, r.summary.not_started, r.summary.why_not = True, ["c"], "why"
        code, _ = ended(r)
        document = json.loads(capsys.readouterr().out)
        assert (code, document["ok"]) == (1, False)
        assert [(node["node"], node["ok"]) for node in document["nodes"]] == [
            ("a", True),
            ("b", False),
            ("c", False),
        ]
        assert [node.get("result") for node in document["nodes"]] == [None, "failed", "not started"]

    def test_a_failure_outweighs_what_was_said_before_it(self, capsys: pytest.CaptureFixture[str]) -> None:
        r = begun("a", "b", as_json=True)
        r.step("survey", lambda host: StepResult(State.OK, result="to be reloaded"))
        r.step("activate", failing("b"))
        assert ended(r)[1][0] == "b: activate: no"  # no second line that counts
        results = [(node["result"], node["ok"]) for node in json.loads(capsys.readouterr().out)["nodes"]]
        assert results == [("to be reloaded", True), ("failed", False)]

    def test_what_is_rolled_back_is_told_when_it_stops(self, capsys: pytest.CaptureFixture[str]) -> None:
        r = begun("a", "b", "c", "d", parallel=1)
        results = {"a": "rolled back", "b": "rolled back", "c": "restored"}

        def work(host: Host) -> StepResult[object]:
            result = results[host.label]
            error = StepError("no") if result == "restored" else None
            return StepResult(State.FAILED if error else State.CHANGED, result=result, error=error)

        r.step("rollback", work, list(r.fleet)[:3])
        r.summary.not_started, r.summary.why_not = ["d"], "1 failed, and max_failures is 0"
        assert ended(r)[1] == [
            "c: rollback: no",
            "rolled back: a, b",
            "not started: d: 1 failed, and max_failures is 0",
            "retry: fab deploy --limit c,d",
        ]
        assert "deploy: 2 rolled back, 1 restored, 1 not started\n" in capsys.readouterr().out


class TestOpening:
    """What a task gets, and what becomes of its errors."""

    def test_a_task_of_a_chain_joins_its_run(self, context: invoke.Context) -> None:
        with run(context, "outer", hosts=over("a")) as outer, run(context, "inner") as inner:
            assert inner is outer

    def test_a_usage_error_is_an_exit_status(self, context: invoke.Context) -> None:
        with pytest.raises(invoke.Exit) as caught, run(context, "x", hosts=over("a")):
            raise UsageError("--wait x: no")
        assert (caught.value.code, caught.value.message) == (2, "--wait x: no")

    def test_and_a_document(self, context: invoke.Context, capsys: pytest.CaptureFixture[str]) -> None:
        with pytest.raises(invoke.Exit), run(context, "x", json=True, hosts=over("a")):
            raise UsageError("no")
        assert json.loads(capsys.readouterr().out)["error"] == "no"

    @pytest.mark.parametrize(
        ("flags", "line"),
        [
            ({}, "fab x"),
            ({"force": False, "canary": None}, "fab x"),
            ({"batch": "25%", "wait": 60, "force": True}, "fab x --batch 25% --wait 60 --force"),
            ({"canary": "0"}, "fab x --canary 0"),
            ({"only": "it's"}, "fab x --only 'it'\"'\"'s'"),
        ],
    )
    def test_the_flags_of_the_line_that_repeats_it(
        self, context: invoke.Context, flags: dict[str, Any], line: str
    ) -> None:
        with pytest.raises(invoke.Exit) as caught, run(context, "x", hosts=over("a"), **flags) as r:
            r.step("one", failing("a"))
        assert (caught.value.message or "").splitlines()[-1] == f"retry: {line}"

    def test_dry_is_refused(self) -> None:
        context = invoke.Context(invoke.Config(overrides={"run": {"dry": True}}))
        with pytest.raises(invoke.Exit, match="--dry would still connect"), run(context, "x"):
            pytest.fail("it began")


class Held:
    """A lock that a node holds for us."""

    def __init__(self, wait: int = 0) -> None:
        self.beaten, self.closed, self.wait = threading.Event(), 0, wait

    def beat(self) -> None:
        self.beaten.set()

    def release(self, patience: float) -> None:
        self.closed += 1


class TestLocks:
    """Nobody else works on a node that we work on."""

    @pytest.fixture
    def held(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Held]:
        """What `acquire` gave, by host."""
        given: dict[str, Held] = {}

        def acquire(node: Host, me: str, wait: int, *_: object) -> Piped:
            assert node.label not in given
            given[node.label] = Held()
            return cast(Piped, given[node.label])

        monkeypatch.setattr(locks, "acquire", acquire)
        return given

    def test_once_a_node_until_it_is_unlocked(self, held: dict[str, Held]) -> None:
        r = begun("a", "b")
        for host in r.fleet:
            r.lock(host)
            r.lock(host)
        first = next(iter(r.fleet))
        r.locks.release(first)
        r.locks.release(first)
        assert (held["a"].closed, held["b"].closed) == (1, 0)
        r.locks.close()
        r.locks.close()
        assert (held["a"].closed, held["b"].closed) == (1, 1)

    def test_they_beat_until_the_end(self, held: dict[str, Held], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(locks, "_BEAT", 0.001)
        before = threading.enumerate()
        r = begun("a", "b")
        for host in r.fleet:
            r.lock(host)
        assert all(one.beaten.wait(20) for one in held.values())
        (heart,) = [one for one in threading.enumerate() if one not in before and "_beat" in one.name]
        r.locks.close()
        heart.join(20)
        assert not heart.is_alive()

    def test_they_end_with_the_run_however_that_ends(
        self, held: dict[str, Held], context: invoke.Context
    ) -> None:
        def locked() -> None:
            with run(context, "x", hosts=over("a", "b")) as r:
                r.step("lock", doing(r.lock))
                assert [one.closed for one in held.values()] == [0, 0]
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            locked()
        assert [one.closed for one in held.values()] == [1, 1]

    def test_many_at_once_have_one_heart(
        self, held: dict[str, Held], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hearts: list[locks.Heartbeat] = []

        class Heartbeat(locks.Heartbeat):
            def __init__(self, locks: Any) -> None:
                hearts.append(self)
                sleep(0.05)  # time for the others to make one too, if they can
                super().__init__(locks)

        monkeypatch.setattr(locks, "Heartbeat", Heartbeat)
        r = begun(*"abcdefgh")
        r.step("lock", doing(r.lock))
        r.locks.close()
        for heart in hearts:
            heart.stop()
        assert len(hearts) == 1
