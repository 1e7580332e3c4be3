"""What the watch must not take for a silent apiserver. At the end one hangs, and is ejected nevertheless."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.watch.field import APISERVERS, Clients, Field, Process, name_of, until

pytestmark = pytest.mark.lab

CPU = Path("/sys/fs/cgroup/cpu")


def answers(clients: Clients, at: float) -> int:
    """Count the new connections since a moment that were answered."""
    return len([event for event in clients.since(at, "new") if event.begun >= at])


def unmoved(watch: Process, clients: Clients) -> None:
    """Assert that nobody was ejected, and no session closed."""
    assert "ejected" not in watch.text, watch.text
    assert clients.since(0, "closed", "refused") == []


def still_watches(field: Field, watch: Process) -> None:
    """Have one hang, which has to be noticed."""
    field.hang(2)
    until(lambda: f"ejected {name_of(APISERVERS[1])}" in watch.text, "who hangs is ejected")


def whole(field: Field, clients: Clients, count: int) -> None:
    """Wait until there were as many new connections."""
    at = time.monotonic()
    until(lambda: answers(clients, at) >= count, f"{count} new connections are answered", 60)


@pytest.mark.parametrize(
    ("delay", "jitter", "loss"),
    [(0.3, 0, 0), (0, 0, 0.1), (0.1, 0.08, 0.05)],
    ids=["300 ms of delay", "10 % lost", "some of all"],
)
def test_a_bad_network(field: Field, program: Path, delay: float, jitter: float, loss: float) -> None:
    watch, clients = field.watch(program), field.clients(15)
    wires = {number: field.spoil(number, delay, jitter, loss) for number in (1, 2, 3)}
    whole(field, clients, 150)
    unmoved(watch, clients)
    for number, wire in wires.items():
        field.mend(number, wire)
    still_watches(field, watch)


@pytest.mark.parametrize("numbers", [(1,), (1, 2, 3)], ids=["one", "all"])
def test_apiservers_that_answer_slowly(field: Field, program: Path, numbers: tuple[int, ...]) -> None:
    watch, clients = field.watch(program), field.clients(6)
    for number in numbers:
        field.apiservers[number].process.send_signal(signal.SIGUSR1)
    at = time.monotonic()
    until(lambda: [event for event in clients.since(at, "gap") if event.seconds > 4], "sessions have waited")
    whole(field, clients, 30)
    unmoved(watch, clients)
    for number in numbers:
        field.apiservers[number].process.send_signal(signal.SIGUSR2)
    still_watches(field, watch)


@pytest.mark.parametrize("seconds", ["0.4", "1", "3.5", "10"])
def test_the_watch_is_frozen_again_and_again(field: Field, program: Path, seconds: str) -> None:
    """All packets to apiservers vanish while it is frozen, as for a machine that was suspended."""
    watch, clients = field.watch(program), field.clients(6)
    for _ in range(3 if float(seconds) > 1 else 6):
        for number in (1, 2, 3):
            field.drop(number, "in")
        time.sleep(0.1)  # what it asks now has no answer when it is frozen
        watch.process.send_signal(signal.SIGSTOP)
        time.sleep(float(seconds))
        for number in (1, 2, 3):
            field.let_back(number)
        watch.process.send_signal(signal.SIGCONT)
        whole(field, clients, 5)
    unmoved(watch, clients)
    still_watches(field, watch)


@pytest.mark.parametrize("number", [1, 3], ids=["IPv4", "IPv6"])
def test_an_outage_of_two_seconds(field: Field, program: Path, number: int) -> None:
    watch, clients = field.watch(program), field.clients(6)
    for _ in range(4):
        field.drop(number, "in", "out")
        time.sleep(2)
        field.let_back(number)
        whole(field, clients, 10)
    unmoved(watch, clients)
    still_watches(field, watch)


@contextmanager
def starved(pid: int, percent: float) -> Iterator[None]:
    """Keep a process from more than a part of one CPU."""
    group = CPU / f"kube-nginx-watch.{pid}"
    if not (CPU / "cpu.cfs_quota_us").exists() and not CPU.exists():
        pytest.skip("needs the cpu controller of cgroups")
    group.mkdir()
    try:
        (group / "cpu.cfs_period_us").write_text("1000000")
        (group / "cpu.cfs_quota_us").write_text(str(max(1000, int(percent * 10_000))))
        (group / "cgroup.procs").write_text(str(pid))
        yield
    finally:
        (CPU / "cgroup.procs").write_text(str(pid))
        group.rmdir()


def test_the_watch_has_no_time(field: Field, program: Path) -> None:
    watch, clients = field.watch(program), field.clients(15)
    with starved(watch.process.pid, 0.1):
        whole(field, clients, 75)
        unmoved(watch, clients)
    still_watches(field, watch)


def test_the_machine_is_busy(field: Field, program: Path) -> None:
    watch, clients = field.watch(program), field.clients(15)
    hogs = [
        field.start("hog", field.node, "sh", "-c", "while :; do :; done")
        for _ in range(4 * (os.cpu_count() or 1))
    ]
    whole(field, clients, 75)
    unmoved(watch, clients)
    for hog in hogs:
        hog.kill()
    still_watches(field, watch)


def test_two_thousand_sessions(field: Field, program: Path) -> None:
    watch, clients = field.watch(program), field.clients(2000, 2)
    whole(field, clients, 50)
    unmoved(watch, clients)
    victims = clients.of(2)
    assert len(victims) > 500
    still_watches(field, watch)
    until(lambda: len(clients.open) == 2000 and not clients.of(2), "all sessions are with others", 60)
    assert {event.session for event in clients.since(0, "closed")} == victims
