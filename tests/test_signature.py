"""Signatures by a real gpg and a real sqv: of keys that the test makes, and of nginx's own."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.core.config.model import Build
from tasks.core.config.rules import PINS
from tasks.core.errors import StepError
from tasks.core.nginx import fetch
from tasks.core.trust import programs, signers
from tasks.core.trust.signature import Signature, verify
from tasks.core.trust.signers import SIGNERS, Signer, named
from tests.signing import GPG, Keyring

pytestmark = pytest.mark.skipif(not GPG, reason="needs gpg")
CONTENT = b"nginx's source"
NAME = "nginx-1.2.3.tar.gz"


@pytest.fixture(scope="module")
def ring() -> Iterator[Keyring]:
    with tempfile.TemporaryDirectory(prefix="ring-") as folder:  # short: it holds a socket
        keyring = Keyring(Path(folder))
        yield keyring
        keyring.close()


@pytest.fixture(scope="module")
def good(ring: Keyring) -> str:
    return ring.new("good")


@pytest.fixture(params=["gpg", "sqv"])
def only(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The one program that there is."""
    name = str(request.param)
    if not (path := shutil.which(name)):
        pytest.skip(f"needs {name}")
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / name).symlink_to(path)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    return name


@pytest.fixture
def tarball(tmp_path: Path) -> Path:
    file = tmp_path / NAME
    file.write_bytes(CONTENT)
    return file


def signs(monkeypatch: pytest.MonkeyPatch, *fingerprints: str) -> None:
    """Has these sign nginx, whose keys are not in the package."""
    them = tuple(Signer(f"own{n}", f"Own {n}", key) for n, key in enumerate(fingerprints))
    monkeypatch.setattr(signers, "SIGNERS", (*SIGNERS, *them))


def judged(ring: Keyring, tarball: Path, signature: bytes) -> Signature:
    """With all keys of the ring, if they are asked for."""
    return verify(tarball, signature, lambda signer: [ring.key(signer.fingerprint[-16:])], NAME)


def refusal(ring: Keyring, tarball: Path, signature: bytes) -> str:
    with pytest.raises(StepError) as caught:
        judged(ring, tarball, signature)
    assert "https://nginx.org/en/pgp_keys.html" in caught.value.hint
    begin = f"the signature of {NAME} is bad: "
    assert caught.value.message.startswith(begin)
    return caught.value.message.removeprefix(begin)


def test_a_good_one(
    ring: Keyring, good: str, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = ring.sign(good, CONTENT)
    signs(monkeypatch, good)
    seen = judged(ring, tarball, signature)
    assert seen == Signature(Signer("own0", "Own 0", good))
    assert seen.words == "signed by Own 0"


def test_one_of_another_file(
    ring: Keyring, good: str, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = ring.sign(good, CONTENT + b"!")
    signs(monkeypatch, good)
    assert refusal(ring, tarball, signature) == (
        "it does not fit the tarball" if only == "gpg" else "sqv: Message has been manipulated"
    )


def test_one_by_somebody_else(ring: Keyring, good: str, only: str, tarball: Path) -> None:
    why = refusal(ring, tarball, ring.sign(good, CONTENT))
    assert (
        why == f"it is by the key {good[-16:] if only == 'gpg' else good}, which is not known to sign nginx"
    )


@pytest.mark.parametrize("what", ["another's", "garbage", "nothing"])
def test_a_signers_key_that_is_another(
    ring: Keyring, good: str, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """As a mirror may have it under the signer's name: the signature is not known to be good."""
    other = ring.new(f"another-{only}") if what == "another's" else ""
    key = {"another's": other and ring.key(other), "garbage": b"no key", "nothing": b"\n"}[what]
    assert isinstance(key, bytes)
    signature = ring.sign(good, CONTENT)
    signs(monkeypatch, good)
    seen = verify(tarball, signature, lambda signer: [key], NAME)
    assert (seen.signer, bool(seen.unchecked)) == (None, True)


def test_anothers_signature_with_anothers_key_under_a_signers_name(
    ring: Keyring, good: str, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ID of the key is a signer's, its fingerprint is not."""
    signs(monkeypatch, "0" * 24 + good[-16:])
    assert f"it is by the key {good}, " in refusal(ring, tarball, ring.sign(good, CONTENT))


@pytest.mark.parametrize("how", ["--clearsign", "--sign"])
def test_a_signed_message_instead(
    ring: Keyring, good: str, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    """It is good, of what is in it."""
    signs(monkeypatch, good)
    why = refusal(ring, tarball, ring.gpg("--armor", "-u", good, how, given=b"a mail of the signer's"))
    assert only == "sqv" or why == "it is no detached signature"


@pytest.mark.parametrize("said", ["NO_PUBKEY", "NO_PUBKEY 520A9993A1C052F8", "KEYEXPIRED"])
def test_a_name_that_looks_like_what_gpg_says(
    ring: Keyring, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch, said: str
) -> None:
    """gpg writes names as they are, also with a line separator of Unicode."""
    key = ring.new(f"{only}{len(said)}\u2028[GNUPG:] {said}")
    signs(monkeypatch, key)
    assert judged(ring, tarball, ring.sign(key, CONTENT)).signer == Signer("own0", "Own 0", key)


@pytest.mark.parametrize("cut", [0, 30, 150])
def test_one_that_is_cut(
    ring: Keyring, good: str, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch, cut: int
) -> None:
    signature = ring.sign(good, CONTENT)[:cut]
    signs(monkeypatch, good)
    assert refusal(ring, tarball, signature)


@pytest.mark.parametrize("content", [b"<html>Please log in</html>", b"\0" * 100, CONTENT], ids=repr)
def test_what_is_no_signature(ring: Keyring, only: str, tarball: Path, content: bytes) -> None:
    why = refusal(ring, tarball, content)
    assert only == "sqv" or why == "it is no OpenPGP signature"


def test_a_key_that_has_expired_since(
    ring: Keyring, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was good when it signed: an old tarball is as good as ever."""
    key = ring.new(f"since-{only}", "20210101T000000", at="20200101T000000")
    signature = ring.sign(key, CONTENT, at="20200601T000000")
    signs(monkeypatch, key)
    seen = judged(ring, tarball, signature)
    assert seen.signer
    if only == "gpg":
        assert seen.words == "signed by Own 0, whose key has expired on 2021-01-01"


def test_a_key_that_had_expired_when_it_signed(
    ring: Keyring, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ring.new(f"before-{only}", at="20200101T000000")
    signature = ring.sign(key, CONTENT, at="20220601T000000")
    ring.expire(key, "20210101T000000", at="20200102T000000")
    signs(monkeypatch, key)
    why = refusal(ring, tarball, signature)
    if only == "gpg":
        assert why == (f"it was made on 2022-06-01, and the key of Own 0 ({key}) had expired on 2021-01-01")


def test_a_key_that_was_prolonged(
    ring: Keyring, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package has it with its old end; a mirror has it as it is now."""
    key = ring.new(f"prolonged-{only}", "20210101T000000", at="20200101T000000")
    old = ring.key(key)
    ring.expire(key, "never", at="20200601T000000")
    signature = ring.sign(key, CONTENT, at="20220601T000000")

    class Shipped(Signer):
        def key(self) -> bytes:
            return old

    monkeypatch.setattr(signers, "SIGNERS", (Shipped("own", "Own", key),))
    if only == "gpg":
        assert judged(ring, tarball, signature) == Signature(signers.SIGNERS[0])
    with pytest.raises(StepError, match="is bad"):
        verify(tarball, signature, lambda signer: (), NAME)


def test_a_signature_that_has_expired(
    ring: Keyring, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ring.new(f"short-{only}", at="20200101T000000")
    signature = ring.sign(key, CONTENT, "--default-sig-expire", "1d", at="20200601T000000")
    signs(monkeypatch, key)
    assert refusal(ring, tarball, signature)


def test_a_key_that_was_taken_back(
    ring: Keyring, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = ring.new(f"revoked-{only}")
    signature = ring.sign(key, CONTENT)
    ring.revoke(key)
    signs(monkeypatch, key)
    assert refusal(ring, tarball, signature)


def test_two_in_one(ring: Keyring, good: str, tarball: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = ring.new("second")
    both = ring.gpg("-u", good, "-u", other, "--detach-sign", given=CONTENT)
    signs(monkeypatch, good)
    assert refusal(ring, tarball, both) == "it holds more than one signature"


def test_a_key_that_nobody_has(
    ring: Keyring, good: str, only: str, tarball: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signature = ring.sign(good, CONTENT)
    signs(monkeypatch, good)
    seen = verify(tarball, signature, lambda signer: (), NAME)
    assert seen == Signature(unchecked=f"no mirror has the key of Own 0 ({good}) as ../keys/own0.key")


def test_nobody_who_could_check(
    ring: Keyring, good: str, tarball: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    signature = ring.sign(good, CONTENT)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert judged(ring, tarball, signature) == Signature(unchecked="neither gpg nor sqv is on this machine")


@pytest.mark.parametrize(
    ("script", "why"),
    [
        ("exec sleep 30", "gpg did not end within 0.3 s"),
        ("echo 'gpg: out of core' >&2; exit 2", "gpg: gpg: out of core"),
        ("exit 0", "gpg: "),
    ],
)
def test_a_gpg_that_does_not_work(
    ring: Keyring,
    good: str,
    tarball: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str,
    why: str,
) -> None:
    """It is told, and not taken for a good signature."""
    signature = ring.sign(good, CONTENT)
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gpg").write_text(f"#!/bin/sh\n{script}\n")
    (tmp_path / "bin" / "gpg").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(programs, "SECONDS", 0.3)
    assert judged(ring, tarball, signature) == Signature(unchecked=why)


def test_the_users_own_keyring_is_neither_read_nor_written(
    ring: Keyring, good: str, tarball: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir(mode=0o700)
    (home / "gpg.conf").write_text("this is no option\n")
    monkeypatch.setenv("GNUPGHOME", str(home))
    monkeypatch.setenv("HOME", str(home))
    signature = ring.sign(good, CONTENT)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert "not known to sign nginx" in refusal(ring, tarball, signature)
    signs(monkeypatch, good)
    assert judged(ring, tarball, signature).signer
    assert [path.name for path in home.iterdir()] == ["gpg.conf"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home", NAME]


@pytest.mark.parametrize("signer", SIGNERS, ids=lambda signer: signer.name)
def test_a_key_of_nginx(ring: Keyring, signer: Signer) -> None:
    assert len(signer.fingerprint) == 40
    assert signer is named(signer.fingerprint) is named(signer.fingerprint[-16:])
    if key := signer.key():
        shown = ring.gpg("--with-colons", "--show-keys", given=key).decode().splitlines()
        primary = next(line.split(":")[9] for line in shown if line.startswith("fpr:"))
        people = [line.split(":")[9] for line in shown if line.startswith("uid:")]
        assert (primary, sum(line.startswith("pub:") for line in shown)) == (signer.fingerprint, 1)
        assert all(person.startswith(f"{signer.person} <") for person in people)


def test_which_keys_are_in_the_package() -> None:
    assert [signer.name for signer in SIGNERS if signer.key()] == ["mdounin", "thresh"]
    assert named("") is named("52F8") is named("0" * 40) is None


def test_the_page_names_them() -> None:
    page = (Path(__file__).parent.parent / "docs" / "trust.md").read_text()
    for signer in SIGNERS:
        where = "in the library" if signer.key() else f"../keys/{signer.name}.key of a mirror"
        (row,) = [line for line in page.splitlines() if signer.fingerprint in line]
        assert row.startswith(f"| {signer.person}")
        assert where in row


@pytest.mark.lab  # it needs Debian's archive
def test_nginx_1_18_0_as_nginx_signed_it(tmp_path: Path) -> None:
    build = Build(version="1.18.0", sha256=PINS["1.18.0"], mirrors=("apt:bullseye",))
    source = fetch.fetch(build, tmp_path)
    assert source.words == f"nginx-1.18.0.tar.gz, sha256 {PINS['1.18.0'][:12]}..., signed by Maxim Dounin"
    assert source.checked == ("sha256", "signature")
    assert fetch.fetch(build, tmp_path).words == source.words
    assert fetch.pin(build, "1.18.0", tmp_path).sha256 == PINS["1.18.0"]

    (tarball, signature) = (tmp_path / "nginx-1.18.0.tar.gz", tmp_path / "nginx-1.18.0.tar.gz.asc")
    tarball.write_bytes(tarball.read_bytes() + b"!")
    with pytest.raises(StepError, match="it does not fit the tarball"):
        verify(tarball, signature.read_bytes(), lambda signer: (), tarball.name)
