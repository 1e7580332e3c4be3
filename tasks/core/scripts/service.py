"""The service on a node, as systemd has it: its state, its unit, its journal."""

from __future__ import annotations

from dataclasses import dataclass

from ..facts.paths import UNIT, UNIT_PATH
from ..shell.bounded import BULK
from ..shell.command import CommandResult, kill_on_disconnect
from .script import Nothing, Script


@dataclass(frozen=True)
class Systemctl(Nothing):
    """`systemctl VERB kube-nginx`; when it fails, the end of the journal says why."""

    files = ("systemctl",)
    changes = True
    tail = 10
    verb: str
    unit: str = UNIT

    @property
    def title(self) -> str:
        """What people would have typed."""
        return f"systemctl {self.verb} {self.unit}"


@dataclass(frozen=True)
class DaemonReload(Script[bool]):
    """Has systemd read the unit files."""

    files = ("daemon_reload",)
    changes = True
    unit: str = UNIT
    unit_path: str = UNIT_PATH

    def parse(self, result: CommandResult) -> bool:
        """Whether ours had changed since it last did."""
        return result.values.get("changed") == "1"


@dataclass(frozen=True)
class Journal(Script[str]):
    """The unit's journal: the last `lines` lines, and, with `follow`, whatever comes then."""

    lines: int
    follow: bool = False

    @property
    def time_limit(self) -> float | None:
        """As long as somebody reads."""
        return None if self.follow else 60

    @property
    def output_limit(self) -> int | None:
        """As much as there is."""
        return None if self.follow else BULK

    def text(self) -> str:
        """A line."""
        command = f"journalctl -q -u {UNIT} -n {self.lines} --no-pager -o short-iso"
        return kill_on_disconnect(f"{command} -f") if self.follow else command

    def parse(self, result: CommandResult) -> str:
        """The lines."""
        return result.stdout


class LastLines(Journal):
    """The end of it, for an error that is told anyway: nothing where it cannot be read."""

    def error(self, result: CommandResult) -> None:
        """None."""
