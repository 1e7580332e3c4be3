"""What a user's file holds: whatever the file is, reading it ends."""

from __future__ import annotations

import os
import stat
from pathlib import Path

MOST = 64 << 20
"""Bytes; a known_hosts of 100,000 keys has a half of it."""


def content(path: Path, most: int = MOST, piped: bool = False) -> bytes:
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
        read = bytearray()
        while more := file.read(1 << 16):
            read += more
            if len(read) > most:
                raise OSError(27, f"has more than {most >> 20} MB", str(path))
    return bytes(read)
