"""A lock on each node that a command works on, which ends with the command, however that ends."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from threading import Event, Thread

from ..errors import NotStarted, StepError
from ..facts.tools import lacking
from ..scripts import commands
from ..shell.remote import Piped
from ..ssh.node import Node

LOCK = "/run/kube-nginx"
"""The folder of the locks, which is root's alone."""
_BEAT = 15.0  # seconds; the node lets go after 120 without one
_HELD = 75
PATIENCE, HURRY = 2.0, 0.3  # seconds until a lock that is let go of is left to itself, and after Ctrl-C
_NO_FLOCK = (126, 127)  # as a shell ends that cannot run it
_LASTS = 120  # seconds that an activation may go on after its connection broke


def holder(task: str) -> str:
    """Who we are, for whoever finds the lock held."""
    return f"{getpass.getuser()}@{socket.gethostname()} (fab {task}, PID {os.getpid()})"


def acquire(node: Node, me: str, wait: int, given_up: Callable[[], bool] = lambda: False) -> Piped:
    """Locks `node` for `me` until the result is closed or the connection breaks; waits up to `wait` seconds.

    Raises StepError that says who has it, from where and since when, and NotStarted once it is `given_up`.
    """
    script = commands.script("flock", "lock", lock=LOCK, wait=wait, patience=_LASTS, holder=me)
    held = node.piped(script, timeout=wait + _LASTS + 30)
    try:
        held.until("kn.locked=1", given_up)
        if given_up():
            raise NotStarted
    except NotStarted:
        held.release(HURRY)
        raise
    except StepError as error:
        raise _refused(error, held, wait) from None
    return held


def _refused(error: StepError, held: Piped, wait: int) -> StepError:
    if error.status in _NO_FLOCK:
        return lacking(["flock"])
    if error.status != _HELD:
        return error
    if pid := held.rest_of("kn.stranger="):
        return StepError(
            held.rest_of("kn.held="), hint=f"see what it is, and end it; on the node: ps -fp {pid}"
        )
    return StepError(
        f"locked by {held.rest_of('kn.held=')}",
        hint="wait until they have finished, or give "
        + (f"more than --wait {wait}" if wait else "--wait SECONDS"),
    )


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
