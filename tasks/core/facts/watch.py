"""kube-nginx-watch on a node: its unit, and what that says of the apiservers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..answer import Lines
from ..results import output

_EJECTED = re.compile(r"(\S+:\d+) for (\d{1,9}) s(?: \((.*?)\))?(?:, |$)")
_EJECTS, _SILENT, _NOT_POSSIBLE = "ejected ", "silent ", "not possible here: "


@dataclass(frozen=True, slots=True)
class Ejection:
    """An apiserver that nginx is kept from."""

    apiserver: str = output("which")
    seconds: int = output("for how long")
    why: str = output("what was seen of it")


@dataclass(frozen=True, slots=True)
class WatchUnit:
    """systemd's view of the watch; `status` is what it says of itself."""

    unit: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def read(cls, lines: Lines) -> WatchUnit:
        """Out of the survey's lines; without a unit there is nothing in it."""
        return cls(lines.below("watch"))

    @property
    def status(self) -> str:
        """What it told systemd last; "" while it does not run."""
        return self.unit.get("StatusText", "") if self.active else ""

    @property
    def there(self) -> bool:
        """Whether there is such a unit."""
        return self.unit.get("LoadState", "not-found") != "not-found"

    @property
    def active(self) -> bool:
        """Whether it runs, or is just being started for the first time."""
        state = self.unit.get("ActiveState"), self.unit.get("SubState")
        return state[0] == "active" or state == ("activating", "start")

    @property
    def state(self) -> str:
        """systemd's ActiveState and SubState."""
        return f"{self.unit.get('ActiveState', '')} ({self.unit.get('SubState', '')})"

    @property
    def enabled(self) -> bool:
        """Whether it starts with kube-nginx."""
        return self.unit.get("UnitFileState") == "enabled"

    @property
    def unread(self) -> bool:
        """Whether systemd has yet to read its unit as it is now."""
        return self.unit.get("NeedDaemonReload") == "yes"

    @property
    def ejected(self) -> dict[str, Ejection]:
        """The apiservers that it keeps nginx from, by ADDRESS:PORT."""
        if not self.status.startswith(_EJECTS):
            return {}
        told = _EJECTED.findall(self.status.removeprefix(_EJECTS))
        return {server: Ejection(server, int(seconds), why) for server, seconds, why in told}

    @property
    def silent(self) -> str:
        """That apiservers do not answer, and none is ejected, and why; "" if that is not so."""
        return self.status if self.status.startswith(_SILENT) else ""

    @property
    def not_possible(self) -> str:
        """Why the node cannot do it, as the watch has found; "" if it can."""
        said = self.status
        return said.removeprefix(_NOT_POSSIBLE) if said.startswith(_NOT_POSSIBLE) else ""
