"""What is tried once, and not once a node: a password, which accounts are locked for when it is wrong."""

from __future__ import annotations

from collections.abc import Callable
from threading import Lock
from typing import TypeVar

from .errors import StepError

T = TypeVar("T")


class PasswordRefusedError(StepError):
    """A password was not taken."""


class Gate:
    """Lets one node try a password first, so that a wrong one is sent once."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._accepted = False
        self._refused: PasswordRefusedError | None = None

    def pass_through(self, where: str, attempt: Callable[[], T]) -> T | None:
        """What `attempt` returns on the node that goes first; None once a password was taken.

        It was, if what is returned is true; after anything else the next node goes first.
        Raises PasswordRefusedError: it was refused, here or by the node that was first.
        """
        with self._lock:
            if self._refused:
                raise self._refused.with_traceback(None)
            if self._accepted:
                return None
            try:
                result = attempt()
            except PasswordRefusedError as error:
                self._refused = PasswordRefusedError(
                    f"{error.message} (tried once, on {where})", hint=error.hint
                )
                raise self._refused from None
            self._accepted = bool(result)
            return result
