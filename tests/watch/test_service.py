"""The program as systemd runs it: its commands, what it tells, its end, and what it leaves behind."""

import os
import re
import signal
import socket
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.watch.field import (
    APISERVERS,
    NGINX_USER,
    ROOT,
    WATCH_UID,
    Field,
    Process,
    as_user,
    compile_watch,
    name_of,
    notify_socket,
    run,
    until,
)

pytestmark = pytest.mark.lab

FIRST, SECOND, THIRD = map(name_of, APISERVERS)
STRANGER = "ip daddr 198.18.0.99 reject with icmp port-unreachable"


def ask(field: Field, program: Path, *words: str, user: str = "0", may: str = "net_admin") -> tuple[int, str]:
    """Run a command of it to its end: exit status, and what it printed."""
    command = ["ip", "netns", "exec", field.node, *as_user(user, may), str(program), *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def told(listening: socket.socket, wanted: str) -> str:
    """Wait until systemd is told something, and give it."""
    while True:
        text = listening.recv(65536).decode()
        if re.match(wanted, text):
            return text


def strangers(field: Field) -> None:
    """Give the node a filter of somebody else."""
    chain = f"chain ejected {{\ntype filter hook output priority 0\n{STRANGER}\n}}"
    run("ip", "netns", "exec", field.node, "nft", "-f", "-", stdin=f"table inet strangers {{\n{chain}\n}}")


def users(field: Field) -> list[str]:
    """Name the users whose connections are refused."""
    text = run("ip", "netns", "exec", field.node, "nft", "-n", "list", "ruleset")
    return re.findall(r"meta skuid (\d+)", text)


def test_the_version_is_the_projects(program: Path) -> None:
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert run(str(program), "version") == f"kube-nginx-watch {version}\n"


@pytest.mark.parametrize("words", ["", "runs", "run", "run -c /x", "test", "run -x", "run -c"])
def test_usage(program: Path, words: str) -> None:
    done = subprocess.run([program, *words.split()], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "usage: kube-nginx-watch run -c CONF" in done.stderr


def test_whether_it_is_possible(field: Field, program: Path) -> None:
    assert ask(field, program, "test", "-u", NGINX_USER) == (0, "")
    assert ask(field, program, "test", "-u", NGINX_USER, user=str(WATCH_UID)) == (0, "")
    no = ask(field, program, "test", "-u", NGINX_USER, user=str(WATCH_UID), may="chown")
    assert no == (1, "not possible here: no permission to filter packets (CAP_NET_ADMIN)\n")
    nobody = ask(field, program, "test", "-u", "no-such-user")
    assert nobody == (1, "not possible here: /etc/passwd has no user no-such-user\n")
    assert field.refused() == []


def test_what_systemd_and_metrics_are_told(field: Field, program: Path) -> None:
    metrics = field.folder / "run" / "watch.prom"
    metrics.parent.mkdir()
    os.chown(metrics.parent, WATCH_UID, WATCH_UID)
    with notify_socket(field.folder) as listening:
        watch = field.watch(program, "-m", str(metrics), env={"NOTIFY_SOCKET": str(field.folder / "notify")})
        for wanted in ("READY=1", "STATUS=ok", "WATCHDOG=1"):
            told(listening, f"{wanted}$")
        clients = field.clients(3)
        field.hang(1)
        text = told(listening, "STATUS=ejected")
        assert re.fullmatch(rf"STATUS=ejected {FIRST} for \d+ s \(no answer to a TLS hello\)", text)
        told(listening, f"STATUS=ejected {FIRST} for 3 s")  # as each second
        lines = f'_ejected{{apiserver="{FIRST}"}} 1', f'_ejections_total{{apiserver="{FIRST}"}} 1'
        until(
            lambda: all(f"kube_nginx_watch{line}" in metrics.read_text() for line in lines), "metrics tell it"
        )
        for number in (2, 3):
            field.hang(number)
        text = told(listening, "STATUS=silent")
        assert text == f"STATUS=silent {FIRST}, {SECOND}, {THIRD}, and not ejected: no other answers"
        for number in (1, 2, 3):
            field.resume(number)
        told(listening, "STATUS=ok$")
        sessions = r"(?m)^kube_nginx_watch_sessions\{[^}]+\} [1-9]"
        until(lambda: re.search(sessions, metrics.read_text()), "metrics tell sessions")
        assert well_formed(metrics.read_text())
        assert os.listdir(metrics.parent) == ["watch.prom"]
        watch.process.terminate()
        told(listening, "STOPPING=1")
    assert len(clients.open) == 3


def test_metrics_that_cannot_be_written(field: Field, program: Path) -> None:
    folder = field.folder / "run"
    folder.mkdir()
    watch = field.watch(program, "-m", str(folder / "watch.prom"))
    until(lambda: "watch.prom cannot be written: Permission denied" in watch.text, "it is told")
    os.chown(folder, WATCH_UID, WATCH_UID)
    until((folder / "watch.prom").exists, "they are written")
    assert watch.text.count("cannot be written") == 1
    field.hang(1)
    until(field.refused, "it is ejected")


def well_formed(text: str) -> bool:
    """Tell whether each line is one of the text format, and each metric has its HELP and TYPE first."""
    known: dict[str, set[str]] = {}
    for line in text.splitlines():
        if found := re.fullmatch(r"# (HELP|TYPE) (kube_nginx_watch_\w+) \S.*", line):
            known.setdefault(found[2], set()).add(found[1])
        else:
            sample = re.fullmatch(r'(kube_nginx_watch_\w+)\{apiserver="[^"]+"\} [0-9.e-]+', line)
            if not sample or known.get(sample[1]) != {"HELP", "TYPE"}:
                return False
    return len(known) == 5


def test_a_configuration_that_changes(field: Field, program: Path) -> None:
    watch = field.watch(program)
    field.hang(1)
    until(field.refused, "it is ejected")
    field.write_conf(more="        server unix:/run/x.sock;")
    until(
        lambda: "passed over 1 of another kind, the first is: server unix:/run/x.sock" in watch.text,
        "it is told",
    )
    assert len(field.refused()) == 1
    field.write_conf(APISERVERS[1:])
    until(lambda: field.refused() == [], "who is gone from it is not refused")
    assert "2 apiservers" in watch.text
    field.conf.rename(field.folder / "away")
    until(lambda: "cannot be read: No such file" in watch.text, "it is told that the file is gone")
    field.hang(2)
    until(field.refused, "what was known is still watched")
    (field.folder / "away").rename(field.conf)
    field.write_conf()
    until(lambda: len(field.refused()) == 2, "who is in it again is ejected again")


def test_a_user_whose_number_changes(field: Field, program: Path) -> None:
    field.folder.chmod(0o755)
    passwd = field.folder / "passwd"
    passwd.write_text(f"root:x:0:0::/:/bin/sh\n{NGINX_USER}:x:65534:65534::/:/bin/false\n")
    mounted = field.with_passwd(passwd)
    watch = field.watch(program, before=mounted)
    field.hang(1)
    until(field.refused, "it is ejected")
    assert users(field) == ["65534"]
    passwd.write_text(passwd.read_text().replace("65534:", "64999:", 1))
    field.write_conf()
    until(lambda: users(field) == ["64999"], "it is refused by the new number")
    assert len(field.refused()) == 1
    assert f"user {NGINX_USER} (64999)" in watch.text


def test_a_filter_that_somebody_removes_is_made_again(field: Field, program: Path) -> None:
    """As a restart of nftables.service does, which begins with `flush ruleset`."""
    watch = field.watch(program)
    field.hang(1)
    until(field.refused, "it is ejected")
    run("ip", "netns", "exec", field.node, "nft", "flush", "ruleset")
    until(field.refused, "it is refused again")
    until(lambda: "somebody had removed the filter" in watch.text, "it is told")
    saved = run("ip", "netns", "exec", field.node, "nft", "list", "ruleset")
    field.resume(1)
    until(lambda: field.filters() == [], "it is let in")
    run("ip", "netns", "exec", field.node, "nft", "-f", "-", stdin=saved)
    until(lambda: "somebody had put a filter of ours there" in watch.text, "it is told")
    assert field.filters() == []


FULL = """
import ctypes, sys
class Apiserver(ctypes.Structure):
    _fields_ = ("family", ctypes.c_uint8), ("bytes", ctypes.c_uint8 * 16), ("port", ctypes.c_uint16)
def one(i): return Apiserver(10, (ctypes.c_uint8 * 16)(*[255 - i] * 16), 65535 - i)
ones = (Apiserver * 64)(*map(one, range(64)))
sys.exit(-ctypes.CDLL(sys.argv[1]).filter_set(ones, (ctypes.c_bool * 64)(*[True] * 64), 64, 2**32 - 3))
"""


def test_as_many_as_there_may_be_have_room_in_a_filter(field: Field, tmp_path: Path) -> None:
    library = compile_watch(tmp_path / "watch.so", "-shared", "-fPIC")
    run("ip", "netns", "exec", field.node, sys.executable, "-I", "-c", FULL, str(library))
    assert len(field.refused()) == 64


Ending = Callable[[Process], object]
ENDINGS: dict[str, Ending] = {
    "SIGTERM": lambda watch: watch.kill(signal.SIGTERM),
    "SIGINT": lambda watch: watch.kill(signal.SIGINT),
}


@pytest.mark.parametrize("ending", ENDINGS)
def test_its_end_leaves_no_filter(field: Field, program: Path, ending: str) -> None:
    strangers(field)
    watch = field.watch(program)
    field.hang(1)
    until(lambda: len(field.refused()) == 2, "it is ejected")
    assert ENDINGS[ending](watch) == 0
    assert (field.refused(), field.filters()) == ([STRANGER], ["table inet strangers"])
    assert watch.text.endswith("stopped\n")


def test_clean_removes_its_own_filter_alone(field: Field, program: Path) -> None:
    strangers(field)
    watch = field.watch(program)
    for count, number in enumerate((1, 3), 2):
        field.hang(number)
        until(lambda: len(field.refused()) == count, "it is ejected")  # noqa: B023 - called at once
    watch.kill()
    assert len(field.refused()) == 3
    no = ask(field, program, "clean", user=str(WATCH_UID), may="chown")
    assert no == (1, "kube-nginx-watch: its filter cannot be removed: Operation not permitted\n")
    assert ask(field, program, "clean") == (0, "")
    assert (field.refused(), field.filters()) == ([STRANGER], ["table inet strangers"])
    assert ask(field, program, "clean") == (0, "")


def test_where_it_is_not_possible_it_rests(field: Field, program: Path) -> None:
    with notify_socket(field.folder) as listening:
        env = {"NOTIFY_SOCKET": str(field.folder / "notify")}
        watch = field.watch(program, env=env, may="chown", wait=False)
        told(listening, "READY=1$")
        assert (
            told(listening, "STATUS=")
            == "STATUS=not possible here: no permission to filter packets (CAP_NET_ADMIN)"
        )
        for _ in range(3):
            told(listening, "WATCHDOG=1$")
        assert watch.process.poll() is None
        assert watch.text.count("not possible here") == 1
        assert watch.kill(signal.SIGTERM) in {0, 1}


@pytest.fixture(scope="module")
def mortal(program: Path) -> Path:
    """A build that dies where it is told to."""
    return compile_watch(program.with_name("mortal"), "-static", "-DTEST_POINTS")


@pytest.mark.parametrize("point", range(1, 11))
def test_it_dies_anywhere_and_is_started_again(field: Field, program: Path, mortal: Path, point: int) -> None:
    clients = field.clients(9)
    env = {"WATCH_DIES_AT": str(point)}
    metrics = field.folder / "metrics"
    metrics.mkdir()
    os.chown(metrics, WATCH_UID, WATCH_UID)
    if point == 9:  # it dies when it has removed what one before it has left
        first = field.watch(program)
        field.hang(1)
        until(field.refused, "it is ejected")
        first.kill()
    dying = field.watch(mortal, "-m", str(metrics / "watch.prom"), env=env, wait=False)
    field.hang(1)
    until(lambda: dying.process.poll() is not None, "it dies")
    assert dying.process.wait() == -signal.SIGKILL
    assert ask(field, program, "clean") == (0, "")  # what ExecStopPost does
    assert field.refused() == []
    watch = field.watch(program, "-m", str(metrics / "watch.prom"))
    until(lambda: not clients.of(1) and len(clients.open) == 9, "all sessions are with others")
    field.resume(1)
    until(lambda: field.refused() == [], "it is let in")
    assert watch.kill(signal.SIGTERM) == 0
    assert field.nginx.process.poll() is None
