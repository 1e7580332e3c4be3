"""The source tarball: from the first mirror that has it, trusted by its sha256 and nginx's signature."""

from __future__ import annotations

import os
import secrets
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path, PurePosixPath

from ..config import rules, validation
from ..config.model import Build
from ..errors import StepError, UsageError
from ..results import output
from ..trust.programs import program
from ..trust.signature import Signature
from . import apt, signed, transfer
from .transfer import TIMEOUT

_UNPINNED = "nothing is pinned without it: it takes gpg here, and a mirror in build.mirrors with NAME.asc"
_NOT_KEPT = Signature(unchecked="it is kept here without one")


@dataclass(frozen=True, slots=True)
class Source:
    """nginx's source, and what was checked of it; `transferred`: just now."""

    version: str = output("nginx's")
    sha256: str = output("of nginx-VERSION.tar.gz", key="source_sha256")
    checked: tuple[str, ...] = output(
        "what was checked of that file: `sha256`, the pinned one; `signature`, nginx's"
    )
    signer: str = output("who signed it, and the fingerprint of the key; empty: not checked")
    unchecked: str = output("why its signature was not checked; empty: it was")
    transferred: bool = False
    signed: str = ""

    @property
    def words(self) -> str:
        """What was checked, on one line."""
        known = [f"nginx-{self.version}.tar.gz", f"sha256 {self.sha256[:12]}...", self.signed]
        return ", ".join(filter(None, known))

    @property
    def note(self) -> str:
        """What was not checked; "" if all was."""
        name = f"nginx-{self.version}.tar.gz"
        why = f"note: {name} is the pinned one by its sha256; its signature was not checked: {self.unchecked}"
        return why if self.unchecked else ""

    @property
    def toml(self) -> str:
        """Its lines in hosts.toml."""
        return f'[build]\nversion = "{self.version}"\nsha256 = "{self.sha256}"'

    @classmethod
    def of(cls, build: Build, signature: Signature, transferred: bool, pinned: bool = True) -> Source:
        """One whose signature is good, or not checked."""
        signer = str(signature.signer) if signature.signer else ""
        checked = ("sha256",) * pinned + ("signature",) * bool(signer)
        why = signature.unchecked
        return cls(build.version, build.sha256, checked, signer, why, transferred, signature.words)


def tarball_path(build: Build, folder: Path) -> Path:
    """Where the tarball is kept."""
    return folder / f"nginx-{build.version}.tar.gz"


def fetch(build: Build, folder: Path, timeout: float = TIMEOUT) -> Source:
    """Sees that the right tarball is in `folder`, with its signature where the mirror has one.

    Raises StepError: no mirror has it (each one's reason is given), its sha256 is not the pinned one, its
    signature is bad, or an entry would leave its folder. A wrong or partial file is removed.
    """
    final = tarball_path(build, folder)
    with _told(final):
        if final.exists() and sum_of(final.read_bytes()) == build.sha256:
            return Source.of(build, _of_kept(build, folder), False)
        for of_another in (final, signed.beside(final)):
            of_another.unlink(missing_ok=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with _fresh(folder, final.name) as fresh:
            mirror = _first_mirror(build, fresh, timeout)
            _check(build, fresh, mirror)
            signature = _signature(build, mirror, fresh, folder, timeout)
            if signed.beside(fresh).exists():
                os.replace(signed.beside(fresh), signed.beside(final))
            os.replace(fresh, final)
    return Source.of(build, signature, True)


def pin(build: Build, version: str, folder: Path, timeout: float = TIMEOUT) -> Source:
    """The sha256 of another version, of which nginx's signature says that it is nginx's; it is not kept.

    Raises StepError: as `fetch`, or it is not known that the signature is good.
    """
    wanted = replace(build, version=version)
    name = f"nginx-{version}.tar.gz"
    with tempfile.TemporaryDirectory(prefix="kube-nginx-pin-") as place, _told(Path(place) / name):
        tarball = Path(place) / name
        mirror = _first_mirror(wanted, tarball, timeout)
        signature = _signature(wanted, mirror, tarball, folder, timeout)
        silent = "sqv does not tell whether its key has expired" if program() == "sqv" else ""
        why = signature.unchecked or silent or (signature.expired and signature.words)
        if why:
            raise StepError(f"{name} from {mirror}: {why}", hint=_UNPINNED)
        wanted = replace(wanted, sha256=sum_of(tarball.read_bytes()))
        known = rules.PINS.get(version, wanted.sha256)
        _check(replace(wanted, sha256=known), tarball, mirror)
    return Source.of(wanted, signature, True, pinned=version in rules.PINS)


def version_of(flag: str, text: str) -> str:
    """A version that a flag names. Raises UsageError: it is none, or too old."""
    try:
        return rules.version(text)
    except ValueError as error:
        raise UsageError(f"{flag} {validation.shown(text)}: {error}") from None


def read(build: Build, folder: Path) -> bytes:
    """The tarball. Raises StepError: it is not the pinned one any more."""
    path = tarball_path(build, folder)
    content = path.read_bytes()
    if sum_of(content) != build.sha256:
        raise StepError(f"{path} is not the pinned file", hint="run fab download again")
    return content


def sum_of(content: bytes) -> str:
    """The sha256 of bytes, in hexadecimal."""
    return sha256(content).hexdigest()


@contextmanager
def _told(final: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StepError(
            f"cannot keep {final.name} in {final.parent}: {error.strerror}",
            hint="set build.work_dir to a folder that you may write to",
        ) from None


@contextmanager
def _fresh(folder: Path, name: str) -> Iterator[Path]:
    """A name for a file that is not whole yet; it and its signature are gone at the end."""
    fresh = folder / f".{name}.{secrets.token_hex(4)}.part"
    try:
        yield fresh
    finally:
        fresh.unlink(missing_ok=True)
        signed.beside(fresh).unlink(missing_ok=True)


def _of_kept(build: Build, folder: Path) -> Signature:
    """Of a tarball that was fetched before; a bad signature is removed with its tarball."""
    tarball = tarball_path(build, folder)
    if not signed.beside(tarball).exists():
        return _NOT_KEPT
    try:
        return signed.check(build, tarball, folder)
    except StepError:
        tarball.unlink()
        signed.beside(tarball).unlink()
        raise


def _signature(build: Build, mirror: str, tarball: Path, folder: Path, timeout: float) -> Signature:
    try:
        unchecked = signed.obtain(build, mirror, tarball, timeout)
        return unchecked or signed.check(build, tarball, folder, timeout)
    except StepError as error:
        raise StepError(f"{error.message}; from {mirror}, and it was removed", hint=error.hint) from None


def _first_mirror(build: Build, fresh: Path, timeout: float) -> str:
    """The mirror that sent the tarball; Debian's sends the signature with it."""
    refusals = []
    for mirror in build.mirrors:
        try:
            if mirror.startswith("apt:"):
                apt.download(mirror.removeprefix("apt:"), build.version, fresh, signed.beside(fresh))
            else:
                transfer.download(f"{mirror.rstrip('/')}/nginx-{build.version}.tar.gz", fresh, timeout)
            return mirror
        except transfer.FAULTS as error:
            if transfer.is_ours(error):
                raise
            refusals.append(f"{mirror}: {transfer.reason(error)}")
    raise StepError(
        f"no mirror has nginx-{build.version}.tar.gz",
        tail="\n".join(refusals),
        hint="add a mirror that you reach to build.mirrors: a URL prefix, file:///folder/, or apt:SUITE",
    )


def _check(build: Build, file: Path, mirror: str) -> None:
    received, top = sum_of(file.read_bytes()), f"nginx-{build.version}"
    if received != build.sha256:
        raise StepError(
            f"{top}.tar.gz from {mirror} is not the pinned file; it was removed",
            tail=f"sha256 expected {build.sha256}\nsha256 received {received}",
            hint="do not use that mirror, or correct build.sha256 if the pin is wrong",
        )
    try:
        with tarfile.open(file, "r:gz") as archive:
            outside = [member.name for member in archive if not _stays_inside(member, top)]
    except (tarfile.TarError, OSError, EOFError, zlib.error) as error:
        raise StepError(f"{top}.tar.gz is not a tarball: {error}") from None
    if outside:
        raise StepError(f"{top}.tar.gz holds entries outside its folder: {outside[0]}")


def _stays_inside(member: tarfile.TarInfo, top: str) -> bool:
    parts = PurePosixPath(member.name).parts
    return bool(parts) and parts[0] == top and ".." not in parts and (member.isfile() or member.isdir())
