"""The user's files: reading one ends whatever it is, and writing one is atomic."""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path

from .errors import UsageError

MOST = 64 << 20
"""Bytes; a known_hosts of 100,000 keys has a half of it."""


def read_bounded(path: Path, most: int = MOST, piped: bool = False) -> bytes:
    """The bytes of a regular file, `most` at most, or of a pipe where one may be `piped`.

    Raises OSError: what it is instead, in `strerror`.
    """
    number = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # which a FIFO would not hold up
    with open(number, "rb") as file:
        mode = os.fstat(number).st_mode
        if piped and stat.S_ISFIFO(mode):
            os.set_blocking(number, True)  # one without a writer is at its end
        elif os.path.realpath(path) == os.devnull:
            return b""  # how ssh_config says that there is no known_hosts
        elif not stat.S_ISREG(mode):
            raise OSError(22, "is no regular file, but a FIFO or a device", str(path))
        content = file.read(most + 1)
    if len(content) > most:
        raise OSError(27, f"has more than {most >> 20} MB", str(path))
    return content


def write_atomic(path: Path, content: bytes, mode: int) -> None:
    """Writes a file under a temporary name and renames it."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fresh.write_bytes(content)
        fresh.chmod(mode)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def words_of(text: str) -> str:
    """`text`, or where it is @FILE the words of that file (names of nodes, say), separated by commas.

    Raises UsageError: the file cannot be read.
    """
    if not text.startswith("@"):
        return text
    path = Path(os.path.expanduser(text[1:]))  # Path.expanduser raises
    try:
        return ",".join(read_bounded(path).decode("utf-8-sig", "replace").replace(",", " ").split())
    except OSError as error:
        raise UsageError(f"{text}: {error.strerror}") from None
