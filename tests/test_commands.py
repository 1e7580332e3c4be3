"""The exact shell text, and what it does in a real sh on this machine's own files."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.core.config.model import Proxy
from tasks.core.facts.paths import UNIT_PATH, binary_path, conf_path
from tasks.core.scripts.files import Mkdir, Receive, Tidy
from tasks.core.scripts.lock import Lock
from tasks.core.scripts.service import Journal, LastLines, Systemctl
from tasks.core.shell.command import detached, kill_on_disconnect, with_defaults
from tasks.core.templates import shell_script

PROXY = Proxy(prefix="/opt/k8s/kube-nginx")
ROOT = Path(__file__).parent.parent
OWNER = ""  # without root no file can be given away


def sh(script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", with_defaults(script)], capture_output=True, text=True, input=stdin, check=False
    )


def test_paths_are_the_runbooks() -> None:
    assert binary_path(PROXY) == "/opt/k8s/kube-nginx/sbin/kube-nginx"
    assert conf_path(PROXY) == "/opt/k8s/kube-nginx/conf/kube-nginx.conf"
    assert UNIT_PATH == "/etc/systemd/system/kube-nginx.service"


@pytest.mark.parametrize("odd", ["it's", 'a "b"', "$HOME", "`id`", "a\nb", "\\", "!x", "*"])
def test_shell_gives_any_script_to_sh_as_it_is(odd: str) -> None:
    script = "cat <<'END'\n" + odd + "\nEND"
    assert sh(script).stdout == odd + "\n"


# no such user is on this machine: as if all files were somebody else's
FIND = f"""skip=
for word; do
  shift
  case $word in '!') ;; -user) skip=1 ;; *) [ -n "$skip" ] || set -- "$@" "$word"; skip= ;; esac
done
exec {shutil.which("find")} "$@\""""


# all is root's that was given to nobody; `service` and `number` say as whom the main process runs
STAT = f"""case $2:$3 in
  %u:/proc/*) cat "${{0%/*}}/../number" ;;
  %U:/proc/*) cat "${{0%/*}}/../service" ;;
  %U:%a:*) echo "$(cat "${{0%/*}}/../logs" 2>/dev/null || echo root):$({shutil.which("stat")} -Lc %a "$3")" ;;
  '%u:%a %n:'*) shift 2; {shutil.which("stat")} -Lc '0:%a %n' "$@" ;;
  *) exec {shutil.which("stat")} "$@" ;;
esac"""

GIVE = 'case $2 in */logs/) echo "${1%:*}" >'


class TestMkdir:
    """The runbook's directories, those of root, and logs, which is the service's own user's."""

    @pytest.fixture(autouse=True)
    def users(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """This machine has the user `there`, and nobody else; what is asked of useradd and chown is noted."""
        (tmp_path / "bin").mkdir()
        programs = {
            "id": '[ "$2" = there ]',
            "getent": f'[ "$2" = "$(cat {tmp_path}/taken)" ]',
            "useradd": f'echo "useradd $*" >> {tmp_path}/did',
            "chown": f'echo "chown $*" >> {tmp_path}/did\n{GIVE} {tmp_path}/logs; esac',
            "find": FIND,
            "stat": STAT,
            "systemctl": f'echo "MainPID=$(cat {tmp_path}/main)"',
        }
        for name, text in programs.items():
            (tmp_path / "bin" / name).write_text(f"#!/bin/sh\n{text}\n")
            (tmp_path / "bin" / name).chmod(0o755)
        (tmp_path / "taken").write_text("1000")
        self.serves(tmp_path, "", "", main=0)
        monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")

    def serves(self, tmp_path: Path, user: str, number: str, main: int) -> None:
        """A service runs as that user, or, with `main` 0, none does."""
        for name, text in (("main", str(main)), ("service", user), ("number", number)):
            (tmp_path / name).write_text(text)

    def prefix(self, tmp_path: Path) -> Path:
        return tmp_path / "it's" / "kube-nginx"

    def made(self, tmp_path: Path, user: str) -> list[str]:
        """What is done beside making the directories, which are there afterwards."""
        prefix = self.prefix(tmp_path)
        script = Mkdir(replace(PROXY, prefix=str(prefix), user=user)).text()
        assert "of_unit() {" in script
        done = sh(script.replace("of_unit() {", 'in_unit() { [ "$1" -gt 0 ]; }\nof_unit() {'))
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert sorted(os.listdir(prefix)) == ["conf", "logs", "releases", "sbin"]
        for folder in (prefix, *prefix.iterdir()):
            assert folder.stat().st_mode & 0o777 == 0o755
        return self.did(tmp_path)

    def did(self, tmp_path: Path) -> list[str]:
        did = tmp_path / "did"
        return (
            did.read_text().replace(str(self.prefix(tmp_path)), "PREFIX").splitlines() if did.exists() else []
        )

    def test_without_a_user_it_is_the_runbooks(self, tmp_path: Path) -> None:
        assert self.made(tmp_path, "") == []

    def test_a_user_that_is_there_is_not_made(self, tmp_path: Path) -> None:
        assert self.made(tmp_path, "there") == ["chown there:there PREFIX/logs/"]

    def test_a_user_that_is_missing_is_made(self, tmp_path: Path) -> None:
        assert self.made(tmp_path, "new") == [
            "useradd --system --user-group --no-create-home "
            "--home-dir /nonexistent --shell /usr/sbin/nologin new",
            "chown new:new PREFIX/logs/",
        ]

    @pytest.mark.parametrize(
        ("number", "uid"),
        [("998", "--uid 998 "), ("1000", ""), ("0", "")],
        ids=["free", "somebody's meanwhile", "root's"],
    )
    def test_a_user_that_was_deleted_under_the_service_is_made_again_with_its_number(
        self, tmp_path: Path, number: str, uid: str
    ) -> None:
        """It goes on to write to its logs by that."""
        self.serves(tmp_path, "new", number, main=os.getpid())
        assert self.made(tmp_path, "new") == [
            f"useradd --system --user-group {uid}--no-create-home "
            "--home-dir /nonexistent --shell /usr/sbin/nologin new",
            "chown new:new PREFIX/logs/",
        ]

    def test_what_an_earlier_service_left_in_its_logs_is_its(self, tmp_path: Path) -> None:
        logs = self.prefix(tmp_path) / "logs"
        logs.mkdir(parents=True)
        (logs / "nginx.pid").touch()
        (logs / "linked").hardlink_to(tmp_path / "bin" / "id")
        (logs / "pointing").symlink_to("/etc/passwd")
        assert self.made(tmp_path, "there") == [
            "chown there:there PREFIX/logs/",
            "chown -h there:there PREFIX/logs/nginx.pid",
        ]

    @pytest.mark.parametrize("running", ["there", "other", "root"])
    def test_logs_stay_whose_they_are_while_a_service_of_somebody_else_runs(
        self, tmp_path: Path, running: str
    ) -> None:
        """It could not go on to write there."""
        logs = self.prefix(tmp_path) / "logs"
        logs.mkdir(parents=True)
        self.serves(tmp_path, running, "997", main=os.getpid())
        did = ["chown there:there PREFIX/logs/"] if running == "there" else []
        assert self.made(tmp_path, "there") == did

    @pytest.mark.parametrize("name", ["", "conf", "sbin", "releases", "logs"])
    @pytest.mark.parametrize("mode", [0o700, 0o777, 0o2770])
    def test_a_folder_that_others_cannot_enter_or_may_write_to(
        self, tmp_path: Path, name: str, mode: int
    ) -> None:
        self.made(tmp_path, "there")
        (tmp_path / "did").unlink()
        (self.prefix(tmp_path) / name).chmod(mode)
        whose = [] if name == "logs" else [f"chown 0:0 PREFIX/{name}".removesuffix("/")]
        assert self.made(tmp_path, "there") == whose

    def test_folders_that_are_right_are_left_as_they_are(self, tmp_path: Path) -> None:
        """Setgid, which they may have from the folder above, too."""
        self.made(tmp_path, "there")
        (tmp_path / "did").unlink()
        prefix = self.prefix(tmp_path)
        for folder in (prefix, prefix / "conf", prefix / "logs"):
            folder.chmod(0o2755)
        assert self.made(tmp_path, "there") == []
        assert (prefix / "conf").stat().st_mode & 0o7777 == 0o2755

    def test_through_links(self, tmp_path: Path) -> None:
        prefix = self.prefix(tmp_path)
        for name in ("elsewhere", "logs elsewhere"):
            (tmp_path / name).mkdir()
        prefix.parent.mkdir()
        prefix.symlink_to(tmp_path / "elsewhere")
        (prefix / "logs").symlink_to(tmp_path / "logs elsewhere")
        (prefix / "logs" / "nginx.pid").touch()
        assert self.made(tmp_path, "there") == [
            "chown there:there PREFIX/logs/",
            "chown -h there:there PREFIX/logs/nginx.pid",
        ]
        assert (prefix / "logs").is_symlink()

    def test_a_user_that_cannot_be_made(self, tmp_path: Path) -> None:
        (tmp_path / "bin" / "useradd").write_text("#!/bin/sh\necho no room >&2; exit 10\n")
        prefix = self.prefix(tmp_path)
        done = sh(Mkdir(replace(PROXY, prefix=str(prefix), user="new")).text())
        assert (done.returncode, done.stderr, prefix.exists()) == (10, "no room\n", False)

    def test_what_is_in_the_way(self, tmp_path: Path) -> None:
        prefix = self.prefix(tmp_path)
        prefix.mkdir(parents=True)
        (prefix / "sbin").touch()
        done = sh(Mkdir(replace(PROXY, prefix=str(prefix), user="there")).text())
        assert done.returncode != 0
        assert "kube-nginx/sbin': File exists" in done.stderr


@pytest.mark.parametrize("verb", ["enable", "restart", "start", "stop", "disable"])
@pytest.mark.parametrize("status", [0, 5])
def test_systemctl_shows_the_journal_when_it_fails(verb: str, status: int) -> None:
    text = Systemctl(verb).text()
    assert text.startswith(f"# systemctl {verb} kube-nginx.service\n")
    stubs = f'systemctl() {{ echo "systemctl $*"; return {status}; }}; journalctl() {{ echo "$*"; }}'
    done = sh(f"{stubs}\n{text}")
    assert (done.returncode, done.stdout) == (status, f"systemctl {verb} kube-nginx.service\n")
    assert done.stderr == ("-u kube-nginx.service -n 8 --no-pager -o cat\n" if status else "")


@pytest.mark.parametrize(
    ("lines", "follow", "expected"),
    [(20, False, "-n 20 --no-pager -o short-iso"), (5, True, "-n 5 --no-pager -o short-iso -f")],
)
def test_journal(lines: int, follow: bool, expected: str) -> None:
    both = "journalctl -q -u kube-nginx.service -u kube-nginx-watch.service"
    assert f"{both} {expected}" in Journal(lines, follow).text()
    assert "watch" not in LastLines(lines).text()


@pytest.mark.parametrize(
    "odd", ["", "it's", 'a "b"', "$HOME", "`id`", "a\nb", "\\", "!x", "* ~", "é", "-n", "a\n"]
)
def test_a_script_gets_what_it_is_given_as_it_is(odd: str) -> None:
    template = (ROOT / "templates" / "lock.sh").read_text()
    given = shell_script(["lock"], {"holder": odd, "wait": 3}).removesuffix(template)
    assert sh(f'{given}printf \'<%s>\' "$holder" "$wait"').stdout == f"<{odd}><3>"


def test_a_script_is_the_template_after_what_it_is_given() -> None:
    template = (ROOT / "templates" / "lock.sh").read_text()
    given = {"lock": "/run/x", "wait": 0, "yes": True, "no": False, "words": ("a", 1)}
    expected = f"# lock.sh\nlock=/run/x\nwait=0\nyes=1\nno=''\nwords='a 1'\n{template}"
    assert shell_script(["lock"], given, "lock.sh") == expected
    ours = "# lock.sh\nholder=me\nwait=5\npatience=120\nlock=/run/kube-nginx\n"
    assert Lock("me", 5).text().startswith(ours)


def test_scripts_follow_what_all_have_in_common() -> None:
    texts = [(ROOT / "templates" / f"{name}.sh").read_text() for name in ("common", "tidy")]
    given = (
        "# tidy.sh\nprefix=/opt/k8s/kube-nginx\nunit=kube-nginx.service\n"
        "unit_path=/etc/systemd/system/kube-nginx.service"
    )
    assert Tidy(PROXY).text() == "\n".join([given, *texts])


class TestReceive:
    """Every upload: content from standard input, checked, and renamed over what was there."""

    CONTENT = bytes(range(256)) * 400

    def receive(self, destination: Path, content: bytes) -> subprocess.CompletedProcess[bytes]:
        """Has `content` received where CONTENT is promised."""
        script = Receive(str(destination), self.CONTENT, "0755", OWNER).text()
        return subprocess.run(
            ["sh", "-c", with_defaults(script)], input=content, capture_output=True, check=False
        )

    @pytest.fixture
    def destination(self, tmp_path: Path) -> Path:
        path = tmp_path / "it's here" / "kube-nginx"
        path.parent.mkdir()
        path.write_bytes(b"old")
        return path

    def test_right(self, destination: Path) -> None:
        done = self.receive(destination, self.CONTENT)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
        assert destination.read_bytes() == self.CONTENT
        assert destination.stat().st_mode & 0o7777 == 0o755
        assert os.listdir(destination.parent) == ["kube-nginx"]

    def test_where_nothing_was(self, destination: Path) -> None:
        destination.unlink()
        assert self.receive(destination, self.CONTENT).returncode == 0
        assert destination.read_bytes() == self.CONTENT

    def test_where_an_empty_folder_is(self, destination: Path) -> None:
        destination.unlink()
        destination.mkdir()
        assert self.receive(destination, self.CONTENT).returncode == 0
        assert destination.read_bytes() == self.CONTENT

    def test_where_a_folder_of_somebody_is(self, destination: Path) -> None:
        destination.unlink()
        destination.mkdir()
        (destination / "theirs").touch()
        assert self.receive(destination, self.CONTENT).returncode != 0
        assert (os.listdir(destination.parent), os.listdir(destination)) == (["kube-nginx"], ["theirs"])

    @pytest.mark.parametrize("target", ["folder", "file", "nowhere"])
    def test_where_a_link_is(self, destination: Path, tmp_path: Path, target: str) -> None:
        """It is replaced, and what it leads to is as it was."""
        (tmp_path / "folder").mkdir()
        (tmp_path / "file").write_bytes(b"theirs")
        destination.unlink()
        destination.symlink_to(tmp_path / target)
        assert self.receive(destination, self.CONTENT).returncode == 0
        assert (destination.is_symlink(), destination.read_bytes()) == (False, self.CONTENT)
        assert (os.listdir(tmp_path / "folder"), (tmp_path / "file").read_bytes()) == ([], b"theirs")

    @pytest.mark.parametrize("target", ["theirs", "folder"])
    def test_where_a_link_waits_under_the_temporary_name(
        self, destination: Path, tmp_path: Path, target: str
    ) -> None:
        (tmp_path / "folder").mkdir()
        (tmp_path / "theirs").write_bytes(b"theirs")
        destination.with_name(".kube-nginx.part").symlink_to(tmp_path / target)
        assert self.receive(destination, self.CONTENT).returncode == 0
        assert destination.read_bytes() == self.CONTENT
        assert (os.listdir(tmp_path / "folder"), (tmp_path / "theirs").read_bytes()) == ([], b"theirs")

    def test_what_comes_after_it_is_not_its(self, destination: Path) -> None:
        assert self.receive(destination, self.CONTENT + b"more").returncode == 0
        assert destination.read_bytes() == self.CONTENT

    @pytest.mark.parametrize(
        "arrives",
        [CONTENT[:-1] + b"\0", b"\1" + CONTENT[1:], CONTENT[:-1], CONTENT[:4096], b""],
        ids=["the last byte", "the first byte", "one byte short", "cut off", "nothing"],
    )
    def test_other_bytes(self, destination: Path, arrives: bytes) -> None:
        done = self.receive(destination, arrives)
        assert done.returncode == 65
        assert (
            f"the upload of {destination} arrived with sha256 {sha256(arrives).hexdigest()}, "
            f"not {sha256(self.CONTENT).hexdigest()}\n"
        ) in done.stderr.decode()
        assert destination.read_bytes() == b"old"
        assert os.listdir(destination.parent) == ["kube-nginx"]

    def test_without_the_folder(self, tmp_path: Path) -> None:
        done = self.receive(tmp_path / "not there" / "kube-nginx", self.CONTENT)
        message = f"{tmp_path}/not there does not exist\n"
        assert (done.returncode, done.stderr.decode()) == (66, message)
        assert os.listdir(tmp_path) == []

    def test_what_a_run_that_was_cut_off_left_behind_does_not_matter(self, destination: Path) -> None:
        destination.with_name(".kube-nginx.part").write_bytes(self.CONTENT * 2)
        assert self.receive(destination, self.CONTENT).returncode == 0
        assert destination.read_bytes() == self.CONTENT
        assert os.listdir(destination.parent) == ["kube-nginx"]

    def test_a_running_binary_is_replaced(self, destination: Path) -> None:
        destination.write_bytes(Path(shutil.which("sleep") or "").read_bytes())
        destination.chmod(0o755)
        with subprocess.Popen([str(destination), "600"]) as running:
            assert self.receive(destination, self.CONTENT).returncode == 0
            assert running.poll() is None
            running.kill()
        assert destination.read_bytes() == self.CONTENT

    @pytest.mark.skipif(os.getuid() != 0, reason="only root gives files away")
    def test_it_is_given_to_its_owner(self, destination: Path) -> None:
        content = b"new"
        script = Receive(str(destination), content, "0600", "12:34").text()
        assert sh(script, "new").returncode == 0
        seen = destination.stat()
        assert (seen.st_uid, seen.st_gid, seen.st_mode & 0o7777) == (12, 34, 0o600)

    def test_root_owns_it_unless_somebody_else_is_named(self) -> None:
        assert "\nowner=0:0\n" in Receive("/a/b", b"", "0644").text()


class TestDetached:
    """A command that must not end with its connection."""

    def test_its_status_and_output_come_through(self) -> None:
        done = sh(detached("echo 'it''s'; echo why >&2; exit 3"))
        assert (done.returncode, done.stdout, done.stderr) == (3, "its\n", "why\n")

    def test_it_reads_nothing_of_ours(self) -> None:
        assert sh(detached("wc -c"), "five!").stdout.strip() == "0"

    def test_it_goes_on_when_its_parent_and_its_output_are_gone(self, tmp_path: Path) -> None:
        go, done = tmp_path / "go", tmp_path / "done"
        for fifo in (go, done):
            os.mkfifo(fifo)
        script = f"trap '' HUP INT TERM PIPE; echo began; read -r word < {go}; echo lost; echo $word > {done}"
        command = ["sh", "-c", with_defaults(detached(script))]
        with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"began\n"
            os.killpg(parent.pid, signal.SIGKILL)
            parent.wait()
        reading = os.open(done, os.O_RDONLY | os.O_NONBLOCK)
        writing = os.open(go, os.O_RDWR)
        os.write(writing, b"on\n")
        assert select.select([reading], [], [], 30)[0]
        assert os.read(reading, 100) == b"on\n"
        os.close(reading)
        os.close(writing)


class TestLeash:
    """A command that must not outlive its connection."""

    def test_its_status_and_output_come_through(self) -> None:
        command = with_defaults(kill_on_disconnect("echo hello; exit 3"))
        with subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read() == b"hello\n"
            assert process.wait() == 3

    def test_it_ends_with_its_standard_input(self) -> None:
        command = with_defaults(kill_on_disconnect("echo started; sleep 600"))
        with subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"started\n"
            process.stdin.close()
            assert process.wait(timeout=30) != 0
