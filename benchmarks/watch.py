"""How long clients wait where an apiserver falls silent, and what the watch costs.

`python -m benchmarks.watch` needs root: a node with a real nginx, and three apiservers, each in a network
namespace of its own.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.watch.field import Clients, Event, Field, Process, compile_watch, until

SESSIONS = 30
SETTLED = 6  # seconds, in which idle questions have come by
Act = Callable[[Field, int], object]
FAULTS: dict[str, tuple[Act, Act]] = {
    "SIGSTOP": (Field.hang, Field.resume),
    "dropped both ways": (lambda f, n: f.drop(n, "in", "out"), Field.let_back),
    "dropped on the way there": (lambda f, n: f.drop(n, "in"), Field.let_back),
    "dropped on the way back": (lambda f, n: f.drop(n, "out"), Field.let_back),
}


@contextmanager
def scene(program: Path) -> Iterator[tuple[Field, Process]]:
    """A field, and the watch."""
    with (
        tempfile.TemporaryDirectory(prefix="kube-nginx-watch.") as folder,
        Field(Path(folder), "kwbench") as field,
    ):
        yield field, field.watch(program)


def worst(events: list[Event]) -> float:
    """Give the longest of them, in seconds; none is 0."""
    return max((event.seconds for event in events), default=0)


def gaps(clients: Clients, victims: set[int], at: float) -> tuple[float, float]:
    """Give the worst gap of the sessions of the silent apiserver, and of the others."""
    found = clients.since(at, "gap")
    ours = [event for event in found if event.session in victims]
    return worst(ours), worst([event for event in found if event.session not in victims])


def newcomers(clients: Clients, begun: float) -> str:
    """Say what became of the connections that were begun since a moment."""
    new = [event for event in clients.events if event.what in {"new", "failed"} and event.begun >= begun]
    failed = sum(event.what == "failed" for event in new)
    return f"new ones: slowest {worst(new):.2f} s of {len(new)}, {failed} failed"


def is_used(clients: Clients, at: float, number: int) -> bool:
    """Tell whether an apiserver has had a new connection since a moment."""
    return any(event.server == str(number) for event in clients.since(at, "new"))


def fault(program: Path, name: str, number: int) -> None:
    """Measure one fault of one apiserver."""
    begin, end = FAULTS[name]
    with scene(program) as (field, watch):
        clients = field.clients(SESSIONS)
        time.sleep(SETTLED)
        victims, at = clients.of(number), time.monotonic()
        begin(field, number)
        until(lambda: "ejected" in watch.text, "it is ejected", 60)
        ejected = time.monotonic()
        until(lambda: not clients.of(number), "its sessions are with others", 60)
        time.sleep(SETTLED)
        own, others = gaps(clients, victims, at)
        after = newcomers(clients, ejected + 0.1)
        closed = {event.session for event in clients.since(at, "closed")} - victims
        back = time.monotonic()
        end(field, number)
        until(lambda: is_used(clients, back, number), "it is in use", 60)
        again = time.monotonic() - back
    print(
        f"{name}, apiserver {number}: ejected after {ejected - at:.1f} s; "
        f"worst gap {own:.1f} s, of others {others:.1f} s; {len(closed)} others closed; {after}; "
        f"back in use after {again:.1f} s",
        flush=True,
    )


def all_hang(program: Path) -> None:
    """Measure how soon it is good again once one of three that hang answers."""
    with scene(program) as (field, watch):
        clients = field.clients(SESSIONS)
        for number in (1, 2, 3):
            field.hang(number)
        until(lambda: watch.text.count("and stays") == 3, "all are silent", 60)
        back = time.monotonic()
        field.resume(2)
        until(lambda: len(clients.of(2)) == SESSIONS, "all are with the one that answers", 60)
        print(
            f"all hang, one comes back: all sessions with it after {time.monotonic() - back:.1f} s",
            flush=True,
        )


def cost(program: Path, sessions: int, seconds: int = 60) -> None:
    """Measure CPU and memory of the watch beside so many sessions."""
    with scene(program) as (field, watch):
        field.clients(sessions, 0.2 if sessions <= 200 else 2)
        before = used_cpu(watch)
        time.sleep(seconds)
        share = (used_cpu(watch) - before) / seconds
        status = Path(f"/proc/{watch.process.pid}/status").read_text()
        rss = int(status.split("VmRSS:")[1].split()[0]) / 1024
        print(f"{sessions} sessions: {share:.2%} of a core, {rss:.1f} MB resident", flush=True)


def used_cpu(process: Process) -> float:
    """Give the CPU time that it has used, in seconds."""
    fields = Path(f"/proc/{process.process.pid}/schedstat").read_text().split()
    return int(fields[0]) / 1e9


def main() -> None:
    """Measure all, or what is named: faults, all, cost."""
    wanted = set(sys.argv[1:]) or {"faults", "all", "cost"}
    with tempfile.TemporaryDirectory(prefix="kube-nginx-watch.") as folder:
        os.chmod(folder, 0o755)
        program = compile_watch(Path(folder, "kube-nginx-watch"), "-static")
        if "faults" in wanted:
            for name in FAULTS:
                for number in (1, 3):
                    fault(program, name, number)
        if "all" in wanted:
            all_hang(program)
        if "cost" in wanted:
            cost(program, 200)
            cost(program, 2000)


if __name__ == "__main__":
    main()
