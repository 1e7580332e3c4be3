"""The shell scripts for the nodes, run for real by this machine's sh on files of the test's own."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from time import monotonic, sleep
from typing import Any, cast

import pytest

from tasks.core.config.address import Endpoint
from tasks.core.config.model import Proxy, Settings
from tasks.core.errors import StepError
from tasks.core.facts.facts import Facts, File
from tasks.core.facts.paths import WATCH, WATCH_UNIT
from tasks.core.facts.sockets import as_kernel
from tasks.core.release.release import BINARY, CONF, MODES, NAMES, UNIT, Release, name_of, paths, release
from tasks.core.rollout.staging import stage
from tasks.core.scripts.activate import Activate
from tasks.core.scripts.files import Stage, Tidy
from tasks.core.scripts.lock import Lock
from tasks.core.shell.command import CommandResult, with_defaults
from tasks.core.ssh.node import Node
from tasks.core.templates import shell_script

from .scripts import functions as library

TEMPLATES = Path(__file__).parent.parent / "templates"
SHELLS = [shell for shell in ("sh", "dash", "bash --posix", "busybox sh") if shutil.which(shell.split()[0])]


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize("script", sorted(path.name for path in TEMPLATES.glob("*.sh")))
def test_syntax(script: str, shell: str) -> None:
    done = subprocess.run([*shell.split(), "-n", TEMPLATES / script], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until something is true."""
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end
        sleep(0.01)


# --- stage.sh ---

NGINX = b"""#!/bin/sh
# stands in for nginx -t; a configuration with "refuse" in it is refused
[ "$1 $2 $3 $5 $7 $8" = "-t -q -c -p -e stderr" ] || exit 9
echo "tested by $0 in $6" >&2
! grep refuse "$4" >&2
"""


@dataclass
class Local:
    """Feeds scripts to this machine's sh, as a Node does over SSH."""

    unit: Path
    sent: list[bytes] = field(default_factory=list)
    spoil: Callable[[bytes], bytes] = lambda content: content
    said: str = ""

    def do(self, script: Stage) -> None:
        self.sent.append(script.standard_input)
        command = ["sh", "-c", with_defaults(replace(script, unit_path=str(self.unit)).text())]
        content = self.spoil(script.standard_input)
        done = subprocess.run(command, input=content, capture_output=True, check=False)
        self.said = done.stderr.decode()
        script.read(CommandResult(done.returncode, done.stdout.decode(), self.said))


@dataclass
class Place:
    """A prefix and a folder for the unit."""

    proxy: Proxy
    unit: Path

    @property
    def releases(self) -> Path:
        return Path(self.proxy.prefix, "releases")

    @property
    def files(self) -> dict[str, Path]:
        """Where each file is when it is in use."""
        return {name: Path(path) for name, path in paths(self.proxy).items()} | {UNIT: self.unit}

    def use(self, contents: dict[str, bytes]) -> Facts:
        """Puts files in use, as if a survey had seen them."""
        for name, content in contents.items():
            self.files[name].parent.mkdir(parents=True, exist_ok=True)
            self.files[name].write_bytes(content)
        where = paths(self.proxy)
        return Facts(files={where[n]: File(sha256(c).hexdigest()) for n, c in contents.items()})

    def tree(self) -> set[str]:
        """All that is below the prefix, and beside the unit."""
        prefix = Path(self.proxy.prefix)
        found = {str(path.relative_to(prefix)) for path in prefix.rglob("*")}
        return found | {path.name for path in self.unit.parent.iterdir()}


@pytest.fixture(params=["sh", "bash"])
def shell(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `sh` is: this machine's own, and bash, which is sh on CentOS. No systemd is asked."""
    (tmp_path / "shell").mkdir()
    (tmp_path / "shell" / "systemctl").symlink_to(shutil.which("false") or "/bin/false")
    if request.param == "bash":
        bash = shutil.which("bash")
        if bash is None:
            pytest.skip("no bash here")
        (tmp_path / "shell" / "sh").symlink_to(bash)
    monkeypatch.setenv("PATH", f"{tmp_path / 'shell'}:{os.environ['PATH']}")


@pytest.fixture
def place(shell: None, tmp_path: Path) -> Place:
    unit = tmp_path / "units" / UNIT
    unit.parent.mkdir()
    return Place(Proxy(prefix=str(tmp_path / "it's" / "kube-nginx"), user=""), unit)


FOLDERS = {"conf", "logs", "sbin", "releases"}
UNIT_TEXT = "[Service]\nExecStart=/x/sbin/kube-nginx -e stderr\n"


def wanted(conf: str = "right\n") -> Release:
    return release("1.30.6", "", NGINX, conf, UNIT_TEXT)


def staged(name: str) -> set[str]:
    return FOLDERS | {f"releases/{name}", *(f"releases/{name}/{file}" for file in NAMES)}


def bring(place: Place, what: Release, node: Local, facts: Facts | None = None) -> None:
    settings = Settings(None, "recommended", (), (), proxy=place.proxy)
    stage(cast(Node, node), what, settings, facts or Facts())


class TestStage:
    """A release is brought beside what runs, checked and tested."""

    def test_right(self, place: Place) -> None:
        node, what = Local(place.unit), wanted()
        bring(place, what, node)
        assert place.tree() == staged(what.name)
        for name in NAMES:
            file = place.releases / what.name / name
            assert file.read_bytes() == what.contents[name]
            assert f"{file.stat().st_mode & 0o7777:o}" == MODES[name]
        there = f"{place.releases}/{what.name}.part/kube-nginx"
        assert node.said == f"tested by {there} in {place.releases}/trial.part\n"
        assert Stage.changes

    def test_what_is_in_use_already_is_not_sent(self, place: Place) -> None:
        node, what = Local(place.unit), wanted()
        facts = place.use({BINARY: NGINX, CONF: b"old", UNIT: UNIT_TEXT.encode()})
        place.files[BINARY].chmod(0o600)
        bring(place, what, node, facts)
        assert node.sent == [what.contents[CONF]]
        for name in NAMES:
            file = place.releases / what.name / name
            assert file.read_bytes() == what.contents[name]
            assert f"{file.stat().st_mode & 0o7777:o}" == MODES[name]
        assert place.files[CONF].read_bytes() == b"old"

    def test_what_is_kept_already_is_not_sent(self, place: Place) -> None:
        node, what = Local(place.unit), wanted()
        bring(place, what, node)
        facts = Facts(releases={"previous": what.name}, kept={"previous": what.sums})
        bring(place, what, node, facts)
        assert node.sent[1:] == [b""]
        assert place.tree() == staged(what.name)
        assert (place.releases / what.name / BINARY).read_bytes() == NGINX

    def test_what_is_kept_and_was_spoilt_there_is_sent(self, place: Place) -> None:
        node, what = Local(place.unit), wanted()
        bring(place, what, node)
        (place.releases / what.name / CONF).write_text("spoilt")
        kept = {**what.sums, CONF: sha256(b"spoilt").hexdigest()}
        bring(place, what, node, Facts(releases={"current": what.name}, kept={"current": kept}))
        assert node.sent[1:] == [what.contents[CONF]]
        assert (place.releases / what.name / CONF).read_bytes() == what.contents[CONF]

    @pytest.mark.parametrize(
        "spoil",
        [
            lambda content: content[:-1],
            lambda content: content[:-1] + b"?",
            lambda content: b"?" + content[1:],
            lambda content: b"",
        ],
        ids=["short", "the last byte", "the first byte", "nothing"],
    )
    def test_other_bytes(self, place: Place, spoil: Callable[[bytes], bytes]) -> None:
        what = wanted()
        with pytest.raises(StepError) as caught:
            bring(place, what, Local(place.unit, spoil=spoil))
        assert caught.value.status == 65
        assert " arrived on the node with sha256 " in caught.value.tail
        assert place.tree() == FOLDERS

    def test_what_was_in_use_has_changed_since_the_survey(self, place: Place) -> None:
        what = wanted()
        facts = place.use({BINARY: NGINX})
        place.files[BINARY].write_bytes(b"edited")
        with pytest.raises(StepError):
            bring(place, what, Local(place.unit), facts)
        assert not (place.releases / what.name).exists()
        assert place.files[BINARY].read_bytes() == b"edited"
        bring(place, what, Local(place.unit))
        assert place.tree() == staged(what.name) | {"sbin/kube-nginx"}

    def test_nginx_refuses_it(self, place: Place) -> None:
        place.use({CONF: b"in use"})
        with pytest.raises(StepError) as caught:
            bring(place, wanted("refuse this\n"), Local(place.unit))
        assert caught.value.status == 67
        assert caught.value.tail.endswith("\nrefuse this")
        assert place.tree() == FOLDERS | {f"conf/{CONF}"}
        assert place.files[CONF].read_bytes() == b"in use"

    def test_a_refusal_leaves_the_other_releases(self, place: Place) -> None:
        what = wanted()
        bring(place, what, Local(place.unit))
        with pytest.raises(StepError):
            bring(place, wanted("refuse\n"), Local(place.unit))
        assert place.tree() == staged(what.name)

    def test_what_a_run_that_was_cut_off_left_behind_is_removed(self, place: Place) -> None:
        what = wanted()
        place.use({CONF: b"in use", UNIT: b"in use"})
        for folder in (f"releases/{what.name}.part", "releases/0123456789.part"):
            Path(place.proxy.prefix, folder).mkdir(parents=True)
            Path(place.proxy.prefix, folder, "old").touch()
        for name in ("conf/.kube-nginx.conf.fresh", "sbin/.kube-nginx.part", "sbin/.kube-nginx.fresh"):
            Path(place.proxy.prefix, name).parent.mkdir(exist_ok=True)
            Path(place.proxy.prefix, name).touch()
        place.unit.with_name(f".{UNIT}.fresh").touch()
        place.unit.with_name("other.service").touch()
        bring(place, what, Local(place.unit))
        assert place.tree() == staged(what.name) | {f"conf/{CONF}", UNIT, "other.service"}

    def test_the_same_again(self, place: Place) -> None:
        what = wanted()
        for _ in range(2):
            bring(place, what, Local(place.unit))
            assert place.tree() == staged(what.name)


# --- lock.sh ---


class TestLock:
    """One command at a time on a node."""

    @pytest.fixture
    def lock(self, tmp_path: Path) -> Path:
        return tmp_path / "it's" / "lock"

    @pytest.fixture(autouse=True)
    def folder(self, lock: Path, shell: None) -> None:
        lock.parent.mkdir()

    def script(
        self, lock: Path, holder: str, wait: float = 0, patience: float = 0, survey: str = ""
    ) -> list[str]:
        given = {"lock": lock, "wait": wait, "patience": patience, "holder": holder, "survey": survey}
        text = shell_script(Lock.files, given)
        return ["sh", "-c", with_defaults(text)]

    @contextmanager
    def held(
        self, lock: Path, holder: str, wait: float = 0, survey: str = ""
    ) -> Iterator[subprocess.Popen[bytes]]:
        """A process that has the lock."""
        command = self.script(lock, holder, wait, survey=survey)
        with subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        ) as process:
            assert process.stdout is not None
            try:
                assert process.stdout.readline() == b"kn.locked=1\n"
                eventually(lambda: self.waits(process.pid))
                yield process
            finally:
                process.kill()

    def waits(self, session: int) -> bool:
        """Whether it has come to the point where it waits for the next beat."""
        return "head" in self.names(session)

    def names(self, session: int) -> list[str]:
        """The programs that run in a session."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with suppress(OSError):  # it ended meanwhile
                name, _, rest = stat.read_text().rpartition(")")
                if int(rest.split()[3]) == session:
                    found.append(name.partition("(")[2])
        return found

    def refused(self, lock: Path, **kwargs: Any) -> str:
        done = subprocess.run(
            self.script(lock, "second", **kwargs), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        assert done.returncode == 75
        return done.stdout.decode()

    def free(self, lock: Path) -> bool:
        """Whether it can be had; it is given back at once."""
        done = subprocess.run(
            self.script(lock, "probe"), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, check=False
        )
        return done.stdout == b"kn.locked=1\n"

    def test_the_second_one_sees_who_has_it(self, lock: Path) -> None:
        with self.held(lock, 'me@here (fab it\'s "$HOME", PID 1)'):
            said = self.refused(lock)
            assert said.startswith('kn.held=me@here (fab it\'s "$HOME", PID 1) since 20')
            assert len(said.splitlines()) == 1

    def test_it_ends_with_its_standard_input(self, lock: Path) -> None:
        with self.held(lock, "first") as process:
            assert process.stdin is not None
            process.stdin.write(b"..")  # two beats
            process.stdin.flush()
            assert not self.free(lock)
            process.stdin.close()
            assert process.wait(20) == 0
            assert self.free(lock)

    def test_it_surveys_as_often_as_it_is_asked(self, lock: Path) -> None:
        with self.held(lock, "first", survey='echo "kn.a=$lock"; echo why >&2; exit 69') as process:
            assert process.stdin is not None
            assert process.stdout is not None
            for asked in (b"?", b".?."):
                process.stdin.write(asked)
                process.stdin.flush()
                said = [process.stdout.readline().decode() for _ in range(3)]
                assert said == [f"kn.a={lock}\n", "why\n", "kn.surveyed=69\n"]
                assert not self.free(lock)

    def test_a_survey_that_hangs_keeps_no_lock(self, lock: Path, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "never")
        hangs = f"echo begun; read -r row < {shlex.quote(str(tmp_path / 'never'))}"
        with self.held(lock, "first", survey=hangs) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(b"?")
            process.stdin.flush()
            assert process.stdout.readline() == b"begun\n"
            process.stdin.close()
            assert process.wait(20) == 0
            assert self.free(lock)
            os.close(os.open(tmp_path / "never", os.O_WRONLY))

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
    def test_it_ends_when_its_shell_was_killed_and_the_connection_is_gone(
        self, lock: Path, number: signal.Signals
    ) -> None:
        with self.held(lock, "first") as process:
            assert process.stdin is not None
            process.send_signal(number)
            assert process.wait(20) == -number
            process.stdin.close()
            eventually(lambda: self.free(lock))

    @pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
    def test_it_ends_with_the_next_beat_when_its_shell_was_killed(
        self, lock: Path, number: signal.Signals
    ) -> None:
        with self.held(lock, "first") as process:
            assert process.stdin is not None
            os.killpg(process.pid, number)
            assert process.wait(20) == -number
            process.stdin.write(b".")
            process.stdin.flush()
            eventually(lambda: self.free(lock))

    def test_the_next_one_waits_for_it(self, lock: Path) -> None:
        with self.held(lock, "first") as first:
            assert first.stdin is not None
            waiting = subprocess.Popen(
                self.script(lock, "second", wait=30), stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            with waiting:
                assert waiting.stdin is not None
                assert waiting.stdout is not None
                first.stdin.close()
                assert waiting.stdout.readline() == b"kn.locked=1\n"
                assert (lock / "lock").read_text().startswith("second since ")
                waiting.stdin.close()

    def test_waiting_comes_to_an_end(self, lock: Path) -> None:
        with self.held(lock, "first"):
            assert self.refused(lock, wait=0.05).startswith("kn.held=first since ")

    @contextmanager
    def flocked(self, path: Path, mark: str) -> Iterator[int]:
        """Some process that has a file locked; a mark of ours in its text makes it one of ours."""
        script = f"{mark}\nexec 9<>{shlex.quote(str(path))}; flock -n 9; echo; read -r line; :"
        with subprocess.Popen(["sh", "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"\n"
            yield process.pid
            process.communicate()

    @pytest.mark.parametrize("before", ["", "the version before"])
    def test_an_activation_that_goes_on_is_waited_for(self, lock: Path, before: str) -> None:
        assert self.free(lock)
        with self.flocked(Path(f"{lock}.action") if before else lock / "action", "# kn.%s"):
            said = self.refused(lock, patience=0.05)
            assert said == "kn.held=an activation that was begun earlier, which is not over yet\n"
            assert (lock / "lock").read_text().startswith("second since ")  # who waits there has the lock
        assert self.free(lock)

    def test_it_lets_an_activation_go_on(self, lock: Path) -> None:
        with self.held(lock, "first"), (lock / "action").open("w") as action:
            fcntl.flock(action, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @pytest.mark.parametrize(("name", "patience"), [("lock", 0), ("action", 0.05)])
    def test_one_that_is_not_ours_is_told_as_such(self, lock: Path, name: str, patience: float) -> None:
        """Whoever had it last is not whoever has it now, nor is whoever waits for it."""
        assert self.free(lock)
        with self.flocked(lock / name, ":") as pid:
            waits = self.script(lock, "third", wait=30, patience=30)
            with subprocess.Popen(waits, stdin=subprocess.DEVNULL, start_new_session=True) as waiting:
                eventually(lambda: "flock" in self.names(waiting.pid))
                said = self.refused(lock, patience=patience)
                os.killpg(waiting.pid, signal.SIGKILL)
        who = f"kn.stranger={pid}\nkn.held=locked by a process that is not fab's: PID {pid}\n"
        assert said == who if name == "lock" else said.startswith("kn.held=third since ")

    def test_the_version_before_takes_the_same_lock(self, lock: Path) -> None:
        old = lock.with_name("lock.lock")
        old.write_text("ann@admin (fab deploy, PID 1) since noon")
        old.chmod(0o644)
        with self.flocked(old, "# kn.locked"):
            assert self.refused(lock) == "kn.held=ann@admin (fab deploy, PID 1) since noon\n"
            assert old.stat().st_mode & 0o777 == 0o600
        with self.held(lock, "second"), old.open() as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)

    @pytest.mark.parametrize(
        "damage", ["", "chmod 777", "touch", "chown 1", "chmod 666 lock/*", "ln -s /tmp"]
    )
    def test_it_is_of_root_alone(self, lock: Path, damage: str) -> None:
        if damage.startswith(("chmod", "chown")):
            assert self.free(lock)
        if damage:
            where = damage if "/" in damage and not damage.startswith("ln") else f"{damage} lock"
            subprocess.run(["sh", "-c", where], cwd=lock.parent, check=True)
        assert self.free(lock)
        for path in (lock, *lock.iterdir(), *lock.parent.glob("lock.*")):
            assert not path.is_symlink()
            assert (path.stat().st_uid, path.stat().st_mode & 0o077) == (os.getuid(), 0)
        assert {path.name for path in lock.iterdir()} == {"lock", "action", "drill"}

    # that of util-linux before 2.25.2 refuses -w 0
    def test_with_the_flock_of_centos_7(
        self, lock: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        old = tmp_path / "flock"
        refusal = '[ "$1 $2" != "-w 0" ] || { echo "flock: timeout cannot be zero" >&2; exit 64; }'
        old.write_text(f'#!/bin/sh\n{refusal}\nexec {shutil.which("flock")} "$@"\n')
        old.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
        assert self.free(lock)


# --- activate.sh, as far as it needs no systemd ---


FILES, ALL_FUNCTIONS = "# --- the service ---", "before=$(name_of '')"


def functions(
    place: Place, call: str, until: str = FILES, whole: bool = False, **given: object
) -> subprocess.CompletedProcess[str]:
    """Runs `call` after the functions of activate.sh that handle files, under a lock that is ours.

    `until` is where they end; `whole` has the rest of the script follow.
    """
    lock = place.unit.parent / "lock"
    lock.mkdir(exist_ok=True)
    (lock / "lock").write_text("me since yesterday")
    names = dict.fromkeys(("release", "previous", "action", "unmanaged", "boot", "listen", "listened"), "")
    names |= {"was_active": "", "was_enabled": "", "served": "", "began_by": "", "repair": "", "watch": ""}
    more = {"lock": lock, "holder": "me", "timeout": 100, "settle": 0, "keep": 3}
    text = library(place.proxy.prefix, *Activate.files[1:], unit_path=place.unit, **names | more | given)
    head, mark, rest = text.partition(until)
    assert mark
    script = f'{head}systemctl() {{ echo "systemctl $*"; }}\n{call}\n{mark + rest if whole else ""}'
    return subprocess.run(
        ["sh", "-c", with_defaults(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


ALL = {BINARY: b"\0binary", CONF: b"conf\n", UNIT: b"unit\n"}


def keep(place: Place, name: str, contents: dict[str, bytes]) -> Path:
    folder = place.releases / name
    folder.mkdir(parents=True)
    for file, content in contents.items():
        (folder / file).write_bytes(content)
        (folder / file).chmod(int(MODES[file], 8))
    return folder


def keep_whole(place: Place, contents: dict[str, bytes]) -> str:
    """Keeps a release under the name that its files give it; returns that."""
    name = name_of({file: sha256(content).hexdigest() for file, content in contents.items()})
    keep(place, name, contents)
    return name


def in_use(place: Place) -> dict[str, bytes]:
    return {name: path.read_bytes() for name, path in place.files.items() if path.exists()}


def folders(place: Place) -> None:
    for path in place.files.values():
        path.parent.mkdir(parents=True, exist_ok=True)


class TestActivateMayBegin:
    """Only under its own lock, and only one at a time."""

    def test_it_may(self, place: Place) -> None:
        assert functions(place, "echo began", until=ALL_FUNCTIONS).stdout == "began\n"

    @pytest.mark.parametrize("holder", ["somebody", "m", "me since", "*", "me since yesterday and"])
    def test_the_lock_has_gone_to_somebody_else(self, place: Place, holder: str) -> None:
        done = functions(place, "echo began", until=ALL_FUNCTIONS, holder=holder)
        assert (done.returncode, done.stdout) == (75, "")
        assert done.stderr == "the lock on the node has gone to somebody else\n"

    def test_another_one_is_under_way(self, place: Place) -> None:
        (place.unit.parent / "lock").mkdir()
        with (place.unit.parent / "lock" / "action").open("w") as action:
            fcntl.flock(action, fcntl.LOCK_EX)
            done = functions(place, "echo began", until=ALL_FUNCTIONS)
        who = f"locked by a process that is not fab's: PID {os.getpid()}"
        assert (done.returncode, done.stdout, done.stderr) == (
            75,
            f"kn.stranger={os.getpid()}\nkn.held={who}\n",
            f"{who}\n",
        )


class TestPut:
    """The files of a release come into use."""

    def test_all(self, place: Place) -> None:
        folders(place)
        name = keep_whole(place, ALL)
        assert functions(place, f"put {name} && echo done").stdout == "done\n"
        assert in_use(place) == ALL
        assert {f"{path.stat().st_mode & 0o7777:o}" for path in place.files.values()} == {"755", "644"}
        assert not [name for name in place.tree() if ".fresh" in name]

    def test_what_is_the_same_is_left_alone(self, place: Place) -> None:
        folders(place)
        name = keep_whole(place, ALL)
        functions(place, f"put {name}")
        place.files[CONF].write_bytes(b"edited")
        before = {file: path.stat().st_ino for file, path in place.files.items()}
        assert functions(place, f"put {name}").returncode == 0
        after = {file: path.stat().st_ino for file, path in place.files.items()}
        assert {file for file in NAMES if before[file] != after[file]} == {CONF}
        assert in_use(place) == ALL

    def test_another_mode_is_put_right(self, place: Place) -> None:
        folders(place)
        name = keep_whole(place, ALL)
        functions(place, f"put {name}")
        before = place.files[BINARY].stat()
        place.files[BINARY].chmod(0o4777)
        functions(place, f"put {name}")
        after = place.files[BINARY].stat()
        assert (after.st_mode, after.st_ino) == (before.st_mode, before.st_ino)

    def test_what_the_release_does_not_have_is_removed(self, place: Place) -> None:
        place.use(ALL)
        done = functions(place, f"put {keep_whole(place, {CONF: b'older'})}")
        assert (done.returncode, done.stdout) == (0, "systemctl disable kube-nginx.service\n")
        assert in_use(place) == {CONF: b"older"}

    def test_the_unit_of_a_release_that_has_one_stays_enabled(self, place: Place) -> None:
        place.use(ALL)
        done = functions(place, f"put {keep_whole(place, {UNIT: b'older'})}")
        assert (done.returncode, done.stdout) == (0, "")
        assert in_use(place) == {UNIT: b"older"}

    def refused(self, place: Place, name: str) -> None:
        """It is not put in place, and no file is touched."""
        before = {file: (path.stat().st_ino, path.stat().st_ctime_ns) for file, path in place.files.items()}
        done = functions(place, f"put '{name}'; status=$?; echo \"$why\"; exit $status")
        assert (done.returncode, done.stdout) == (1, f"the release {name} is damaged on the node\n")
        after = {file: (path.stat().st_ino, path.stat().st_ctime_ns) for file, path in place.files.items()}
        assert (after, in_use(place)) == (before, ALL)

    @pytest.mark.parametrize("name", ["0123456789", "NAME/kube-nginx", "NAME/", "../releases/NAME", ".", ""])
    def test_a_release_that_is_not_there(self, place: Place, name: str) -> None:
        place.use(ALL)
        self.refused(place, name.replace("NAME", keep_whole(place, {**ALL, CONF: b"other"})))

    @pytest.mark.parametrize("damaged", NAMES)
    @pytest.mark.parametrize(
        "damage",
        [
            lambda path: path.write_bytes(bytes([path.read_bytes()[0] ^ 1]) + path.read_bytes()[1:]),
            lambda path: path.write_bytes(path.read_bytes()[:-1]),
            lambda path: path.write_bytes(b""),
            lambda path: path.unlink(),
        ],
        ids=["one bit", "cut short", "empty", "gone"],
    )
    def test_a_release_that_was_damaged(
        self, place: Place, damaged: str, damage: Callable[[Path], object]
    ) -> None:
        place.use(ALL)
        name = keep_whole(place, {file: content + b"new" for file, content in ALL.items()})
        damage(place.releases / name / damaged)
        self.refused(place, name)

    def test_a_file_that_cannot_be_put_there(self, place: Place) -> None:
        place.use({CONF: b"old"})
        name = keep_whole(place, ALL)
        (place.files[CONF].parent / f".{CONF}.fresh").mkdir()
        folders(place)
        done = functions(place, f"put {name} && echo done")
        assert (done.returncode, done.stdout) == (1, "")
        assert in_use(place)[CONF] == b"old"

    def test_nothing_is_changed_when_there_is_no_room_for_all(self, place: Place) -> None:
        place.use(ALL)
        name = keep_whole(place, {file: content + b"new" for file, content in ALL.items()})
        full = f'dd() {{ case $* in *{UNIT}*) return 1 ;; *) command dd "$@" ;; esac; }}'
        done = functions(place, f"{full}; put {name} || echo refused")
        assert (done.stdout, in_use(place)) == ("refused\n", ALL)

    def test_what_is_left_of_one_that_failed_does_not_come_into_use(self, place: Place) -> None:
        place.use(ALL)
        place.files[BINARY].chmod(0o755)
        fails = keep_whole(place, {file: content + b"new" for file, content in ALL.items()})
        name = keep_whole(place, {**ALL, CONF: b"older"})
        full = f'dd() {{ case $* in *{UNIT}*) return 1 ;; *) command dd "$@" ;; esac; }}'
        assert functions(place, f"{full}; put {fails} || echo refused").stdout == "refused\n"
        assert functions(place, f"put {name} && echo done").stdout == "done\n"
        assert in_use(place) == {**ALL, CONF: b"older"}

    def test_the_way_back_from_one_that_failed_half_way(self, place: Place) -> None:
        """A file that may not be replaced (chattr +i) stays, and is no reason not to go back."""
        place.use(ALL)
        before = keep_whole(place, ALL)
        fails = keep_whole(place, {file: content + b"new" for file, content in ALL.items()})
        fixed = f'mv() {{ case $* in *conf/{CONF}) return 1 ;; *) command mv "$@" ;; esac; }}'
        done = functions(place, f"{fixed}; put {fails} || echo refused; put {before} && echo back")
        assert (done.stdout, in_use(place)) == ("refused\nback\n", ALL)


def test_copy_is_exact(place: Place, tmp_path: Path) -> None:
    source, copy = tmp_path / "a", tmp_path / "b c"
    source.write_bytes(bytes(range(256)) * 9000)
    source.chmod(0o640)
    if os.getuid() == 0:
        os.chown(source, 12, 34)
    copy.write_bytes(b"longer" * 999999)
    both = f"'{source}' '{copy}'"
    done = functions(place, f"copy {both} && sums {both} && same {both} && echo same")
    assert (done.stdout, done.stderr) == ("same\n", "")
    assert copy.read_bytes() == source.read_bytes()
    assert (copy.stat().st_mode, copy.stat().st_uid) == (source.stat().st_mode, source.stat().st_uid)


def test_where_a_link_waits_nothing_is_written_to_what_it_leads_to(place: Place, tmp_path: Path) -> None:
    """A copy, and the record of what was loaded."""
    theirs = tmp_path / "theirs"
    theirs.write_text("theirs")
    place.use(ALL)
    place.releases.mkdir()
    waits = [place.files[CONF].with_name(f".{CONF}.fresh"), place.releases / ".running"]
    for path in waits:
        path.symlink_to(theirs)
    call = "main() { echo 7; }; workers() { :; }; first=7; record"
    copy = shlex.join(["copy", str(place.files[CONF]), str(waits[0])])
    done = functions(place, f"{copy} && {call}", until=ALL_FUNCTIONS)
    assert (done.returncode, done.stderr, theirs.read_text()) == (0, "", "theirs")
    assert (waits[0].is_symlink(), waits[0].read_bytes()) == (False, ALL[CONF])
    assert (place.releases / "running").read_text().startswith("main=")


@pytest.mark.parametrize("change", ["echo >> a", "rm a", "rm b", "ln -sf a b"])
def test_same_sees_every_difference(place: Place, tmp_path: Path, change: str) -> None:
    begin = f"cd '{tmp_path}'; echo x > a; chmod 644 a; copy a b; sums a b; same a b && echo same"
    done = functions(place, f"{begin}; {change}; sums a b; same a b || echo differs")
    assert done.stdout == "same\ndiffers\n"


class TestKeepLive:
    """What is in use is kept before it is replaced."""

    def test_all(self, place: Place) -> None:
        place.use(ALL)
        place.files[CONF].chmod(0o600)
        place.releases.mkdir()
        assert functions(place, "before=b; keep_live && echo done").stdout == "done\n"
        assert {path.name: path.read_bytes() for path in (place.releases / "b").iterdir()} == ALL
        assert (place.releases / "b" / CONF).stat().st_mode & 0o7777 == 0o600
        assert os.listdir(place.releases) == ["b"]

    def test_nothing(self, place: Place) -> None:
        """A folder all the same: going back to it removes what came."""
        place.releases.mkdir(parents=True)
        assert functions(place, "before=b; keep_live && echo done").stdout == "done\n"
        assert os.listdir(place.releases / "b") == []

    def test_what_is_kept_already_is_left_alone(self, place: Place) -> None:
        place.use(ALL)
        name = keep_whole(place, ALL)
        before = [file.stat().st_ino for file in sorted((place.releases / name).iterdir())]
        assert functions(place, f"before={name}; keep_live && echo done").stdout == "done\n"
        assert [file.stat().st_ino for file in sorted((place.releases / name).iterdir())] == before

    def test_what_was_kept_and_is_damaged_is_kept_anew(self, place: Place) -> None:
        place.use(ALL)
        name = keep_whole(place, ALL)
        (place.releases / name / CONF).write_bytes(b"")
        assert functions(place, f"before={name}; keep_live && echo done").stdout == "done\n"
        assert (place.releases / name / CONF).read_bytes() == ALL[CONF]

    def test_there_and_back_again(self, place: Place) -> None:
        place.use(ALL)
        before = {name: path.stat().st_mode for name, path in place.files.items()}
        name = keep_whole(place, {BINARY: b"other"})
        call = f"before=$(name_of ''); keep_live && put {name} && name_of '' && put $before && name_of ''"
        done = functions(place, call)
        disabled, there, back = done.stdout.splitlines()
        assert (disabled, there) == ("systemctl disable kube-nginx.service", name)
        assert back == name_of({file: sha256(content).hexdigest() for file, content in ALL.items()})
        assert in_use(place) == ALL
        assert {name: path.stat().st_mode for name, path in place.files.items()} == before


def test_point_replaces_a_link_at_once(place: Place) -> None:
    for name in ("r0", "r1"):
        keep(place, name, {})
    assert functions(place, "point current r0; point current r1").returncode == 0
    assert (place.releases / "current").readlink() == Path("r1")
    assert sorted(os.listdir(place.releases)) == ["current", "r0", "r1"]
    assert os.listdir(place.releases / "r0") == []


class TestBoots:
    """Whether it starts at boot."""

    FUNCTION = re.search(r"(?ms)^boots\(\) \{$.*?^\}$", (TEMPLATES / "service.sh").read_text())

    def asked(self, place: Place, boot: str, state: str, status: int = 0) -> tuple[list[str], str]:
        """What systemd is asked to do when its UnitFileState is `state`, and what comes of it."""
        assert self.FUNCTION
        stubs = (
            f"of_systemd() {{ echo {state}; }}; systemctl() {{ echo $* >> $lock.asked; return {status}; }}"
        )
        call = f'{stubs}\nalong=\n{self.FUNCTION[0]}\nif boots; then echo yes; else echo "$why"; fi'
        done = functions(place, call, boot=boot)
        assert done.stderr == ""
        asked = place.unit.parent / "lock.asked"
        return asked.read_text().splitlines() if asked.exists() else [], done.stdout.strip()

    @pytest.mark.parametrize(
        ("boot", "state", "verb"),
        [
            ("1", "disabled", "enable"),
            ("1", "", "enable"),
            ("1", "enabled-runtime", "enable"),
            ("1", "enabled", ""),
            ("0", "enabled", "disable"),
            ("0", "disabled", ""),
            ("", "enabled", ""),
            ("", "disabled", ""),
        ],
    )
    def test_it_is_as_it_is_to_be(self, place: Place, boot: str, state: str, verb: str) -> None:
        assert self.asked(place, boot, state) == ([f"{verb} kube-nginx.service"] if verb else [], "yes")

    @pytest.mark.parametrize(
        ("boot", "state", "verb"), [("1", "disabled", "enable"), ("0", "enabled", "disable")]
    )
    def test_systemd_refuses(self, place: Place, boot: str, state: str, verb: str) -> None:
        asked, said = self.asked(place, boot, state, status=1)
        assert (asked, said) == ([f"{verb} kube-nginx.service"], f"systemctl {verb} failed")


class TestDoneWith:
    """What stays on the node when it has been seen to work."""

    FUNCTION = re.search(r"(?ms)^done_with\(\) \{$.*?^\}$", (TEMPLATES / "activate.sh").read_text())

    def done(self, place: Place, **given: Any) -> set[str]:
        """Has ...4 done with, where ...3 was in use, and ...0 is the oldest; what then is there."""
        assert self.FUNCTION
        stubs = "record() { : > $releases/running; }\nis_complete() { [ -f $releases/$1/kube-nginx ]; }"
        call = f"{self.FUNCTION[0]}\n{stubs}\nbefore=${{was:-f000000003}} proven=; done_with"
        names: dict[str, Any] = {"release": "f000000004", "previous": "-", "action": "reload"} | given
        done = functions(place, call, **names)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        return set(os.listdir(place.releases))

    @pytest.fixture(autouse=True)
    def releases(self, place: Place) -> None:
        for age, name in enumerate(("f000000003", "f000000002", "f000000004", "f000000001", "f000000000"), 1):
            os.utime(keep(place, name, ALL), (-age, -age))

    @pytest.mark.parametrize(
        ("count", "left"),
        [
            (2, {"f000000004", "f000000003"}),
            (3, {"f000000004", "f000000003", "f000000002"}),
            (4, {"f000000004", "f000000003", "f000000002", "f000000001"}),
            (9, {"f000000004", "f000000003", "f000000002", "f000000001", "f000000000"}),
        ],
    )
    def test_the_newest_stay(self, place: Place, count: int, left: set[str]) -> None:
        assert self.done(place, keep=count) == left | {"current", "previous", "running"}
        assert (place.releases / "current").readlink() == Path("f000000004")
        assert (place.releases / "previous").readlink() == Path("f000000003")

    def test_the_previous_one_stays_however_old_it_is(self, place: Place) -> None:
        assert self.done(place, previous="f000000000", keep=2) == {
            "f000000004",
            "f000000000",
            "current",
            "previous",
            "running",
        }
        assert (place.releases / "previous").readlink() == Path("f000000000")

    def test_there_may_be_no_previous_one(self, place: Place) -> None:
        (place.releases / "previous").symlink_to("f000000001")
        assert self.done(place, previous="", keep=3) == {"f000000004", "f000000003", "current", "running"}

    @pytest.mark.parametrize("was", ["f000000004", "f000000002"], ids=["the same again", "nothing was there"])
    def test_the_previous_one_is_left_as_it_was(self, place: Place, was: str) -> None:
        (place.releases / "previous").symlink_to("f000000001")
        (place.releases / "f000000002" / BINARY).unlink()
        self.done(place, was=was)
        assert (place.releases / "previous").readlink() == Path("f000000001")

    def test_without_a_release_nothing_is_removed(self, place: Place) -> None:
        there = set(os.listdir(place.releases))
        assert self.done(place, release="", keep=2) == there | {"running"}
        assert self.done(place, release="", action="stop") == there | {"running"}


def of_common(place: Place, call: str) -> str:
    """What `call` says after the functions that all scripts share."""
    script = f"{library(place.proxy.prefix, unit_path=place.unit)}\n{call}"
    done = subprocess.run(
        ["sh", "-c", with_defaults(script)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stderr == ""
    return done.stdout


class TestMain:
    """Which process is the main one."""

    @pytest.mark.parametrize(
        ("text", "found"),
        [
            ("77\n", "77"),
            ("0\n", "5"),
            ("", "5"),
            (None, "5"),
            ("7 7\n", "5"),
            ("-1\n", "5"),
            ("7/../1\n", "5"),
        ],
    )
    def test_of_the_pid_file_or_of_systemd(self, place: Place, text: str | None, found: str) -> None:
        if text is not None:
            file = Path(place.proxy.prefix, "logs", "nginx.pid")
            file.parent.mkdir(parents=True)
            file.write_text(text)
        place.unit.write_text("PIDFile=/x/nginx.pid\n")
        stubs = 'is_master() { [ "$1" = 77 ]; }; systemctl() { echo MainPID=5; }; children() { :; }'
        stubs += "; in_unit() { [ $1 = 5 ]; }"
        assert of_common(place, f"{stubs}; ask; main") == f"{found}\n"

    def test_without_a_pid_file_in_the_unit_systemd_knows(self, place: Place) -> None:
        """It ends them all when the one that it knows ends."""
        file = Path(place.proxy.prefix, "logs", "nginx.pid")
        file.parent.mkdir(parents=True)
        file.write_text("77\n")
        stubs = "is_master() { :; }; systemctl() { echo MainPID=5; }; in_unit() { [ $1 = 5 ]; }"
        assert of_common(place, f"{stubs}; ask; main") == "5\n"

    def test_a_process_outside_of_the_unit_is_not(self, place: Place) -> None:
        file = Path(place.proxy.prefix, "logs", "nginx.pid")
        file.parent.mkdir(parents=True)
        file.write_text(f"{os.getpid()}\n")
        place.unit.write_text("PIDFile=/x/nginx.pid\n")
        stubs = "systemctl() { echo MainPID=5; }; in_unit() { [ $1 = 5 ]; }; children() { :; }"
        assert of_common(place, f"{stubs}; ask; main") == "5\n"

    def test_a_worker_is_not(self, place: Place, tmp_path: Path) -> None:
        file = Path(place.proxy.prefix, "logs", "nginx.pid")
        file.parent.mkdir(parents=True)
        with family(tmp_path, "nginx: worker process", "nginx: master process") as (parent, pids):
            worker, master = pids
            eventually(lambda: "worker" in named(worker) and "master" in named(master))
            stubs = f"in_unit() {{ :; }}; systemctl() {{ echo MainPID={parent}; }}"
            file.write_text(f"{worker}\n")
            place.unit.write_text("PIDFile=/x/nginx.pid\n")
            assert of_common(place, f"{stubs}; ask; main") == f"{master}\n"

    @pytest.mark.parametrize("kind", ["fifo", "link", "folder"])
    def test_what_is_no_file_is_not_read(self, place: Place, kind: str) -> None:
        file = Path(place.proxy.prefix, "logs", "nginx.pid")
        file.parent.mkdir(parents=True)
        if kind == "fifo":
            os.mkfifo(file)
        elif kind == "folder":
            file.mkdir()
        else:
            file.symlink_to("/dev/zero")
        stubs = "systemctl() { echo MainPID=5; }; in_unit() { [ $1 = 5 ]; }; children() { :; }"
        assert of_common(place, f"{stubs}; ask; main") == "5\n"


@contextmanager
def family(tmp_path: Path, *names: str) -> Iterator[tuple[int, list[int]]]:
    """A process with children that go by these names, and their PIDs."""
    fifo = tmp_path / "never"
    os.mkfifo(fifo)
    children = "".join(f"sh -c 'read -r word < {fifo}; :' {shlex.quote(name)} & echo $!; " for name in names)
    with subprocess.Popen(
        ["sh", "-c", f"{children} echo; wait"], stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stdout is not None
        try:
            yield process.pid, [int(line) for line in iter(process.stdout.readline, "\n")]
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def named(pid: int) -> str:
    """The words of a process's command line; "" if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text()
    except OSError:
        return ""


def test_the_children_of_a_process_and_its_workers(place: Place, tmp_path: Path) -> None:
    names = ["nginx: worker process", "nginx: worker process is shutting down", "nginx: master process"]
    with family(tmp_path, *names) as (parent, pids):
        eventually(lambda: all(name in named(pid) for name, pid in zip(names, pids, strict=True)))
        assert sorted(map(int, of_common(place, f"children {parent}").split())) == sorted(pids)
        assert of_common(place, f"workers {parent}") == f"{pids[0]}\n"
        assert of_common(place, f"parent {pids[0]}") == f"{parent}\n"
        ticks = Path(f"/proc/{parent}/stat").read_text().rpartition(")")[2].split()[19]
        assert of_common(place, f"started {parent}") == f"{ticks}\n"
    assert of_common(place, f"children {parent}; workers {parent}; parent {parent}; started {parent}") == ""


def test_clean_leaves_one_word(place: Place) -> None:
    assert of_common(place, r"printf 'a b\tc\nd\033e' | clean") == "a?b?cd?e"


def test_the_kernels_list_of_those_that_listen(place: Place) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        line = as_kernel(Endpoint(*listener.getsockname()))
        found = [row.split() for row in of_common(place, "listening").splitlines()]
        inode = os.fstat(listener.fileno()).st_ino
        assert [number for address, number in found if address == line] == [str(inode)]
        assert f"socket:[{inode}]" in of_common(place, f"sockets {os.getpid()}").split()


class TestSendAway:
    """What came of USR2 and does not work ends; the old master is the main process again."""

    def sent(self, place: Place, old: int, number: str) -> str:
        stubs = "in_unit() { :; }; main() { echo $old; }"
        call = f"{stubs}; old={old}; send_away {number} 300 && echo gone || echo stays"
        return functions(place, call, until=ALL_FUNCTIONS).stdout

    @pytest.mark.parametrize("number", ["TERM", "KILL"])
    def test_only_what_is_no_worker(self, place: Place, tmp_path: Path, number: str) -> None:
        with family(tmp_path, "nginx: master process", "nginx: worker process") as (old, (master, worker)):
            eventually(lambda: "nginx: master" in named(master) and "nginx: worker" in named(worker))
            assert self.sent(place, old, number) == "gone\n"
            assert named(master) == ""
            assert "worker" in named(worker)

    def test_one_that_does_not_go(self, place: Place, tmp_path: Path) -> None:
        with family(tmp_path) as (old, _):
            call = f"old={old}; main() {{ echo 0; }}; send_away TERM 10 || echo stays"
            assert functions(place, call, until=ALL_FUNCTIONS).stdout == "stays\n"


class TestStrays:
    """A kube-nginx that has the port and is not the unit's; any other process is left alone."""

    def ended(self, place: Place, binary: Path, stubs: str = "", gone: bool = False) -> bool:
        """Whether a restart ends a process of this binary."""
        binary.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(shutil.which("sleep") or "sleep", binary)
        with subprocess.Popen([str(binary), "600"]) as process:
            if gone:
                binary.unlink()
            stubs += "\nmain() { echo 5; }; timeout() { :; }; settles() { :; }; logs_for() { :; }"
            try:
                done = functions(
                    place, f"{stubs}; restart 0", until=ALL_FUNCTIONS, unmanaged=f"{process.pid} 999999999"
                )
                assert done.returncode == 0
                with suppress(subprocess.TimeoutExpired):
                    return process.wait(0.3) == -signal.SIGTERM
            finally:
                process.kill()
        return False

    def test_ours(self, place: Place) -> None:
        assert self.ended(place, place.files[BINARY])

    def test_ours_whose_file_was_replaced(self, place: Place) -> None:
        assert self.ended(place, place.files[BINARY], gone=True)

    def test_ours_in_the_unit(self, place: Place) -> None:
        assert not self.ended(place, place.files[BINARY], "in_unit() { :; }")

    def test_somebody_elses_that_has_the_pid_now(self, place: Place, tmp_path: Path) -> None:
        assert not self.ended(place, tmp_path / "other" / "kube-nginx")


@pytest.mark.parametrize(("first", "unit"), [("7", "old"), ("5", sha256(b"unit\n").hexdigest())])
def test_a_process_that_goes_on_is_one_of_the_unit_with_which_it_began(
    place: Place, first: str, unit: str
) -> None:
    place.use(ALL)
    place.releases.mkdir(parents=True)
    call = f"main() {{ echo 7; }}; workers() {{ :; }}; first={first}; record"
    functions(place, call, until=ALL_FUNCTIONS, began_by="old")
    recorded = dict(line.split("=", 1) for line in (place.releases / "running").read_text().splitlines())
    assert (recorded["unit"], recorded["conf"]) == (unit, sha256(b"conf\n").hexdigest())


class TestThereAndBack:
    """The whole of activate.sh, but for what it asks of systemd and of nginx."""

    STUBS = """
        unit_is=active
        timeout() { [ "$1" != -s ] || shift 2; shift; "$@"; }
        systemctl() { case $1 in show | cat) ;; *) echo "systemctl $*" >> "$lock.did" ;; esac; }
        of_systemd() {
          case $1 in
            ActiveState) echo $unit_is ;;
            UnitFileState) echo enabled ;;
            LoadState) echo loaded ;;
            NeedDaemonReload) echo no ;;
          esac
        }
        main() { cat "$lock.main"; }; workers() { cat "$lock.workers"; }
        holds() { :; }; journal() { :; }; boots() { :; }; needs() { :; }
        passes() { :; }; passes_live() { :; }
        once() { [ ! -e "$lock.first" ] || { rm "$lock.first"; why=no; false; }; }
        restart() { echo restart >> "$lock.did"; echo 9 > "$lock.main"; once; }
        reload() { echo reload >> "$lock.did"; echo 99 > "$lock.workers"; once; }
        upgrade() { echo upgrade >> "$lock.did"; once; }
        echo 7 > "$lock.main"; echo 77 > "$lock.workers"
    """

    def run(self, place: Place, stubs: str = "", **given: object) -> tuple[int, dict[str, str], list[str]]:
        """Exit status, what is said, and what was done to the service."""
        done = functions(place, f"{self.STUBS}\n{stubs}", until=ALL_FUNCTIONS, whole=True, **given)
        did = place.unit.parent / "lock.did"
        said = dict(line.removeprefix("kn.").split("=", 1) for line in done.stdout.splitlines())
        assert done.stderr == ""
        return done.returncode, said, did.read_text().splitlines() if did.exists() else []

    @pytest.fixture
    def names(self, place: Place) -> tuple[str, str]:
        """The release in use, and one that is to come."""
        place.use(ALL)
        for name, path in place.files.items():
            path.chmod(int(MODES[name], 8))
        return name_of({n: sha256(c).hexdigest() for n, c in ALL.items()}), keep_whole(
            place, {**ALL, CONF: b"new"}
        )

    @pytest.mark.parametrize("action", ["reload", "upgrade", "restart"])
    def test_there(self, place: Place, names: tuple[str, str], action: str) -> None:
        status, said, did = self.run(place, release=names[1], action=action, previous="-")
        assert (status, said["result"], said["before"], did) == (0, "done", names[0], [action])
        assert in_use(place) == {**ALL, CONF: b"new"}
        links = {which: str((place.releases / which).readlink()) for which in ("current", "previous")}
        assert links == {"current": names[1], "previous": names[0]}
        assert (place.releases / "running").read_text().startswith("main=")

    @pytest.mark.parametrize(
        ("action", "did"),
        [("reload", ["reload"] * 2), ("upgrade", ["upgrade"]), ("restart", ["restart"] * 2)],
    )
    def test_back(self, place: Place, names: tuple[str, str], action: str, did: list[str]) -> None:
        """What goes on as it was before is not touched again."""
        status, said, seen = self.run(place, ': > "$lock.first"', release=names[1], action=action)
        assert (status, said["result"], said["why"], seen) == (1, "back", "no", did)
        assert in_use(place) == ALL
        assert not (place.releases / "current").exists()

    @pytest.mark.parametrize("action", ["reload", "upgrade", "restart"])
    def test_the_files_could_not_be_put_there(
        self, place: Place, names: tuple[str, str], action: str
    ) -> None:
        """Nothing is done to the service, which goes on."""
        (place.releases / names[1] / CONF).unlink()
        status, said, did = self.run(place, release=names[1], action=action)
        assert (status, said["result"], did) == (1, "refused", [])
        assert said["why"] == f"the release {names[1]} is damaged on the node"
        assert in_use(place) == ALL

    def test_what_was_there_does_not_come_back(self, place: Place, names: tuple[str, str]) -> None:
        stubs = ': > "$lock.first"; holds() { why=gone; false; }'
        status, said, did = self.run(place, stubs, release=names[1], action="restart")
        assert (status, said["result"], said["still"], did) == (1, "lost", "gone", ["restart"] * 2)

    @pytest.mark.parametrize(
        ("state", "was", "ends"),
        [
            ("inactive", "0", ["stop", "reset-failed"]),
            ("failed", "0", ["stop", "reset-failed"]),
            ("activating", "trying", ["stop", "reset-failed", "--no-block start"]),
        ],
    )
    def test_nothing_ran_before(
        self, place: Place, names: tuple[str, str], state: str, was: str, ends: list[str]
    ) -> None:
        stubs = f': > "$lock.first"; unit_is={state}'
        status, said, did = self.run(place, stubs, release=names[1], action="restart")
        assert (status, said["result"], said["was_active"]) == (1, was, was)
        assert did == ["restart", *(f"systemctl {verb} kube-nginx.service" for verb in ends)]

    @pytest.mark.parametrize("fails", [False, True])
    def test_the_watch_comes_along_with_the_first(
        self, place: Place, names: tuple[str, str], fails: bool
    ) -> None:
        """It is put there before the service starts, and goes again if that does not."""
        for name in (WATCH, WATCH_UNIT):
            (place.releases / names[1] / name).write_bytes(b"new")
        stubs = "unit_is=inactive" + ('; : > "$lock.first"' if fails else "")
        stubs += '; restart() { ls "$watcher" "$watch_path" > "$lock.did" && once; }'
        given = {"release": names[1], "action": "restart", "watch": "1", "boot": "1", "was_enabled": "0"}
        status, said, did = self.run(place, stubs, **given)
        files = [Path(place.proxy.prefix, "sbin", WATCH), place.unit.parent / WATCH_UNIT]
        assert (status, said["result"]) == ((1, "0") if fails else (0, "done"))
        assert [file.exists() for file in files] == [not fails] * 2
        assert did[:2] == [str(file) for file in files]
        watch = [line.partition(" kube-nginx-watch")[0] for line in did[2:] if "watch" in line]
        assert watch[0] == f"systemctl {'disable --now' if fails else 'enable'}"
        assert "systemctl restart" not in watch

    def test_without_a_release_it_goes_back_to_what_served(
        self, place: Place, names: tuple[str, str]
    ) -> None:
        """What was edited and not loaded is kept, and not what it goes back to."""
        served, _ = names
        keep(place, served, ALL)
        for name in NAMES:
            (place.releases / served / name).chmod(int(MODES[name], 8))
        place.files[CONF].write_bytes(b"edited")
        status, said, did = self.run(place, ': > "$lock.first"', action="restart", served=served)
        assert (status, said["result"], said["why"], did) == (1, "back", "no", ["restart"] * 2)
        assert in_use(place) == ALL
        assert (place.releases / said["before"] / CONF).read_bytes() == b"edited"

    def test_what_did_not_run_before_and_does_not_start(self, place: Place, names: tuple[str, str]) -> None:
        status, said, did = self.run(place, ': > "$lock.first"; unit_is=inactive', action="restart")
        assert (status, said["result"], said["why"], did) == (1, "failed", "no", ["restart"])

    @pytest.mark.parametrize("action", ["reload", "upgrade", "restart"])
    def test_what_nginx_refuses_is_not_begun(self, place: Place, names: tuple[str, str], action: str) -> None:
        stubs = "passes() { false; }; passes_live() { false; }"
        for what in (names[1], ""):
            status, said, did = self.run(place, stubs, release=what, action=action)
            assert (status, said["result"], did, in_use(place)) == (1, "refused", [], ALL)

    def test_the_last_way_back_is_what_was_proven(self, place: Place, names: tuple[str, str]) -> None:
        proven = keep_whole(place, {**ALL, CONF: b"proven"})
        (place.releases / "current").symlink_to(proven)
        twice = ': > "$lock.first"; again=2; once() { why=no; again=$((again - 1)); [ $again -lt 0 ]; }'
        status, said, did = self.run(place, twice, release=names[1], action="restart")
        assert (status, said["result"], did) == (1, "back", ["restart"] * 3)
        assert in_use(place)[CONF] == b"proven"

    def test_strays_served_clients(self, place: Place, names: tuple[str, str]) -> None:
        _, said, _ = self.run(place, "unit_is=failed", release=names[1], action="restart", unmanaged="9")
        assert said["was_active"] == "1"

    def test_it_ends_with_75_if_nothing_was_begun(self, place: Place, names: tuple[str, str]) -> None:
        done = functions(place, self.STUBS, until=ALL_FUNCTIONS, whole=True, release=names[1], holder="other")
        assert (done.returncode, done.stdout, in_use(place)) == (75, "", ALL)


def test_tidy_tells_what_it_could_not_remove(place: Place) -> None:
    (Path(place.proxy.prefix) / "releases" / "0123456789.part").mkdir(parents=True)
    script = with_defaults(Tidy(place.proxy, unit_path=str(place.unit)).text())
    busy = "rm() { return 1; }\n"
    assert subprocess.run(["sh", "-c", busy + script], check=False).returncode == 1


def test_tidy_removes_what_a_run_that_was_cut_off_left_behind(place: Place) -> None:
    place.use(ALL)
    prefix = Path(place.proxy.prefix)
    (prefix / "releases" / "0123456789.part").mkdir(parents=True)
    left = ["conf/.kube-nginx.conf.fresh", "conf/.kube-nginx.conf.part", "sbin/.kube-nginx.fresh"]
    for name in [*left, "conf/.other", "releases/0123456789", "releases/0123456789.part/old"]:
        (prefix / name).touch()
    place.unit.with_name(f".{UNIT}.fresh").touch()
    script = with_defaults(Tidy(place.proxy, unit_path=str(place.unit)).text())
    assert subprocess.run(["sh", "-c", script], check=False).returncode == 0
    kept = {"conf", "sbin", "releases", "releases/0123456789", "conf/.other"}
    assert place.tree() == kept | {"sbin/kube-nginx", f"conf/{CONF}", UNIT}
