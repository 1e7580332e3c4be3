"""Runs a program of the user's that only reads, for so long and for so much."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from selectors import EVENT_READ, DefaultSelector
from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired
from time import monotonic

from ..errors import UsageError, last_lines

_MOST = 256 << 20
"""Bytes; 5,000 nodes are some 60 MB of `kubectl get nodes -o json`."""


@dataclass(frozen=True, slots=True)
class Ended:
    """A program that ended with a status, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def why(self) -> str:
        """Its status, and the last lines of what it said."""
        said = last_lines(self.err or self.out, 3)[-600:]
        return f"exit status {self.status}" + (f":\n{said}" if said else "")


def find(name: str) -> str:
    """The path of a program; "" if it is not installed."""
    return shutil.which(name) or ""


def run(argv: Sequence[str], seconds: float, environment: Mapping[str, str] | None = None) -> Ended:
    """Runs a program, without input, in at most `seconds`.

    Raises UsageError: it cannot be run, did not end in time, or writes without end. Nothing of it stays then.
    """
    name = " ".join([os.path.basename(argv[0]), *argv[1:]])
    try:
        # a session of its own: what it has started ends with it
        process = Popen(
            argv,
            stdin=DEVNULL,
            stdout=PIPE,
            stderr=PIPE,
            bufsize=0,
            env={**os.environ, **(environment or {})},
            start_new_session=True,
        )
    except OSError as error:
        raise UsageError(f"{name}: cannot be run: {error.strerror}") from None
    try:
        out, err = _read(process, monotonic() + seconds)
    except TimeoutError:
        raise UsageError(f"{name}: did not end within {seconds:g} s") from None
    except OverflowError:
        raise UsageError(f"{name}: wrote more than {_MOST >> 20} MB") from None
    finally:
        _end(process)
    return Ended(process.returncode, out.decode(errors="replace"), err.decode(errors="replace"))


def _read(process: Popen[bytes], deadline: float) -> list[bytes]:
    """Both streams to their ends, and the end of the process. Raises TimeoutError, OverflowError."""
    parts: list[list[bytes]] = [[], []]
    length = 0
    with DefaultSelector() as streams:
        for stream, part in zip((process.stdout, process.stderr), parts, strict=True):
            if stream:
                streams.register(stream, EVENT_READ, part)
        while streams.get_map():
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in streams.select(left):
                if chunk := os.read(key.fd, 1 << 16):
                    key.data.append(chunk)
                    length += len(chunk)
                else:
                    streams.unregister(key.fileobj)
            if length > _MOST:
                raise OverflowError
    try:
        process.wait(max(deadline - monotonic(), 0))
    except TimeoutExpired:
        raise TimeoutError from None
    return [b"".join(part) for part in parts]


def _end(process: Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    for stream in (process.stdout, process.stderr):
        if stream:
            stream.close()
    process.wait()
