"""The exact shell text, and what it does in a real sh on this machine's own files."""

from __future__ import annotations

import subprocess
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.core import commands
from tasks.core.settings import Proxy

PROXY = Proxy(prefix="/opt/k8s/kube-nginx")
OWNER = ""  # without root no file can be given away


def sh(script: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", commands.shell(script)], capture_output=True, text=True, input=stdin, check=False
    )


def test_paths_are_the_runbooks() -> None:
    assert commands.binary_path(PROXY) == "/opt/k8s/kube-nginx/sbin/kube-nginx"
    assert commands.conf_path(PROXY) == "/opt/k8s/kube-nginx/conf/kube-nginx.conf"
    assert commands.UNIT_PATH == "/etc/systemd/system/kube-nginx.service"


@pytest.mark.parametrize("odd", ["it's", 'a "b"', "$HOME", "`id`", "a\nb", "\\", "!x", "*"])
def test_shell_gives_any_script_to_sh_as_it_is(odd: str) -> None:
    script = "cat <<'END'\n" + odd + "\nEND"
    assert sh(script).stdout == odd + "\n"


def test_mkdir_without_a_user_is_the_runbooks() -> None:
    assert commands.mkdir(replace(PROXY, user="")) == (
        "set -e; mkdir -p /opt/k8s/kube-nginx/conf /opt/k8s/kube-nginx/logs /opt/k8s/kube-nginx/sbin\n"
    )


def test_mkdir_makes_the_user_only_if_it_is_missing() -> None:
    script = commands.mkdir(PROXY)
    assert script.startswith("set -e; id -u kube-nginx >/dev/null 2>&1 || useradd --system ")
    assert script.endswith("chown kube-nginx:kube-nginx /opt/k8s/kube-nginx/logs\n")


@pytest.mark.parametrize("verb", ["enable", "restart", "start", "stop", "disable"])
def test_systemctl_shows_the_journal_when_it_fails(verb: str) -> None:
    first, second = commands.systemctl(verb).splitlines()
    assert first == f"systemctl {verb} kube-nginx.service && exit 0; status=$?"
    assert second == "journalctl -u kube-nginx.service -n 8 --no-pager -o cat >&2; exit $status"


@pytest.mark.parametrize(
    ("lines", "follow", "expected"),
    [
        (20, False, "journalctl -q -u kube-nginx.service -n 20 --no-pager -o short-iso"),
        (5, True, "journalctl -q -u kube-nginx.service -n 5 --no-pager -o short-iso -f"),
    ],
)
def test_journal(lines: int, follow: bool, expected: str) -> None:
    assert expected in commands.journal(lines, follow)


class TestInstall:
    """The rename at the end of every upload."""

    def place(self, folder: Path, content: bytes = b"new") -> tuple[str, Path]:
        destination = folder / "kube-nginx"
        destination.write_bytes(b"old")
        upload = folder / ".kube-nginx.abcd"
        upload.write_bytes(content)
        return str(upload), destination

    def test_right(self, tmp_path: Path) -> None:
        upload, destination = self.place(tmp_path)
        digest = sha256(b"new").hexdigest()
        assert sh(commands.install(upload, str(destination), digest, "0755", OWNER)).returncode == 0
        assert destination.read_bytes() == b"new"
        assert destination.stat().st_mode & 0o777 == 0o755
        assert [p.name for p in tmp_path.iterdir()] == ["kube-nginx"]

    def test_a_flipped_byte(self, tmp_path: Path) -> None:
        upload, destination = self.place(tmp_path, b"nex")
        digest = sha256(b"new").hexdigest()
        done = sh(commands.install(upload, str(destination), digest, "0755", OWNER))
        assert done.returncode == 65
        assert sha256(b"nex").hexdigest() in done.stderr
        assert digest in done.stderr
        assert destination.read_bytes() == b"old"
        assert [p.name for p in tmp_path.iterdir()] == ["kube-nginx"]

    def test_an_upload_from_elsewhere_is_staged_beside_the_destination(self, tmp_path: Path) -> None:
        _, destination = self.place(tmp_path)
        (tmp_path / ".kube-nginx.abcd").unlink()
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        upload = elsewhere / "kube-nginx.1234"
        upload.write_bytes(b"new")
        digest = sha256(b"new").hexdigest()
        assert sh(commands.install(str(upload), str(destination), digest, "0644", OWNER)).returncode == 0
        assert destination.read_bytes() == b"new"
        assert list(elsewhere.iterdir()) == []

    def test_a_running_binary_is_replaced(self, tmp_path: Path) -> None:
        upload, destination = self.place(tmp_path)
        destination.write_bytes(Path("/bin/sleep").read_bytes())
        destination.chmod(0o755)
        with subprocess.Popen([str(destination), "60"]) as running:
            digest = sha256(b"new").hexdigest()
            assert sh(commands.install(upload, str(destination), digest, "0755", OWNER)).returncode == 0
            running.kill()
        assert destination.read_bytes() == b"new"


class TestLeash:
    """A command that must not outlive its connection."""

    def test_its_status_and_output_come_through(self) -> None:
        command = commands.shell(commands.leashed("echo hello; exit 3"))
        with subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.read() == b"hello\n"
            assert process.wait() == 3

    def test_it_ends_with_its_standard_input(self) -> None:
        command = commands.shell(commands.leashed("echo started; sleep 600"))
        with subprocess.Popen(command, shell=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stdout.readline() == b"started\n"
            process.stdin.close()
            assert process.wait(timeout=30) != 0
