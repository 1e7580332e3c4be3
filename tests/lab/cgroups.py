"""One control group per host: it holds all of the host's processes, and only those.

Two kinds of machine: pure v2 has one tree at /sys/fs/cgroup, v1 and hybrid ones have a tree for
systemd, and maybe one for v2, in folders below it.
"""

import os
import shlex
import signal
import subprocess
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

MOUNT = Path("/sys/fs/cgroup")
ENTER = 'for procs in {procs}; do echo $$ > "$procs" || exit 1; done; exec setsid --fork "$@"'


def is_unified() -> bool:
    """Tell whether this machine has cgroup v2 only."""
    return (MOUNT / "cgroup.controllers").exists()


def hierarchies() -> list[Path]:
    """List the roots of the trees that systemd uses; empty if there is none to write to."""
    roots = [MOUNT] if is_unified() else [MOUNT / "systemd", MOUNT / "unified"]
    usable = [root for root in roots if os.access(root / "cgroup.procs", os.W_OK)]
    return usable if roots[0] in usable else []


def named(prefix: str) -> set[str]:
    """Name the control groups of the first level that begin with prefix."""
    return {path.name for root in hierarchies() for path in root.glob(f"{prefix}*/")}


@dataclass(frozen=True)
class Cgroup:
    """A control group of the first level, in each of the machine's trees."""

    name: str

    def start(self, argv: Sequence[str], log: Path) -> None:
        """Start a process in the group that outlives this one, its output appended to log.

        Raises OSError or subprocess.CalledProcessError if it cannot enter the group.
        """
        for folder in self._folders():
            folder.mkdir(exist_ok=True)
        procs = " ".join(shlex.quote(f"{folder}/cgroup.procs") for folder in self._folders())
        with log.open("ab") as output:
            subprocess.run(
                ["sh", "-c", ENTER.format(procs=procs), "sh", *argv],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                check=True,
            )

    def pids(self, command: str = "") -> set[int]:
        """List the processes of the group and of the groups below it; if given, those that run command."""
        found = {pid for folder in self._tree() for pid in _read_pids(folder)}
        return {pid for pid in found if _command(pid) == command[:15]} if command else found

    def runs(self, command: str) -> bool:
        """Tell whether one of the group's processes runs the command of this (short) name."""
        return bool(self.pids(command))

    def init(self) -> int | None:
        """Find the container's PID 1, by the number that it has on this machine."""
        return next(filter(_is_init, self.pids()), None)

    def send(self, number: signal.Signals, commands: Container[str] | None = None) -> None:
        """Send a signal to every process of the group, or to those that run one of the commands."""
        for pid in self.pids():
            if commands is None or _command(pid) in commands:
                self._signal(pid, number)

    def kill(self, timeout: float = 10) -> None:
        """End all processes of the group at once and remove it; timeout in seconds.

        A container's init goes first, so that systemd-nspawn can tidy up after it.
        Raises TimeoutError if a process is still there after the timeout.
        """
        deadline = time.monotonic() + timeout
        for pid in filter(_is_init, self.pids()):
            self._signal(pid, signal.SIGKILL)
        tidy = min(deadline, time.monotonic() + 2)
        while self.pids() and self.runs("systemd-nspawn") and time.monotonic() < tidy:
            time.sleep(0.02)
        while self.pids() and time.monotonic() < deadline:
            self.send(signal.SIGKILL)
            time.sleep(0.02)
        self._remove(deadline)

    def _remove(self, deadline: float) -> None:
        while folders := list(self._tree()):
            for folder in folders:
                _rmdir(folder)
            if time.monotonic() > deadline:
                raise TimeoutError(f"processes of {self.name} do not end: {sorted(self.pids())}")
            time.sleep(0.01)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        try:
            handle = os.pidfd_open(pid)
        except OSError:
            return
        try:
            # Checked with the handle open: the number cannot have gone to a stranger since.
            if self._owns(pid):
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        finally:
            os.close(handle)

    def _owns(self, pid: int) -> bool:
        try:
            lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
        except OSError:
            return False
        return any(line.split(":", 2)[2].split("/")[1] == self.name for line in lines)

    def _folders(self) -> list[Path]:
        return [root / self.name for root in hierarchies()]

    def _tree(self) -> Iterator[Path]:
        for top in self._folders():
            for folder, _, _ in os.walk(top, topdown=False):
                yield Path(folder)


def _read_pids(folder: Path) -> list[int]:
    try:
        return [int(line) for line in (folder / "cgroup.procs").read_text().split()]
    except OSError:
        return []


def _rmdir(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()


def _is_init(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = status.split("NSpid:")[1].splitlines()[0].split()
    return len(numbers) > 1 and numbers[-1] == "1"


def _command(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/comm").read_text().strip()
    except OSError:
        return ""
