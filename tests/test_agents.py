"""Agents: security keys, and those that are slow, locked, or refuse; real sshds are asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tasks.core.login import agent
from tasks.core.login.keys import PublicKey
from tasks.core.login.keys import public_key as read_public_key
from tests.ssh.securitykey import SecurityKey
from tests.sshds import PROGRAM, Answer, Client, Sshd, agent_that, holding, keygen, ssh_add, ssh_agent, sshd

pytestmark = [
    pytest.mark.start,
    pytest.mark.skipif(not PROGRAM.exists(), reason="needs OpenSSH's sshd"),
]

_NAME = "have the agent answer (SSH_AUTH_SOCK, or IdentityAgent in ssh_config), or name a key: IdentityFile"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd"), "PasswordAuthentication no") as running:
        yield running


@pytest.fixture
def public(server: Sshd, tmp_path: Path) -> PublicKey:
    """A key that the sshd takes, whose file is gone."""
    keygen(tmp_path / "key").unlink()
    server.allow(tmp_path / "key.pub")
    found = read_public_key((tmp_path / "key.pub").read_bytes())
    assert found
    return found


@pytest.mark.parametrize("text", ["IdentityFile none", "IdentitiesOnly yes\nIdentityFile HERE/touch"])
def test_a_security_key(server: Sshd, tmp_path: Path, text: str) -> None:
    key = SecurityKey()
    key.write(tmp_path / "touch")
    server.allow(tmp_path / "touch.pub")
    with key.agent(tmp_path / "agent"):
        config = f"{text.replace('HERE', str(tmp_path))}\nIdentityAgent {tmp_path}/agent"
        client = Client(server, tmp_path, config)
        by_ssh = client.by_ssh()
        assert [kind.split()[0] for _, kind in by_ssh] == ["ED25519-SK"]
        assert client.by_fab() == by_ssh
    error = Client(server, tmp_path, f"IdentityFile {tmp_path}/touch").refused()
    assert "is of a security key, with which only an agent can sign" in error.message
    assert error.hint == f"ssh-add {tmp_path}/touch"


def _refused(server: Sshd, folder: Path, answer: Answer, more: str = "") -> tuple[str, str]:
    with agent_that(answer, folder) as path:
        error = Client(server, folder, f"{more}\nIdentityFile none\nIdentityAgent {path}").refused()
    return error.message.replace(str(path), "SOCKET"), error.hint


def test_one_that_is_silent(server: Sshd, tmp_path: Path) -> None:
    message, hint = _refused(server, tmp_path, lambda request: None, "ConnectTimeout 1")
    assert "the agent SOCKET did not answer within " in message
    assert hint == _NAME


def test_one_that_is_silent_when_it_is_to_sign(
    server: Sshd, tmp_path: Path, public: PublicKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(agent, "TOUCH", 1.0)
    listed = holding([public.blob], lambda blob, data, flags: None)
    message, _ = _refused(server, tmp_path, lambda request: listed(request) if request[0] != 13 else None)
    assert "would be taken, but did not answer within " in message
    assert "the agent's held (ED25519 SHA256:" in message


REFUSALS: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "lists nothing": (lambda request: b"\x05", "the agent SOCKET refuses to list its keys"),
    "ends": (lambda request: b"", "the agent SOCKET answers with 0 bytes"),
    "lies": (lambda request: b"\x0c\xff\xff\xff\xff", "refused the login"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_one_that_refuses(server: Sshd, tmp_path: Path, name: str) -> None:
    answer, told = REFUSALS[name]
    message, hint = _refused(server, tmp_path, answer)
    assert told in message
    assert (hint == _NAME) == ("SOCKET" in told)


def test_one_that_refuses_to_sign(server: Sshd, tmp_path: Path, public: PublicKey) -> None:
    message, _ = _refused(server, tmp_path, holding([public.blob], lambda blob, data, flags: None))
    assert "would be taken, but refuses to sign (locked, not confirmed, or not for this host?)" in message


def test_one_that_signs_something_else(server: Sshd, tmp_path: Path, public: PublicKey) -> None:
    wrong = b"\0\0\0\x0bssh-ed25519\0\0\0\x40" + bytes(64)
    message, _ = _refused(server, tmp_path, holding([public.blob], lambda blob, data, flags: wrong))
    assert "would be taken, but its signature (ssh-ed25519) was refused" in message


def test_one_that_is_locked(server: Sshd, tmp_path: Path) -> None:
    key = keygen(tmp_path / "key")
    server.allow(tmp_path / "key.pub")
    with ssh_agent(tmp_path) as agent:
        ssh_add(agent, key)
        client = Client(server, tmp_path, f"IdentityFile none\nIdentityAgent {agent}")
        assert client.by_fab()
    error = client.refused()
    assert f"the agent {agent} cannot be reached: " in error.message
    assert error.hint == _NAME


@pytest.mark.parametrize("where", ["file", "agent"])
def test_a_server_that_takes_rsa_sha2_512_alone(tmp_path: Path, where: str) -> None:
    key = keygen(tmp_path / "key", "-t", "rsa", "-b", "2048")
    with (
        sshd(tmp_path / "sshd", "PubkeyAcceptedAlgorithms rsa-sha2-512") as server,
        ssh_agent(tmp_path) as agent,
    ):
        server.allow(tmp_path / "key.pub")
        ssh_add(agent, key)
        text = f"IdentityFile {key}" if where == "file" else f"IdentityFile none\nIdentityAgent {agent}"
        client = Client(server, tmp_path, text)
        assert client.by_fab() == client.by_ssh() != []
        error = Client(server, tmp_path, f"{text}\nPubkeyAcceptedAlgorithms rsa-sha2-256").refused()
    assert "it refused" in error.message
