"""A client of a proxy that never rests, and counts exactly what goes wrong.

Run as a script inside a node's network namespace; the standard library is all it needs. It prints one
line of JSON, "ready", once every session has had a byte echoed, goes on until its standard input ends,
then prints what it saw: `Seen`.
"""

from __future__ import annotations

import errno
import json
import os
import resource
import select
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:  # the script has nothing but the standard library
    from tests.lab.nodes import Node

TICK = 0.002
PATIENCE = 5.0
SESSIONS = 50
BEAT = 0.05
READY = 30.0


@dataclass
class Seen:
    """What a load saw.

    opened: the connections of the stream, one every 2 ms; of these, refused: ECONNREFUSED; reset: reset
    or closed before the echo; timed_out: no echo within 5 s. slowest_ms: the slowest of the others.
    late: ticks of 2 ms left out, because this process came too late for them.
    sessions_ended: when the other side closed or reset a session, in seconds of CLOCK_MONOTONIC;
    sessions_stalled: when one had waited 5 s for its byte.
    """

    opened: int = 0
    refused: int = 0
    reset: int = 0
    timed_out: int = 0
    slowest_ms: float = 0.0
    sessions_ended: list[float] = field(default_factory=list)
    sessions_stalled: list[float] = field(default_factory=list)
    late: int = 0

    @property
    def failed(self) -> int:
        """How many connections of the stream had no echo."""
        return self.refused + self.reset + self.timed_out


class Load:
    """A load on host:port as a node sees it, for as long as the `with` block runs.

    Raises RuntimeError, with the script's own words, if not all sessions have an echo within 30 s.
    """

    def __init__(self, node: Node, host: str, port: int) -> None:
        self._name = f"load on {node.name}"
        script = [sys.executable, "-I", __file__, host, str(port)]
        self._command = ["ip", "netns", "exec", node.netns, *script]

    def __enter__(self) -> Self:
        self._errors = tempfile.TemporaryFile("w+")
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(
            self._command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True
        )
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        with self.process, self._errors:
            self.process.kill()

    def result(self) -> Seen:
        """End the load and say what it saw; to be called once, in the block.

        Raises RuntimeError if it broke, subprocess.TimeoutExpired if it does not end.
        """
        out, _ = self.process.communicate(timeout=PATIENCE + 10)
        if self.process.returncode:
            raise self._broken("broke")
        return Seen(**json.loads(out))

    def _wait_until_ready(self) -> None:
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], READY)[0]:
            raise self._broken(f"is not ready after {READY:g} s")
        if self.process.stdout.readline() != '"ready"\n':
            raise self._broken("did not start")

    def _broken(self, what: str) -> RuntimeError:
        self._errors.seek(0)
        return RuntimeError(f"{self._name} {what}: {self._errors.read() or '-'}")


class Client:
    """One connection; since: when it began to wait for what it waits for."""

    __slots__ = ("is_connected", "is_session", "since", "socket", "was_echoed")

    def __init__(self, is_session: bool) -> None:
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.is_session = is_session
        self.is_connected = False
        self.was_echoed = False
        self.since = 0.0

    def connect(self, address: tuple[str, int]) -> None:
        """Begin to connect; raises what became of it, if it has failed already."""
        _check(self.socket.connect_ex(address))

    def send(self) -> None:
        """Send a byte; raises what became of a connection that was under way."""
        if not self.is_connected:
            _check(self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            self.is_connected = True
        self.socket.send(b"x")

    def receive(self) -> None:
        """Take the echo; an end in its place is a reset."""
        if not self.socket.recv(1):
            raise ConnectionResetError
        self.was_echoed = True


def _check(status: int) -> None:
    if status not in (0, errno.EINPROGRESS):
        raise OSError(status, os.strerror(status))


class Crowd:
    """The stream of connections and the sessions, all in one thread.

    All that wait, wait equally long: who began first is first, without a search.
    """

    def __init__(self, address: tuple[str, int]) -> None:
        self.seen = Seen()
        self._address = address
        self._is_ending = False
        self._poll = select.epoll()
        self._poll.register(sys.stdin, select.EPOLLIN)
        self._clients: dict[int, Client] = {}
        self._waiting: dict[int, Client] = {}
        # when which session sends its next byte, or, without one, when to open another
        self._beats: deque[tuple[float, Client | None]] = deque()

    def run(self) -> None:
        """Run until standard input ends and the fate of the whole stream is known."""
        now = time.monotonic()
        self._beats.extend((now + BEAT * i / SESSIONS, None) for i in range(SESSIONS))
        while not (self._is_ending or self._is_ready()):
            self._turn(TICK)
        print(json.dumps("ready"), flush=True)
        tick = time.monotonic()
        while not self._is_ending:
            tick = self._keep_up(tick)
            self._turn(max(0.0, tick - time.monotonic()))
        while not all(client.is_session for client in self._waiting.values()):
            self._turn(TICK)

    def _is_ready(self) -> bool:
        return sum(client.was_echoed for client in self._clients.values()) == SESSIONS

    def _keep_up(self, tick: float) -> float:
        """Open what is due and give the next tick; a tick that was missed is not made up for."""
        now = time.monotonic()
        while tick <= now:
            if now - tick < TICK:
                self.seen.opened += 1
                self._open(Client(is_session=False))
            else:
                self.seen.late += 1
            tick += TICK
        return tick

    def _turn(self, seconds: float) -> None:
        for number, _ in self._poll.poll(seconds):
            if number == sys.stdin.fileno():
                self._is_ending = True
                self._poll.unregister(number)
            else:
                client = self._clients[number]
                self._try(client, self._advance)
        now = time.monotonic()
        while self._waiting and (first := next(iter(self._waiting.values()))).since + PATIENCE < now:
            self._lose(first, TimeoutError())
        while self._beats and self._beats[0][0] <= now:
            self._beat(self._beats.popleft()[1])

    def _beat(self, session: Client | None) -> None:
        if session is None:
            self._open(Client(is_session=True))
        elif session.socket.fileno() >= 0:
            self._wait(session)
            self._try(session, Client.send)

    def _open(self, client: Client) -> None:
        self._clients[client.socket.fileno()] = client
        self._wait(client)
        self._try(client, self._connect)

    def _connect(self, client: Client) -> None:
        client.connect(self._address)
        self._poll.register(client.socket, select.EPOLLOUT)

    def _advance(self, client: Client) -> None:
        if not client.is_connected:
            client.send()
            self._poll.modify(client.socket, select.EPOLLIN)
            return
        client.receive()
        del self._waiting[client.socket.fileno()]
        now = time.monotonic()
        if client.is_session:
            self._beats.append((now + BEAT, client))
        else:
            self.seen.slowest_ms = max(self.seen.slowest_ms, (now - client.since) * 1000)
            self._close(client)

    def _wait(self, client: Client) -> None:
        client.since = time.monotonic()
        self._waiting[client.socket.fileno()] = client

    def _try(self, client: Client, step: Callable[[Client], None]) -> None:
        try:
            step(client)
        except (ConnectionError, TimeoutError) as error:
            self._lose(client, error)

    def _lose(self, client: Client, error: OSError) -> None:
        self._waiting.pop(client.socket.fileno(), None)
        self._close(client)
        if not client.is_session:
            setattr(self.seen, kind := _kind(error), getattr(self.seen, kind) + 1)
            return
        now = time.monotonic()
        self._beats.append((now + BEAT, None))
        if client.was_echoed:
            ends = self.seen.sessions_stalled if isinstance(error, TimeoutError) else self.seen.sessions_ended
            ends.append(now)

    def _close(self, client: Client) -> None:
        del self._clients[client.socket.fileno()]
        client.socket.close()


def _kind(error: OSError) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "refused"
    return "timed_out" if isinstance(error, TimeoutError) else "reset"


def main(host: str, port: str) -> None:
    """Run as a script."""
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with suppress(OSError):  # a machine may forbid it; ticks are late then, whenever it is busy
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(1))
    crowd = Crowd((host, int(port)))
    crowd.run()
    print(json.dumps(asdict(crowd.seen)))


if __name__ == "__main__":
    main(*sys.argv[1:])
