"""The programs that run on nodes: the kernel tells of each that is started, whatever starts it."""

import re
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.lab.machine import LabError, run
from tests.lab.nodes import Node

FIRST_PIDS = "pid:[4026531836]"  # of the namespace whose numbers the kernel's tracing knows
LOGIN_SHELL = "bash"  # root's, which no script of ours runs
EVENT = re.compile(
    r" sched_process_(?:fork: comm=.* pid=(?P<parent>\d+) child_comm=.* child_pid=(?P<child>\d+)"
    r"|exec: filename=(?P<file>.*) pid=(?P<pid>\d+) old_pid=\d+)$",
    re.MULTILINE,
)


@dataclass
class Ran:
    """What sshd started on a node: for the login, and in each session, whose login shell is among it."""

    login: Counter[str] = field(default_factory=Counter)
    sessions: list[Counter[str]] = field(default_factory=list)

    @property
    def all(self) -> Counter[str]:
        """All of it, by name."""
        return sum(self.sessions, Counter(self.login))


def why_not() -> str | None:
    """Say why programs cannot be counted on this machine, or None if they can."""
    if str(Path("/proc/self/ns/pid").readlink()) != FIRST_PIDS:
        return "the kernel's tracing counts by PIDs that a container does not see"
    if "\ttracefs\n" not in Path("/proc/filesystems").read_text():
        return "this kernel has no tracefs"
    return None


@contextmanager
def counted(nodes: Sequence[Node]) -> Iterator[dict[str, Ran]]:
    """What sshd starts on nodes meanwhile, by their names, once the block is over.

    Raises LabError if the kernel could not keep up.
    """
    found: dict[str, Ran] = {}
    sshd = {pid: node.name for node in nodes for pid in node.pids("sshd")}
    with tempfile.TemporaryDirectory() as folder:
        run(["mount", "-t", "tracefs", "tracefs", folder])
        try:
            trace = Path(folder, "instances", f"kn-{nodes[0].lab}")
            trace.mkdir()
            try:
                (trace / "trace_options").write_text("event-fork")
                (trace / "set_event_pid").write_text(" ".join(map(str, sshd)))
                for event in ("fork", "exec"):
                    (trace / f"events/sched/sched_process_{event}/enable").write_text("1")
                yield found
                found |= _read((trace / "trace").read_text(), sshd)
            finally:
                trace.rmdir()
        finally:
            run(["umount", folder])


def _read(text: str, sshd: dict[int, str]) -> dict[str, Ran]:
    kept = re.search(r"entries-in-buffer/entries-written: (\d+)/(\d+)", text)
    if not kept or kept[1] != kept[2]:
        raise LabError("the kernel forgot programs that it was to count")
    found = {name: Ran() for name in sshd.values()}
    # of each process: whose node it is on, and what counts what it runs
    below = {pid: (found[name], found[name].login) for pid, name in sshd.items()}
    for event in EVENT.finditer(text):
        if event["parent"]:
            below[int(event["child"])] = below[int(event["parent"])]
            continue
        ran, counts = below[int(event["pid"])]
        name = Path(event["file"]).name
        if name == LOGIN_SHELL and counts is ran.login:
            counts = Counter()
            ran.sessions.append(counts)
            below[int(event["pid"])] = ran, counts
        counts[name] += 1
    return found
