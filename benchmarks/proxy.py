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
SLOW = 10.0
ESTABLISHED, LISTEN = "01", "0A"
# No child of this process, since nginx takes a parent that lives for the binary before it; it prints its PID.
START = ("sh", "-c", '"$@" & echo $!; read -r _', "sh")


class Proxy:
    """nginx in this thread's network namespace, for as long as the `with` block runs.

    Raises RuntimeError, with its log's last words, if it does not listen, or does not end, in time.
    """

    def __init__(self, binary: str, folder: Path, text: str) -> None:
        self._binary, self._folder, self._text = binary, folder, text

    def __enter__(self) -> Self:
        if has_listener(PORT):
            raise RuntimeError(f"port {PORT} of the lab's first node is taken: by another run, or a deploy")
        (self._folder / "logs").mkdir(parents=True, exist_ok=True)
        conf = self._folder / "nginx.conf"
        conf.write_text(self._text)
        command = [
            self._binary,
            "-e",
            "stderr",
            "-p",
            f"{self._folder}/",
            "-c",
            str(conf),
            "-g",
            "daemon off;",
        ]
        pipe = subprocess.PIPE
        with (self._folder / "log").open("ab") as log:
            # In a session of its own: all its processes are one group, and Ctrl-C does not reach them.
            self._process = subprocess.Popen(
                [*START, *command], stdin=pipe, stdout=pipe, stderr=log, text=True, start_new_session=True
            )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            with self._process.stdout as stdout, self._process.stdin:
                self.master = int(stdout.readline())
                self._until(lambda: has_listener(PORT), "does not listen")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        began = time.monotonic()
        while self._signal(signal.SIGTERM if time.monotonic() < began + SLOW else signal.SIGKILL):
            if time.monotonic() > began + 2 * SLOW:
                raise RuntimeError(f"nginx {self.master} does not end")
            time.sleep(0.002)

    def reload(self, text: str) -> None:
        """Have it take another configuration, and wait until a new worker is there."""
        (self._folder / "nginx.conf").write_text(text)
        before = _children(self.master)
        os.kill(self.master, signal.SIGHUP)
        self._until(lambda: _children(self.master) - before, "has no new worker")

    def upgrade(self, settle: float) -> None:
        """Start the binary anew beside it (USR2), and end the old master (QUIT) `settle` seconds later."""
        old, before = self.master, _children(self.master)
        os.kill(old, signal.SIGUSR2)
        self._until(lambda: any(_children(pid) for pid in _children(old) - before), "is not upgraded")
        (self.master,) = _children(old) - before
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
        return [self.master, *_children(self.master)]

    def _signal(self, number: int) -> bool:
        """Send a signal to all its processes; False if there are none any more."""
        self._process.poll()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
            return True
        return False

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + SLOW
        while not condition():
            if time.monotonic() > deadline or not self._signal(0):
                words = (self._folder / "log").read_text(errors="replace").splitlines()[-5:]
                raise RuntimeError(f"nginx {what}: {' / '.join(words) or '-'}")
            time.sleep(0.002)


def _children(pid: int) -> set[int]:
    with suppress(OSError):
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    return set()


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
    rows = [(int(here[9:], 16), ends.get(there)) for here, there, state in _table() if state == ESTABLISHED]
    return {port: server for port, server in rows if server}


def has_listener(port: int) -> bool:
    """Whether anybody listens on the port."""
    return any(state == LISTEN and int(here[9:], 16) == port for here, _, state in _table())


def _table() -> Iterator[tuple[str, str, str]]:
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return ((fields[1], fields[2], fields[3]) for fields in map(str.split, lines))
