"""The source tarball: from the first mirror that has it, and trusted only by its sha256."""

from __future__ import annotations

import errno
import http.client
import os
import secrets
import tarfile
import urllib.error
import urllib.request
import zlib
from hashlib import sha256
from pathlib import Path, PurePosixPath
from time import monotonic

from ..config.model import Build
from ..errors import StepError, reason
from . import apt

TIMEOUT = 20.0  # seconds in which a mirror must send something
_CHUNK = 64 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # of this machine, not of the mirror


def tarball_path(build: Build, folder: Path) -> Path:
    """Where the tarball is kept."""
    return folder / f"nginx-{build.version}.tar.gz"


def fetch(build: Build, folder: Path, timeout: float = TIMEOUT) -> bool:
    """Sees that the right tarball is in `folder`; true if it had to be transferred.

    Raises StepError: no mirror has it (each one's reason is given), its sha256 is not the pinned one, or
    an entry would leave its folder. A wrong or partial file is removed.
    """
    final = tarball_path(build, folder)
    fresh = folder / f".{final.name}.{secrets.token_hex(4)}.part"
    try:
        if final.exists() and sum_of(final.read_bytes()) == build.sha256:
            return False
        final.unlink(missing_ok=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            mirror = _first_mirror(build, fresh, timeout)
            _check(build, fresh, mirror)
            os.replace(fresh, final)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise StepError(
            f"cannot keep {final.name} in {folder}: {error.strerror}",
            hint="set build.work_dir to a folder that you may write to",
        ) from None
    return True


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


def _first_mirror(build: Build, fresh: Path, timeout: float) -> str:
    """The mirror that sent the tarball."""
    refusals = []
    for mirror in build.mirrors:
        try:
            if mirror.startswith("apt:"):
                apt.download(mirror.removeprefix("apt:"), build.version, fresh)
            else:
                _download(f"{mirror.rstrip('/')}/nginx-{build.version}.tar.gz", fresh, timeout)
            return mirror
        except StepError as error:
            refusals.append(f"{mirror}: {error.message}")
        except (OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in _NO_ROOM:
                raise
            refusals.append(f"{mirror}: {_reason(error)}")
    raise StepError(
        f"no mirror has nginx-{build.version}.tar.gz",
        tail="\n".join(refusals),
        hint="add a mirror that you reach to build.mirrors: a URL prefix, file:///folder/, or apt:SUITE",
    )


def _download(url: str, target: Path, timeout: float) -> None:
    with urllib.request.urlopen(url, timeout=timeout) as answer, target.open("wb") as file:
        done, began = 0, monotonic()
        while chunk := answer.read1(_CHUNK):  # `read` would wait until so much has come
            file.write(chunk)
            done += len(chunk)
            if done > apt.MOST:
                raise StepError(f"sends more than {apt.MOST >> 20} MB, and nginx's source has 1.2 MB")
            if monotonic() - began > apt.LONGEST:
                raise StepError(f"has sent {done} bytes in {apt.LONGEST:g} s, and is not at its end")
    total = answer.headers.get("Content-Length") or str(done)
    if total.isdigit() and done != int(total):
        raise StepError(f"hung up after {done} of {total} bytes")


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"answered {error.code} {error.reason}"
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "sent nothing in time"
    return reason(inner) if isinstance(inner, BaseException) else str(inner)


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
