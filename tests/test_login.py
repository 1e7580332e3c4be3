"""Logging in to a real sshd: fab gets in as ssh does, by the same key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization

from tests.sshds import PROGRAM, USER, Client, Sshd, keygen, ran, ssh_add, ssh_agent, sshd

pytestmark = [
    pytest.mark.start,
    pytest.mark.skipif(not PROGRAM.exists(), reason="needs OpenSSH's sshd"),
]

Clients = Callable[..., Client]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    with sshd(tmp_path_factory.mktemp("sshd"), "PasswordAuthentication no") as running:
        yield running


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of keys, each named by its form."""
    folder = tmp_path_factory.mktemp("keys")
    for name, options in FORMS.items():
        keygen(folder / name, *options)
    for form, words in PKCS8.items():
        path = folder / f"pkcs8-{form}"
        ran("openssl", "genpkey", *words, "-out", path)
        path.chmod(0o600)
        (folder / f"pkcs8-{form}.pub").write_bytes(public_half(path))
    return folder


def public_half(path: Path) -> bytes:
    """What ssh-keygen -y says, and says of PKCS#8 from OpenSSH 9.6 on only."""
    key = serialization.load_pem_private_key(path.read_bytes(), None).public_key()
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH) + b"\n"


FORMS = {
    "ed25519": (),
    "ecdsa": ("-t", "ecdsa"),
    "ecdsa-521": ("-t", "ecdsa", "-b", "521"),
    "rsa": ("-t", "rsa", "-b", "2048"),
    "rsa-pem": ("-t", "rsa", "-b", "2048", "-m", "PEM"),
    "ecdsa-pem": ("-t", "ecdsa", "-m", "PEM"),
    "rsa-pkcs8": ("-t", "rsa", "-b", "2048", "-m", "PKCS8"),
    "ecdsa-pkcs8": ("-t", "ecdsa", "-m", "PKCS8"),
}
PKCS8 = {
    "rsa": ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"),
    "ed25519": ("-algorithm", "ED25519"),
}


@pytest.fixture
def clients(server: Sshd, tmp_path: Path) -> Clients:
    def make(text: str) -> Client:
        return Client(server, tmp_path, text)

    return make


@pytest.mark.parametrize("name", [*FORMS, *(f"pkcs8-{form}" for form in PKCS8)])
@pytest.mark.parametrize("alone", [False, True], ids=["beside its .pub", "alone"])
def test_every_form_of_a_key(
    server: Sshd, keys: Path, clients: Clients, tmp_path: Path, name: str, alone: bool
) -> None:
    server.allow(keys / f"{name}.pub")
    key = tmp_path / "key"
    key.write_bytes((keys / name).read_bytes())
    key.chmod(0o600)
    if not alone:
        (tmp_path / "key.pub").write_bytes((keys / f"{name}.pub").read_bytes())
    client = clients(f"IdentityFile {key}")
    by_ssh = client.by_ssh()
    assert client.by_fab() == (by_ssh or client.server.accepted()[-1:])
    assert by_ssh or name == "pkcs8-ed25519"  # which OpenSSH reads from 9.6 on


@pytest.mark.parametrize("form", ["RFC4716", "PEM", "PKCS8"])
@pytest.mark.parametrize("alone", [False, True], ids=["beside its .pub", "alone"])
def test_an_encrypted_key(server: Sshd, clients: Clients, tmp_path: Path, form: str, alone: bool) -> None:
    key = keygen(tmp_path / "key", "-t", "ecdsa", "-m", form, passphrase="open sesame")
    server.allow(tmp_path / "key.pub")
    if alone:
        (tmp_path / "key.pub").unlink()
    client = clients(f"IdentityFile {key}")
    assert [how for how, _ in client.by_fab(passphrase="open sesame")] == ["publickey"]
    assert [how for how, _ in client.by_fab(password="open sesame")] == ["publickey"]
    without = client.refused()
    assert f"{key}" in without.message
    assert "is encrypted, and no passphrase was given" in without.message
    assert without.hint == "give its passphrase: fab --prompt-for-passphrase TASK"
    wrong = client.refused(passphrase="guessed")
    assert "is encrypted, and the passphrase is wrong" in wrong.message
    assert wrong.hint == "give the right passphrase: fab --prompt-for-passphrase TASK"
    assert "sesame" not in f"{without} {wrong} {client.link(passphrase='sesame').connect_kwargs}".replace(
        "'passphrase': 'sesame'", ""
    )


def test_the_hint_for_an_encrypted_key_where_there_is_an_agent(
    server: Sshd, clients: Clients, tmp_path: Path
) -> None:
    key = keygen(tmp_path / "key", passphrase="open sesame")
    server.allow(tmp_path / "key.pub")
    with ssh_agent(tmp_path) as agent:
        error = clients(f"IdentityFile {key}\nIdentityAgent {agent}").refused()
    assert error.hint == f"ssh-add {key}"
    assert f"{key} (ED25519 SHA256:" in error.message
    assert "would be taken, but is encrypted" in error.message


def three(folder: Path) -> list[Path]:
    return [keygen(folder / name) for name in ("one", "two", "three")]


CONFIGS = {
    "the first that is named": ("IdentityFile HERE/one\nIdentityFile HERE/two", ["two", "one"], []),
    "the agent's before files": ("IdentityFile HERE/one\nIdentityFile HERE/two", ["one", "two"], ["two"]),
    "the agent's others before files": ("IdentityFile HERE/one", ["one", "three"], ["three"]),
    "named ones first of the agent's": ("IdentityFile HERE/one", ["one", "three"], ["three", "one"]),
    "IdentitiesOnly": ("IdentitiesOnly yes\nIdentityFile HERE/one", ["one", "three"], ["three"]),
    "IdentitiesOnly of the agent": ("IdentitiesOnly yes\nIdentityFile HERE/two.pub", ["two"], ["one", "two"]),
    "an agent alone": ("", ["two"], ["one", "two"]),
    "none": ("IdentityFile none", ["two"], ["one", "two"]),
    "no IdentityFile that is there": ("IdentityFile HERE/missing\nIdentityFile HERE/two", ["two"], []),
    "in another order of methods": (
        "PreferredAuthentications keyboard-interactive,publickey\nIdentityFile HERE/two",
        ["two"],
        [],
    ),
    "a kind that is not wanted": (
        "PubkeyAcceptedAlgorithms rsa-sha2-512\nIdentityFile HERE/one",
        ["one"],
        ["one"],
    ),
    "no keys at all": ("PubkeyAuthentication no\nIdentityFile HERE/one", ["one"], ["one"]),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_the_key_that_ssh_would_use(server: Sshd, clients: Clients, tmp_path: Path, name: str) -> None:
    text, allowed, held = CONFIGS[name]
    three(tmp_path)
    server.allow(*(tmp_path / f"{key}.pub" for key in allowed))
    with ssh_agent(tmp_path) as agent:
        for key in held:
            ssh_add(agent, tmp_path / key)
        client = clients(text.replace("HERE", str(tmp_path)) + f"\nIdentityAgent {agent}")
        by_ssh = client.by_ssh()
        if by_ssh:
            assert client.by_fab() == by_ssh
        else:
            assert "refused the login" in client.refused().message


def test_a_key_that_was_named_counts_before_ssh_config(
    server: Sshd, clients: Clients, tmp_path: Path
) -> None:
    one, two, three_ = three(tmp_path)
    server.allow(*(key.with_name(f"{key.name}.pub") for key in (one, two, three_)))
    client = clients(f"IdentityFile {one}")
    (first,) = client.by_fab()
    (named,) = client.by_fab(key_filename=[str(two)])
    (of_hosts_toml,) = client.by_fab(identity=str(three_))
    assert len({first, named, of_hosts_toml}) == 3
    key = paramiko.ECDSAKey.generate()
    server.authorized.write_text(f"{key.get_name()} {key.get_base64()}\n")
    assert client.by_fab(pkey=key)[0][0] == "publickey"


def test_an_agent_that_is_not_asked(server: Sshd, clients: Clients, tmp_path: Path) -> None:
    one, *_ = three(tmp_path)
    server.allow(tmp_path / "one.pub")
    with ssh_agent(tmp_path) as agent:
        ssh_add(agent, one)
        client = clients(f"IdentityFile none\nIdentityAgent {agent}")
        assert client.by_fab()
        error = client.refused(allow_agent=False)
    assert error.message == f"refused the login of {USER}; it takes publickey, keyboard-interactive"


@pytest.fixture
def default_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The ~/.ssh/id_ed25519 of somebody; its home holds nothing else."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "home" / ".ssh").mkdir(parents=True)
    return keygen(tmp_path / "home" / ".ssh" / "id_ed25519")


def test_the_default_keys_come_last(
    server: Sshd, clients: Clients, tmp_path: Path, default_key: Path
) -> None:
    one, two, _ = three(tmp_path)
    public = default_key.with_name("id_ed25519.pub")
    with ssh_agent(tmp_path) as agent:
        ssh_add(agent, two)
        server.allow(public)
        client = clients(f"IdentityFile {one}\nIdentityAgent {agent}")
        (by_default,) = client.by_fab()
        assert client.by_fab(key_filename=[str(one)]) == [by_default]
        server.allow(public, tmp_path / "two.pub")
        assert client.by_fab() != [by_default]
        ssh_add(agent, default_key)
        assert client.by_fab() != [by_default]
    server.allow(tmp_path / "two.pub")
    assert "it refused" in (error := client.refused()).message
    assert error.message.index(f"{one}") < error.message.index("~/.ssh/id_ed25519 (ED25519 SHA256:")
    assert "id_rsa" not in error.message


@pytest.mark.parametrize("text", ["IdentitiesOnly yes\nIdentityFile HERE/one", "IdentityFile none"])
def test_no_default_key_where_others_alone_are_wanted(
    server: Sshd, clients: Clients, tmp_path: Path, default_key: Path, text: str
) -> None:
    three(tmp_path)
    server.allow(default_key.with_name("id_ed25519.pub"))
    client = clients(text.replace("HERE", str(tmp_path)))
    assert "~/.ssh" not in client.refused().message


def test_no_default_key_without_look_for_keys(
    server: Sshd, clients: Clients, tmp_path: Path, default_key: Path
) -> None:
    one, *_ = three(tmp_path)
    server.allow(default_key.with_name("id_ed25519.pub"))
    client = clients("")
    assert client.by_fab(key_filename=str(one))
    assert "~/.ssh" not in client.refused(key_filename=str(one), look_for_keys=False).message
    assert "~/.ssh" not in client.refused(look_for_keys=False).message


CERTIFIED = {
    "beside the key": "IdentityFile HERE/key",
    "by its name": "IdentityFile HERE/key\nCertificateFile HERE/elsewhere",
    "beside what the agent holds": "IdentityFile HERE/key\nIdentityAgent HERE/agent",
    "by its name, with the agent's key": "CertificateFile HERE/elsewhere\nIdentityAgent HERE/agent",
    "in the agent": "IdentityFile none\nIdentityAgent HERE/agent",
}


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
@pytest.mark.parametrize("name", CERTIFIED)
def test_a_certificate(server: Sshd, clients: Clients, tmp_path: Path, name: str, kind: str) -> None:
    text = CERTIFIED[name].replace("HERE", str(tmp_path))
    key, authority = keygen(tmp_path / "key", "-t", kind), keygen(tmp_path / "ca")
    ran("ssh-keygen", "-q", "-s", authority, "-I", "me", "-n", USER, f"{key}.pub")
    server.allow()
    server.authorities.write_bytes((tmp_path / "ca.pub").read_bytes())
    certificate = tmp_path / "key-cert.pub"
    with ssh_agent(tmp_path) as agent:
        if "elsewhere" in text:
            certificate.rename(tmp_path / "elsewhere")
        ssh_add(agent, key)
        if "agent" in name and certificate.exists() and "beside" in name:
            assert len(ran("ssh-add", "-L", env={"SSH_AUTH_SOCK": str(agent)}).splitlines()) == 2
        client = clients(text)
        by_ssh = client.by_ssh()
        assert [how for how, _ in by_ssh] == ["publickey"]
        assert client.by_fab() == by_ssh


def test_too_many_keys(server: Sshd, clients: Clients, tmp_path: Path) -> None:
    names = [keygen(tmp_path / f"key{number}") for number in range(7)]
    server.allow(tmp_path / "key6.pub")
    text = "\n".join(f"IdentityFile {name}" for name in names)
    client = clients(text)
    assert client.by_ssh() == []
    error = client.refused()
    assert "Too many authentication failures" in error.message
    assert len(error.message.splitlines()) <= 3
    assert error.hint.startswith("have only the right key offered: IdentitiesOnly yes and IdentityFile")
    assert client.by_fab(key_filename=str(names[6]))


def test_a_key_that_others_may_read(server: Sshd, clients: Clients, tmp_path: Path) -> None:
    key = keygen(tmp_path / "key")
    key.chmod(0o644)
    server.allow(tmp_path / "key.pub")
    client = clients(f"IdentityFile {key}")
    assert client.by_ssh() == []
    error = client.refused()
    assert f"{key}" in error.message
    assert "is ignored, since others may read it (mode 0644)" in error.message
    assert error.hint == f"chmod 600 {key}"
    with ssh_agent(tmp_path) as agent:
        key.chmod(0o600)
        ssh_add(agent, key)
        key.chmod(0o644)
        client = clients(f"IdentityFile {key}\nIdentityAgent {agent}")
        assert client.by_fab() == client.by_ssh()
