"""A node changes over to a release, or goes on with another action of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..config.settings import Endpoint, Rollout
from ..errors import StepError
from ..facts.sockets import as_kernel
from ..shell.command import CommandResult, detached
from .lock import LOCK
from .script import NodeStatus, OnNode, Status


class ActivateStatus(Status):
    """How templates/activate.sh ends, but for 1, with which it answers, too."""

    NOT_STARTED = 75, "nothing was begun", "again: fab deploy --limit {nodes}"


class Outcome(StrEnum):
    """What became of it: what serves now is the new one, or what served before, or nothing does."""

    DONE = "done"
    BACK = "back"
    BACK_TO_STOPPED = "0"
    BACK_TO_TRYING = "trying"  # systemd goes on with what it could not start before
    LOST = "lost"
    FAILED = "failed"
    REFUSED = "refused"


@dataclass(frozen=True)
class Activated:
    """What came of an activation: `why` it was not done, `still` why what was before does not come back.

    `before` is the release that was in place, `was_active` "1", "0" or "trying", `was_enabled` "1" or "0".
    """

    outcome: Outcome
    why: str
    still: str
    before: str
    was_active: str
    was_enabled: str
    journal: str


@dataclass(frozen=True)
class Activate(OnNode[Activated]):
    """Has the service do `action`, after `release` was put in place ("": the files stay as they are).

    For the other parameters see templates/activate.sh. It goes on to its end without us.
    """

    files = ("common", "flock", "prepare", "files", "service", "activate")
    statuses = (NodeStatus, ActivateStatus)
    changes = True
    tail = 8
    rollout: Rollout
    holder: str
    action: str
    release: str = ""
    previous: str = ""
    repair: bool = False
    boot: str = ""
    listen: tuple[Endpoint, ...] = ()
    listened: tuple[Endpoint, ...] = ()
    unmanaged: tuple[int, ...] = ()
    served: str = ""
    began_by: str = ""
    was_active: str = ""
    was_enabled: str = ""
    lock: str = LOCK

    @property
    def time_limit(self) -> float:
        """Longer than all that it may wait for."""
        return 6 * self.rollout.timeout + 60

    def parameters(self) -> Mapping[str, object]:
        """Times in hundredths of a second, addresses as the kernel writes them."""
        times = {"timeout": self.rollout.timeout * 100, "settle": self.rollout.settle * 100}
        listen, listened = (tuple(map(as_kernel, addresses)) for addresses in (self.listen, self.listened))
        given = {"listen": listen, "listened": listened, "keep": self.rollout.keep}
        return {**super().parameters(), **times, **given}

    def text(self) -> str:
        """It goes on when nobody listens any more, so that no node stays half way."""
        return detached(super().text())

    def error(self, result: CommandResult) -> StepError | None:
        """Why there is no answer."""
        if result.values.get("result") in set(Outcome):
            return None
        if result.status == ActivateStatus.NOT_STARTED:
            why = ActivateStatus.NOT_STARTED
            return StepError(f"{why.message}: {result.stderr.strip()}", status=why, hint=why.hint)
        return StepError(f"ended with status {result.status}", status=result.status, tail=result.stderr)

    def parse(self, result: CommandResult) -> Activated:
        """What came of it."""
        values = result.values
        told = {key: values.get(key, "") for key in ("why", "still", "before", "was_active", "was_enabled")}
        return Activated(Outcome(values["result"]), **told, journal=result.stderr)
