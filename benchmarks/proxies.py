"""nginx processes that run a configuration."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

from benchmarks import netns
from benchmarks.configurations import Configuration

PORT = 8443
PATIENCE = 10.0
# They print the PID of what they run; DETACHED ends when its standard input does.
CHILD = ("setpriv", "--pdeathsig", "TERM", "--", "sh", "-c", 'echo $$; exec "$@"', "sh")
DETACHED = ("sh", "-c", '"$@" & echo $!; read -r _', "sh")


class Proxy:
    """nginx in this thread's network namespace, for as long as the `with` block runs.

    upgradable: it is no child of this process, since nginx takes a parent that lives for the binary
    before it, and refuses; so it would outlive a kill -9 of this process.
    Raises RuntimeError, with its log's last words, if it does not listen, or does not end, in time.
    """

    def __init__(
        self, binary: str, folder: Path, configuration: Configuration, *, upgradable: bool = False
    ) -> None:
        self._folder = folder
        self._binary = binary
        self._start = DETACHED if upgradable else CHILD
        self.configuration = configuration

    def __enter__(self) -> Self:
        if netns.has_listener(PORT):
            raise RuntimeError(f"port {PORT} of the lab's first node is taken: by another run, or a deploy")
        (self._folder / "logs").mkdir(parents=True, exist_ok=True)
        self._write(self.configuration)
        with (self._folder / "log").open("ab") as log:
            # In a session of its own: all its processes are one group, and Ctrl-C does not reach them.
            self._process = subprocess.Popen(
                [*self._start, self._binary, "-e", "stderr", *self._arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            assert self._process.stdin is not None
            assert self._process.stdout is not None
            self.master = int(self._process.stdout.readline())
            self._until(lambda: netns.has_listener(PORT), "does not listen")
            self._process.stdin.close()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        began = time.monotonic()
        while self._signal(signal.SIGTERM if time.monotonic() < began + PATIENCE else signal.SIGKILL):
            if time.monotonic() > began + 2 * PATIENCE:
                raise RuntimeError(f"nginx {self.master} does not end")
            time.sleep(0.002)
        assert self._process.stdout is not None
        self._process.stdout.close()

    def reload(self, configuration: Configuration) -> None:
        """Have it take another configuration, and wait until a new worker is there."""
        self._write(configuration)
        before = set(self.workers())
        os.kill(self.master, signal.SIGHUP)
        self._until(lambda: set(self.workers()) - before, "has no new worker")

    def upgrade(self, settle: float) -> None:
        """Start the binary anew beside it (USR2), and end the old master (QUIT) `settle` seconds later."""
        old, before = self.master, set(self.workers())
        os.kill(old, signal.SIGUSR2)
        self._until(lambda: any(_children(pid) for pid in _children(old) - before), "is not upgraded")
        (self.master,) = _children(old) - before
        time.sleep(settle)
        os.kill(old, signal.SIGQUIT)

    def workers(self) -> list[int]:
        """The PIDs of the master's children."""
        return sorted(_children(self.master))

    def pids(self) -> list[int]:
        """The PIDs of the master and its workers."""
        return [self.master, *self.workers()]

    def memory(self) -> int:
        """The proportional set size of all its processes, in bytes."""
        texts = [Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.pids()]
        return sum(int(text.split("\nPss:")[1].split()[0]) * 1024 for text in texts)

    def cpu(self) -> float:
        """The processor time that all its processes have had, in seconds."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self.pids()) / 1e9

    def _signal(self, number: int) -> bool:
        """Send a signal to all its processes; False if there are none any more."""
        self._process.poll()
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)
            return True
        return False

    @property
    def _arguments(self) -> list[str]:
        return ["-p", f"{self._folder}/", "-c", f"{self._folder}/nginx.conf", "-g", "daemon off;"]

    def _write(self, configuration: Configuration) -> None:
        (self._folder / "nginx.conf").write_text(configuration.text)

    def _until(self, condition: Callable[[], object], what: str) -> None:
        deadline = time.monotonic() + PATIENCE
        while not condition():
            if time.monotonic() > deadline or not self._signal(0):
                words = (self._folder / "log").read_text(errors="replace").splitlines()[-5:]
                raise RuntimeError(f"nginx {what}: {' / '.join(words) or '-'}")
            time.sleep(0.002)


def _children(pid: int) -> set[int]:
    try:
        return set(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))
    except OSError:
        return set()
