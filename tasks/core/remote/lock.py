"""A lock on each node that a command works on, which ends with the command, however that ends."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Mapping
from threading import Event, Thread

from ..errors import StepError
from . import commands
from .node import Node
from .piped import Piped

LOCK = "/run/kube-nginx"
_BEAT = 15.0  # seconds; the node lets go after 120 without one
_PATIENCE = 120  # seconds that an activation may go on after its connection broke


def holder(task: str) -> str:
    """Who we are, for whoever finds the lock held."""
    return f"{getpass.getuser()}@{socket.gethostname()} (fab {task}, PID {os.getpid()})"


def acquire(node: Node, me: str, wait: int) -> Piped:
    """Locks `node` for `me` until the result is closed or the connection breaks; waits up to `wait` seconds.

    Raises StepError that says who has it, from where and since when.
    """
    script = commands.script("lock", lock=LOCK, wait=wait, patience=_PATIENCE, holder=me)
    held = node.piped(script, timeout=wait + _PATIENCE + 30)
    try:
        held.until("kn.locked=1")
    except StepError as error:
        if error.status != 75:
            raise
        raise StepError(
            f"somebody else is at work there: {held.said('kn.held=')}",
            hint="wait until they have finished, or give "
            + (f"more than --wait {wait}" if wait else "--wait SECONDS"),
        ) from None
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
