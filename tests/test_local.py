"""This machine as a host: scripts that are really run by its sh."""

import os
import platform
import shutil
from pathlib import Path
from threading import Event, Thread
from time import monotonic, sleep

import pytest

from tasks.core.errors import StepError
from tasks.core.shell.command import CommandResult
from tasks.core.shell.frame import BEGINS, ENDS, Lines
from tasks.core.shell.local import Local

pytestmark = pytest.mark.skipif(platform.system() != "Linux", reason="builds on this machine need Linux")


def refusal(script: str, *, timeout: float = 90, tail: int = 5) -> StepError:
    with pytest.raises(StepError) as caught:
        Local().sh(script, timeout=timeout, tail=tail)
    return caught.value


@pytest.mark.parametrize(
    ("script", "ended"),
    [
        ("", CommandResult(0, "", "")),
        (":", CommandResult(0, "", "")),
        ("echo one; echo two >&2", CommandResult(0, "one\n", "two\n")),
        ("printf 'no newline'", CommandResult(0, "no newline", "")),
        ("exit 3", CommandResult(3, "", "")),
        ("echo why >&2; exit 255", CommandResult(255, "", "why\n")),
        ("false; true", CommandResult(0, "", "")),
        ("false || exit", CommandResult(1, "", "")),
        ("kill -KILL $$", CommandResult(-9, "", "")),
    ],
)
def test_status_and_output(script: str, ended: CommandResult) -> None:
    seen = Local().sh(script, check=False)
    if ended.status < 0:  # a shell in between says 128 + N
        assert seen.status in (ended.status, 128 - ended.status)
    else:
        assert seen == ended


@pytest.mark.parametrize(
    ("output", "changed"),
    [("kn.changed=1", True), ("a\nkn.changed=1\nb", True), ("kn.changed=0", False), ("xkn.changed=1", False)],
)
def test_changed(output: str, changed: bool) -> None:
    assert (Local().sh(f"echo '{output}'").values.get("changed") == "1") is changed


@pytest.mark.parametrize(
    ("script", "tail", "last"),
    [
        ("seq 9; exit 4", 3, "7\n8\n9"),
        ("seq 9 >&2; echo stdout; exit 4", 2, "8\n9"),
        ("seq 9; printf ' \\n\\n' >&2; exit 4", 1, "9"),
        ("printf 'a  \\n\\n b\\n' >&2; exit 4", 5, "a\n b"),
        ("exit 4", 5, ""),
    ],
)
def test_a_script_that_fails(script: str, tail: int, last: str) -> None:
    error = refusal(script, tail=tail)
    assert (error.message, error.command, error.status) == ("ended with status 4", script, 4)
    assert (error.tail, error.hint, error.unreachable) == (last, "", False)


ODD = 'it\'s "quoted" $HOME `id` $(id) \\ \\n * ? [a] {1,2} ~ ! # ; & | < > % %s \t é 漢 - --'


@pytest.mark.parametrize(
    ("script", "stdout"),
    [
        (f"cat <<'END'\n{ODD}\nEND", f"{ODD}\n"),
        ("printf '%s\\n' \"it's\" 'say \"x\"' '$HOME' '`id`' '\\'", 'it\'s\nsay "x"\n$HOME\n`id`\n\\\n'),
        ("set -- 'a  b' ''; echo $#; printf '<%s>' \"$@\"", "2\n<a  b><>"),
        ("if true; then\n  echo yes  # a comment with a ' in it\nfi", "yes\n"),
        ("echo 'a\nb'", "a\nb\n"),
        ("echo ~root | cut -c1; echo '!!'", "/\n!!\n"),
        ("printf 'a\\tb\\n'", "a\tb\n"),
    ],
)
def test_odd_scripts_arrive_as_they_are(script: str, stdout: str) -> None:
    assert Local().sh(script) == CommandResult(0, stdout, "")


def test_the_scripts_surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    seen = Local().sh("umask; echo $LC_ALL; echo $PATH; (echo $kn_not_set) 2>/dev/null || echo refused")
    assert seen.stdout.splitlines() == ["0022", "C", "/usr/bin:/bin:/usr/sbin:/sbin", "refused"]


def test_it_does_not_become_root() -> None:
    assert Local().sh("id -u", root=True).stdout == f"{os.getuid()}\n"


def test_every_shell_is_sh(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No bash is needed: not as $SHELL, not in $PATH, and not as Invoke's default."""
    for name in ("sh", "setsid", "cat", "readlink"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SHELL", "/nonexistent")
    seen = Local().sh('readlink "/proc/$$/exe" "/proc/$PPID/exe"').stdout.split()
    sh, python = os.path.realpath("/bin/sh"), os.path.realpath("/proc/self/exe")
    assert seen[0] == sh
    assert seen[1] in (sh, python)


@pytest.mark.parametrize(
    ("script", "lines"),
    [
        ("seq 3", ["1", "2", "3"]),
        ("echo; echo ' a '", ["", " a "]),
        ("printf 'half '; printf 'line\\n'", ["half line"]),
        ("echo seen; echo not seen >&2", ["seen"]),
        (":", []),
    ],
)
def test_lines_are_given(script: str, lines: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[str] = []
    ended = Local().sh(script, each_line=seen.append)
    assert (seen, ended.stdout.splitlines()) == (lines, lines)
    assert capfd.readouterr() == ("", "")


def test_lines_are_given_as_they_come(tmp_path: Path) -> None:
    """The script goes on only when its first line has been seen here."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    seen: list[str] = []

    def each(line: str) -> None:
        seen.append(line)
        if line == "first":
            fifo.write_text("go\n")

    ended = Local().sh(f"echo first; read -r answer < '{fifo}'; echo $answer", each_line=each, timeout=10)
    assert (seen, ended.stdout) == (["first", "go"], "first\ngo\n")


@pytest.mark.parametrize(
    ("writes", "lines"),
    [
        (["a\n", "b\n"], ["a", "b"]),
        (["a", "b\nc", "\n\n"], ["ab", "c", ""]),
        (["a\nb\nc\n"], ["a", "b", "c"]),
        (["", "\n"], [""]),
    ],
)
def test_lines_are_whole(writes: list[str], lines: list[str]) -> None:
    seen: list[str] = []
    stream = Lines(seen.append)
    for text in ("noise", f"\n{BEGINS}\n", *writes, f"{ENDS}\n", "noise\n"):
        stream.write(text)
        stream.flush()
    assert seen == lines


def test_more_than_it_may_write(tmp_path: Path) -> None:
    error = refusal(f"echo $$ > {tmp_path}/pid; yes 'no end'")
    assert error.message == "it wrote more than 4 MiB, and was ended"
    assert error.tail.splitlines()[1:] == ["no end"] * 4
    late = monotonic() + 10
    while runs((tmp_path / "pid").read_text().strip()):
        assert monotonic() < late
        sleep(0.01)


def test_of_what_has_no_bound_the_end_is_kept() -> None:
    count = 0

    def each(line: str) -> None:
        nonlocal count
        count += 1

    ended = Local().sh("yes 0123456789 | head -n 200000; echo last", each_line=each, most=None)
    assert count == 200_001
    assert len(ended.stdout) < 1_000_000
    assert ended.stdout.endswith("0123456789\nlast\n")


def test_many_scripts_at_once() -> None:
    """Each of them waits for all others to have begun."""
    results: dict[int, CommandResult] = {}
    started = [Event() for _ in range(8)]

    def work(number: int) -> None:
        def began(line: str) -> None:
            started[number].set()
            for event in started:
                event.wait(10)

        results[number] = Local().sh(f"echo {number}; exit {number}", each_line=began, check=False)

    threads = [Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert results == {n: CommandResult(n, f"{n}\n", "") for n in range(8)}


@pytest.mark.parametrize("script", ["exec sleep 60", "sleep 60", "sleep 60; :", "sleep 60 | cat"])
def test_a_script_that_does_not_end(script: str) -> None:
    began = monotonic()
    error = refusal(script, timeout=0.2)
    assert monotonic() - began < 30
    assert (error.message, error.command, error.status) == ("did not end within 0.2 s", script, None)


def runs(pid: str) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_what_a_script_started_ends_with_it(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    began = monotonic()
    error = refusal(f"sleep 60 & echo $! > '{pid_file}'; wait; echo ended", timeout=0.3)
    assert error.message == "did not end within 0.3 s"
    assert monotonic() - began < 30
    while runs(pid_file.read_text().strip()):
        assert monotonic() - began < 30
        sleep(0.01)


def test_standard_input_is_empty() -> None:
    assert Local().sh("timeout 1 cat; echo $?").stdout == "0\n"


def test_a_file_of_this_machine(tmp_path: Path) -> None:
    content = bytes(range(256))
    (tmp_path / "it's a file").write_bytes(content)
    assert Local().fetch(str(tmp_path / "it's a file")) == content
    assert Local().label == "local"


def test_what_closes_its_streams_goes_on(tmp_path: Path) -> None:
    script = f"exec >&- 2>&-; sleep 0.3; touch {tmp_path}/over; exit 3"
    assert Local().sh(script, check=False).status == 3
    assert (tmp_path / "over").exists()
    assert refusal("exec >&- 2>&-; sleep 60", timeout=0.2).message == "did not end within 0.2 s"
