"""nginx processes that run a configuration, and the table of sockets of a network namespace."""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Self

from tasks.core.config.address import APISERVER_PORT

PORT = 8443
LATE = 10.0
ESTABLISHED = "01"


class Proxy:
    """nginx in this thread's network namespace, for as long as the `with` block runs.

    Raises RuntimeError, with its own last words, if it does not start, and if it does not do as it is told.
    """

    def __init__(self, binary: str, folder: Path, text: str) -> None:
        self._command = [binary, "-e", "stderr", "-p", f"{folder}/", "-c", f"{folder}/nginx.conf"]
        self._folder, self._text = folder, text
        self._masters: list[int] = []

    def __enter__(self) -> Self:
        (self._folder / "logs").mkdir(exist_ok=True)
        (self._folder / "nginx.conf").write_text(self._text)
        log = self._folder / "log"
        with log.open("w") as errors:  # which goes on to write there in the background, once it listens
            started = subprocess.run(self._command, stdin=subprocess.DEVNULL, stderr=errors, check=False)
        if started.returncode:
            raise RuntimeError(f"nginx does not start: {log.read_text()[-500:]}")
        pid = self._folder / "logs" / "nginx.pid"
        _until(lambda: pid.exists() and pid.read_text().endswith("\n"), "does not write its PID")
        self._masters = [int(pid.read_text())]
        _until(lambda: _children(self._masters[0]), "has no worker")
        return self

    def __exit__(self, *_: object) -> None:
        for master in self._masters:
            with suppress(ProcessLookupError):
                os.kill(master, signal.SIGTERM)
        _until(lambda: not any(map(_lives, self._masters)), "does not end")

    def reload(self, text: str) -> None:
        """Have it take another configuration, and wait until a new worker is there."""
        (self._folder / "nginx.conf").write_text(text)
        master = self._masters[-1]
        before = _children(master)
        os.kill(master, signal.SIGHUP)
        _until(lambda: _children(master) - before, "has no new worker")

    def upgrade(self, settle: float) -> None:
        """Start the binary anew beside it (USR2), and end the old master (QUIT) `settle` seconds later."""
        old = self._masters[-1]
        before = _children(old)
        os.kill(old, signal.SIGUSR2)
        _until(lambda: any(_children(pid) for pid in _children(old) - before), "is not upgraded")
        self._masters += _children(old) - before
        time.sleep(settle)
        os.kill(old, signal.SIGQUIT)

    def memory(self) -> int:
        """The proportional set size of master and workers, in bytes."""
        texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self._pids()]
        return sum(int(text.split("\nPss:")[1].split()[0]) * 1024 for text in texts)

    def cpu(self) -> float:
        """The processor time that master and workers have had, in seconds."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self._pids()) / 1e9

    def _pids(self) -> list[int]:
        return [self._masters[-1], *_children(self._masters[-1])]


def _until(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + LATE
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"nginx {what}")
        time.sleep(0.002)


def _children(pid: int) -> set[int]:
    with suppress(OSError):
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return set()


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Have this thread, and what it starts, in a namespace of `ip netns`. Raises OSError.

    Unlike `ip netns exec` it leaves /sys alone, where the lab's control groups are.
    """
    libc = ctypes.CDLL(None)  # os.setns is there only since Python 3.12
    with Path("/proc/thread-self/ns/net").open() as before, Path(f"/run/netns/{name}").open() as there:
        if libc.setns(there.fileno(), 0):
            raise OSError(f"{name}: cannot be entered")
        try:
            yield
        finally:
            libc.setns(before.fileno(), 0)


def upstreams(servers: Sequence[str]) -> dict[int, str]:
    """The established connections from here to apiservers (IPv4 addresses): local port -> server."""
    ends = {
        f"{struct.unpack('=I', socket.inet_aton(one))[0]:08X}:{APISERVER_PORT:04X}": one for one in servers
    }
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    rows = [(fields[1], ends.get(fields[2]), fields[3]) for fields in map(str.split, lines)]
    return {int(here[9:], 16): server for here, server, state in rows if server and state == ESTABLISHED}
