"""What others than root may have put on a node neither leads our scripts astray nor keeps them waiting."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from threading import Event, Thread
from time import monotonic

import pytest

from tasks.core.facts.remedy import frees

from .scripts import facts, functions

UNITS = "/nowhere"


@pytest.fixture(params=["sh", "bash"])
def shell(request: pytest.FixtureRequest) -> str:
    """This machine's own sh, and what is sh on CentOS."""
    return str(request.param)


def said(shell: str, prefix: Path, call: str, *scripts: str, seconds: int = 5) -> str:
    """What `call` says after the functions that scripts share, which read one file for so long at most."""
    script = functions(prefix, *scripts)
    assert "KILL 5 sha256sum" in script
    script = script.replace("KILL 5 sha256sum", f"KILL {seconds} sha256sum")
    command = [shell, "-c", f"set -u; export LC_ALL=C\n{script}\n{call}"]
    done = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stderr == ""
    return done.stdout


def test_what_is_said_is_one_line(shell: str, tmp_path: Path) -> None:
    call = "say 'a.x\nkn.pid=1' 'b\nkn.uid=0\n'; say c 'd  e'"
    assert said(shell, tmp_path, call) == "kn.a.x?kn.pid=1=b?kn.uid=0?\nkn.c=d  e\n"


def put(what: str, path: Path) -> None:
    if what == "pipe":
        os.mkfifo(path)
    elif what == "endless":
        with path.open("wb") as file:
            file.truncate(1 << 42)
    elif what == "folder":
        path.mkdir()
    else:
        path.symlink_to(what)


@pytest.mark.parametrize("what", ["pipe", "endless", "folder", "/dev/zero", "pipe.pid", "/proc/self/root"])
@pytest.mark.parametrize("call", ["recorded_pid", 'sum "$pid_file"', 'some "$pid_file" 3 | wc -c'])
def test_what_is_no_small_file_is_neither_believed_nor_waited_for(
    shell: str, tmp_path: Path, what: str, call: str
) -> None:
    (tmp_path / "logs").mkdir()
    os.mkfifo(tmp_path / "logs" / "pipe.pid")
    put(what, tmp_path / "logs" / "nginx.pid")
    began = monotonic()
    found = said(shell, tmp_path, f"trap '' TERM\n{call}", seconds=1 if what == "endless" else 5).strip()
    assert found == ("" if "wc" not in call else "196608" if what == "endless" else "0")
    assert monotonic() - began < 20


@contextmanager
def turning(path: Path) -> Iterator[None]:
    """A file that is a number at one moment, and a pipe at the next."""
    over = Event()

    def turn() -> None:
        while not over.is_set():
            path.with_name("number").write_text("12\n")
            path.with_name("number").rename(path)
            os.mkfifo(path.with_name("pipe"))
            path.with_name("pipe").rename(path)

    thread = Thread(target=turn)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def test_what_becomes_a_pipe_as_it_is_opened_is_not_waited_for(shell: str, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    call = "tries=0; while [ $tries -lt 100 ]; do recorded_pid; tries=$((tries + 1)); done"
    with turning(tmp_path / "logs" / "nginx.pid"):
        assert set(said(shell, tmp_path, call).split()) <= {"12"}


def test_a_link_is_followed_where_root_may_have_made_it(shell: str, tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "other").write_text("12\n")
    (tmp_path / "logs" / "nginx.pid").symlink_to(tmp_path / "other")
    assert said(shell, tmp_path, "recorded_pid") == ""
    assert said(shell, tmp_path, 'sum "$pid_file"').strip() == sha256(b"12\n").hexdigest()


@pytest.mark.parametrize(
    ("text", "pid"),
    [("12\n", "12"), ("12", "12"), ("12\n13\n", "12"), ("1234567890\n", ""), (" 12\n", "")],
)
def test_the_pid_file_is_a_number_or_nothing(shell: str, tmp_path: Path, text: str, pid: str) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "nginx.pid").write_text(text)
    assert said(shell, tmp_path, "recorded_pid").strip() == pid


@pytest.mark.parametrize(
    "leads", ["../../x", "-rf", "/0123456789", "0123456789a", "0123456789\nkn.x=1", ".*"]
)
def test_a_release_has_a_name_of_its_own(shell: str, tmp_path: Path, leads: str) -> None:
    (tmp_path / "releases").mkdir()
    (tmp_path / "releases" / "current").symlink_to("0123456789")
    (tmp_path / "releases" / "previous").symlink_to(leads)
    assert said(shell, tmp_path, "named current; named previous") == "0123456789\n"


def test_a_file_that_is_named_like_a_socket_is_none(shell: str, tmp_path: Path) -> None:
    (tmp_path / "x -> socket:[4711]").touch()
    (tmp_path / "y\n3 -> socket:[4711]").touch()
    call = f"exec 3<'{tmp_path}/x -> socket:[4711]' 4<'{tmp_path}/y\n3 -> socket:[4711]'; sockets $$"
    assert "4711" not in said(shell, tmp_path, call)


@pytest.mark.parametrize(("line", "user"), [("User=a", "a"), ("User=-x", "?"), ("Group=a", "")])
def test_a_user_is_no_option(shell: str, tmp_path: Path, line: str, user: str) -> None:
    (tmp_path / "unit").write_text(f"{line}\n")
    assert said(shell, tmp_path, f"user_of '{tmp_path}/unit'", "prepare").strip() == user


@pytest.mark.parametrize("does", ["trap '' TERM; sleep 60", "kill -STOP $$", ": > '{}'"])
def test_what_runs_as_another_user_has_an_end(tmp_path: Path, does: str) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "pipe").chmod(0o666)
    tmp_path.chmod(0o755)
    script = functions(tmp_path, "prepare").replace("KILL 90", "KILL 1")
    call = f"trap '' TERM\n{script}\nas nobody sh -c \"$0\"; echo ended"
    done = subprocess.run(
        ["sh", "-c", call, does.format(tmp_path / "pipe")],
        capture_output=True,
        text=True,
        timeout=20,
        check=True,
    )
    assert done.stdout == "ended\n"


def test_what_runs_as_another_user_has_nothing_of_ours(shell: str, tmp_path: Path) -> None:
    """Neither the lock nor the release that comes in, and no way to write lines of our answer."""
    (tmp_path / "lock").touch()
    call = (
        f"exec 3< '{tmp_path}/lock' 8<> '{tmp_path}/lock'; as nobody sh -c "
        f"'readlink /proc/self/fd/0 /proc/self/fd/3 /proc/self/fd/8; echo kn.x=1' 2> '{tmp_path}/told'"
    )
    assert said(shell, tmp_path, call, "prepare") == ""
    assert (tmp_path / "told").read_text() == "/dev/null\nkn.x=1\n"


def test_a_reload_without_a_main_process_signals_nobody(shell: str, tmp_path: Path) -> None:
    call = 'main() { echo 0; }; workers() { :; }; kill() { echo killed; }; reload 0 || echo "$why"'
    assert said(shell, tmp_path, call, "prepare", "files", "service") == "the service does not run\n"


@pytest.mark.parametrize(
    ("unit", "advice"),
    [
        ("haproxy.service", "systemctl stop haproxy.service"),
        (r"a\x2db@c:d.service", r"systemctl stop 'a\x2db@c:d.service'"),
        ("-Hhost", "end PID 7"),
        ("-Hhost.service", "end PID 7"),
        ("session-1.scope", "end PID 7"),
        ("$(reboot).service", "end PID 7"),
        ("a;reboot.service", "end PID 7"),
        ("a.service\u2028", "end PID 7"),
        ("é.service", "end PID 7"),
    ],
)
def test_a_unit_that_is_advised_to_be_stopped_can_be_pasted(unit: str, advice: str) -> None:
    (holder,) = facts(f"kn.listen.0100007F:20FB=7 {unit} /x x").listening.values()
    assert holder is not None
    assert frees(holder) == f"on the node: {advice}; or choose another proxy.listen"


def test_nobody_is_advised_to_end_systemd() -> None:
    (holder,) = facts("kn.listen.0100007F:20FB=1 - /x systemd").listening.values()
    assert holder is not None
    assert "end PID" not in frees(holder)


@pytest.mark.parametrize("mark", ["\u2028", "\x85", "\x0c", "\x1e", "\r"])
def test_a_name_does_not_end_a_line(mark: str) -> None:
    seen = facts(f"kn.uid=0\nkn.listen.0100007F:20FB=7 - /x a{mark}kn.uid=7\n")
    (holder,) = seen.listening.values()
    assert (seen.uid, holder and holder.name) == (0, f"a{mark}kn.uid=7")
