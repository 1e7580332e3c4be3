"""What people and programs read."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from tasks.core.console import report, screen
from tasks.core.console.summary import Record
from tasks.core.errors import StepError, last_lines
from tasks.core.results import State, StepResult

BAD = StepError(
    "ended with status 1",
    command="systemctl restart kube-nginx.service\nmore",
    status=1,
    tail="bind() to 127.0.0.1:8443 failed",
    hint="see why: fab logs",
)
RECORDS = [
    Record("a", "conf", StepResult(State.CHANGED, "/x/conf", {"k": 1}), 0.12),
    Record("b", "conf", StepResult(State.OK, "/x/conf"), 0.2),
    Record("a", "restart", StepResult(State.CHANGED), 0.3),
    Record("b", "restart", StepResult(State.FAILED, BAD.message, error=BAD), 0.4),
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


@pytest.mark.parametrize(
    ("done", "mark", "counts"),
    [
        ([], "!", "2 not done"),
        (RECORDS[:1], "!", "1 changed, 1 not done"),
        (RECORDS[3:], "✘", "1 failed, 1 not done"),
    ],
)
def test_a_step_that_was_not_done_has_no_green_tick(done: list[Record], mark: str, counts: str) -> None:
    stream, console = text_of(160, terminal=True)
    reporter = report.Live(console)
    reporter.step_begins("conf", ["a", "b"])
    for record in done:
        reporter.done(record)
    reporter.step_ends()
    shown = Console(file=StringIO(), width=160).render_str(stream.getvalue()).plain
    assert "✔" not in shown
    assert mark in shown
    assert counts in shown


@pytest.mark.parametrize(
    ("details", "line"),
    [
        ([], ""),
        (["unchanged"] * 3, "unchanged"),
        (["unchanged", "reload: the configuration differs", "unchanged"], "a, c unchanged; b reload"),
        (["unchanged", "reload: x", "unchanged", "unchanged"], "3 unchanged; b reload"),
        (["a", "b", "c", "d", "e"], ""),
    ],
)
def test_what_the_hosts_of_a_step_have_in_common(details: list[str], line: str) -> None:
    assert report._in_common(dict(zip("abcde", details, strict=False))) == line


def test_a_table_in_a_pipe_has_no_lines_and_no_trailing_blanks() -> None:
    stream, console = text_of(10, terminal=False)
    report.table(console, ("NODE", "STATE"), [("long-name", "x"), ("b", "[y]")])
    assert stream.getvalue() == "NODE       STATE\nlong-name  x\nb          [y]\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_shows_heads_and_cells_as_they_are(terminal: bool) -> None:
    stream = StringIO()
    console = Console(file=stream, width=80, force_terminal=terminal, color_system=None)
    address = "fd00:a:b::1"
    report.table(console, ("NODE", f"[{address}]:6443"), [(address, "[b]x[/]"), ("n", Text("[y]", "red"))])
    head, *rows = (line.split() for line in stream.getvalue().splitlines())
    assert head == ["NODE", f"[{address}]:6443"]
    assert rows == [[address, "[b]x[/]"], ["n", "[y]"]]


def test_a_table_on_a_terminal_has_the_colours_of_its_cells() -> None:
    stream, console = text_of(80, terminal=True)
    report.table(console, ("NODE",), [(Text("bad", "red"),)])
    assert "\x1b[31mbad" in stream.getvalue()


def test_addresses_are_no_emojis(capsys: pytest.CaptureFixture[str]) -> None:
    screen.console_for(as_json=False).print("[red]fd00:a:b::1[/]", "fd00:b:1")
    report.Plain(screen.console_for(as_json=True))._print("fd00:a:b::1")
    assert capsys.readouterr() == ("fd00:a:b::1 fd00:b:1\n", "fd00:a:b::1\n")


def test_nor_are_they_in_the_bar() -> None:
    stream, console = text_of(120, terminal=True)
    live = report.Live(console)
    live.step_begins("check", ["[fd00:a:b::1]"])
    live.progress("fd00:a:b::2", "[bold]half[/]", 1, 2)
    live.done(Record("[fd00:a:b::1]", "check", StepResult(State.OK), 0.1))
    live.step_ends()
    assert "[fd00:a:b::1]" in stream.getvalue()
    assert "fd00:a:b::2: [bold]half[/]" in stream.getvalue()


def test_last_lines_skips_blank_ones() -> None:
    assert last_lines("a\n\nb\n \nc\n", 2) == "b\nc"


def test_no_bar_is_on_the_screen_while_something_is_asked() -> None:
    stream, console = text_of(80, terminal=True)
    hidden, shown = "\x1b[?25l", "\x1b[?25h"  # the cursor, which a bar hides
    live = report.Live(console)
    live.step_begins("login", ["a"])
    with live.paused():
        assert stream.getvalue().rfind(shown) > stream.getvalue().rfind(hidden)
        before = stream.getvalue()
        live.progress("a", "half", 1, 2)
        assert stream.getvalue() == before
    assert stream.getvalue().rfind(hidden) > stream.getvalue().rfind(shown)
    with live.paused():
        live.step_ends()
    assert stream.getvalue().rfind(shown) > stream.getvalue().rfind(hidden)
    with live.paused():
        pass
