"""Host keys: what OpenSSH's own ssh says of a host, and what we say."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import fabric
import paramiko
import pytest

from tasks.core.config.settings import NodeSpec, Settings, Ssh
from tasks.core.errors import StepError
from tasks.core.remote.link import Link
from tasks.core.remote.options import Options
from tasks.core.remote.ssh import Session
from tests.keys import HOST, KEYS
from tests.sshd import Sshd, listening

LOGIN = {"password": "any", "allow_agent": False, "look_for_keys": False}
ALL = ("ed", "rsa", "ec")
HASHED = paramiko.HostKeys.hash_host("n1.example")
HASHED_PORT = paramiko.HostKeys.hash_host("[n1.example]:2222")


@dataclass(frozen=True)
class Case:
    """Lines of known_hosts, and what ssh says of the host: accepted, changed, revoked, unknown.

    `ours` is what we say, where that is not the same. {ed} and such are the host's keys, {other_ed}
    another's. `machine` is the file of GlobalKnownHostsFile, `more` are further lines of ssh_config.
    """

    lines: str
    says: str
    ours: str = ""
    host: str = "n1.example"
    port: int = 22
    offers: tuple[str, ...] = ("ed",)
    machine: str = ""
    more: str = ""


CASES = {
    "nothing": Case("", "unknown"),
    "a name": Case("n1.example {ed}\n", "accepted"),
    "a name, another key": Case("n1.example {other_ed}\n", "changed"),
    "another name": Case("n2.example {ed}\n", "unknown"),
    "another case": Case("N1.Example {other_ed}\n", "changed"),
    "another case of the host": Case("n1.example {ed}\n", "accepted", host="N1.EXAMPLE"),
    "two blanks": Case("n1.example  {other_ed}\n", "changed"),
    "tabs": Case("n1.example\tssh-ed25519\t{ed64}\tme\n", "accepted"),
    "leading blanks": Case(" \t n1.example {other_ed}\n", "changed"),
    "a comment": Case("# n1.example {other_ed}\n\n  # n1.example {other_ed}\n", "unknown"),
    "a comment after the key": Case("n1.example {ed} me@here # too\n", "accepted"),
    "a comment for a key": Case("n1.example # {ed}\n", "unknown"),
    "CRLF": Case("\r\nn2.example {other_ed}\r\nn1.example {ed}\r\n", "accepted"),
    "no final newline": Case("n2.example {ed}\nn1.example {other_ed}", "changed"),
    "no final newline, a new host": Case("n2.example {ed}", "unknown"),
    "other separators": Case("n1.example\x0c{other_ed}\nn2.example\x85n1.example {other_ed}\n", "unknown"),
    "not ASCII": Case("n\xe4.example {other_ed}\nn1.example {ed} M\xe4x\n", "accepted"),
    "a list": Case("n0.example,N1.example,192.0.2.1 {other_ed}\n", "changed"),
    "a list with a blank": Case("n2.example, n1.example {other_ed}\n", "unknown"),
    "a wildcard": Case("*.example {other_ed}\n", "changed"),
    "a wildcard and its key": Case("*.Example {ed}\n", "accepted"),
    "a question mark": Case("n?.example {other_ed}\n", "changed"),
    "brackets are no pattern": Case("n[12].example {other_ed}\n", "unknown"),
    "a dot is a dot": Case("n1?example,n1.exampl? {ed}\n", "accepted"),
    "negated": Case("*.example,!n1.example {other_ed}\n", "unknown"),
    "negated before": Case("!n1.*,* {other_ed}\n", "unknown"),
    "negated only": Case("!n2.example {other_ed}\n", "unknown"),
    "hashed": Case(f"{HASHED} {{ed}}\n", "accepted"),
    "hashed, another key": Case(f"{HASHED} {{other_ed}}\n", "changed", host="N1.example"),
    "hashed, in a list": Case(f"{HASHED},n1.example {{other_ed}}\n", "unknown"),
    "hashed, broken": Case(f"|1|AAAA {{other_ed}}\n|1|%|%| {{other_ed}}\n{HASHED} {{ed}}\n", "accepted"),
    "hashed with a port": Case(f"{HASHED_PORT} {{ed}}\n", "accepted", port=2222),
    "hashed with a port, another key": Case(f"{HASHED_PORT} {{other_ed}}\n", "changed", port=2222),
    "a port": Case("[n1.example]:2222 {ed}\n", "accepted", port=2222),
    "another port": Case("[n1.example]:2223 {ed}\n", "unknown", port=2222),
    "a port that is not needed": Case("[n1.example]:22 {other_ed}\n", "unknown"),
    "a port, and a name without": Case("n1.example {ed}\n", "accepted", port=2222),
    "a port, and another key without": Case("n1.example {other_ed}\n", "unknown", port=2222),
    "a port with another key": Case("n1.example {ed}\n[n1.example]:2222 {other_ed}\n", "changed", port=2222),
    "a port and a wildcard": Case("*.example {other_ed}\n", "unknown", port=2222),
    "a port and a star": Case("* {other_ed}\n", "changed", port=2222),
    "IPv4": Case("127.0.0.1 {ed}\n", "accepted", host="127.1"),
    "IPv6": Case("::1 {ed}\n", "accepted", host="::1"),
    "IPv6 at length": Case("::1 {ed}\n", "accepted", host="0:0:0:0:0:0:0:1"),
    "IPv6 at length in the file": Case("0:0:0:0:0:0:0:1 {ed}\n", "unknown", host="::1"),
    "IPv6 and a port": Case("[2001:2::1]:2222 {ed}\n", "accepted", host="2001:2::1", port=2222),
    "revoked": Case("@revoked n1.example {ed}\n", "revoked"),
    "revoked by a wildcard, and known": Case("n1.example {ed}\n@revoked * {ed}\n", "revoked"),
    "another key is revoked": Case("@revoked n1.example {other_ed}\n", "unknown"),
    "the old key is revoked": Case("@revoked * {other_ed}\nn1.example {ed}\n", "accepted"),
    "revoked in the machine's file": Case("n1.example {ed}\n", "revoked", machine="@revoked  n1.* {ed}\n"),
    "revoked, with tabs": Case("@revoked\tn1.example\tssh-ed25519\t{ed64}\n", "revoked"),
    "revoked, with one tab": Case("@revoked\tn1.example {ed}\n", "unknown"),
    # ssh warns that the key is revoked, and then records it under the name with the port
    "revoked without the port": Case("@revoked n1.example {ed}\n", "unknown", "revoked", port=2222),
    "an unknown marker": Case("@trusted n1.example {other_ed}\n", "unknown"),
    "two markers": Case("@revoked @cert-authority n1.example {ed}\n", "unknown"),
    "a marker alone": Case("@revoked\n@cert-authority \nn1.example {ed}\n", "accepted"),
    "an authority": Case("@cert-authority *.example {other_ed}\n", "unknown", "certified"),
    "an authority, the same key": Case("@cert-authority *.example {ed}\n", "unknown", "certified"),
    "an authority, without the port": Case(
        "@cert-authority *.example {other_ed}\n", "unknown", "certified", port=2222
    ),
    "an authority, and a key": Case("@cert-authority * {other_ed}\nn1.example {ed}\n", "accepted"),
    "an authority, and another key": Case("@cert-authority * {ed}\nn1.example {other_ed}\n", "changed"),
    "an authority for another": Case("@cert-authority n2.example {ed}\n", "unknown"),
    "a key of another kind": Case("n1.example {rsa}\n", "changed"),
    "a kind that is not offered, and one that is": Case(
        "n1.example {rsa}\nn1.example {ed}\n", "accepted", offers=("ed", "ec")
    ),
    "only rsa is known": Case("n1.example {rsa}\n", "accepted", offers=ALL),
    "only ecdsa is known": Case("n1.example {ec}\n", "accepted", offers=ALL),
    "only rsa is known, by a wildcard": Case("n?.example {rsa}\n", "accepted", offers=ALL),
    "only rsa is known, and it is another": Case("n1.example {other_rsa}\n", "changed", offers=ALL),
    "rsa is known without the port": Case("n1.example {rsa}\n", "unknown", port=2222, offers=ALL),
    "the best kind is known and not offered": Case(
        "n1.example {other_ed}\nn1.example {rsa}\n", "changed", offers=("rsa", "ec")
    ),
    "one kind is revoked, another known": Case(
        "@revoked n1.example {ed}\nn1.example {rsa}\n", "accepted", offers=ALL
    ),
    "two keys of a kind": Case("n1.example {other_ed}\nn1.example {ed}\n", "accepted"),
    "two keys of a kind, the other first": Case("n1.example {ed}\nn1.example {other_ed}\n", "accepted"),
    "broken lines between": Case(
        "n1.example\nn1.example ssh-ed25519 AAAA!\nn1.example ssh-rsa\nn1.example {ed}\n", "accepted"
    ),
    "broken lines only": Case(
        "n1.example ssh-ed25519 AAAA\nn1.example ssh-rsa {other64}\nn1.example {other_ed}AAAA\n"
        "n1.example ED25519 {other64}\nn1.example 1024 {other_ed}\n",
        "unknown",
    ),
    "another name of rsa": Case("n1.example rsa-sha2-512 {rsa64}\n", "changed"),
    "the machine's file": Case("", "accepted", machine="n1.example {ed}\n"),
    "the machine's file, another key": Case("", "changed", machine="n1.example {other_ed}\n"),
    "the machine's file, and ours": Case("n1.example {ed}\n", "accepted", machine="n1.example {other_ed}\n"),
    "an alias": Case("alias {ed}\n", "accepted", more="HostKeyAlias alias"),
    "an alias, the host's name": Case("n1.example {ed}\n", "unknown", more="HostKeyAlias alias"),
    "an alias has no port": Case("alias {ed}\n", "accepted", port=2222, more="HostKeyAlias Alias"),
    "an alias with a port": Case("[alias]:2222 {ed}\n", "unknown", port=2222, more="HostKeyAlias alias"),
    "an alias revoked": Case("@revoked ali* {ed}\n", "revoked", more="HostKeyAlias alias"),
    "a host name": Case("n1.example {ed}\n", "accepted", host="short", more="HostName n1.example"),
    "recorded as a hash": Case("", "unknown", more="HashKnownHosts yes"),
}

STRICT = (
    *("nothing", "a name", "a wildcard", "negated", "revoked", "revoked without the port", "an authority"),
    *("a port, and another key without", "broken lines only", "an alias, the host's name"),
)
"""The cases that are tried without accept-new, too."""


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
        (folder / "machine").write_bytes(case.machine.format(**KEYS).encode())
        relay = f"exec 2>/dev/null 3<>/dev/tcp/127.0.0.1/{server}; cat <&3 & exec cat >&3"
        (folder / "relay").write_text(relay)
        (folder / "config").write_text(
            f"StrictHostKeyChecking {policy}\nUserKnownHostsFile {folder}/known_hosts {folder}/second\n"
            f"GlobalKnownHostsFile {folder}/none {folder}/machine\nProxyCommand bash {folder}/relay\n"
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
