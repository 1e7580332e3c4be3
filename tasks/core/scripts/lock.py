"""The lock on a node: held for as long as the script's standard input is open."""

from __future__ import annotations

from dataclasses import dataclass

from ..errors import StepError
from ..facts.tools import lacking
from ..shell.command import CommandResult
from .script import Script, Status

LOCK = "/run/kube-nginx"
"""The folder of the locks, which is root's alone."""


class LockStatus(Status):
    """How templates/lock.sh ends before it has the lock; or as a shell that cannot run flock."""

    HELD = 75
    NO_FOLDER = 76
    NOT_RUN = 126
    NOT_FOUND = 127


@dataclass(frozen=True)
class Lock(Script[None]):
    """Holds the node; waits `wait` seconds for it, and `patience` for an activation of before.

    `survey` is the text of the script that it runs, beside holding the node, whenever it is ASKED.
    """

    files = ("flock", "lock")
    statuses = (LockStatus,)
    holder: str
    wait: int
    patience: int = 120
    lock: str = LOCK
    survey: str = ""

    HAS = "kn.locked=1"
    """The line that it writes once it has the lock."""
    ASKED, ANSWERED = b"?", "kn.surveyed="
    """What asks it for a survey, and how the line begins that ends with the survey's exit status."""

    @property
    def time_limit(self) -> float:
        return self.wait + self.patience + 30

    def error(self, result: CommandResult) -> StepError | None:
        if result.status in (LockStatus.NOT_RUN, LockStatus.NOT_FOUND):
            return lacking(["flock"])
        if result.status != LockStatus.HELD:
            return super().error(result)
        held = result.values.get("held", "")
        if pid := result.values.get("stranger"):
            return StepError(held, hint=f"see what it is, and end it; on the node: ps -fp {pid}")
        longer = f"more than --wait {self.wait}" if self.wait else "--wait SECONDS"
        return StepError(f"locked by {held}", hint=f"wait until they have finished, or give {longer}")
