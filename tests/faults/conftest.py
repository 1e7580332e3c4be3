"""What the tests of faults share: a fleet that runs, changes to deploy to it, and the rule for all."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import ROOT, Ran, run_fab, under_way
from tests.faults.book import Row, note, steady
from tests.lab.lab import Lab
from tests.lab.machine import run
from tests.lab.nodes import Node

PREFIX = "/opt/k8s/kube-nginx"
NUMBERS = itertools.count(10)
ECHO = "exec 3<>/dev/tcp/127.0.0.1/8443 && echo x >&3 && read -t 5 -u 3 line && echo $line"
Toml = Callable[..., Path]


def answers(node: Node) -> bool:
    """Whether a client on the node has a byte echoed through its kube-nginx."""
    return node.is_alive() and node.exec(["bash", "-c", ECHO]).stdout == "x\n"


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Waits for a condition; fails if it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come"
        time.sleep(0.02)


def current(node: Node) -> str:
    """The release that the node says it runs."""
    return node.enter(f"readlink {PREFIX}/releases/current || true").strip()


def leftovers(node: Node) -> str:
    """Files that only a deploy that is under way may have."""
    where = f"{PREFIX} /etc/systemd/system /tmp"
    return node.enter(f"find {where} -name '*.part' -o -name '.kube-nginx*' -o -name 'kube-nginx.*.fresh'")


@dataclass
class Trial:
    """A fleet of three that runs kube-nginx, one of whose nodes something is done to."""

    lab: Lab
    hosts_toml: Toml
    plain: Path
    max_fails: int = field(default_factory=lambda: next(NUMBERS))

    def deploy(self, *arguments: str, hosts: Path | None = None) -> Ran:
        """`fab deploy` of a changed configuration, or of what `hosts` says."""
        return run_fab("deploy", *arguments, hosts=hosts or self.changed)

    @property
    def changed(self) -> Path:
        """A hosts.toml from which every node gets another configuration."""
        return self.hosts_toml(self.change)

    @property
    def change(self) -> tuple[str, str]:
        """What makes the configuration of this trial another one than that of any other trial."""
        return ("[build]", f"[proxy]\nmax_fails = {self.max_fails}\n\n[build]")

    @contextmanager
    def begun(
        self, *arguments: str, hosts: Path | None = None, task: str = "deploy"
    ) -> Iterator[subprocess.Popen[str]]:
        """`fab TASK` under way, ended at the end of the block if it has not ended itself."""
        with under_way(hosts or self.changed, task, *arguments) as process:
            yield process

    def saw(self, number: int, fault: str, end: str, ran: Ran, *lines: str, status: int = 1) -> None:
        """What a user must have been told, and the rule for all faults; it becomes a row of the page."""
        text = ran.out + ran.err
        for line in lines:
            assert line in [steady(seen).strip() for seen in text.splitlines()], text
        assert ran.status == status, text
        note(Row(number, fault, "\n".join(lines), end))


def ended(process: subprocess.Popen[str], timeout: float = 200) -> Ran:
    """Waits for a deploy that was begun."""
    out, err = process.communicate(timeout=timeout)
    assert "Traceback" not in out + err
    return Ran(process.returncode, out, err)


@pytest.fixture(scope="module")
def plain(lab: Lab, hosts_toml: Toml, deployed: Path) -> Path:
    """The hosts.toml of a fleet that runs; every trial leaves it so to the next."""
    path = hosts_toml()
    mend(lab, path)
    return path


def mend(lab: Lab, plain: Path) -> None:
    """A plain deploy; every node answers afterwards."""
    mended = run_fab("deploy", "--wait", "60", "--batch", "100%", hosts=plain)
    assert mended.status == 0, mended.out + mended.err
    assert all(answers(node) for node in lab.nodes)


@pytest.fixture
def trial(lab: Lab, hosts_toml: Toml, plain: Path) -> Iterator[Trial]:
    """The rule: whatever was done, every node answers afterwards, and a plain deploy mends the rest."""
    yield Trial(lab, hosts_toml, plain)
    mend(lab, plain)
    assert [leftovers(node) for node in lab.nodes] == [""] * 3


@pytest.fixture
def slow_upload(lab: Lab) -> Iterator[Callable[[Node], None]]:
    """Has uploads to a node hang halfway, until the end of the test."""
    slowed: list[Node] = []

    def slow(node: Node) -> None:
        slowed.append(node)
        script = (
            '#!/bin/sh\n[ $# = 2 ] && [ "$2" -gt 100 ] || exec /usr/bin/head "$@"\n'
            "/usr/bin/head -c 100\nexec sleep 3600\n"
        )
        node.enter(f"printf %s '{script}' > /usr/local/bin/head && chmod 755 /usr/local/bin/head")

    yield slow
    for node in slowed:
        node.start()
        node.enter("rm -f /usr/local/bin/head")


@dataclass(frozen=True)
class Binaries:
    """Makes what `fab build` would have kept out of other binaries."""

    folder: Path
    good: Path

    def cache(self, binary: Path, glibc: str = "") -> dict[str, str]:
        """The environment in which `binary` is what was built."""
        place = self.folder / f"cache-{binary.name}" / "kube-nginx" / "binaries" / self.good.parent.name
        place.mkdir(parents=True)
        content = binary.read_bytes()
        (place / "kube-nginx").write_bytes(content)
        known = json.loads((self.good.parent / "verified.json").read_text())
        digest = sha256(content).hexdigest()
        (place / "verified.json").write_text(
            json.dumps(known | {"path": f"{place}/kube-nginx", "sha256": digest, "glibc": glibc})
        )
        for watch in self.good.parent.parent.glob("kube-nginx-watch-*"):
            shutil.copytree(watch, place.parent / watch.name)
        return {"XDG_CACHE_HOME": str(self.folder / f"cache-{binary.name}")}

    def compiled(self, name: str, *options: str) -> Path:
        """tests/lab/short_lived.c, compiled."""
        source = ROOT / "tests" / "lab" / "short_lived.c"
        run(["gcc", "-O2", "-o", str(self.folder / name), *options, str(source)])
        return self.folder / name


@pytest.fixture
def binaries(trial: Trial, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Binaries:
    """Binaries other than the good one that the fleet runs."""
    built: Any = run_fab("verify", "--json", hosts=trial.plain).json
    return Binaries(tmp_path, Path(built["nodes"][0]["binary"]))
