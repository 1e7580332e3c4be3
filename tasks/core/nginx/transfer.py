"""One file from a URL, within bounds of bytes and seconds."""

from __future__ import annotations

import errno
import http.client
import urllib.error
import urllib.request
from pathlib import Path
from time import monotonic

from ..errors import StepError
from ..errors import reason as plain
from . import apt

TIMEOUT = 20.0  # seconds in which a mirror must send something
SMALL = 256 << 10
"""Bytes that a signature or a key may have; they have 1 to 10 KB."""
FAULTS = (StepError, OSError, http.client.HTTPException)
"""What `download` raises."""
_CHUNK = 64 * 1024
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)  # of this machine, not of the mirror


def download(url: str, target: Path, timeout: float, most: int | None = None) -> None:
    """Writes what is there to a file; `most` is in bytes (None: those of a tarball). Raises FAULTS."""
    limit = most or apt.MOST
    with urllib.request.urlopen(url, timeout=timeout) as answer, target.open("wb") as file:
        done, began = 0, monotonic()
        while chunk := answer.read1(_CHUNK):  # `read` would wait until so much has come
            file.write(chunk)
            done += len(chunk)
            if done > limit:
                raise StepError(_too_much(limit))
            if monotonic() - began > apt.LONGEST:
                raise StepError(f"has sent {done} bytes in {apt.LONGEST:g} s, and is not at its end")
    total = answer.headers.get("Content-Length") or str(done)
    if total.isdigit() and done != int(total):
        raise StepError(f"hung up after {done} of {total} bytes")


def _too_much(limit: int) -> str:
    if limit == SMALL:
        return f"sends more than {limit >> 10} KB"
    return f"sends more than {limit >> 20} MB, and nginx's source has 1.2 MB"


def is_ours(error: Exception) -> bool:
    """Whether it is this machine that has no room."""
    return isinstance(error, OSError) and error.errno in _NO_ROOM


def is_missing(error: Exception) -> bool:
    """Whether the mirror answered that there is no such file."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code in (404, 410)
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    return isinstance(inner, FileNotFoundError)


def reason(error: Exception) -> str:
    """Why there is no file, in words."""
    if isinstance(error, StepError):
        return error.message
    if isinstance(error, urllib.error.HTTPError):
        return f"answered {error.code} {error.reason}"
    inner = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(inner, TimeoutError):
        return "sent nothing in time"
    return plain(inner) if isinstance(inner, BaseException) else str(inner)
