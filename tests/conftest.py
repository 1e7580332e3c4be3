"""Fixtures: the lab of real hosts, and `fab` as a user runs it."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.lab.lab import Lab
from tests.lab.machine import why_not

ROOT = Path(__file__).parent.parent


@dataclass(frozen=True)
class Ran:
    """One call of `fab`, ended."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


Fab = Callable[..., Ran]


def run_fab(*arguments: str, hosts: Path | None = None, stdin: str = "", cwd: Path = ROOT) -> Ran:
    """Runs `fab`; no output of it may ever hold a traceback."""
    environment = {**os.environ, "KUBE_NGINX_HOSTS": str(hosts)} if hosts else dict(os.environ)
    done = subprocess.run(
        [sys.executable, "-m", "fabric", *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        cwd=cwd,
        env=environment,
        timeout=600,
        check=False,
    )
    assert "Traceback" not in done.stdout + done.stderr, done.stderr
    return Ran(done.returncode, done.stdout, done.stderr)


def run_fab_on_terminal(arguments: list[str], answer: str, hosts: Path, question: str = "password") -> Ran:
    """Runs `fab` on a terminal of its own, and types `answer` when it reads `question`."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(ROOT)
        os.environ |= {"KUBE_NGINX_HOSTS": str(hosts), "TERM": "xterm", "COLUMNS": "160"}
        os.execv(sys.executable, [sys.executable, "-m", "fabric", *arguments])
    text = ""
    while chunk := _read(terminal):
        asked = question in text
        text += chunk
        if not asked and question in text:
            os.write(terminal, f"{answer}\n".encode())
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert "Traceback" not in text
    return Ran(os.waitstatus_to_exitcode(status), text, "")


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:  # Linux says EIO when the other side has closed
        return ""


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of the tests' own, beside whatever other lab is up on this machine."""
    reason = why_not()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the lab, and it cannot: {reason}")
    if reason:
        pytest.skip(reason)
    lab = Lab("test", 3)
    try:
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def hosts_toml(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a hosts.toml: the checkout's with this lab's ssh_config, and `(old, new)` changes."""

    def write(*changes: tuple[str, str]) -> Path:
        text = (ROOT / "hosts.toml").read_text()
        for old, new in (("/run/kube-nginx-lab/lab/", f"{lab.state}/"), *changes):
            assert old in text, old
            text = text.replace(old, new, 1)
        path = tmp_path_factory.mktemp("fleet") / "hosts.toml"
        path.write_text(text)
        return path

    return write


@pytest.fixture(scope="session")
def fleet(hosts_toml: Callable[..., Path]) -> Path:
    """The hosts.toml of the three nodes, with the binary for them built."""
    path = hosts_toml()
    built = run_fab("build", hosts=path)
    assert built.status == 0, built.err
    return path


@pytest.fixture(scope="session")
def deployed(fleet: Path) -> Path:
    """The same, with kube-nginx running on all three."""
    done = run_fab("deploy", hosts=fleet)
    assert done.status == 0, done.out + done.err
    return fleet
