"""Tarballs and their signatures from mirrors: what is fetched, kept, told and refused."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tasks.core.config import rules
from tasks.core.config.model import Build
from tasks.core.errors import StepError
from tasks.core.nginx import fetch, transfer
from tasks.core.trust import signers
from tasks.core.trust.signers import SIGNERS, Signer
from tests.conftest import run_fab
from tests.signing import GPG, Keyring
from tests.test_fetch import GOOD, NAME, VERSION, Mirror, build_of, digest, listing, serve

pytestmark = pytest.mark.skipif(not GPG, reason="needs gpg")
ASC, KEY = f"/0/{NAME}.asc", "/keys/own.key"


@pytest.fixture(scope="module")
def ring() -> Iterator[Keyring]:
    with tempfile.TemporaryDirectory(prefix="ring-") as folder:  # short: it holds a socket
        keyring = Keyring(Path(folder))
        yield keyring
        keyring.close()


@pytest.fixture(scope="module")
def signer(ring: Keyring) -> Signer:
    return Signer("own", "Own Signer", ring.new("own"))


@pytest.fixture(autouse=True)
def only_gpg(tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signers, "SIGNERS", (*SIGNERS, signer))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def mirror() -> Iterator[Mirror]:
    it = Mirror((serve(GOOD),))
    yield it
    it.close()


@pytest.fixture
def signed(mirror: Mirror, ring: Keyring, signer: Signer) -> Mirror:
    """One that has all that nginx.org has."""
    mirror.beside |= {ASC: ring.sign(signer.fingerprint, GOOD), KEY: ring.key(signer.fingerprint)}
    return mirror


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "kept"


def test_all_is_as_nginx_org_has_it(signed: Mirror, folder: Path, signer: Signer) -> None:
    build = build_of(GOOD, *signed.prefixes)
    first = fetch.fetch(build, folder)
    assert (first.transferred, first.checked, first.signer) == (True, ("sha256", "signature"), str(signer))
    assert (first.words, first.note) == (
        f"{NAME}, sha256 {digest(GOOD)[:12]}..., signed by Own Signer",
        "",
    )
    assert listing(folder) == ["keys", "keys/own.key", NAME, f"{NAME}.asc"]
    assert signed.asked_beside == [ASC, KEY]

    again = fetch.fetch(build, folder)
    assert again == replace(first, transferred=False)
    assert len(signed.asked) + len(signed.asked_beside) == 3, "what is kept is checked without any mirror"


@pytest.mark.parametrize("program", ["gpg", ""])
def test_what_was_not_checked_is_told(
    mirror: Mirror, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, program: str
) -> None:
    if not program:
        monkeypatch.setenv("PATH", str(tmp_path))
    build = build_of(GOOD, *mirror.prefixes)
    source = fetch.fetch(build, folder)
    why = f"{mirror.prefixes[0]} has no {NAME}.asc" if program else "neither gpg nor sqv is on this machine"
    assert (source.checked, source.signer, source.unchecked) == (("sha256",), "", why)
    assert source.note == (
        f"note: {NAME} is the pinned one by its sha256; its signature was not checked: {why}"
    )
    assert mirror.asked_beside == ([ASC] if program else [])
    assert listing(folder) == [NAME]
    assert fetch.fetch(build, folder).unchecked == "it is kept here without one"


def test_a_key_that_comes_later_is_used(signed: Mirror, folder: Path, ring: Keyring, signer: Signer) -> None:
    build = build_of(GOOD, *signed.prefixes)
    key = signed.beside.pop(KEY)
    source = fetch.fetch(build, folder)
    assert source.unchecked == f"no mirror has the key of {signer} as ../keys/own.key"
    assert listing(folder) == [NAME, f"{NAME}.asc"]
    (folder / "keys").mkdir()
    (folder / "keys" / "own.key").write_bytes(key)
    assert fetch.fetch(build, folder).signer == str(signer)


@pytest.mark.parametrize("kept", ["expired", "garbage"])
def test_a_kept_key_that_is_of_no_use_any_more(
    signed: Mirror, folder: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch, kept: str
) -> None:
    """The mirror has it as it is now, prolonged; that one is kept then."""
    key = ring.new(f"prolonged-{kept}", "20210101T000000", at="20200101T000000")
    there = {"expired": ring.key(key), "garbage": b"no key"}[kept]
    ring.expire(key, "never", at="20200601T000000")
    monkeypatch.setattr(signers, "SIGNERS", (Signer("own", "Own Signer", key),))
    signed.beside |= {ASC: ring.sign(key, GOOD, at="20220601T000000"), KEY: ring.key(key)}
    (folder / "keys").mkdir(parents=True)
    (folder / "keys" / "own.key").write_bytes(there)
    assert fetch.fetch(build_of(GOOD, *signed.prefixes), folder).signer == f"Own Signer ({key})"
    assert (folder / "keys" / "own.key").read_bytes() == signed.beside[KEY]


@pytest.mark.parametrize("what", ["another file", "another signer", "cut", "page", "endless", "empty"])
def test_a_bad_one_keeps_nothing(
    signed: Mirror, folder: Path, ring: Keyring, signer: Signer, what: str
) -> None:
    bad: dict[str, Callable[[], bytes]] = {
        "another file": lambda: ring.sign(signer.fingerprint, GOOD + b"!"),
        "another signer": lambda: ring.sign(ring.new("stranger"), GOOD),
        "cut": lambda: signed.beside[ASC][:100],
        "page": lambda: b"<html>Please log in</html>",
        "endless": lambda: bytes(transfer.SMALL + 1),
        "empty": lambda: b"",
    }
    signed.beside[ASC] = bad[what]()
    build = build_of(GOOD, *signed.prefixes)
    if what == "endless":  # no signature arrived
        assert fetch.fetch(build, folder).unchecked.endswith(f"{NAME}.asc: sends more than 256 KB")
        return
    with pytest.raises(StepError) as caught:
        fetch.fetch(build, folder)
    assert caught.value.message.startswith(f"the signature of {NAME} is bad: ")
    assert caught.value.message.endswith(f"; from {signed.prefixes[0]}, and it was removed")
    assert [name for name in listing(folder) if name != "keys"] == []


def test_a_kept_one_that_went_bad_is_removed(signed: Mirror, folder: Path) -> None:
    build = build_of(GOOD, *signed.prefixes)
    fetch.fetch(build, folder)
    (folder / f"{NAME}.asc").write_bytes(b"no signature")
    with pytest.raises(StepError, match="it is no OpenPGP signature"):
        fetch.fetch(build, folder)
    assert fetch.fetch(build, folder).signer


def test_a_signature_of_what_was_there_before_is_not_kept(
    signed: Mirror, folder: Path, ring: Keyring, signer: Signer
) -> None:
    folder.mkdir()
    (folder / f"{NAME}.asc").write_bytes(ring.sign(signer.fingerprint, GOOD + b"!"))
    del signed.beside[ASC]
    build = build_of(GOOD, *signed.prefixes)
    assert fetch.fetch(build, folder).transferred
    assert fetch.fetch(build, folder).unchecked == "it is kept here without one"


@pytest.mark.parametrize("end", ["/", ""])
def test_a_folder_as_mirror(folder: Path, tmp_path: Path, ring: Keyring, signer: Signer, end: str) -> None:
    """With nginx.org's own folders: download/ and keys/."""
    for name, content in {
        f"download/{NAME}": GOOD,
        f"download/{NAME}.asc": ring.sign(signer.fingerprint, GOOD),
        "keys/own.key": ring.key(signer.fingerprint),
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    build = build_of(GOOD, f"{(tmp_path / 'download').as_uri()}{end}")
    assert fetch.fetch(build, folder).signer == str(signer)
    shutil.rmtree(tmp_path / "keys")
    (tmp_path / "download" / f"{NAME}.asc").unlink()
    shutil.rmtree(folder)
    assert fetch.fetch(build, folder).unchecked == f"{build.mirrors[0]} has no {NAME}.asc"


class TestPin:
    """`fab download --pin`, in whose settings there is another version."""

    BUILD = Build(mirrors=())

    def build(self, mirror: Mirror) -> Build:
        return replace(self.BUILD, mirrors=mirror.prefixes)

    def test_one_that_nginx_signed(self, signed: Mirror, folder: Path, signer: Signer) -> None:
        source = fetch.pin(self.build(signed), VERSION, folder)
        assert (source.version, source.sha256, source.signer) == (VERSION, digest(GOOD), str(signer))
        assert source.checked == ("signature",)
        assert not folder.exists()
        assert source.toml == f'[build]\nversion = "{VERSION}"\nsha256 = "{digest(GOOD)}"'

    def test_a_key_that_is_kept_will_do(self, signed: Mirror, folder: Path, signer: Signer) -> None:
        (folder / "keys").mkdir(parents=True)
        (folder / "keys" / "own.key").write_bytes(signed.beside.pop(KEY))
        assert fetch.pin(self.build(signed), VERSION, folder).signer == str(signer)
        assert listing(folder) == ["keys", "keys/own.key"]

    @pytest.mark.parametrize("lacks", [ASC, KEY, "gpg"])
    def test_nothing_without_a_signature(
        self, signed: Mirror, folder: Path, lacks: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        signed.beside.pop(lacks, None)
        if lacks == "gpg":
            monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(StepError) as caught:
            fetch.pin(self.build(signed), VERSION, folder)
        assert "nothing is pinned without it" in caught.value.hint

    def test_nothing_by_a_key_that_has_expired(
        self, signed: Mirror, folder: Path, ring: Keyring, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Of a new version the signature is all that speaks for it."""
        old = Signer("own", "Old Signer", ring.new("old", "20210101T000000", at="20200101T000000"))
        monkeypatch.setattr(signers, "SIGNERS", (old,))
        signed.beside |= {
            ASC: ring.sign(old.fingerprint, GOOD, at="20200601T000000"),
            KEY: ring.key(old.fingerprint),
        }
        with pytest.raises(StepError, match="whose key has expired on 2021-01-01"):
            fetch.pin(self.build(signed), VERSION, folder)

    def test_nothing_by_who_does_not_tell_that(
        self, signed: Mirror, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if not (sqv := shutil.which("sqv")):
            pytest.skip("needs sqv")
        (tmp_path / "bin").mkdir()
        (tmp_path / "bin" / "sqv").symlink_to(sqv)
        monkeypatch.setenv("PATH", str(tmp_path / "bin"))
        with pytest.raises(StepError, match="sqv does not tell whether its key has expired"):
            fetch.pin(self.build(signed), VERSION, folder)

    def test_a_bad_one(self, signed: Mirror, folder: Path, ring: Keyring, signer: Signer) -> None:
        signed.beside[ASC] = ring.sign(signer.fingerprint, GOOD + b"!")
        with pytest.raises(StepError, match="it does not fit the tarball"):
            fetch.pin(self.build(signed), VERSION, folder)

    def test_one_that_is_pinned_here_otherwise(
        self, signed: Mirror, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(rules.PINS, VERSION, "0" * 64)
        with pytest.raises(StepError, match="is not the pinned file"):
            fetch.pin(self.build(signed), VERSION, folder)


class TestTask:
    """`fab download`."""

    def hosts(self, tmp_path: Path, mirror: str) -> Path:
        path = tmp_path / "hosts.toml"
        text = f'nodes = ["198.18.0.1"]\napiservers = ["198.18.0.2"]\n[build]\nmirrors = ["{mirror}"]\n'
        path.write_text(text)
        return path

    @pytest.mark.parametrize(("text", "why"), [("1.2", "must be three numbers"), ("1.2.3", "is older than")])
    def test_a_version_that_is_none(self, tmp_path: Path, text: str, why: str) -> None:
        ran = run_fab("download", "--pin", text, hosts=self.hosts(tmp_path, "file:///nowhere/"))
        assert (ran.status, ran.out) == (2, "")
        assert f"--pin '{text}': {why}" in ran.err

    def test_nothing_on_stdout_that_was_not_checked(self, tmp_path: Path) -> None:
        (tmp_path / "nginx-1.12.3.tar.gz").write_bytes(GOOD)
        ran = run_fab("download", "--pin", "1.12.3", hosts=self.hosts(tmp_path, tmp_path.as_uri() + "/"))
        assert ran.status == 1
        assert "sha256 =" not in ran.out + ran.err
        assert "has no nginx-1.12.3.tar.gz.asc" in ran.err
        assert "retry: fab download --pin 1.12.3" in ran.err
