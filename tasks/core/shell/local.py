"""This machine as a host for builds."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from pathlib import Path
from selectors import EVENT_READ, DefaultSelector
from subprocess import PIPE, Popen, TimeoutExpired
from time import monotonic

from ..errors import StepError, last_lines
from .command import CommandResult, failure, framed, kill_on_disconnect
from .delays import Delays
from .output import CHUNK, FOREVER, MOST, Output, TooMuch


class Local:
    """This machine, for builds; it never becomes root by itself."""

    label = "local"

    def __init__(self) -> None:
        self.delays = Delays()

    def sh(
        self,
        script: str,
        *,
        root: bool = True,
        timeout: float | None = 90,
        most: int | None = MOST,
        each_line: Callable[[str], None] | None = None,
        check: bool = True,
        tail: int = 5,
    ) -> CommandResult:
        """Runs a POSIX sh script here. Raises StepError as `Node.sh` does."""
        if platform.system() != "Linux":
            raise StepError(
                f"this machine runs {platform.system()}, the nodes run Linux",
                hint='name a Linux host that you reach over SSH: build.hosts = ["build-1"]',
            )
        out, err = Output(most, each_line), Output(most)
        # the end of its standard input ends all that the script has started
        command = framed(kill_on_disconnect(f"set -u\n{script}"))
        with Popen(["/bin/sh", "-c", command], stdin=PIPE, stdout=PIPE, stderr=PIPE, bufsize=0) as process:
            try:
                _read(process, out, err, monotonic() + (FOREVER if timeout is None else timeout))
            except TooMuch as error:
                raise StepError(str(error), command=script, tail=last_lines(error.last, tail)) from None
            except TimeoutError:
                words = CommandResult(-1, out.own, err.own).last_lines(tail)
                message = f"did not end within {timeout:g} s"
                raise StepError(message, command=script, tail=words) from None
        ended = CommandResult(process.returncode, out.own, err.own)
        if check and ended.status:
            raise failure(script, ended, tail)
        return ended

    def fetch(self, path: str) -> bytes:
        """A file's content."""
        return Path(path).read_bytes()


def _read(process: Popen[bytes], out: Output, err: Output, deadline: float) -> None:
    """Reads both streams and waits for the process, to their ends. Raises TooMuch and TimeoutError."""
    with DefaultSelector() as streams:
        for stream, output in ((process.stdout, out), (process.stderr, err)):
            if stream:
                streams.register(stream, EVENT_READ, output)
        while streams.get_map():
            left = deadline - monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in streams.select(min(left, 60)):
                if chunk := os.read(key.fd, CHUNK):
                    key.data.add(chunk)
                else:
                    streams.unregister(key.fileobj)
    try:
        process.wait(max(deadline - monotonic(), 0))
    except TimeoutExpired:
        raise TimeoutError from None
