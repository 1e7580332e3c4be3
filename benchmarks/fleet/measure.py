"""One process and all that it starts: what it costs, from its start to the end of the last of them."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

EVERY = 0.03
"""Seconds between two looks at it."""
RARELY = 10
"""Looks for one at the memory of several processes, which takes long."""
PR_SET_CHILD_SUBREAPER = 36


@dataclass(frozen=True, slots=True)
class Cost:
    """CPU (user and system) and wall in seconds, memory in bytes; of the others the most at one moment.

    `memory` is the peak of the first process (VmHWM: ru_maxrss begins with what its parent had); of several,
    the proportional set size of all, if that is more.
    """

    cpu: float
    wall: float
    memory: int
    threads: int
    files: int
    processes: int


@dataclass(frozen=True, slots=True)
class Ended:
    """A process that has ended: its exit status, and what it wrote."""

    cost: Cost
    status: int
    out: str


def adopt() -> None:
    """Have all that is left behind by a process of ours become ours, to be ended and accounted."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def run(command: Sequence[str], env: Mapping[str, str], folder: Path) -> Ended:
    """Run a command there to its end, and end what it leaves behind."""
    before = set(_children(os.getpid()))
    out, peaks, memory = folder / "out", [0, 0, 0, 0], 0
    began = time.monotonic()
    with out.open("wb") as file:
        process = subprocess.Popen(
            command, cwd=folder, env=env, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        pidfd = os.pidfd_open(process.pid)
        with os.fdopen(pidfd):
            poll = select.poll()
            poll.register(pidfd, select.POLLIN)
            number = 0
            while not poll.poll(EVERY * 1000):
                memory = _kilobytes(Path(f"/proc/{process.pid}/status"), "VmHWM") or memory
                peaks = [*map(max, peaks, _look(process.pid, number % RARELY == 0))]
                number += 1
        wall = time.monotonic() - began
    finally:
        status, cpu = end(before, process)
    cost = Cost(cpu, wall, max(memory * 1024, peaks[0]), *peaks[1:])
    return Ended(cost, status, out.read_text(errors="replace"))


def end(before: set[int], process: subprocess.Popen[bytes]) -> tuple[int, float]:
    """End all children of ours but those of `before`; the status of `process`, and the CPU of all."""
    status, cpu = 0, 0.0
    while left := set(_children(os.getpid())) - before:
        for pid in left:
            os.kill(pid, signal.SIGTERM)
            _, ended, used = os.wait4(pid, 0)
            cpu += used.ru_utime + used.ru_stime
            if pid == process.pid:
                status = process.returncode = os.waitstatus_to_exitcode(ended)
    return status, cpu


def _look(pid: int, closely: bool) -> tuple[int, int, int, int]:
    """Of a process and its descendants: memory, threads, open files, and how many they are."""
    processes = [*tree(pid)]
    memory = threads = files = 0
    for each in processes:
        with suppress(OSError, IndexError):  # it has just ended
            place = Path(f"/proc/{each}")
            threads += int((place / "stat").read_text().rpartition(")")[2].split()[17])
            files += len(os.listdir(place / "fd"))
            if len(processes) > 1 and closely:
                memory += _kilobytes(place / "smaps_rollup", "Pss") * 1024
    return memory, threads, files, len(processes)


def _kilobytes(file: Path, key: str) -> int:
    """0 where it has just ended."""
    with suppress(OSError):
        return int(file.read_text().partition(f"\n{key}:")[2].split("kB")[0] or 0)
    return 0


def tree(pid: int) -> Iterator[int]:
    """A process and its descendants."""
    yield pid
    for child in _children(pid):
        yield from tree(child)


def _children(pid: int) -> Iterator[int]:
    with suppress(OSError):
        for task in os.listdir(f"/proc/{pid}/task"):
            with suppress(OSError):
                yield from map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
