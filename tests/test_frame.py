"""The frame around what a script writes, in whatever shell it is called."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import Any

import pytest

from tasks.core.errors import StepError
from tasks.core.scripts.script import Script
from tasks.core.shell import frame
from tasks.core.shell.delays import Delays
from tasks.core.shell.frame import BEGINS, CALLS, ENDS, READS
from tasks.core.shell.remote import RemoteCommand
from tests import scripts

ODD = [
    "it's",
    'a "b"',
    "$HOME",
    "`id`",
    "a\nb",
    "\\",
    "!x!!",
    "*",
    "a\\\\b",
    "\\'x",
    "{a,b}",
    "a \t c",
    "^a^b",
    "#",
]
ODD += ["'", "''", "\\n", "trailing\\", " lead", "-n", "", "é\u2028ü\x0b", "%s", "~", "x" * 3000]


SHELLS = {"sh": [], "bash": [], "csh": ["-f"], "tcsh": ["-f"], "fish": [], "zsh": [], "mksh": [], "ksh": []}


def said(shell: str, script: str, more: bytes = b"") -> subprocess.CompletedProcess[str]:
    """What comes of it where that is the login shell; `more` is the script's own standard input."""
    sent = frame.sent(frame.framed(script))
    ended = subprocess.run(
        [shell, *SHELLS[shell], "-c", frame.command(len(sent))],
        input=sent + more,
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess([], ended.returncode, ended.stdout.decode(), ended.stderr.decode())


@pytest.mark.parametrize("shell", SHELLS)
def test_any_script_is_given_to_sh_as_it_is(shell: str) -> None:
    """Also on real hosts, as root's login shell: tests/faults/test_shells.py."""
    if not shutil.which(shell):
        pytest.skip(f"{shell} is not here")
    for odd in ODD:
        ended = said(shell, f"cat <<'END'\n{odd}\nEND\nexit 3")
        assert (frame.own(ended.stdout), ended.returncode) == (f"{odd}\n", 3)
    ended = said(shell, "head -c 3; cat | wc -c; exit 4", b"one" + bytes(200_000))
    assert (frame.own(ended.stdout).split(), ended.returncode) == (["one200000"], 4)


def test_nothing_else_of_what_is_sent_is_read() -> None:
    """Not by a script that takes nothing, and not of a script that is longer than a pipe holds."""
    long = "\n".join(f"echo 'line {number}' > /dev/null" for number in range(20_000))
    ended = said("sh", f"{long}\ncat", b"the rest")
    assert (frame.own(ended.stdout), ended.stderr.count(BEGINS)) == ("the rest", 1)


class Recorder:
    """A session that keeps the command it is asked for, and breaks."""

    command = ""

    def exec_command(self, command: str) -> None:
        self.command = command
        raise EOFError

    def close(self) -> None:
        """Nothing is open."""


@pytest.mark.parametrize("script", [*scripts.every()], ids=lambda script: type(script).__name__)
@pytest.mark.parametrize("ways", [{}, {"sudo": True}, {"sudo": True, "password": "it's"}], ids=str)
def test_what_a_login_shell_sees(script: Script[Any], ways: dict[str, Any]) -> None:
    """No line end and no exclamation mark, which csh minds even in quotes, and nothing else of that kind."""
    session = Recorder()
    with pytest.raises(StepError):
        RemoteCommand(lambda: session, "root", script.text(), timeout=1, **ways)
    assert re.fullmatch("[a-zA-Z0-9.,_/=;|&<>' -]+", session.command)
    assert len(session.command) < 200


@pytest.mark.parametrize(
    ("script", "out", "err", "status"),
    [
        ("echo x; echo y >&2", "x\n", "y\n", 0),
        ("printf x; printf y >&2; exit 4", "x", "y", 4),
        ("set -e; false; echo x", "", "", 1),
        (f"echo {ENDS}; echo x", f"{ENDS}\nx\n", "", 0),
        ("echo x; kill -9 $$", "x\n", "", -9),
        ("trap 'echo over' EXIT; echo x", "x\nover\n", "", 0),
        ("(exit 3); echo $?; (echo sub)", "3\nsub\n", "", 0),
    ],
)
def test_what_is_inside(script: str, out: str, err: str, status: int) -> None:
    ended = subprocess.run(["sh", "-c", frame.framed(script)], capture_output=True, text=True, check=False)
    assert (frame.own(ended.stdout), frame.own(ended.stderr), ended.returncode) == (out, err, status)


@pytest.mark.parametrize(
    ("text", "own"),
    [
        (f"\n{BEGINS}\nx\n{ENDS}\n", "x\n"),
        (f"hello\n{BEGINS}\nx{ENDS}\nbye", "x"),
        (f"{BEGINS}\nx\n{ENDS}\nbye\n", "x\n"),
        (f"\n{BEGINS}\nx\ny", "x\ny"),
        (f"\n{BEGINS}\n{ENDS}\n", ""),
        (f"cut off\nx\n{ENDS}\nbye", "cut off\nx\n"),
        (f"say {BEGINS}\nx", f"say {BEGINS}\nx"),
        ("This account is currently not available.\n", "This account is currently not available.\n"),
        ("", ""),
    ],
)
def test_what_stands_around_it_is_passed_over(text: str, own: str) -> None:
    assert frame.own(text) == own


def test_a_shell_that_repeats_the_command_has_not_begun_it() -> None:
    seen: dict[str, float] = {}
    frame.note(seen, f"\nunknown: {frame.SUDO} -n {frame.command(9)}\n", 1.0)
    assert seen == {}
    frame.note(seen, f"hello{CALLS}\n", 2.0)
    frame.note(seen, f"{CALLS}\n\n{BEGINS}\n", 3.0)
    assert seen == {CALLS: 2.0, BEGINS: 3.0}
    frame.note(seen, f"hello{READS}\n", 4.0)
    assert seen == {CALLS: 2.0, BEGINS: 3.0, READS: 4.0}


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_lines_are_those_inside(size: int) -> None:
    seen: list[str] = []
    lines = frame.Lines(seen.append)
    text = f"hello\n{BEGINS}\nfirst\n\nlast\n{ENDS}\nbye\n{ENDS}\n"
    for at in range(0, len(text), size):
        lines.write(text[at : at + size])
    assert seen == ["first", "", "last"]


class TestDelays:
    """What a host had to wait for."""

    def test_short_ones_are_not_told(self) -> None:
        delays = Delays()
        delays.add("login", 4.9)
        delays.add_start({CALLS: 1.0, BEGINS: 5.5})
        assert delays.long_ones() == ""

    def test_each_is_added_up_until_it_is_told(self) -> None:
        delays = Delays()
        delays.add_start({CALLS: 0.5, BEGINS: 3.5})
        delays.add_start({CALLS: 0.5, BEGINS: 4.0})
        told = delays.long_ones()
        assert told.startswith("sudo alone took 6 s, 2 times: ")
        assert "/etc/hosts" in told
        assert delays.long_ones() == ""

    def test_of_a_command_that_did_not_begin(self) -> None:
        delays = Delays()
        delays.add_start({CALLS: 1.0}, 30)
        assert delays.long_ones().startswith("sudo alone took 29 s: ")
        delays.add_start({}, 30)
        assert delays.long_ones().startswith("the login shell alone took 30 s: ")

    def test_login_and_sudo(self) -> None:
        delays = Delays()
        delays.add("login", 12)
        delays.add_start({CALLS: 0, BEGINS: 20})
        assert [text.partition(":")[0] for text in delays.long_ones().split("; ")] == [
            "login alone took 12 s",
            "sudo alone took 20 s",
        ]
