"""What a process inherits is set: each test is a process of its own."""

from __future__ import annotations

import resource
import signal
import subprocess
import sys
from textwrap import dedent

import pytest

from tasks.core.errors import UsageError
from tasks.core.run import process
from tests.conftest import ROOT

pytestmark = pytest.mark.start

IGNORED = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGCHLD)


def ran(script: str, *before: str) -> str:
    """What Python prints that runs `script`, itself run by `before`."""
    done = subprocess.run(
        [*before, sys.executable, "-c", dedent(script)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def signals(text: str, line: str) -> set[int]:
    """Those of a mask in /proc/PID/status."""
    (mask,) = (row.split()[1] for row in text.splitlines() if row.startswith(line))
    return {number for number in range(1, 32) if int(mask, 16) >> (number - 1) & 1}


def test_what_is_started_has_its_signals_though_ours_were_ignored() -> None:
    script = """
        import os, signal, subprocess
        from tasks.core.run import process
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
        process.own_signals()
        os.kill(os.getpid(), signal.SIGHUP)  # as with nohup
        subprocess.run(["cat", "/proc/self/status"])
        print("ended", subprocess.run(["sh", "-c", "exit 3"]).returncode)
    """
    seen = ran(script, "env", "--ignore-signal=HUP,INT,QUIT,TERM,CHLD")
    assert not {*IGNORED} & signals(seen, "SigIgn:")
    assert not {*IGNORED} & signals(seen, "SigBlk:")
    assert "ended 3" in seen


def test_a_user_without_a_name_is_a_number() -> None:
    script = "from tasks.core.run import process; process.begin(); import getpass; print(getpass.getuser())"
    without = ["env", "-u", "USER", "-u", "LOGNAME", "-u", "LNAME", "-u", "USERNAME"]
    assert ran(script, *without, "unshare", "-U", "--map-user=12345") == "12345\n"
    assert ran(script, *without, "USER=jane") == "jane\n"


@pytest.mark.parametrize(
    ("soft", "hard", "hosts", "commands", "then"),
    [
        (256, 4096, 10, 0, 256),
        (256, 4096, 500, 0, 4096),
        (256, resource.RLIM_INFINITY, 500, 0, 564),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 500, 0, resource.RLIM_INFINITY),
        (256, 1024, 300, 300, 1024),
        (256, 300, 236, 0, 300),
    ],
)
def test_the_soft_limit_of_open_files_is_raised(
    monkeypatch: pytest.MonkeyPatch, soft: int, hard: int, hosts: int, commands: int, then: int
) -> None:
    limits = [(soft, hard)]
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    monkeypatch.setattr(resource, "getrlimit", lambda which: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda which, new: limits.append(new))
    process.allow_files(hosts, commands)
    assert limits[-1] == (then, hard)


@pytest.mark.parametrize(
    ("hard", "hosts", "commands", "agent", "words"),
    [
        (300, 237, 0, "", "237 nodes need 301 open files at once, and this process may have 300"),
        (300, 237, 0, "", "ulimit -Hn 301, as root), or take fewer nodes at a time with --limit"),
        (300, 119, 0, "/agent", "119 nodes need 302 open files at once"),
        (300, 119, 119, "", "119 nodes need 302 open files at once"),
    ],
)
def test_too_low_a_hard_limit_is_told(
    monkeypatch: pytest.MonkeyPatch, hard: int, hosts: int, commands: int, agent: str, words: str
) -> None:
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    monkeypatch.setattr(resource, "getrlimit", lambda which: (256, hard))
    with pytest.raises(UsageError) as caught:
        process.allow_files(hosts, commands)
    assert words in str(caught.value)


def test_the_limit_of_this_machine() -> None:
    script = """
        import resource
        from tasks.core.run import process
        resource.setrlimit(resource.RLIMIT_NOFILE, (70, 300))
        process.allow_files(200, 0)
        print(resource.getrlimit(resource.RLIMIT_NOFILE), len([open("/dev/null") for _ in range(264)]))
    """
    assert ran(script, "env", "-u", "SSH_AUTH_SOCK") == "(300, 300) 264\n"


def test_fab_collects_garbage_rarely_and_a_program_that_has_the_tasks_as_it_wants() -> None:
    script = "import gc, sys; {}; print(gc.get_freeze_count() > 10_000, gc.get_threshold()[0])"
    by_fab = "import fabric.main; sys.argv[:] = 'fab', '--list'; fabric.main.program.run(exit=False)"
    assert ran(script.format(by_fab)).splitlines()[-1] == f"True {process._NEW}"
    own, untouched = ran(script.format("import tasks.core.run.opening")), ran(script.format("pass"))
    assert own == untouched


@pytest.mark.parametrize("told", [(), ("env", "PYTHONDONTWRITEBYTECODE=1")])
def test_fab_keeps_what_python_compiles_unless_it_is_told_not_to(told: tuple[str, ...]) -> None:
    by_fab = "import fabric.main, sys; sys.argv[:] = 'fab', '--list'; fabric.main.program.run(exit=False)"
    assert ran(f"{by_fab}; print(sys.dont_write_bytecode)", *told).splitlines()[-1] == str(bool(told))
