"""known_hosts as OpenSSH reads it."""

from __future__ import annotations

from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tasks.core.remote import hostkeys


def public_key() -> str:
    raw = Ed25519PrivateKey.generate().public_key()
    return raw.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def keys_for(name: str, file: Path) -> list[str]:
    client = paramiko.SSHClient()
    known = hostkeys.KnownHosts(accept_new=False)
    config = {"userknownhostsfile": str(file), "globalknownhostsfile": "/nonexistent"}
    known.prepare(client, name, config)
    return [key.get_base64() for key in (client.get_host_keys().lookup(name) or {}).values()]


def test_names_lists_hashes_and_ports(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    plain, other, hashed = public_key(), public_key(), public_key()
    name = paramiko.HostKeys.hash_host("hidden")
    file.write_text(f"# mine\n\na,10.0.0.1 {plain}\n[a]:2222 {other}\n{name} {hashed}\n")
    assert keys_for("a", file) == [plain.split()[1]]
    assert keys_for("10.0.0.1", file) == [plain.split()[1]]
    assert keys_for("[a]:2222", file) == [other.split()[1]]
    assert keys_for("hidden", file) == [hashed.split()[1]]
    assert keys_for("b", file) == []


def test_a_broken_line_is_passed_over(tmp_path: Path) -> None:
    file = tmp_path / "known_hosts"
    key = public_key()
    file.write_text(f"x ssh-ed25519 AAAA!notbase64\ny ssh-rsa\n@revoked z {key}\na {key}\n")
    assert keys_for("a", file) == [key.split()[1]]
    assert keys_for("z", file) == []


@pytest.mark.parametrize(("port", "name"), [(22, "h"), (2222, "[h]:2222")])
def test_lookup_name(port: int, name: str) -> None:
    assert hostkeys.lookup_name("h", port) == name


def test_accept_new_appends_a_whole_line(tmp_path: Path) -> None:
    file = tmp_path / "ssh" / "known_hosts"
    key = paramiko.hostkeys.HostKeyEntry.from_line(f"x {public_key()}").key
    known = hostkeys.KnownHosts(accept_new=True)
    known.record(file, "a", key)
    file.write_text(file.read_text().rstrip("\n"))
    known.record(file, "b", key)
    assert [line.split()[0] for line in file.read_text().splitlines()] == ["a", "b"]
