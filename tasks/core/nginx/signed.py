"""The signature of a tarball: from the mirror that sent that, by a key that is here or on a mirror."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

from ..config.model import Build
from ..localfiles import read_bounded, write_atomic
from ..trust.programs import program
from ..trust.signature import NO_PROGRAM, Signature, verify
from ..trust.signers import Signer
from . import transfer


def beside(tarball: Path) -> Path:
    """Where the signature of a tarball is kept."""
    return tarball.with_name(f"{tarball.name}.asc")


def obtain(build: Build, mirror: str, tarball: Path, timeout: float) -> Signature | None:
    """Puts the signature beside the tarball, or says why not. Raises OSError: this machine has no room."""
    name = f"nginx-{build.version}.tar.gz.asc"
    if not program():
        return NO_PROGRAM
    if mirror.startswith("apt:"):  # which has put it there with the tarball
        return None if beside(tarball).exists() else Signature(unchecked=f"{mirror} has no {name}")
    try:
        transfer.download(f"{mirror.rstrip('/')}/{name}", beside(tarball), timeout, transfer.SMALL)
    except transfer.FAULTS as error:
        beside(tarball).unlink(missing_ok=True)
        if transfer.is_ours(error):
            raise
        missing = transfer.is_missing(error)
        why = f"{mirror} has no {name}" if missing else f"{mirror}: {name}: {transfer.reason(error)}"
        return Signature(unchecked=why)
    return None


def check(build: Build, tarball: Path, folder: Path, timeout: float | None = None) -> Signature:
    """What the signature beside the tarball says; without a `timeout` no mirror is asked for a key.

    A key that was of use is kept in `folder`, if there is such a folder. Raises StepError: it is bad.
    """
    found: dict[Path, bytes] = {}

    def keys(signer: Signer) -> Iterator[bytes]:
        kept = folder / "keys" / f"{signer.name}.key"
        if kept.is_file():
            yield read_bounded(kept, transfer.SMALL)
        if timeout and (fetched := _from_mirrors(build, signer, tarball, timeout)):
            found[kept] = fetched
            yield fetched

    name = f"nginx-{build.version}.tar.gz"
    signature = verify(tarball, read_bounded(beside(tarball), transfer.SMALL), keys, name)
    for kept, content in found.items() if signature.signer and folder.is_dir() else ():
        kept.parent.mkdir(mode=0o700, exist_ok=True)
        write_atomic(kept, content, 0o600)
    return signature


def _from_mirrors(build: Build, signer: Signer, tarball: Path, timeout: float) -> bytes | None:
    """The key as nginx.org has it, beside its folder of tarballs; whether it is the right one, others see."""
    target = tarball.with_name(f"{tarball.name}.key")
    try:
        for mirror in build.mirrors:
            if mirror.startswith("apt:"):
                continue
            try:
                url = urljoin(f"{mirror.rstrip('/')}/", f"../keys/{signer.name}.key")
                transfer.download(url, target, timeout, transfer.SMALL)
            except transfer.FAULTS as error:
                if transfer.is_ours(error):
                    raise
                continue
            return target.read_bytes()
        return None
    finally:
        target.unlink(missing_ok=True)
