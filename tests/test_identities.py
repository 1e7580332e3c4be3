"""Which keys are offered, in which order, and who signs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import paramiko
import pytest

from tasks.core.login.identities import Identity, identities, signers
from tasks.core.login.keyfile import KeyFile
from tasks.core.login.keys import CERTIFICATE, PublicKey, string

_USER, _HOST = b"\0\0\0\1", b"\0\0\0\2"


def key(name: str) -> PublicKey:
    """A key that has a name."""
    return PublicKey(string(b"ssh-ed25519") + string(name.encode()), name)


def certificate(name: str, kind: bytes = _USER) -> PublicKey:
    """A certificate of the key of that name."""
    parts = (f"ssh-ed25519{CERTIFICATE}".encode(), b"nonce", name.encode())
    return PublicKey(b"".join(map(string, parts)) + bytes(8) + kind, f"{name}-cert")


def file(name: str, certified: bool = False, unknown: bool = False) -> KeyFile:
    """A key file; of one that is `unknown`, nothing public is known."""
    public = None if unknown else key(name)
    return KeyFile(Path("/k") / name, public, certificate(name) if certified else None)


def offered(
    *,
    files: Sequence[KeyFile] = (),
    certificates: Sequence[str] = (),
    agent: Sequence[PublicKey] = (),
    only: bool = False,
    last: Sequence[KeyFile] = (),
) -> list[str]:
    """What is offered, by source; what the agent signs has a star."""
    explicit = [(Path("/c") / name, certificate(name)) for name in certificates]
    found = identities(None, files, explicit, agent, only, last)
    return [f"{one.source}{'*' if one.in_agent else ''}" for one in found]


def test_the_order() -> None:
    held = [key("z"), key("b"), key("a"), certificate("a"), key("y")]
    assert offered(files=[file("a"), file("b"), file("c")], agent=held, last=[file("d"), file("c")]) == [
        "/k/b*",
        "/k/a*",
        "the agent's z*",
        "the agent's a-cert*",
        "the agent's y*",
        "/k/c",
        "/k/d",
    ]


def test_identities_only() -> None:
    assert offered(files=[file("a"), file("b")], agent=[key("z"), key("b")], only=True) == ["/k/b*", "/k/a"]


def test_certificates() -> None:
    by_file = ["/k/a", "the certificate /k/a-cert.pub"]
    assert offered(files=[file("a", certified=True)]) == by_file
    assert offered(files=[file("a", certified=True)], agent=[certificate("a")]) == [
        "the certificate /k/a-cert.pub*",
        "/k/a",
    ]
    assert offered(files=[file("a", certified=True)], certificates=["x"]) == ["the certificate /c/x", "/k/a"]
    assert offered(agent=[certificate("a", _HOST)]) == []


def test_each_once() -> None:
    assert offered(files=[file("a"), file("a")], last=[file("a")]) == ["/k/a"]
    assert offered(files=[file("a", unknown=True), file("b", unknown=True)]) == ["/k/a", "/k/b"]
    assert offered(last=[file("a")], agent=[key("a")]) == ["the agent's a*"]


def test_what_is_given_comes_first() -> None:
    pkey = paramiko.ECDSAKey.generate()
    first, second = identities(pkey, [file("a")], [], [], only=False)
    assert (first.given, first.public) == (pkey, PublicKey(pkey.asbytes()))
    assert second.source == "/k/a"


@pytest.mark.parametrize("agent", [[], [key("a")]], ids=["by its file", "by the agent"])
def test_who_signs_for_a_certificate(agent: list[PublicKey]) -> None:
    found = identities(None, [file("a", certified=True), file("b")], [], agent, only=False)
    (certified,) = (one for one in found if one.public == certificate("a"))
    assert [(one.source, one.in_agent) for one in signers(certified, found)] == [
        ("/k/a", bool(agent)),
        ("the certificate /k/a-cert.pub", False),
    ]


def test_nobody_signs_for_a_certificate_whose_key_is_nowhere() -> None:
    (alone,) = identities(None, [], [(Path("/c/a"), certificate("a"))], [], only=False)
    assert signers(alone, [alone]) == []
    held = Identity("held", certificate("a"), in_agent=True)
    assert signers(held, [held]) == [held]
