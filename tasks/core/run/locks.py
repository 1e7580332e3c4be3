"""A lock on each node that a command works on, which ends with the command, however that ends."""

from __future__ import annotations

import getpass
import os
import socket
from collections.abc import Callable, Mapping
from threading import Event, Thread
from threading import Lock as Mutex

from ..config.model import Proxy
from ..errors import NotStarted, StepError
from ..scripts.lock import Lock
from ..scripts.survey import Survey
from ..shell.piped import Piped
from ..shell.pool import together
from ..ssh.node import Node

_BEAT = 15.0  # seconds; the node lets go after 120 without one
_GRACE, _HURRY = 2.0, 0.3  # seconds until a lock that is let go of is left to itself, and after Ctrl-C


def holder(task: str) -> str:
    """Who we are, for whoever finds the lock held."""
    return f"{getpass.getuser()}@{socket.gethostname()} (fab {task}, PID {os.getpid()})"


def acquire(
    node: Node,
    me: str,
    wait: int,
    given_up: Callable[[], bool] = lambda: False,
    survey: Survey | None = None,
) -> Piped:
    """Locks `node` for `me` until the result is closed or the connection breaks; waits up to `wait` seconds.

    That `survey` of the node goes through the same session then.
    Raises StepError that says who has it, from where and since when, and NotStarted once it is `given_up`.
    """
    script = Lock(me, wait, survey=survey.text() if survey else "")
    held = node.piped(script.text(), timeout=script.time_limit)
    try:
        held.until(script.HAS, given_up)
        if given_up():
            raise NotStarted
    except NotStarted:
        held.release(_HURRY)
        raise
    except StepError as error:
        if error.status is None:
            raise
        raise (script.error(held.ended()) or error) from None
    if survey:
        node.survey_through(held, survey)
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


class Locks:
    """`holder` is who we are, for whoever finds a node locked; no lock is waited for once `interrupted`.

    `proxy` is what nodes are surveyed for while they are locked.
    """

    def __init__(self, holder: str, interrupted: Callable[[], bool], proxy: Proxy) -> None:
        self.holder = holder
        self._survey = Survey(proxy)
        self._interrupted = interrupted
        self._held: dict[str, Piped] = {}
        self._heartbeat: Heartbeat | None = None
        self._mutex = Mutex()

    def acquire(self, node: Node, wait: int = 0) -> None:
        """Keeps other commands from working on `node` until `release` or `close`; held already, it stays.

        Raises StepError: by whom it is locked, if that does not end in `wait` seconds. Raises NotStarted.
        """
        if node.label in self._held:
            return
        self._held[node.label] = acquire(node, self.holder, wait, self._interrupted, self._survey)
        with self._mutex:
            self._heartbeat = self._heartbeat or Heartbeat(self._held)

    def release(self, node: Node) -> None:
        """Lets others work on `node`."""
        if held := self._held.pop(node.label, None):
            held.release(_GRACE)

    def close(self) -> None:
        """Lets go of all of them."""
        if self._heartbeat:
            self._heartbeat.stop()
        seconds = _HURRY if self._interrupted() else _GRACE
        together(list(self._held.values()), lambda held: held.release(seconds))
        self._held.clear()
