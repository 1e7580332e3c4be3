"""--json=lines: each node as it ends, whatever becomes of it, and then what became of them all."""

from __future__ import annotations

import inspect
import json
import os
import signal
from collections.abc import Sequence
from datetime import datetime
from threading import Event
from typing import Any

import invoke
import pytest

from tasks import ns
from tasks.core.console.summary import Record, Summary
from tasks.core.errors import StepError
from tasks.core.results import Result, State, StepResult
from tasks.core.run.lines import Lines
from tasks.core.run.opening import run
from tests.test_run import Host, begun, context, eventually, failing, over

__all__ = ["context"]


def told(out: str) -> list[dict[str, Any]]:
    """What each line says."""
    return [json.loads(line) for line in out.splitlines()]


def test_a_node_is_told_when_it_ends() -> None:
    r, lines = begun("a", "b", "c"), list[str]()
    r.summary.task = "status"
    r.lines = Lines(r.summary, lines.append)
    order = {"a": 1, "b": 2, "c": 0}  # how many are told before it ends

    def work(host: Host) -> StepResult[object]:
        eventually(lambda: len(lines) == order[host.label])
        return StepResult(State.OK, value={"version": host.label})

    r.step("status", work)
    r.lines.end()
    *nodes, last = told("\n".join(lines))
    assert [(node["node"], node["status"], node["version"]) for node in nodes] == [
        ("c", "ok", "c"),
        ("a", "ok", "a"),
        ("b", "ok", "b"),
    ]
    assert (last["task"], last["ok"], last["counts"]) == ("status", True, {"ok": 3})


def step(host: str, name: str, state: State = State.OK, result: Result | None = None) -> Record:
    error = StepError("no", hint="fab logs --limit {nodes}") if state == State.FAILED else None
    return Record(host, name, StepResult(state, name, {name: 1}, error, result), 0.1, address=f"{host}:22")


RECORDS = [
    step("same", "survey", result=Result.UNCHANGED),
    step("odd", "survey", State.FAILED),
    step("new", "survey"),
    step("bad", "survey"),
    step("new", "activate", State.CHANGED, Result.RELOADED),
    step("bad", "activate", State.FAILED, Result.ROLLED_BACK),
]


def test_what_is_told_is_what_the_document_says() -> None:
    summary, lines = Summary("deploy", ["new", "bad", "late", "odd", "same"], "", counts=True), list[str]()
    this = Lines(summary, lines.append)
    for record in RECORDS:
        summary.records.append(record)
        this.note(record)
    assert [line["node"] for line in told("\n".join(lines))] == ["same", "odd", "new", "bad"]
    summary.stop(["late"], "1 failed, and max_failures is 0")
    this.end()
    *nodes, last = told("\n".join(lines))
    status = {node["node"]: node.pop("status") for node in nodes}
    assert status == {
        "same": "ok",
        "odd": "failed",
        "new": "changed",
        "bad": "failed",
        "late": "not started",
    }
    document = json.loads(summary.document())
    assert sorted(nodes, key=lambda node: str(node["node"])) == sorted(
        document.pop("nodes"), key=lambda node: str(node["node"])
    )
    counts = {"ok": 1, "failed": 2, "changed": 1, "not started": 1}
    assert last == {**document, "counts": counts}


def test_the_summary_has_what_was_found_on_all_together() -> None:
    summary, lines = Summary("connections", [], "", total={"total": 7}), list[str]()
    Lines(summary, lines.append).end()
    assert told(lines[0]) == [{"task": "connections", "ok": True, "total": 7, "counts": {}}]


def test_a_node_that_fails_is_told_and_so_is_what_no_step_was_the_last_of(
    context: invoke.Context, capfd: pytest.CaptureFixture[str]
) -> None:
    def build() -> None:
        with run(context, "build", json="lines", hosts=over("a", "b")) as r:
            r.step("download", failing("a"))
            r.step("verify", failing())

    with pytest.raises(invoke.Exit):
        build()
    a, b, last = told(capfd.readouterr().out)
    assert (a["node"], a["status"], a["error"]["message"]) == ("a", "failed", "no")
    assert (b["node"], b["status"], [each["step"] for each in b["steps"]]) == (
        "b",
        "ok",
        ["download", "verify"],
    )
    assert datetime.fromisoformat(last.pop("began")).tzinfo
    assert last == {"task": "build", "ok": False, "retry": "fab {task}", "counts": {"failed": 1, "ok": 1}}


def test_after_ctrl_c_it_is_whole(context: invoke.Context, capfd: pytest.CaptureFixture[str]) -> None:
    never = Event()

    def work(host: Host) -> StepResult[object]:
        if host.label == "b":
            eventually(lambda: bool(r.summary.records))
            os.kill(os.getpid(), signal.SIGINT)
            never.wait(20)
        return StepResult(State.OK)

    with (
        pytest.raises(invoke.Exit) as caught,
        run(context, "status", json="lines", hosts=over("a", "b")) as r,
    ):
        r.step("status", work)
    never.set()
    assert caught.value.code == 130
    a, b, last = told(capfd.readouterr().out)
    assert (a["node"], a["status"], a["ok"]) == ("a", "ok", True)
    assert (b["node"], b["status"], b["ok"], b["result"]) == ("b", "not started", False, "not started")
    counts = {"ok": 1, "not started": 1}
    assert (last["ok"], last["stopped"], last["counts"]) == (False, "interrupted", counts)


def test_a_host_that_failed_after_a_change_is_failed() -> None:
    summary, lines = Summary("build", ["local"], ""), list[str]()
    this = Lines(summary, lines.append)
    for record in (step("local", "download", State.CHANGED), step("local", "configure", State.FAILED)):
        summary.records.append(record)
        this.note(record)
    this.end()
    node, last = told("\n".join(lines))
    assert (node["status"], node["ok"], node["changed"]) == ("failed", False, True)
    assert last["counts"] == {"failed": 1}


@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.parametrize("form", [None, True, "lines"])
def test_ctrl_c_before_the_first_step_is_told(
    form: bool | str | None,
    number: signal.Signals,
    status: int,
    context: invoke.Context,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def hosts() -> Sequence[Any]:
        signal.raise_signal(number)
        return over("a")()

    with pytest.raises(invoke.Exit) as caught, run(context, "status", json=form, hosts=hosts):
        pass
    assert (caught.value.code, caught.value.message) == (status, "interrupted")
    out = capfd.readouterr().out
    assert out.count("\n") == (1 if form == "lines" else 6 if form else 0)
    if form:
        assert json.loads(out) == {"task": "status", "ok": False, "nodes": [], "error": "interrupted"}


@pytest.mark.parametrize("form", [None, False, True, "lines"])
def test_from_python_it_is_a_document_lines_or_neither(
    form: bool | str | None, context: invoke.Context, capfd: pytest.CaptureFixture[str]
) -> None:
    with run(context, "status", json=form, hosts=over("a")) as r:
        r.step("status", failing())
    out = capfd.readouterr().out
    assert out.count("\n") == (2 if form == "lines" else 22 if form else 1)
    assert ("status a ok" in out) == (not form)


def test_another_form_is_refused(context: invoke.Context, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(invoke.Exit) as caught, run(context, "status", json="yaml", hosts=over("a")):
        pytest.fail("it begins")
    assert caught.value.code == 2
    assert json.loads(capfd.readouterr().out)["error"].startswith("--json=yaml: ")


def test_every_task_that_goes_to_hosts_and_has_json_has_lines() -> None:
    flags = {name: inspect.signature(task.body).parameters for name, task in ns.tasks.items()}
    those = {name for name, parameters in flags.items() if "json" in parameters} - {"recap"}
    assert those == {*ns.tasks} - {"init", "render", "logs", "recap"}
    assert {name for name, task in ns.tasks.items() if "json" in task.optional} == those
    assert {flags[name]["json"].default for name in those} == {None}
