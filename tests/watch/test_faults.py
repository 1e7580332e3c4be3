"""What the watch does about each fault of an apiserver, and what it leaves alone."""

import re
import signal
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from tests.watch.field import APISERVERS, Clients, Event, Field, Process, name_of, until

pytestmark = pytest.mark.lab

FIRST, SECOND, THIRD = map(name_of, APISERVERS)
Act = Callable[[Field, int], None]
FAULTS: dict[str, tuple[Act, Act, str]] = {
    "hangs": (Field.hang, Field.resume, "no answer to a TLS hello"),
    "dropped both ways": (lambda f, n: f.drop(n, "in", "out"), Field.let_back, "no answer to a connection"),
    "dropped on the way there": (lambda f, n: f.drop(n, "in"), Field.let_back, "no answer to a connection"),
    "dropped on the way back": (lambda f, n: f.drop(n, "out"), Field.let_back, "no answer to a connection"),
}


def spread(clients: Clients) -> None:
    """Wait until each apiserver has sessions."""
    until(lambda: all(clients.of(number) for number in (1, 2, 3)), "each apiserver has sessions")


def newcomers(clients: Clients, at: float) -> list[Event]:
    """Give what became of the new connections since a moment."""
    return [event for event in clients.events if event.what in {"new", "failed"} and event.begun >= at]


def used_again(clients: Clients, at: float, number: int) -> Callable[[], bool]:
    """Tell whether an apiserver has had a new connection since a moment."""
    return lambda: any(event.server == str(number) for event in newcomers(clients, at))


def lines(watch: Process, *words: str) -> list[str]:
    """Give the watch's lines that begin so."""
    return [line for line in watch.text.splitlines() if line.startswith(words)]


@pytest.mark.parametrize("number", [1, 3], ids=["IPv4", "IPv6"])
@pytest.mark.parametrize("fault", FAULTS)
def test_one_is_silent(field: Field, program: Path, fault: str, number: int) -> None:
    begin, end, reason = FAULTS[fault]
    name = name_of(APISERVERS[number - 1])
    watch, clients = field.watch(program), field.clients(15)
    spread(clients)
    victims = clients.of(number)
    begun = time.monotonic()
    begin(field, number)
    until(lambda: lines(watch, "ejected"), "it is ejected")
    ejected = time.monotonic()
    (line,) = lines(watch, "ejected")
    assert line.startswith(f"ejected {name}: {reason} for ")
    assert len(field.refused()) == 1
    until(lambda: victims <= clients.open.keys() - clients.of(number), "its sessions are with others")
    until(lambda: len(newcomers(clients, ejected)) >= 10, "there were new connections")
    assert {event.what for event in newcomers(clients, ejected)} == {"new"}
    assert {event.session for event in clients.since(begun, "closed")} == victims
    back = time.monotonic()
    end(field, number)
    until(lambda: lines(watch, "let in"), "it is let in")
    assert lines(watch, "let in")[0].startswith(f"let in {name} after ")
    until(used_again(clients, back, number), "it is in use")
    assert field.refused() == []
    assert clients.since(back, "closed", "failed") == []
    assert len(lines(watch, "ejected")) == 1


def test_one_on_the_node_itself_is_silent(field: Field, program: Path) -> None:
    field.start_apiserver(4, field.node)
    field.write_conf(("198.18.0.1", *APISERVERS[1:]))
    field.nginx.process.send_signal(signal.SIGHUP)
    watch = field.watch(program)
    clients = field.clients(15)
    until(lambda: clients.of(4), "it has sessions")
    field.hang(4)
    until(lambda: lines(watch, "ejected 198.18.0.1:6443"), "it is ejected")
    ejected = time.monotonic()
    until(lambda: not clients.of(4) and len(clients.open) == 15, "all sessions are with others")
    until(lambda: len(newcomers(clients, ejected)) >= 20, "there were new connections")
    assert {event.what for event in newcomers(clients, ejected)} == {"new"}
    back = time.monotonic()
    field.resume(4)
    until(used_again(clients, back, 4), "it is in use")


def test_all_hang_and_one_comes_back(field: Field, program: Path) -> None:
    watch, clients = field.watch(program), field.clients(15)
    spread(clients)
    for number in (1, 2, 3):
        field.hang(number)
    until(
        lambda: len([line for line in watch.text.splitlines() if "and stays" in line]) == 3, "all are silent"
    )
    assert (lines(watch, "ejected"), field.refused()) == ([], [])
    assert clients.since(0, "closed") == []
    field.resume(2)
    until(lambda: len(clients.of(2)) == 15, "all sessions are with the one that answers")
    assert {line.split(": ")[0] for line in lines(watch, "ejected")} == {
        f"ejected {FIRST}",
        f"ejected {THIRD}",
    }
    field.resume(1)
    field.resume(3)
    until(lambda: field.refused() == [], "all are in")
    until(
        lambda: all(used_again(clients, time.monotonic() - 2, number)() for number in (1, 2, 3)),
        "all are in use",
    )


def test_the_last_one_hangs_and_all_are_let_in(field: Field, program: Path) -> None:
    watch = field.watch(program)
    clients = field.clients(6)
    spread(clients)
    for count, number in enumerate((1, 2), 1):
        field.hang(number)
        until(lambda: len(lines(watch, "ejected")) == count, "it is ejected")  # noqa: B023 - called at once
    field.hang(3)
    until(lambda: field.refused() == [], "all are let in")
    assert [line.split(" after ")[0] for line in lines(watch, "let in")] == [
        f"let in {FIRST}",
        f"let in {SECOND}",
    ]
    for number in (1, 2, 3):
        field.resume(number)
    until(
        lambda: all(used_again(clients, time.monotonic() - 2, number)() for number in (1, 2, 3)),
        "all are in use",
    )
    assert field.refused() == []


def test_who_refuses_is_nginxs_own_to_pass_by(field: Field, program: Path) -> None:
    watch, clients = field.watch(program), field.clients(6)
    spread(clients)
    field.apiservers[1].kill()
    until(lambda: len(clients.of(2) | clients.of(3)) == 6, "its sessions are with others")
    at = time.monotonic()
    until(lambda: len(newcomers(clients, at)) >= 25, "there were new connections")
    assert {event.what for event in newcomers(clients, at)} == {"new"}
    assert (lines(watch, "ejected"), field.refused()) == ([], [])
    field.start_apiserver(1)
    until(used_again(clients, at, 1), "it is in use")


def test_flaps_are_damped(field: Field, program: Path) -> None:
    watch, clients = field.watch(program), field.clients(9)
    spread(clients)
    at = time.monotonic()
    for _ in range(4):
        field.hang(1)
        until(lambda: len(field.refused()) == 1, "it is ejected", 60)
        field.resume(1)
        until(lambda: field.refused() == [], "it is let in", 60)
    lasted = [float(line.split(" after ")[1].split(" s")[0]) for line in lines(watch, "let in")]
    assert len(lasted) == 4
    assert all(later > earlier for earlier, later in pairwise(lasted))
    ejected = [event for event in clients.since(at, "closed") if event.server != "1"]
    assert ejected == []


def test_who_connects_while_one_flaps_is_answered(field: Field, program: Path) -> None:
    """Those who have just connected to it are answered when it goes on a moment after its ejection."""
    watch, clients = field.watch(program), field.clients(9)
    spread(clients)
    at = time.monotonic()
    for count in (1, 2):
        field.hang(1)
        until(lambda: len(lines(watch, "ejected")) == count, "it is ejected")  # noqa: B023 - called at once
        field.resume(1)
        until(lambda: len(lines(watch, "let in")) == count, "it is let in")  # noqa: B023 - called at once
    slow = [event for event in newcomers(clients, at) if event.server == "1" and event.seconds > 1]
    assert slow
    assert {event.what for event in newcomers(clients, at)} == {"new"}


def test_who_connects_to_one_that_stays_silent_is_told_soon(field: Field, program: Path) -> None:
    watch, clients = field.watch(program), field.clients(9)
    spread(clients)
    at = time.monotonic()
    field.hang(1)
    until(lambda: lines(watch, "ejected"), "it is ejected")
    until(lambda: [event for event in newcomers(clients, at) if event.what == "failed"], "they are closed")
    assert max(event.seconds for event in newcomers(clients, at)) < 10  # a client's own patience
    until(lambda: lines(watch, "closed"), "it is told")
    line = lines(watch, "closed")[0]
    assert re.fullmatch(rf"closed [1-9]\d* more sessions? with {FIRST}", line)
