"""What people and programs read."""

from __future__ import annotations

import json
from io import StringIO

from rich.console import Console

from tasks.core import report
from tasks.core.errors import StepError, last_lines
from tasks.core.report import Outcome, Record

BAD = StepError(
    "ended with status 1",
    command="systemctl restart kube-nginx.service\nmore",
    status=1,
    tail="bind() to 127.0.0.1:8443 failed",
    hint="see why: fab logs",
)
RECORDS = [
    Record("a", "conf", Outcome("changed", "/x/conf", {"k": 1}), 0.12),
    Record("b", "conf", Outcome("ok", "/x/conf"), 0.2),
    Record("a", "restart", Outcome("changed"), 0.3),
    Record("b", "restart", Outcome("failed", BAD.message, error=BAD), 0.4),
]


def text_of(width: int, terminal: bool) -> tuple[StringIO, Console]:
    stream = StringIO()
    return stream, Console(file=stream, width=width, force_terminal=terminal, color_system="truecolor")


def play(reporter: report.Reporter) -> None:
    for step in ("conf", "restart"):
        reporter.step_begins(step, ["a", "b"])
        reporter.progress("a", "[bold]half[/]", 1, 2)
        for record in RECORDS:
            if record.step == step:
                reporter.done(record)
        reporter.step_ends()


def test_a_pipe_gets_one_plain_line_a_host_and_step() -> None:
    stream, console = text_of(20, terminal=False)
    play(report.Plain(console))
    assert stream.getvalue().splitlines() == [
        "conf a changed 0.1s /x/conf",
        "conf b ok 0.2s /x/conf",
        "restart a changed 0.3s",
        "restart b failed 0.4s ended with status 1",
    ]


def test_a_terminal_gets_a_line_a_step_that_fits() -> None:
    for width in (80, 160):
        stream, console = text_of(width, terminal=True)
        play(report.Live(console))
        shown = Console(file=StringIO(), width=width).render_str(stream.getvalue())
        assert "1 failed, 1 changed" in shown.plain or "1 changed, 1 failed" in shown.plain
        assert "b: ended with status 1" in shown.plain


def test_the_json_document() -> None:
    document = json.loads(report.document("deploy", RECORDS, ["a", "b", "c"]))
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
    same = [Record(host, "restart", Outcome("failed", BAD.message, error=BAD), 1) for host in "xyz"]
    other = Record("w", "restart", Outcome("failed", "no", error=StepError("no")), 1)
    assert report.grouped([*same, other]) == [
        "x, y, z: restart: ended with status 1\n"
        "  command: systemctl restart kube-nginx.service ...\n"
        "  | bind() to 127.0.0.1:8443 failed\n"
        "  to do: see why: fab logs",
        "w: restart: no",
    ]


def test_a_table_in_a_pipe_has_no_lines_and_no_trailing_blanks() -> None:
    stream, console = text_of(10, terminal=False)
    report.table(console, ("NODE", "STATE"), [("long-name", "x"), ("b", "[y]")])
    assert stream.getvalue() == "NODE       STATE\nlong-name  x\nb          [y]\n"


def test_last_lines_skips_blank_ones() -> None:
    assert last_lines("a\n\nb\n \nc\n", 2) == "b\nc"
