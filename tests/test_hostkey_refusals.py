"""Host keys: what is said of a host that is refused, and the files that are read and written."""

from __future__ import annotations

import os
from pathlib import Path

import fabric
import paramiko
import pytest

from tasks.core.config.address import NodeSpec
from tasks.core.config.model import Settings, Ssh
from tasks.core.errors import StepError, UsageError
from tasks.core.openssh.host import HostConfig
from tasks.core.shell.pool import fan_out
from tasks.core.ssh import knownhosts
from tasks.core.ssh.connection import Link
from tasks.core.ssh.hostkeys import HostKey, KnownHosts, lookup_name
from tasks.core.ssh.options import Options
from tasks.core.ssh.session import Session
from tests.keys import HOST, KEYS, STRANGER, ed25519
from tests.sshd import Sshd, listening

LOGIN = {"password": "any", "allow_agent": False, "look_for_keys": False}


def host_key(tmp_path: Path, accept_new: bool = False, port: int = 22, **ssh_config: str) -> HostKey:
    files = {"userknownhostsfile": f"{tmp_path}/known_hosts", "globalknownhostsfile": "/nonexistent"}
    config = host_config("n1", "n1.example", "ops", port, **files | ssh_config)
    return HostKey(KnownHosts(), config, accept_new)


def host_config(name: str, hostname: str, user: str = "root", port: int = 22, /, **values: str) -> HostConfig:
    return HostConfig(name, hostname, user, port, {keyword: (value,) for keyword, value in values.items()})


def refusal(verdict: HostKey, key: paramiko.PKey) -> StepError:
    with pytest.raises(StepError) as caught:
        verdict.missing_host_key(None, "", key)
    assert caught.value.unreachable
    return caught.value


@pytest.mark.parametrize(
    ("text", "files"),
    [
        ("/a /b", ["/a", "/b"]),
        ('"/a b" /c', ["/a b", "/c"]),
        ("~/known /k", ["HOME/known", "/k"]),
        ("/%h.%n.%k.%p.%r%%", ["/n1.example.n1.n1.2222.ops%"]),
        ("%d/x ${WHERE}/x", ["HOME/x", "/where/x"]),
        ("none", []),
    ],
)
def test_the_names_of_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, files: list[str]
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WHERE", "/where")
    found = host_key(tmp_path, port=2222, userknownhostsfile=text).user_files
    assert found == [Path(name.replace("HOME", str(tmp_path))) for name in files]


def test_the_files_that_ssh_reads_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    found = HostKey(KnownHosts(), host_config("n", "n"), accept_new=False).files
    assert [str(file).replace(str(tmp_path), "~") for file in found] == [
        "~/.ssh/known_hosts",
        "~/.ssh/known_hosts2",
        "/etc/ssh/ssh_known_hosts",
        "/etc/ssh/ssh_known_hosts2",
    ]


@pytest.mark.parametrize(
    ("text", "sign"), [("/%z", "%z"), ("/x%", "%"), ("/${NOT_SET_HERE}", "${NOT_SET_HERE}")]
)
def test_a_name_of_a_file_without_meaning(tmp_path: Path, text: str, sign: str) -> None:
    with pytest.raises(UsageError) as caught:
        host_key(tmp_path, userknownhostsfile=text)
    assert str(caught.value) == (
        f"ssh_config: UserKnownHostsFile {text}: {sign} stands for nothing; write it out"
    )


def test_what_is_said_of_an_unknown_key(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    key = HOST["ed"]
    error = refusal(host_key(tmp_path), key)
    assert error.message == f"the host key of n1.example is unknown: ssh-ed25519 {key.fingerprint}"
    assert error.hint.endswith(f'ssh-keyscan n1.example >> {file}; or set ssh.host_keys = "accept-new"')
    error = refusal(host_key(tmp_path, port=2222), key)
    assert f"then ssh-keyscan -p 2222 n1.example >> {file};" in error.hint
    error = refusal(host_key(tmp_path, port=2222, hostkeyalias="Alias"), key)
    assert error.message.startswith("the host key of alias is unknown")
    assert f"then ssh-keyscan -p 2222 n1.example | sed 's/^[^ ]*/alias/' >> {file};" in error.hint


def test_what_is_said_of_another_key_names_the_line(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("# mine\n\n*.example {other_ed}\n".format(**KEYS))
    error = refusal(host_key(tmp_path, accept_new=True), HOST["ed"])
    known, seen = STRANGER["ed"].fingerprint, HOST["ed"].fingerprint
    assert error.message == (
        f"the host key of n1.example HAS CHANGED: known is ssh-ed25519 {known}, seen is ssh-ed25519 {seen}"
    )
    assert f"the old key is {file}:3: ssh-keygen -R 'n1.example' -f {file}" in error.hint


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("@revoked * {ed}", "the host key of n1.example is REVOKED by FILE:2: ssh-ed25519 SHA256:"),
        ("@cert-authority * {other_ed}", "; FILE:2 names a certificate authority for it, and certificates"),
    ],
)
def test_the_line_that_refuses_is_named(tmp_path: Path, line: str, says: str) -> None:
    file = tmp_path / "known_hosts"
    file.write_text(f"\n{line}\n".format(**KEYS))
    error = refusal(host_key(tmp_path, accept_new=True), HOST["ed"])
    assert says.replace("FILE", str(file)) in error.message
    assert file.read_text() == f"\n{line}\n".format(**KEYS)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").mkdir()
    error = refusal(host_key(tmp_path), HOST["ed"])
    assert error.message == f"cannot read {tmp_path}/known_hosts: Is a directory"


def test_what_cannot_be_recorded_is_refused(tmp_path: Path) -> None:
    error = refusal(host_key(tmp_path, accept_new=True, userknownhostsfile="/proc/new/x"), HOST["ed"])
    why = "No such file or directory"
    assert error.message == f"cannot record the host key of n1.example in known_hosts: {why}"


@pytest.mark.parametrize("file", ["none", "/dev/null"])
def test_where_nothing_is_to_be_recorded_no_file_appears(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.chdir(tmp_path)
    host_key(tmp_path, accept_new=True, userknownhostsfile=file).missing_host_key(None, "", HOST["ed"])
    assert [*tmp_path.iterdir()] == []


def test_an_alias_is_known_or_not_wherever_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tasks.core.ssh.hostkeys._peer", lambda client: "127.0.0.1")
    host_key(tmp_path, nohostauthenticationforlocalhost="yes").missing_host_key(None, "", HOST["ed"])
    verdict = host_key(tmp_path, nohostauthenticationforlocalhost="yes", hostkeyalias="n7")
    assert "of n7 is unknown" in refusal(verdict, HOST["ed"]).message


def test_revoked_host_keys(tmp_path: Path) -> None:
    (tmp_path / "known_hosts").write_text("n1.example {ed}\nn1.example {rsa}\n".format(**KEYS))
    (tmp_path / "revoked").write_text("# stolen\n{ed} of n1\n".format(**KEYS))
    verdict = host_key(tmp_path, revokedhostkeys=f"{tmp_path}/revoked")
    assert f"is REVOKED by {tmp_path}/revoked: ssh-ed25519" in refusal(verdict, HOST["ed"]).message
    verdict.missing_host_key(None, "", HOST["rsa"])


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file or directory"), (b"SSHKRL\n\0\0", "in binary form")]
)
def test_revoked_host_keys_that_cannot_be_read(tmp_path: Path, content: bytes | None, says: str) -> None:
    (tmp_path / "known_hosts").write_text("n1.example {ed}\n".format(**KEYS))
    if content:
        (tmp_path / "revoked").write_bytes(content)
    verdict = host_key(tmp_path, revokedhostkeys=f"{tmp_path}/revoked")
    assert says in refusal(verdict, HOST["ed"]).message


def test_what_is_recorded_is_a_whole_line_and_known_from_then_on(tmp_path: Path) -> None:
    file = tmp_path / "ssh" / "known_hosts"
    known = KnownHosts()
    files = {"userknownhostsfile": str(file), "globalknownhostsfile": "/nonexistent"}
    hosts = [HostKey(known, host_config(name, name, **files), accept_new=True) for name in ("a", "b", "a")]
    hosts[0].missing_host_key(None, "", HOST["ed"])
    file.write_text(file.read_text().rstrip("\n"))
    hosts[1].missing_host_key(None, "", HOST["ed"])
    hosts[2].missing_host_key(None, "", HOST["ed"])
    assert [line.split()[0] for line in file.read_text().splitlines()] == ["a", "b"]
    assert f"{file}:1: ssh-keygen" in refusal(hosts[2], STRANGER["ed"]).hint


@pytest.mark.parametrize("accept_new", [False, True])
def test_a_known_hosts_that_is_no_file_is_not_waited_for(tmp_path: Path, accept_new: bool) -> None:
    os.mkfifo(tmp_path / "known_hosts")
    message = refusal(host_key(tmp_path, accept_new=accept_new), HOST["ed"]).message
    assert message == f"cannot read {tmp_path}/known_hosts: is no regular file, but a FIFO or a device"


def test_dev_null_is_no_known_hosts(tmp_path: Path) -> None:
    verdict = host_key(tmp_path, userknownhostsfile="/dev/null")
    assert "is unknown" in refusal(verdict, HOST["ed"]).message


def test_hosts_that_share_a_name_and_come_at_once(tmp_path: Path) -> None:
    known = KnownHosts()
    files = {"userknownhostsfile": f"{tmp_path}/known_hosts", "hostkeyalias": "fleet"}
    hosts = [HostKey(known, host_config(f"n{n}", f"n{n}", **files), accept_new=True) for n in range(20)]
    met = dict(fan_out(hosts, lambda host: host.missing_host_key(None, "", ed25519()), 20))
    assert [type(result) for result in met.values()].count(StepError) == 19
    assert (tmp_path / "known_hosts").read_text().count("fleet ") == 1


def test_a_long_file_is_read_once_and_looked_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "known_hosts"
    file.write_text("".join(f"n{n},192.0.2.{n} {KEYS['ed']}\n" for n in range(1000)) + f"*.x {KEYS['rsa']}\n")
    known = knownhosts.KnownHostsFile(file)
    file.unlink()
    parsed: list[str] = []
    parse = knownhosts.parse_key

    def counted(text: str) -> knownhosts.Key | None:
        parsed.append(text)
        return parse(text)

    monkeypatch.setattr(knownhosts, "parse_key", counted)
    assert [entry.number for entry in known.lookup("n7")] == [8]
    assert [entry.number for entry in known.lookup("a.x")] == [1001]
    assert len(parsed) == 2


@pytest.mark.parametrize(("port", "name"), [(22, "h"), (2222, "[h]:2222")])
def test_lookup_name(port: int, name: str) -> None:
    assert lookup_name("h", port) == name


def through_gateway(folder: Path, known: str, gateway: int, node: int) -> Link:
    (folder / "known_hosts").write_text(known.format(gateway=gateway, node=node, **KEYS))
    (folder / "config").write_text(
        f"Host jump\n  HostName 127.0.0.1\n  Port {gateway}\n  HostKeyAlias gate\n"
        f"Host node\n  HostName localhost\n  Port {node}\n  ProxyJump jump\n"
        f"Host *\n  UserKnownHostsFile {folder}/known_hosts\n  GlobalKnownHostsFile none\n"
    )
    spec = NodeSpec("node", "node")
    settings = Settings(None, "recommended", (spec,), (), ssh=Ssh(config=folder / "config"))
    session = Session(settings, Options(connect_kwargs=LOGIN), fabric.Config())
    return Link(spec, session)


NODE = "[localhost]:{node} {rsa}\n"


@pytest.mark.parametrize(
    ("known", "says"),
    [
        (NODE + "gate {ed}\n", ""),
        (NODE + "gat? {other_ed}\n", "the gateway jump: the host key of gate HAS CHANGED"),
        (NODE + "gate {ed}\n@revoked * {ed}\n", "the gateway jump: the host key of gate is REVOKED"),
        (NODE + "[127.0.0.1]:{gateway} {ed}\n", "the gateway jump: the host key of gate is unknown"),
        ("gate {ed}\n[local*]:{node} {other_rsa}\n", "the host key of [localhost]:"),
        ("gate {ed}\ngate {rsa}\n", "the host key of [localhost]:"),
    ],
    ids=["both known", "jump changed", "jump revoked", "jump unknown", "node changed", "node unknown"],
)
def test_a_jump_host_is_a_host(tmp_path: Path, known: str, says: str) -> None:
    jump, behind = Sshd(keys=[HOST["ed"]]), Sshd(keys=[HOST["rsa"], HOST["ec"]])
    with listening(jump.serve) as gateway, listening(behind.serve) as node:
        link = through_gateway(tmp_path, known, gateway, node)
        try:
            if says:
                with pytest.raises(StepError) as caught:
                    link.open()
                assert caught.value.message.startswith(says)
            else:
                link.open()
        finally:
            link.close()
            link.session.close()
    assert bool(jump.asked) == ("gateway" not in says)
