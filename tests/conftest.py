"""Fixtures: the lab of real hosts, and `fab` as a user runs it."""

from __future__ import annotations

import fcntl
import gc
import json
import os
import pty
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tasks.core.run.process import own_signals
from tests.faults import book
from tests.forks import Server
from tests.lab.lab import Lab
from tests.lab.machine import prepare, why_not
from tests.lab.progress import Progress

ROOT = Path(__file__).parent.parent
WORKER = os.environ.get("PYTEST_XDIST_WORKER", "")


@dataclass(frozen=True)
class Ran:
    """One call of `fab`, ended; a negative status is the signal that ended it."""

    status: int
    out: str
    err: str

    @property
    def text(self) -> str:
        """All that it printed."""
        return self.out + self.err

    @property
    def json(self) -> Any:
        """The document on stdout."""
        return json.loads(self.out)


Fab = Callable[..., Ran]


@contextmanager
def alone() -> Iterator[None]:
    """Keeps other workers from what all of them share: the cache of binaries, and apt-get."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "kube-nginx-tests.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def run_fab(
    *arguments: str,
    hosts: Path | None = None,
    stdin: str = "",
    cwd: Path = ROOT,
    env: Mapping[str, str] | None = None,
) -> Ran:
    """Runs `fab`, without a terminal; no output of it may ever hold a traceback."""
    environment = dict(os.environ if env is None else env)
    if hosts:
        environment["KUBE_NGINX_HOSTS"] = str(hosts)
    with alone() if "build" in arguments else nullcontext():
        ran = Ran(*forks().run([*arguments], stdin, cwd, environment, timeout=600))
    assert "Traceback" not in ran.out + ran.err, ran.err
    return ran


@cache
def forks() -> Server:
    """What forks for each `fab` of this process."""
    return Server(ROOT)


@contextmanager
def under_way(hosts: Path, *words: str) -> Iterator[subprocess.Popen[str]]:
    """`fab WORDS` under way, ended at the end of the block if it has not ended itself."""
    with subprocess.Popen(
        [sys.executable, "-m", "fabric", *words],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**os.environ, "KUBE_NGINX_HOSTS": str(hosts)},
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def run_fab_on_terminal(arguments: list[str], answer: str, hosts: Path, question: str = "password") -> Ran:
    """Runs `fab` on a terminal, and types `answer`, if that is not empty, when it reads `question`."""
    environment = {**os.environ, "KUBE_NGINX_HOSTS": str(hosts), "TERM": "xterm", "COLUMNS": "160"}
    return talk(arguments, [(question, f"{answer}\n".encode())] if answer else [], ROOT, environment)


def talk(arguments: list[str], turns: list[tuple[str, bytes]], cwd: Path, env: Mapping[str, str]) -> Ran:
    """`fab` on a terminal of its own: each answer is typed once its question has been asked."""
    terminal, theirs = pty.openpty()
    forks().begin([theirs] * 3, arguments, cwd, env)
    os.close(theirs)
    text, read, left = "", 0, list(turns)
    try:
        while chunk := _read(terminal):
            text += chunk
            if left and left[0][0] in text[read:]:
                read = len(text)
                os.write(terminal, left.pop(0)[1])
    finally:
        os.close(terminal)
        status = forks().end()
    assert "Traceback" not in text
    assert left == []
    return Ran(status, text, "")


def _read(terminal: int) -> str:
    try:
        return os.read(terminal, 4096).decode(errors="replace")
    except OSError:  # Linux says EIO when the other side has closed
        return ""


def pytest_addoption(parser: pytest.Parser) -> None:
    """--write-docs: the page that the tests of faults make is written, not compared."""
    parser.addoption("--write-docs", action="store_true", help="write docs/reliability.md anew")


def pytest_configure(config: pytest.Config) -> None:
    """Gives all workers one folder for what the tests of faults see, and what they start usual signals."""
    own_signals()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or each fab that is started compiles the library anew
    if not WORKER:
        os.environ[book.FOLDER] = tempfile.mkdtemp(prefix="kube-nginx-faults.")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """What is collected stays until the end, and need not be looked through for garbage again and again."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Once all faults have been seen, docs/reliability.md must be what was seen."""
    if WORKER:
        return
    folder = Path(os.environ[book.FOLDER])
    text = book.page(folder)
    shutil.rmtree(folder)
    if text and session.config.getoption("--write-docs"):
        book.PAGE.write_text(text)
    elif text and text != book.PAGE.read_text():
        sys.stderr.write(
            f"\n{book.PAGE} is not what was seen; look, then: pytest tests/faults --write-docs\n"
        )
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Has workers begin with the files that take longest, so that none is left with one at the end."""
    if WORKER:
        items.sort(key=_turn)


def _turn(item: pytest.Item) -> int:
    if item.get_closest_marker("lab") is None:
        return 4 if item.get_closest_marker("start") is None else 3
    if item.path.parent.name == "faults":
        return 0
    return 1 if item.path.name == "test_walk.py" else 2  # which has more than one thing to build


@pytest.fixture
def no_collection() -> Iterator[None]:
    """What is free is so because nobody holds it, and not because garbage was collected."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A lab of the tests' own, one for each worker, beside whatever other lab is up on this machine."""
    with _up(Lab(f"test{WORKER}", 3)) as lab:
        yield lab


@pytest.fixture(scope="session")
def cluster() -> Iterator[Lab]:
    """The same with real apiservers."""
    with _up(Lab(f"kube{WORKER}", 3, apiservers="real")) as lab:
        yield lab


@contextmanager
def _up(lab: Lab) -> Iterator[Lab]:
    reason = why_not()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the lab, and it cannot: {reason}")
    if reason:
        pytest.skip(reason)
    try:
        with alone():
            prepare(Progress())
        lab.up()
        yield lab
    finally:
        lab.down()


@pytest.fixture(scope="session")
def hosts_toml(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a hosts.toml of the lab, with `(old, new)` changes."""
    return toml_of(lab, tmp_path_factory)


def toml_of(lab: Lab, folders: pytest.TempPathFactory) -> Callable[..., Path]:
    """Writes a hosts.toml: the checkout's with this lab's ssh_config, and `(old, new)` changes.

    Without a [rollout] of its own, a new process must live for one second only.
    """

    def write(*changes: tuple[str, str]) -> Path:
        text = (ROOT / "hosts.toml").read_text()
        if not any("[rollout]" in new for _, new in changes):
            text = text.replace("[build]", "[rollout]\nsettle = 1\n\n[build]")
        for old, new in (("/run/kube-nginx-lab/lab/", f"{lab.state}/"), *changes):
            assert old in text, old
            text = text.replace(old, new, 1)
        path = folders.mktemp("fleet") / "hosts.toml"
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
