"""What is told at the end, to people and to programs."""

from __future__ import annotations

import json
from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from tasks.core.console import recap
from tasks.core.console.report import Record
from tasks.core.errors import StepError
from tasks.core.results import StepResult
from tests.test_report import BAD, RECORDS


def test_the_json_document() -> None:
    document = json.loads(recap.document("deploy", RECORDS, ["a", "b", "c"]))
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
    same = [Record(host, "restart", StepResult("failed", BAD.message, error=BAD), 1) for host in "xyz"]
    other = Record("w", "restart", StepResult("failed", "no", error=StepError("no")), 1)
    assert recap.grouped([*same, other]) == [
        "x, y, z: restart: ended with status 1\n"
        "  command: systemctl restart kube-nginx.service ...\n"
        "  | bind() to 127.0.0.1:8443 failed\n"
        "  to do: see why: fab logs",
        "w: restart: no",
    ]


def test_a_host_whose_turn_never_came_is_not_ok() -> None:
    document = json.loads(recap.document("deploy", RECORDS[:1], ["a", "z"], {"z": "not begun"}))
    assert document["ok"] is False
    assert [(node["ok"], node.get("result")) for node in document["nodes"]] == [
        (True, None),
        (False, "not begun"),
    ]


@pytest.mark.parametrize(
    ("result", "changed"),
    [
        ("went back", True),
        ("reloaded", True),
        ("rolled back", False),
        ("unchanged", False),
        ("to be reloaded", False),
        ("failed", False),
        ("not begun", False),
    ],
)
def test_a_result_says_whether_a_host_is_changed(result: str, changed: bool) -> None:
    staged = Record("a", "stage", StepResult("changed"), 1)
    (node,) = json.loads(recap.document("deploy", [staged], ["a"], {"a": result}))["nodes"]
    assert (node["changed"], node["result"]) == (changed, result)


def plan(name: str = "kube-nginx.conf", edited: tuple[str, ...] = ()) -> dict[str, Any]:
    why = ["the configuration differs"]
    diff = f"--- {name}\n+++ {name}\n@@ -1 +1 @@\n-old [b]\n+new [b]\n"
    return {"action": "reload", "why": why, "edited": list(edited), "diffs": {name: diff}}


def shown(plans: dict[str, dict[str, Any]], terminal: bool) -> str:
    stream = StringIO()
    console = Console(
        file=stream, width=20, force_terminal=terminal, color_system="standard" if terminal else None
    )
    recap.show_plans(console, plans)
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
    data = {**plan(), "diffs": {}, "drop_ins": ["/etc/x.conf", "/run/y.conf"]}
    assert shown({"a": data}, terminal=False) == (
        "\na: reload: the configuration differs\n"
        "/etc/x.conf changes the unit, and is not deploy's\n"
        "/run/y.conf changes the unit, and is not deploy's\n"
    )


def test_diffs_are_coloured_on_a_terminal() -> None:
    text = shown({"a": plan()}, terminal=True)
    assert "\x1b[31m-old [b]\x1b[0m\n" in text
    assert "\x1b[32m+new [b]\x1b[0m\n" in text
