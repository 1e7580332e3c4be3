"""The service on a node, as systemd has it: its state, its unit, its journal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ..facts.paths import UNIT, UNIT_PATH, WATCH_UNIT
from ..shell.command import CommandResult, kill_on_disconnect
from ..shell.output import BULK
from .script import Changed, Script


@dataclass(frozen=True)
class Systemctl(Script[None]):
    """`systemctl VERB kube-nginx`; when it fails, the end of the journal says why."""

    files = ("systemctl",)
    changes = True
    tail = 10
    verb: str
    unit: str = UNIT

    @property
    def title(self) -> str:
        return f"systemctl {self.verb} {self.unit}"


@dataclass(frozen=True)
class DaemonReload(Script[Changed]):
    """Has systemd read the unit files; says whether ours had changed since it last did."""

    files = ("daemon_reload",)
    answer = Changed
    changes = True
    unit: str = UNIT
    unit_path: str = UNIT_PATH


@dataclass(frozen=True)
class Journal(Script[str]):
    """The journal of the service and of the watch: the last `lines` lines, and, with `follow`, what comes."""

    seconds_allowed = 60
    output_limit = BULK
    units: ClassVar[tuple[str, ...]] = (UNIT, WATCH_UNIT)
    lines: int
    follow: bool = False

    @property
    def time_limit(self) -> float | None:
        return None if self.follow else self.seconds_allowed

    def text(self) -> str:
        units = " ".join(f"-u {unit}" for unit in self.units)
        command = f"journalctl -q {units} -n {self.lines} --no-pager -o short-iso"
        return kill_on_disconnect(f"{command} -f") if self.follow else command

    def parse(self, result: CommandResult) -> str:
        return result.stdout


class LastLines(Journal):
    """The end of the service's, for an error that is told anyway: nothing where it cannot be read."""

    units = (UNIT,)

    def error(self, result: CommandResult) -> None:
        return None
