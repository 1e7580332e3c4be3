"""What is told at the end, to people and to programs."""

from __future__ import annotations

import json
import tempfile
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from tasks.core.console import summary as summaries
from tasks.core.console.summary import Record, Summary
from tasks.core.errors import StepError
from tasks.core.localfiles import words_of
from tasks.core.results import State, StepResult
from tasks.core.rollout.diff import NodePlan, show
from tasks.core.rollout.plan import Action
from tests.test_report import BAD, RECORDS


def test_the_json_document() -> None:
    document = json.loads(Summary("deploy", ["a", "b", "c"], "", records=RECORDS).document())
    assert document["ok"] is False
    a, b, c = document["nodes"]
    assert (a["ok"], a["changed"], a["k"], a["error"]) == (True, True, 1, None)
    assert (b["ok"], b["changed"]) == (False, False)
    assert b["error"] == {
        "step": "restart",
        "message": "ended with status 1",
        "command": BAD.command,
        "status": 1,
        "tail": ["bind() to 127.0.0.1:8443 failed"],
        "hint": "see why: fab logs",
    }
    assert c["steps"] == []


def test_a_failure_is_told_once_for_all_hosts_that_have_it() -> None:
    same = [Record(host, "restart", StepResult(State.FAILED, BAD.message, error=BAD), 1) for host in "xyz"]
    other = Record("w", "restart", StepResult(State.FAILED, "no", error=StepError("no")), 1)
    assert summaries.grouped([*same, other], {}) == [
        "x, y, z: restart: ended with status 1\n"
        "  command: systemctl restart kube-nginx.service ...\n"
        "  | bind() to 127.0.0.1:8443 failed\n"
        "  hint: see why: fab logs",
        "w: restart: no",
    ]


FLEET = [f"worker-{number:04}" for number in range(1000)]


def failures(count: int, retry: str = "fab {task} --limit {names}") -> list[str]:
    """The lines on so many nodes that cannot be connected to, each at its own address."""
    records = []
    for number, host in enumerate(FLEET[:count]):
        error = StepError(
            f"cannot connect to 10.0.0.{number}:22: No route to host", hint="fab logs --limit {nodes}"
        )
        result: StepResult[None] = StepResult(State.FAILED, error.message, error=error)
        records.append(Record(host, "status", result, 1, address=f"10.0.0.{number}:22"))
    return [*Summary("status", FLEET, retry, records=records).failures()]


def test_failures_of_many_hosts_are_one_with_five_names() -> None:
    _, told, retry = failures(17)
    names = "worker-0000, worker-0001, worker-0002, worker-0003, worker-0004"
    first, hint = told.splitlines()
    assert first == f"status: cannot connect to ...: No route to host: 17 nodes: {names} and 12 more"
    assert hint == f"  hint: fab logs --limit {','.join(FLEET[:17])}"
    assert retry == f"retry: fab status --limit {','.join(FLEET[:17])}"


def test_a_hint_that_each_host_has_for_itself_is_told_whole_for_the_first() -> None:
    records = []
    for host, hint in [(host, f"fab logs --limit {{nodes}}; ssh-keyscan {host} >> k") for host in FLEET[:7]]:
        result: StepResult[None] = StepResult(State.FAILED, "no", error=StepError("no", hint=hint))
        records.append(Record(host, "status", result, 1))
    (text,) = summaries.grouped(records, {FLEET[0]: "root@first"})
    assert text.splitlines()[1] == (
        "  hint: such as, for worker-0000: fab logs --limit root@first; ssh-keyscan worker-0000 >> k"
    )


def test_more_than_fifty_names_are_in_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    _, told, retry = failures(51)
    (file,) = tmp_path.iterdir()
    assert retry == f"retry: fab status --limit @{file}"
    assert told.splitlines()[1] == f"  hint: fab logs --limit @{file}"
    assert words_of(f"@{file}") == ",".join(FLEET[:51])
    assert file.stat().st_mode & 0o777 == 0o600


def test_where_there_is_no_room_for_a_file_they_are_on_the_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/proc/nowhere")
    assert failures(52)[-1] == f"retry: fab status --limit {','.join(FLEET[:52])}"


def test_after_h_they_are_on_the_line() -> None:
    assert failures(53, "fab -H {names} {task}")[-1] == f"retry: fab -H {','.join(FLEET[:53])} status"


def test_hosts_that_are_left_are_counted() -> None:
    summary = Summary("deploy", FLEET, "fab {task} --limit {names}", records=RECORDS[:0])
    summary.stop(FLEET[10:40], "interrupted")
    names = "worker-0010, worker-0011, worker-0012, worker-0013, worker-0014"
    assert f"not started: 30 nodes: {names} and 25 more: interrupted" in [*summary.failures()]


def test_a_host_whose_turn_never_came_is_not_ok() -> None:
    document = json.loads(
        Summary("deploy", ["a", "z"], "", records=RECORDS[:1], not_started=["z"]).document()
    )
    assert document["ok"] is False
    assert [(node["ok"], node.get("result")) for node in document["nodes"]] == [
        (True, None),
        (False, "not started"),
    ]


@pytest.mark.parametrize(
    ("result", "state", "changed"),
    [
        ("rolled back", "changed", True),
        ("reloaded", "changed", True),
        ("rolled back", "failed", False),
        ("restored", "failed", False),
        ("unchanged", "ok", False),
        ("to be reloaded", "ok", False),
        ("failed", "failed", False),
    ],
)
def test_a_result_says_whether_a_host_is_changed(result: str, state: str, changed: bool) -> None:
    records = [
        Record("a", "stage", StepResult(State.CHANGED), 1),
        Record("a", "x", StepResult(State(state), result=result), 1),
    ]
    (node,) = json.loads(Summary("deploy", ["a"], "", records=records).document())["nodes"]
    assert (node["changed"], node["result"]) == (changed, result)


def plan(name: str = "kube-nginx.conf", edited: tuple[str, ...] = ()) -> NodePlan:
    diff = f"--- {name}\n+++ {name}\n@@ -1 +1 @@\n-old [b]\n+new [b]\n"
    return NodePlan(Action.RELOAD, ("the configuration differs",), "r", edited, {name: diff})


def shown(plans: dict[str, NodePlan], terminal: bool) -> str:
    stream = StringIO()
    console = Console(
        file=stream, width=20, force_terminal=terminal, color_system="standard" if terminal else None
    )
    show(console, plans)
    return stream.getvalue()


def test_plans_that_are_alike_are_shown_once() -> None:
    assert shown({"a": plan(), "b": plan(), "c": plan("unit", ("unit",))}, terminal=False) == (
        "\na, b: reload: the configuration differs\n"
        "--- kube-nginx.conf\n+++ kube-nginx.conf\n@@ -1 +1 @@\n-old [b]\n+new [b]\n"
        "\nc: reload: the configuration differs\n"
        "unit was edited on the node; deploy keeps a copy of it there\n"
        "--- unit\n+++ unit\n@@ -1 +1 @@\n-old [b]\n+new [b]\n"
    )


def test_of_many_nodes_with_a_plan_five_are_named() -> None:
    first = shown({node: plan() for node in "abcdefg"}, terminal=False).splitlines()[1]
    assert first == "reload: the configuration differs: 7 nodes: a, b, c, d, e and 2 more"


def test_drop_ins_are_told() -> None:
    data = replace(plan(), diffs={}, drop_ins=("/etc/x.conf", "/run/y.conf"))
    assert shown({"a": data}, terminal=False) == (
        "\na: reload: the configuration differs\n"
        "/etc/x.conf changes the unit, and is not deploy's\n"
        "/run/y.conf changes the unit, and is not deploy's\n"
    )


def test_diffs_are_coloured_on_a_terminal() -> None:
    text = shown({"a": plan()}, terminal=True)
    assert "\x1b[31m-old [b]\x1b[0m\n" in text
    assert "\x1b[32m+new [b]\x1b[0m\n" in text


def test_the_document_of_a_shard_says_which_and_why_it_stopped() -> None:
    summary = Summary("deploy", ["a", "z"], "", records=RECORDS[:1], shard="2/4")
    summary.stop(["z"], "1 failed, and max_failures is 0")
    document = json.loads(summary.document())
    assert (document["shard"], document["stopped"]) == ("2/4", "1 failed, and max_failures is 0")
