"""A command that ends just as its time is over: nobody is told that the connection broke."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import combinations_with_replacement, product

import paramiko
import pytest

from tasks.core.errors import StepError
from tasks.core.shell import remote
from tasks.core.shell.remote import BROKE, RemoteCommand

LIMIT = 5.0  # seconds
SAID = b"kn.reads\n\nkn.begins\nout\nkn.ends\n"
LATE = f"did not end within {LIMIT:g} s"
Step = Callable[["Played"], None]


def said(channel: Played) -> None:
    channel.in_buffer.feed(SAID)


def status(channel: Played) -> None:
    channel.exit_status = 0
    channel.status_event.set()


def eof(channel: Played) -> None:
    channel._handle_eof(None)


def close(channel: Played) -> None:
    channel.lock.acquire()
    channel._set_closed()
    channel.lock.release()


def late(channel: Played) -> None:
    channel.now += LIMIT


def nothing(channel: Played) -> None:
    """A moment at which nothing comes."""


class Played(paramiko.Channel):  # type: ignore[misc]
    """A channel on which the next step happens whenever it is asked anything; after the last it is late."""

    def __init__(self, steps: Sequence[Step]) -> None:
        super().__init__(0)
        self.now = 0.0
        self._steps = iter(steps)
        self._set_window(1 << 20, 1 << 15)
        self.status_event = Came(self)

    def moment(self) -> None:
        """The next step happens."""
        next(self._steps, late)(self)

    def exec_command(self, command: str) -> None:
        self.moment()

    def send(self, content: bytes) -> int:
        self.moment()
        return len(content)

    def recv(self, most: int) -> bytes:
        self.moment()
        self.settimeout(0)
        return bytes(super().recv(most))

    def recv_stderr_ready(self) -> bool:
        self.moment()
        return bool(super().recv_stderr_ready())

    def close(self) -> None:
        self.closed = True


class Came(threading.Event):
    """Is waited for while the steps of a channel happen, by that channel's clock."""

    def __init__(self, channel: Played) -> None:
        super().__init__()
        self._channel = channel

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        end = self._channel.now + timeout
        while not self.is_set() and self._channel.now < end:
            self._channel.moment()
        return self.is_set()


def ended(steps: Sequence[Step], monkeypatch: pytest.MonkeyPatch) -> str:
    """What came of it."""
    channel = Played(steps)

    def monotonic() -> float:
        channel.moment()
        return channel.now

    monkeypatch.setattr(remote, "monotonic", monotonic)
    monkeypatch.setattr(remote, "Event", lambda: Came(channel), raising=False)
    try:
        result = RemoteCommand(lambda: channel, "root", "work", timeout=LIMIT).result()
    except StepError as error:
        return error.message
    return f"{result.status} {result.stdout}"


def orders(events: Sequence[Step], moments: int) -> Iterator[list[Step]]:
    """Each way in which they may come one after the other, with moments between at which nothing does."""
    for places in combinations_with_replacement(range(moments), len(events)):
        steps: list[Step] = []
        for place, event in zip(places, events, strict=True):
            steps += [nothing] * (place - sum(step is nothing for step in steps)) + [event]
        yield steps


@pytest.mark.parametrize("events", [(status, eof, close), (eof, status, close)])
def test_it_is_a_result_or_too_late(events: tuple[Step, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    came: Counter[str] = Counter()
    for steps, place in product(orders(events, 12), range(12)):
        came[ended([said, *steps[:place], late, *steps[place:]], monkeypatch)] += 1
    assert {*came} == {"0 out\n", LATE}
    assert min(came.values()) > 100


def test_one_that_breaks_in_time_is_said_to(monkeypatch: pytest.MonkeyPatch) -> None:
    in_time = ([*steps, *[nothing] * 9] for steps in orders((said, close), 9))
    assert {ended(steps, monkeypatch) for steps in in_time} == {BROKE}
