"""A node changes over to a release, or goes on with another action of the plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from ..answer import one, text
from ..config.address import Endpoint
from ..config.model import Rollout
from ..errors import StepError
from ..facts.sockets import as_kernel
from ..shell.command import CommandResult, detached
from .lock import LOCK
from .script import CommonStatus, OnNode, Status


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

    `before` is the release that was in place, `was_active` "1", "0" or "trying", `was_enabled` "1" or "0",
    `watch` why the watch does not run.
    """

    outcome: Outcome | None = one("result", Outcome, None)
    why: str = text("why")
    still: str = text("still")
    before: str = text("before")
    watch: str = text("watch")
    was_active: str = text("was_active")
    was_enabled: str = text("was_enabled")
    stderr: str = text("stderr")


@dataclass(frozen=True)
class Activate(OnNode[Activated]):
    """Has the service do `action`, after `release` was put in place ("": the files stay as they are).

    For the other parameters see templates/activate.sh. It goes on to its end without us.
    """

    files = ("common", "flock", "prepare", "files", "service", "no_watch", "watch", "activate")
    statuses = (CommonStatus, ActivateStatus)
    answer = Activated
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
    watch: str = ""
    lock: str = LOCK

    @property
    def time_limit(self) -> float:
        return 6 * self.rollout.timeout + 60

    def derived(self) -> Mapping[str, object]:
        listen, listened = (tuple(map(as_kernel, addresses)) for addresses in (self.listen, self.listened))
        times = {"timeout": self.rollout.timeout * 100, "settle": self.rollout.settle * 100}
        return {"listen": listen, "listened": listened, **times, "keep": self.rollout.keep}

    def text(self) -> str:
        return detached(super().text())

    def error(self, result: CommandResult) -> StepError | None:
        if result.values.get("result") in set(Outcome):
            return None
        if result.status == ActivateStatus.NOT_STARTED:
            why = ActivateStatus.NOT_STARTED
            return StepError(f"{why.message}: {result.stderr.strip()}", hint=why.hint)
        return StepError(f"ended with status {result.status}", status=result.status, tail=result.stderr)
