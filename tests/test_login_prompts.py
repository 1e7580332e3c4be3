"""What `fab` asks on a terminal while it logs in to real sshds, and what it does not ask elsewhere."""

from __future__ import annotations

import os
import pty
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT, Ran, run_fab
from tests.sshds import PROGRAM, USER, Sshd, keygen, sshd

pytestmark = [
    pytest.mark.start,
    pytest.mark.skipif(not PROGRAM.exists(), reason="needs OpenSSH's sshd"),
]

PASSPHRASE = "open sesame"
CTRL_C, CTRL_D = b"\x03", b"\x04"


class People:
    """Somebody with an encrypted key that the sshd takes, and a fleet of `nodes` names for it."""

    def __init__(self, server: Sshd, folder: Path) -> None:
        self.server, self.folder = server, folder
        self.key = keygen(folder / "key", passphrase=PASSPHRASE)
        self.prompt = f"Enter passphrase for key '{self.key}': "
        server.allow(folder / "key.pub")

    def fleet(self, nodes: int, more: str = "") -> dict[str, str]:
        """The environment in which `fab` has a hosts.toml with so many nodes."""
        config = self.folder / "ssh_config"
        config.write_text(
            f"{more}\nHost n*\n HostName 127.0.0.1\n Port {self.server.port}\n User {USER}\n"
            f" IdentityFile {self.key}\n IdentityAgent none\n UserKnownHostsFile {self.folder}/known_hosts\n"
            " GlobalKnownHostsFile /nonexistent\n"
        )
        hosts = self.folder / "hosts.toml"
        names = [f"n{number}" for number in range(1, nodes + 1)]
        hosts.write_text(
            f'nodes = {names}\napiservers = ["10.0.0.1"]\n'
            f'[ssh]\nconfig = "{config}"\nhost_keys = "accept-new"\n'
        )
        mine = {"KUBE_NGINX_HOSTS": str(hosts), "HOME": str(self.folder), "TERM": "xterm", "COLUMNS": "160"}
        return {**os.environ, **mine, "CI": ""}

    def logins(self) -> int:
        """How many were let in so far."""
        return len(self.server.accepted())


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd"), "PasswordAuthentication no", "MaxStartups 100") as running:
        yield running


@pytest.fixture
def people(server: Sshd, tmp_path: Path) -> People:
    return People(server, tmp_path)


def typed(env: dict[str, str], words: list[str], question: str, *answers: bytes) -> Ran:
    """`fab` on a terminal: an answer for each time that it is asked; at the end the terminal echoes again."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve(sys.executable, [sys.executable, "-m", "fabric", *words], env)
    text, read, left = "", 0, list(answers)
    while True:
        if left and (at := text.find(question, read)) >= 0:
            read = at + len(question)
            assert "passphrase" not in question or not termios.tcgetattr(terminal)[3] & termios.ECHO
            os.write(terminal, left.pop(0))
        try:
            text += os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # Linux says EIO when the other side has closed
            break
    _, status = os.waitpid(pid, 0)
    assert termios.tcgetattr(terminal)[3] & termios.ECHO
    os.close(terminal)
    assert "Traceback" not in text
    assert left == [], text
    return Ran(os.waitstatus_to_exitcode(status), text, "")


def test_once_for_the_whole_fleet(people: People) -> None:
    before = people.logins()
    ran = typed(people.fleet(40), ["status"], people.prompt, f"{PASSPHRASE}\n".encode())
    assert ran.out.count(people.prompt) == 1
    assert PASSPHRASE not in ran.out
    assert people.logins() == before + 40


def test_a_wrong_one_is_asked_for_again(people: People) -> None:
    before = people.logins()
    ran = typed(people.fleet(4), ["status"], people.prompt, b"guessed\n", f"{PASSPHRASE}\n".encode())
    assert ran.out.count(people.prompt) == 2
    assert people.logins() == before + 4


def test_and_not_for_ever(people: People) -> None:
    before = people.logins()
    ran = typed(people.fleet(4), ["status"], people.prompt, b"one\n", b"two\n", b"three\n")
    assert (ran.status, ran.out.count(people.prompt), people.logins()) == (1, 3, before)
    assert "would be taken, but is encrypted, and the passphrase is wrong" in ran.out
    less = people.fleet(4, "NumberOfPasswordPrompts 1")
    assert typed(less, ["status"], people.prompt, b"one\n").out.count(people.prompt) == 1


@pytest.mark.parametrize("answer", [b"\n", CTRL_D], ids=["nothing", "Ctrl-D"])
def test_no_answer(people: People, answer: bytes) -> None:
    ran = typed(people.fleet(4), ["status"], people.prompt, answer)
    assert (ran.status, ran.out.count(people.prompt)) == (1, 1)
    assert "is encrypted, and no passphrase was given" in ran.out


@pytest.mark.parametrize("words", [["status"], ["connections"], ["check", "--watch"]], ids=" ".join)
def test_ctrl_c_at_the_prompt(people: People, words: list[str]) -> None:
    ran = typed(people.fleet(4), words, people.prompt, CTRL_C)
    assert (ran.status, ran.out.count(people.prompt)) == (130, 1)


def test_beside_json_the_question_is_on_stderr(people: People) -> None:
    document = people.folder / "document"
    words = ["-c", f"exec {sys.executable} -m fabric status --json >{document}"]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.execve("/bin/sh", ["sh", *words], people.fleet(2))
    text = ""
    with open(terminal, "rb", buffering=0) as screen:
        while people.prompt not in text:
            text += screen.read(4096).decode()
        os.write(terminal, CTRL_C)
        os.waitpid(pid, 0)
    assert people.prompt not in document.read_text()


def test_nobody_is_asked_without_a_terminal(people: People) -> None:
    ran = run_fab("status", env=people.fleet(2))
    assert (ran.status, people.prompt in ran.out + ran.err) == (1, False)
    assert "is encrypted, and no passphrase was given" in ran.err


@pytest.mark.parametrize("more", ["BatchMode yes", "NumberOfPasswordPrompts 0", "CI"])
def test_nor_where_nobody_is_to_be_asked(people: People, more: str) -> None:
    env = people.fleet(2, "" if more == "CI" else more)
    ran = typed({**env, "CI": "true"} if more == "CI" else env, ["status"], people.prompt)
    assert (ran.status, people.prompt in ran.out) == (1, False)
    assert "is encrypted, and no passphrase was given" in ran.out
