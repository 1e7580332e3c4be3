"""Host keys: what OpenSSH's own ssh says of a host, and what we say."""

from __future__ import annotations

import functools
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import fabric
import pytest

from tasks.core.config.address import NodeSpec
from tasks.core.config.model import Settings, Ssh
from tasks.core.errors import StepError
from tasks.core.ssh.connection import Link
from tasks.core.ssh.knownhosts import KnownHostsFile
from tasks.core.ssh.options import Options
from tasks.core.ssh.session import Session
from tests.hostkey_cases import CASES, STRICT, Case
from tests.keys import HOST, KEYS
from tests.sshd import Sshd, listening

LOGIN = {"password": "any", "allow_agent": False, "look_for_keys": False}


def outcome(text: str, recorded: bool) -> str:
    """Which of the verdicts a text of ssh or of ours is."""
    for sign, verdict in {
        "Permanently added": "recorded",
        "host key is known for": "unknown",
        "REVOKED": "revoked",
        "HAS CHANGED": "changed",
        "names a certificate": "certified",
        "is unknown:": "unknown",
    }.items():
        if sign in text:
            return verdict
    assert not text or "Permission denied (password)" in text, text
    return "recorded" if recorded else "accepted"


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[tuple[str, ...], int]]:
    """The port of an sshd for each set of host keys that a case asks for."""
    with ExitStack() as stack:
        yield {
            offers: stack.enter_context(listening(Sshd(keys=[HOST[kind] for kind in offers]).serve))
            for offers in {case.offers for case in CASES.values()}
        }


@dataclass(frozen=True)
class Place:
    """A folder with the files of a case; ssh and we have one each, since both write to it."""

    folder: Path
    case: Case
    policy: str

    @classmethod
    def made(cls, folder: Path, case: Case, policy: str, server: int) -> Place:
        folder.mkdir()
        (folder / "known_hosts").write_bytes(case.lines.format(**KEYS).encode())
        (folder / "second").write_bytes(case.second.format(**KEYS).encode())
        (folder / "machine").write_bytes(case.machine.format(**KEYS).encode())
        relay = f"exec 2>/dev/null 3<>/dev/tcp/127.0.0.1/{server}; cat <&3 & exec cat >&3"
        (folder / "relay").write_text(relay)
        (folder / "config").write_text(
            f"StrictHostKeyChecking {policy}\nUserKnownHostsFile {folder}/known_hosts {folder}/second\n"
            f"GlobalKnownHostsFile {folder}/none {folder}/machine\nProxyCommand bash --norc {folder}/relay\n"
            f"{case.more}\n"
        )
        return cls(folder, case, policy)

    @property
    def recorded(self) -> str:
        before = self.case.lines.format(**KEYS).encode()
        return (self.folder / "known_hosts").read_bytes().removeprefix(before).decode()

    def ssh(self) -> str:
        """OpenSSH's verdict."""
        options = ["-F", f"{self.folder}/config", "-p", str(self.case.port), "-l", "root"]
        options += ["-o", "BatchMode=yes", "-o", "PreferredAuthentications=none"]
        command = ["ssh", *options, self.case.host, "true"]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        return outcome(ran.stderr, bool(self.recorded))

    def link(self) -> Link:
        """Our connection to the same host."""
        spec = NodeSpec("node", self.case.host, port=self.case.port)
        ssh = Ssh(
            config=self.folder / "config",
            host_keys="accept-new" if self.policy == "accept-new" else "strict",
        )
        settings = Settings(None, "recommended", (spec,), (), ssh=ssh)
        return Link(spec, Session(settings, Options(), fabric.Config()), connect_kwargs=LOGIN)

    def ours(self) -> str:
        """Our verdict, of a run of its own."""
        link = self.link()
        try:
            link.open()
        except StepError as error:
            return outcome(error.message, bool(self.recorded))
        finally:
            link.close()
        return outcome("", bool(self.recorded))


@pytest.mark.parametrize(
    ("name", "policy"),
    [(name, "accept-new") for name in CASES] + [(name, "yes") for name in STRICT],
)
def test_we_say_what_openssh_says(
    servers: dict[tuple[str, ...], int], tmp_path: Path, name: str, policy: str
) -> None:
    case = CASES[name]
    theirs, mine = (Place.made(tmp_path / who, case, policy, servers[case.offers]) for who in ("ssh", "ours"))
    unknown = "recorded" if policy == "accept-new" else "unknown"
    assert theirs.ssh() == (unknown if case.says == "unknown" else case.says)
    expected = case.ours or case.says
    assert mine.ours() == (unknown if expected == "unknown" else expected)
    if not case.ours and "HashKnownHosts" not in case.more:
        assert mine.recorded.strip() == theirs.recorded.strip()


def test_a_host_that_is_refused_leaves_no_thread(servers: dict[tuple[str, ...], int], tmp_path: Path) -> None:
    case = next(case for case in CASES.values() if case.says == "unknown")
    ours = functools.partial(filter, lambda thread: not getattr(thread, "server_mode", True))
    before = {*threading.enumerate()}
    with pytest.raises(StepError):
        Place.made(tmp_path / "ours", case, "yes", servers[case.offers]).link().open()
    for thread in ours({*threading.enumerate()} - before):
        thread.join(20)
        assert not thread.is_alive()


def test_a_known_hosts_that_is_a_fifo_holds_nobody_up(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "known_hosts")
    with pytest.raises(StepError, match="known_hosts: is no regular file"):
        KnownHostsFile(tmp_path / "known_hosts")
