"""A lock on each node that a command works on, which ends with the command, however that ends."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from threading import Event, Thread

from ..errors import NotStarted, StepError
from ..scripts.lock import Lock
from ..shell.remote import Piped
from ..ssh.node import Node

_BEAT = 15.0  # seconds; the node lets go after 120 without one
PATIENCE, HURRY = 2.0, 0.3  # seconds until a lock that is let go of is left to itself, and after Ctrl-C


def holder(task: str) -> str:
    """Who we are, for whoever finds the lock held."""
    return f"{getpass.getuser()}@{socket.gethostname()} (fab {task}, PID {os.getpid()})"


def acquire(node: Node, me: str, wait: int, given_up: Callable[[], bool] = lambda: False) -> Piped:
    """Locks `node` for `me` until the result is closed or the connection breaks; waits up to `wait` seconds.

    Raises StepError that says who has it, from where and since when, and NotStarted once it is `given_up`.
    """
    script = Lock(me, wait)
    held = node.piped(script.text(), timeout=script.time_limit)
    try:
        held.until(script.HAS, given_up)
        if given_up():
            raise NotStarted
    except NotStarted:
        held.release(HURRY)
        raise
    except StepError as error:
        if error.status is None:
            raise
        raise (script.error(held.ended()) or error) from None
    return held


class Heartbeat:
    """Tells the holders of locks every now and then that we are still there."""

    def __init__(self, locks: Mapping[str, Piped]) -> None:
        self._locks = locks
        self._over = Event()
        Thread(target=self._beat, daemon=True).start()

    def _beat(self) -> None:
        while not self._over.wait(_BEAT):
            for lock in list(self._locks.values()):
                lock.beat()

    def stop(self) -> None:
        """No more beats."""
        self._over.set()
