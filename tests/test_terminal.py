"""All text to a person goes one way, on which nothing is left that a terminal would obey."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import cast

import pytest
from rich.console import Console
from rich.text import Text

from tasks.core.check import watch
from tasks.core.console import prompt, report, screen, terminal
from tasks.core.console import summary as summaries
from tasks.core.console.summary import Record, Summary
from tasks.core.console.table import table
from tasks.core.errors import StepError, UsageError
from tasks.core.results import State, StepResult
from tasks.core.rollout.diff import NodePlan, show
from tasks.core.rollout.plan import Action
from tests.conftest import ROOT

TASKS = ROOT / "tasks"
OBEYED = (
    *map(chr, [*range(9), *range(11, 32), *range(127, 160)]),
    *"\u061c\u200e\u200f\u2028\u2029\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff",
    "\ud800",
    "\udfff",
)
EVIL = "\x1b]0;x\x07 \r\x9b2J \u202eevil\u2066 [red]\udc9b"
SHOWN = r"\x1b]0;x\x07 \r\x9b2J \u202eevil\u2066 [red]\udc9b"
ERROR = StepError(EVIL, command=EVIL, status=1, tail=EVIL, hint=f"see {EVIL}")
RECORD = Record("node", "step", StepResult(State.FAILED, EVIL, error=ERROR), 0.1)


@pytest.mark.parametrize("character", OBEYED, ids=ascii)
def test_what_a_terminal_obeys_is_escaped(character: str) -> None:
    shown = terminal.printable(f"a{character}b")
    assert (shown[0], shown[1], shown[-1]) == ("a", "\\", "b")
    assert shown.isascii()
    assert shown.isprintable()


@pytest.mark.parametrize("text", ["", "a\tb\n", "é 漢 ✔ ▏█ 🙂", r"\x1b", "a\u0301", "[b]"])
def test_all_else_is_left_as_it_is(text: str) -> None:
    assert terminal.printable(text) == text


def live(console: Console) -> None:
    reporter = report.Live(console)
    reporter.step_begins(EVIL, [EVIL], EVIL)
    reporter.begins(EVIL)
    reporter.progress(EVIL, EVIL, 1, 2)
    reporter.done(RECORD)
    reporter.step_ends()


def plain(console: Console) -> None:
    reporter = report.Plain(console)
    reporter.step_begins("step", ["node"])
    reporter._heard -= 10
    reporter.progress("node", EVIL)
    reporter.done(RECORD)


def in_place(console: Console) -> None:
    with watch.pictures(console) as show:
        show(EVIL, lambda paper: paper.print(EVIL, markup=False, highlight=False))


def asked(console: Console) -> None:
    with pytest.raises(UsageError, match="nobody"):
        prompt.confirm(console, EVIL, "nobody is there to ask")
    console.print(EVIL, markup=False, highlight=False)


PLAN = NodePlan(cast(Action, EVIL), (EVIL,), EVIL, (EVIL,), {"x": f"-{EVIL}\n+y"}, (EVIL,))
WAYS: dict[str, Callable[[Console], None]] = {
    "a line": lambda console: console.print(EVIL, markup=False, highlight=False),
    "a text": lambda console: console.print(Text(EVIL.replace("\x07", "").replace("\r", ""))),
    "live": live,
    "plain": plain,
    "table": lambda console: table(console, (EVIL,), [(EVIL,), (Text(EVIL, "red"),)]),
    "plans": lambda console: show(console, {EVIL: PLAN}),
    "a picture that is drawn anew": in_place,
    "a question": asked,
}


@pytest.mark.parametrize("on_terminal", [True, False], ids=["terminal", "pipe"])
@pytest.mark.parametrize("way", WAYS)
def test_no_way_to_a_person_lets_it_through(way: str, on_terminal: bool) -> None:
    stream = StringIO()
    on_terminal = on_terminal or way == "a picture that is drawn anew"
    console = screen.Output(file=stream, width=400, force_terminal=on_terminal, color_system=None)
    WAYS[way](console)
    seen = stream.getvalue()
    assert r"\x1b]0;x" in seen
    assert r"\u202eevil\u2066 [red]\udc9b" in seen
    assert "\x1b]" not in seen
    assert not {"\x07", "\x9b", "\u202e", "\u2066", "\udc9b"} & set(seen)


def test_streams_and_the_end(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.tell(EVIL)
    terminal.write(EVIL)
    assert capsys.readouterr() == (f"{SHOWN}\n", f"{SHOWN}\n")
    told = terminal.ending("\n".join(summaries.grouped([RECORD], {})), 1)
    assert str(told.message).split("\n") == [
        f"node: step: {SHOWN}",
        r"  command: \x1b]0;x\x07  ...",
        r"  | \x1b]0;x\x07 ",  # what the carriage return ends is a line
        r"  | \x9b2J \u202eevil\u2066 [red]\udc9b",
        f"  hint: see {SHOWN}",
    ]


def test_json_keeps_it(capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write(Summary("x", ["node"], "", records=[RECORD]).document())
    out = capsys.readouterr().out
    assert not set(OBEYED) & set(out)
    assert json.loads(out)["nodes"][0]["error"]["message"] == EVIL


def straight_to_a_person(file: Path) -> list[str]:
    """What in a module writes, or has something written, without going through `terminal`."""
    found = []
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func).rpartition(".")[2]
            words = [*node.args, *(word for word in node.keywords if word.arg != "code")]
            if name in ("print_exception", "Console") or (name == "Exit" and words):
                found.append(ast.unparse(node))
            if ast.unparse(node.func) == "print":
                found.append(ast.unparse(node))
        if isinstance(node, ast.Attribute) and ast.unparse(node) in ("sys.stdout", "sys.stderr"):
            found.append(ast.unparse(node))
    return found


@pytest.mark.parametrize("file", sorted(TASKS.rglob("*.py")), ids=lambda file: str(file.relative_to(TASKS)))
def test_there_is_no_other_way(file: Path) -> None:
    assert bool(straight_to_a_person(file)) == (file == TASKS / "core" / "console" / "terminal.py")
