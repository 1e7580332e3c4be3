"""The locks that one run holds, each on a node, and the beat that keeps them."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock

from ..shell.pool import together
from ..shell.remote import Piped
from ..ssh.node import Node
from . import lock


class Locks:
    """`holder` is who we are, for whoever finds a node locked; no lock is waited for once `interrupted`."""

    def __init__(self, holder: str, interrupted: Callable[[], bool]) -> None:
        self.holder = holder
        self._interrupted = interrupted
        self._held: dict[str, Piped] = {}
        self._heartbeat: lock.Heartbeat | None = None
        self._mutex = Lock()

    def acquire(self, node: Node, wait: int = 0) -> None:
        """Keeps other commands from working on `node` until `release` or `close`; held already, it stays.

        Raises StepError: by whom it is locked, if that does not end in `wait` seconds. Raises NotStarted.
        """
        if node.label in self._held:
            return
        self._held[node.label] = lock.acquire(node, self.holder, wait, self._interrupted)
        with self._mutex:
            self._heartbeat = self._heartbeat or lock.Heartbeat(self._held)

    def release(self, node: Node) -> None:
        """Lets others work on `node`."""
        if held := self._held.pop(node.label, None):
            held.release(lock.PATIENCE)

    def close(self) -> None:
        """Lets go of all of them."""
        if self._heartbeat:
            self._heartbeat.stop()
        seconds = lock.HURRY if self._interrupted() else lock.PATIENCE
        together(list(self._held.values()), lambda held: held.release(seconds))
        self._held.clear()
