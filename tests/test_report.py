"""What people and programs read."""

from __future__ import annotations

import itertools
import os
import re
from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from tasks.core.console import report, screen
from tasks.core.console.summary import Record
from tasks.core.console.table import table
from tasks.core.console.tally import told_once
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
    assert told_once(dict(zip("abcde", details, strict=False))) == line


def test_a_table_in_a_pipe_has_no_lines_and_no_trailing_blanks() -> None:
    stream, console = text_of(10, terminal=False)
    table(console, ("NODE", "STATE"), [("long-name", "x"), ("b", "[y]")])
    assert stream.getvalue() == "NODE       STATE\nlong-name  x\nb          [y]\n"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_table_shows_heads_and_cells_as_they_are(terminal: bool) -> None:
    stream = StringIO()
    console = Console(file=stream, width=80, force_terminal=terminal, color_system=None)
    address = "fd00:a:b::1"
    table(console, ("NODE", f"[{address}]:6443"), [(address, "[b]x[/]"), ("n", Text("[y]", "red"))])
    head, *rows = (line.split() for line in stream.getvalue().splitlines())
    assert head == ["NODE", f"[{address}]:6443"]
    assert rows == [[address, "[b]x[/]"], ["n", "[y]"]]


def test_a_table_on_a_terminal_has_the_colours_of_its_cells() -> None:
    stream, console = text_of(80, terminal=True)
    table(console, ("NODE",), [(Text("bad", "red"),)])
    assert "\x1b[31mbad" in stream.getvalue()


def test_addresses_are_no_emojis(capsys: pytest.CaptureFixture[str]) -> None:
    screen.console_for(as_json=False).print("[red]fd00:a:b::1[/]", "fd00:b:1")
    report.Plain(screen.console_for(as_json=True))._print("fd00:a:b::1")
    assert capsys.readouterr() == ("fd00:a:b::1 fd00:b:1\n", "fd00:a:b::1\n")


@pytest.mark.parametrize("host", ["[fd00:a:b::1]", "fd00:a:b::2"])
def test_nor_are_they_in_the_bar(host: str) -> None:
    stream, console = text_of(120, terminal=True)
    live = report.Live(console)
    live.step_begins("check", [host])
    live.begins(host)
    live.progress(host, "[bold]half[/]", 1, 2)
    live.step_ends()
    assert f"{host} 0s: [bold]half[/]" in stream.getvalue()


FLEET = [f"worker-{number:04}" for number in range(1000)]


def failed(host: str, message: str = "no route to host") -> Record:
    return Record(host, "status", StepResult(State.FAILED, message, error=StepError(message)), 0.1)


def played_by_many(reporter: report.Reporter, bad: int = 17) -> None:
    """A step of a thousand hosts, the first of which fail, and the last of which ends last."""
    reporter.step_begins("status", FLEET)
    reporter.begins(FLEET[-1])
    for number, host in enumerate(FLEET):
        reporter.begins(host)
        fine = Record(host, "status", StepResult(State.OK, "active"), 0.1)
        reporter.done(failed(host) if number < bad else fine)
    reporter.step_ends()


def test_of_many_a_pipe_gets_a_line_for_each_tenth() -> None:
    stream, console = text_of(80, terminal=False)
    played_by_many(report.Plain(console, len(FLEET)))
    *tenths, end, bad = stream.getvalue().splitlines()
    assert [line.split(" after ")[0] for line in tenths] == [
        f"status: {tenth}00 of 1000" for tenth in range(1, 10)
    ]
    assert all("; slowest: worker-0999, 0 s" in line for line in tenths)
    assert ": 83 ok, 17 failed; about 0 s left;" in tenths[0]
    assert end == "status: 1000 of 1000 after 0 s: 983 ok, 17 failed; active"
    names = "worker-0000, worker-0001, worker-0002, worker-0003, worker-0004"
    assert bad == f"  failed: no route to host: 17 nodes: {names} and 12 more"
    assert "\x1b" not in stream.getvalue()


def test_a_batch_of_many_is_a_line() -> None:
    stream, console = text_of(80, terminal=False)
    reporter = report.Plain(console, len(FLEET))
    for batch in (FLEET[:10], FLEET[10:20]):
        reporter.step_begins("activate", batch, "activate 1/100")
        for host in batch:
            reporter.done(Record(host, "activate", StepResult(State.CHANGED, "reloaded"), 0.1))
        reporter.step_ends()
    assert stream.getvalue() == "activate 1/100: 10 of 10 after 0 s: 10 changed; reloaded\n" * 2


@pytest.mark.parametrize("fleet", [3, 1000])
def test_a_pipe_hears_of_a_step_that_goes_on_and_on(fleet: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "QUIET", 0.01)
    read, written = os.pipe()
    with os.fdopen(read) as lines, os.fdopen(written, "w", buffering=1) as stream:
        reporter = report.Plain(Console(file=stream, width=80), fleet)
        reporter.step_begins("status", FLEET[:fleet])
        reporter.begins("worker-0002")
        named = (line for line in itertools.islice(lines, 1000) if "slowest" in line)  # not before it begins
        for line in (next(named), next(named)):
            assert re.fullmatch(rf"status: 0 of {fleet} after \d+ s: slowest: worker-0002, \d+ s\n", line)
        reporter.step_ends()


def test_of_many_a_terminal_gets_what_is_left_and_who_is_slowest() -> None:
    for width in (80, 160):
        stream, console = text_of(width, terminal=True)
        live = report.Live(console)
        live.step_begins("status", FLEET)
        for host in ("a-very-long-name.of-a-node.in-some-cloud.compute.internal", "worker-0002"):
            live.begins(host)
        for host in FLEET[:500]:
            live.done(failed(host))
        live._bar.refresh()  # type: ignore[union-attr]
        shown = stream.getvalue().splitlines()[-1]
        live.step_ends()
        plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown).rpartition("\r")[2]
        assert len(plain) < width
        assert " 500/1000 " in plain
        assert "0:00 left; 500 failed; a-very" in plain
        assert plain.rstrip().endswith("… 0s" if width == 80 else "internal 0s")


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
