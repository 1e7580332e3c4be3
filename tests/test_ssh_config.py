"""What holds for a host: `ssh -G` is asked, once for all that are alike; without ssh, paramiko's reader."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Callable, Sequence
from getpass import getuser
from pathlib import Path

import pytest

from tasks.core.errors import UsageError
from tasks.core.openssh import config, program
from tasks.core.openssh.alike import Asked
from tasks.core.openssh.config import SshConfig
from tasks.core.openssh.host import HostConfig

Reads = Callable[..., SshConfig]


@pytest.fixture
def reads(tmp_path: Path) -> Reads:
    """Writes an ssh_config, and files beside it, and reads it."""

    def read(text: str, **beside: str) -> SshConfig:
        for name, content in beside.items():
            (tmp_path / name).write_text(content.replace("HERE", str(tmp_path)))
        (tmp_path / "config").write_text(text.replace("HERE", str(tmp_path)))
        return SshConfig([tmp_path / "config"])

    return read


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The hosts for which ssh is asked."""
    hosts: list[str] = []
    run = subprocess.run

    def counted(command: Sequence[str], **options: object) -> object:
        hosts.append(command[-1])
        return run(command, **options)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "run", counted)
    return hosts


def by_hand(tmp_path: Path, name: str) -> HostConfig:
    """What `ssh -G` says of one host, where it is asked for that host alone."""
    command = ["ssh", "-G", "-F", str(tmp_path / "config"), name]
    said = subprocess.run(
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    ).stdout
    values: dict[str, tuple[str, ...]] = {}
    for keyword, _, value in (line.partition(" ") for line in said.splitlines()):
        values[keyword] = (*values.get(keyword, ()), value)
    return HostConfig(name, values["hostname"][0], values["user"][0], int(values["port"][0]), values)


ALIKE = {
    "a block for each, and one for all": (
        "Host n1\n HostName 198.18.0.1\nHost n2 m2\n HostName=198.18.0.2\nHost n3\nHost *\n User ops\n",
        ["n1", "n2", "m2", "n3"],
        2,
    ),
    "another user is another answer": (
        "Host n1\n User a\nHost n2\n User b\nHost *\n User c\n",
        ["n1", "n2", "n3"],
        3,
    ),
    "the first counts": (
        "Host n1\n HostName 198.18.0.1\nHost n*\n HostName 198.18.0.9\n Port 24\nHost n2\n HostName no\n",
        ["n1", "n2", "n3"],
        2,
    ),
    "the name is part of the host name": ("Host n*\n HostName %h.example\n", ["n1", "n2"], 1),
    "patterns": ("Host n? !n2\n User a\nHost [n]1\n User b\nHost *\n User c\n", ["n1", "n2", "n11"], 2),
    "upper case is another name": ("Host N1\n User a\nHost *\n User c\n", ["n1", "N1"], 2),
    "Match by host names": (
        "Host n1 n2\n HostName x.example\nHost n3\n HostName y.example\n"
        "Match host x.*,z\n User a\nMatch originalhost n2\n Port 23\n",
        ["n1", "n2", "n3"],
        3,
    ),
    "Match sets what is compared": (
        "Match originalhost n1\n HostName a.example\n"
        "Host n*\n HostName b.example\nMatch host b.example\n User b\n",
        ["n1", "n2", "n3"],
        3,
    ),
    "Match that is the same for all": (
        f"Match localuser {os.environ.get('USER', 'root')}\n Port 23\nMatch all\n User a\n",
        ["n1", "n2"],
        1,
    ),
    "Match exec is run for each": (
        'Match exec "test %h = n2"\n User a\nMatch all\n User b\n',
        ["n1", "n2", "n3"],
        3,
    ),
    "an agent's name with a token": ("Host *\n IdentityAgent /run/%h.sock\n", ["n1", "n2"], 2),
    "a port by its name": ("Host n1\n Port ssh\nHost *\n Port 2222\n", ["n1", "n2"], 2),
    "Match !final": ("Host n1\n HostName x.y\nMatch !final\nHost x.y\n User b\n", ["n1", "n2"], 2),
    "a # in a name": ("Host web#1 n1\n User b\nHost *\n HostName h#x\n", ["n1", "n2"], 2),
    "a backslash": ("Host a\\b n1\n User b\nHost *\n User c\n", ["n1", "n2"], 2),
    "Include": ("Include HERE/more\nHost *\n User a\n", ["n1", "n2", "n3"], 3),
    "Include under Host": ("Host n1\n Include HERE/more\nHost *\n User a\n", ["n1", "n2"], 2),
    "a comment, quotes, blanks": (
        '\tHost  "n1"   # n2\n  HostName  "x"  # y\nHost *\n User "a"\n',
        ["n1", "n2"],
        2,
    ),
}


@pytest.mark.parametrize("name", ALIKE)
def test_one_answer_serves_all_that_are_alike(
    reads: Reads, tmp_path: Path, asked: list[str], name: str
) -> None:
    text, names, most = ALIKE[name]
    read = reads(text, more="Host n1\n HostName m\n Port 25\nHost n2\n User b\n")
    hosts = [Asked(host) for host in names]
    read.prepare(hosts)
    found = [read.host(host) for host in hosts]
    assert len(asked) <= most
    for host in found:
        by_ssh = by_hand(tmp_path, host.name)
        assert (host.hostname, host.user, host.port) == (by_ssh.hostname, by_ssh.user, by_ssh.port)


def test_a_thousand_nodes_cost_one_question(reads: Reads, asked: list[str]) -> None:
    nodes = [f"node-{number}" for number in range(1000)]
    blocks = (
        f"Host {node}\n HostName 198.18.1.{n % 250}\n Port {2000 + n}\n" for n, node in enumerate(nodes)
    )
    read = reads("".join(blocks) + "Host *\n User root\n")
    read.prepare([Asked(node) for node in nodes])
    assert [read.host(Asked(node)).port for node in nodes] == list(range(2000, 3000))
    assert len(asked) == 1


def test_what_is_given_counts_more_than_ssh_config_and_that_more_than_defaults(tmp_path: Path) -> None:
    (tmp_path / "config").write_text("Host a\n User x\n Port 23\nMatch user y\n Compression yes\n")
    read = SshConfig([tmp_path / "config"], user="ops", port=2222)
    found = [read.host(asked) for asked in (Asked("a"), Asked("a", "y", 24), Asked("b"))]
    assert [(host.user, host.port) for host in found] == [("x", 23), ("y", 24), ("ops", 2222)]
    assert [host.says("Compression") for host in found] == [False, True, False]


def test_what_no_file_sets_is_not_set(reads: Reads) -> None:
    found = reads("Host *\n Ciphers aes256-ctr\n").host(Asked("a"))
    assert found.get("Ciphers") == "aes256-ctr"
    assert {"macs", "identityfile", "forwardagent"} & {*found.values} == set()


def test_what_is_set_for_one_host_is_not_set_for_another(reads: Reads) -> None:
    read = reads("Host a\n ForwardAgent no\n IdentityFile /k\n ChallengeResponseAuthentication no\n")
    assert {*read.host(Asked("b")).values} == {"hostname", "user", "port"}
    assert read.host(Asked("a")).get("KbdInteractiveAuthentication") == "no"


def test_times(reads: Reads) -> None:
    found = reads("Host *\n ConnectTimeout 1m30s\n ServerAliveInterval 0\n").host(Asked("a"))
    assert [found.seconds(word) for word in ("ConnectTimeout", "ServerAliveInterval", "User")] == [90, 0, 0]


def test_nothing_is_asked_where_nothing_is_written(reads: Reads, asked: list[str]) -> None:
    assert reads("# nothing\n").host(Asked("Node")).hostname == "node"
    assert asked == []


UNSUPPORTED = {
    "KnownHostsCommand": (
        "KnownHostsCommand /usr/bin/keys %H",
        "config:2: KnownHostsCommand /usr/bin/keys %H: is not",
    ),
    "ProxyUseFdpass": ("ProxyUseFdpass yes", "config:2: ProxyUseFdpass yes: cannot be done"),
    "gssapi alone": (
        "PreferredAuthentications gssapi-with-mic",
        "config:2: PreferredAuthentications gssapi-with-mic:",
    ),
    "no common cipher": (
        "Ciphers chacha20-poly1305@openssh.com",
        "config:2: Ciphers chacha20-poly1305@openssh.com: ",
    ),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_what_cannot_be_done_is_refused_by_its_line(reads: Reads, name: str) -> None:
    line, message = UNSUPPORTED[name]
    read = reads(f"Host a\n {line}\n")
    read.host(Asked("b"))
    with pytest.raises(UsageError) as caught:
        read.host(Asked("a"))
    assert message in str(caught.value)


WITHOUT_SSH = {
    "plain": ("Host a\n HostName b\n Port 23\n User ops\n", ""),
    "one word in quotes": ('Host "a"\n User "ops"\n HostName b\n Port 23\n', ""),
    "Match that is understood": ("Match host a\n HostName b\n User ops\n Port 23\n", ""),
    "Include": ("Include more\n", "config:1: Include is understood by OpenSSH's ssh only"),
    "localnetwork": (
        "Match localnetwork 198.18.0.0/15\n Port 23\n",
        "config:1: Match localnetwork is understood",
    ),
    "tagged": ("Host a\nMatch !tagged prod\n Port 23\n", "config:2: Match !tagged is understood"),
    "canonical names": ("CanonicalizeHostname yes\n", "config:1: CanonicalizeHostname is understood"),
    "a comment": ("HostName b # c\n", "config:1: b # c: a comment behind a value is understood"),
    "words in quotes": (
        'IdentityFile "/a" "/b"\n',
        'config:1: "/a" "/b": several words in quotes is understood',
    ),
    "no number": ("Host a\n Port x\n", "config:2: Port x is understood"),
    "no value": ("Host\n", "config:1: "),
}


def test_without_ssh_each_host_has_its_own_tokens(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "which", lambda program: None)
    read = reads("Host a\n HostName x\n Port 23\nHost b\n HostName y\nHost *\n ProxyCommand nc %h %p\n")
    assert [read.host(Asked(name)).get("ProxyCommand") for name in "ab"] == ["nc x 23", "nc y 22"]


@pytest.mark.parametrize("name", WITHOUT_SSH)
def test_without_ssh_what_is_not_understood_is_refused(
    reads: Reads, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setattr(config, "which", lambda program: None)
    text, message = WITHOUT_SSH[name]
    if message:
        with pytest.raises(UsageError) as caught:
            reads(text).host(Asked("a"))
        assert message in str(caught.value)
    else:
        found = reads(text).host(Asked("a"))
        assert (found.hostname, found.user, found.port) == ("b", "ops", 23)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Host a\n Nonsense 1\n", "config:2: Nonsense 1: Bad configuration option: nonsense"),
        ("Include HERE/more\n", "more:1: Bad configuration option: wrong"),
        ("Host b\nMatch exec\n", "config:2: Match exec: "),
        (
            "UserKnownHostsFile ${NO_SUCH}/x\n",
            "config:1: UserKnownHostsFile ${NO_SUCH}/x: ${NO_SUCH} stands for nothing",
        ),
    ],
)
def test_what_ssh_does_not_take_is_named(reads: Reads, text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        reads(text, more="wrong 1\n").host(Asked("a"))
    assert message in str(caught.value)


def test_a_match_exec_that_hangs_is_named(reads: Reads, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "SECONDS", 0.2)
    with pytest.raises(UsageError, match=r"ssh -G a did not end within 0.2 s; does a Match exec"):
        reads('Match exec "exec sleep 60"\n').host(Asked("a"))


def test_the_files_of_user_and_system_are_read_in_that_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own, system = tmp_path / "own", tmp_path / "etc" / "ssh_config"
    system.parent.mkdir()
    (system.parent / "more").write_text("Port 24\nHost a\n User b\n")
    own.write_text("Host a\n Port 23\n")
    system.write_text("Include more\nHost *\n User c\n")
    for module in ("files", "program"):
        monkeypatch.setattr(f"tasks.core.openssh.{module}.SYSTEM", system)
    read = SshConfig([own, system])
    assert [(host.user, host.port) for host in map(read.host, (Asked("a"), Asked("z")))] == [
        ("b", 23),
        ("c", 24),
    ]


def test_others_may_not_write_to_the_users_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "config"
    monkeypatch.setattr("tasks.core.openssh.files.OWN", own)
    own.write_text("Port 23\n")
    own.chmod(0o664)
    with pytest.raises(UsageError, match=f"chmod 600 {own}"):
        SshConfig([own])
    own.unlink()
    assert SshConfig([own]).host(Asked("a")).port == 22


NAMES = ("n1", "n2", "n10", "m1", "N1")
PATTERNS = ("n1", "n2", "n*", "n?", "*", "!n2", "m1", "!n*", "h1", "n1.x", "h*")
SETTINGS = ("HostName h1", "HostName h2", "HostName %h.x", "Port 23", "Port 24", "User u1", "User u2")
OTHERS = ("Compression yes", "ProxyJump j1", "ProxyJump j2", "IdentityFile /k/%h", "StrictHostKeyChecking no")
HEADS: tuple[str, ...] = ("Host {s}",) * 4
HEADS += ("Match host {c}", "Match originalhost {c}", "Match !host {c}", "Match user u1")
HEADS += (
    "Match all",
    "Match localuser {me}",
    "Match host {c} user u1",
    "Match final host {c}",
    "Match canonical",
)


def random_config(dice: random.Random, include: str = "") -> str:
    """Some Host and Match blocks, with some settings in each."""

    def block(head: str) -> str:
        picked = dice.sample(
            [*SETTINGS, *OTHERS, *[f"Include {include}"][: bool(include)]], k=dice.randint(0, 3)
        )
        patterns = dice.sample(PATTERNS, k=dice.randint(1, 3))
        filled = head.format(s=" ".join(patterns), c=",".join(patterns), me=getuser())
        return "\n  ".join([filled, *picked]) + "\n"

    return block("") + "".join(block(dice.choice(HEADS)) for _ in range(dice.randint(1, 6)))


@pytest.mark.parametrize("seed", range(30))
def test_any_file_says_what_it_says_to_ssh(reads: Reads, tmp_path: Path, seed: int) -> None:
    dice = random.Random(seed)
    read = reads(random_config(dice, include=f"{tmp_path}/more"), more=random_config(dice))
    read.prepare([Asked(name) for name in NAMES])
    for name in NAMES:
        host, by_ssh = read.host(Asked(name)), by_hand(tmp_path, name)
        assert (host.hostname, host.user, host.port) == (by_ssh.hostname, by_ssh.user, by_ssh.port)
        assert {key: by_ssh.values[key] for key in host.values if key not in ("hostname", "port")} == {
            key: value for key, value in host.values.items() if key not in ("hostname", "port")
        }
