"""What is told at the end, to people and to programs."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from tasks.core.console import summary as summaries
from tasks.core.console.summary import Record, Summary
from tasks.core.errors import StepError
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
