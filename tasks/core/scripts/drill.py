"""The node's side of a drill: an apiserver dies for it, for a while."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address

from ..answer import flag, one, text
from ..config.address import Endpoint
from ..facts.paths import WATCH_UNIT
from ..facts.watch import WatchUnit
from ..shell.command import CommandResult
from .lock import LOCK
from .script import Script, Status


class DrillStatus(Status):
    """How templates/drill.sh ends; 75: another action of a drill is not over yet."""

    NO_TOOL = (
        70,
        "the node has no firewall tool that works: neither nft, nor iptables (for IPv6: ip6tables)",
        "install nftables there, or iptables",
    )
    RULES_LEFT = 71
    NO_TIMER = 72
    NOT_CUT = 73
    HELD = 75


class Fault(StrEnum):
    """How an apiserver dies: its packets vanish, or it takes all and answers nothing."""

    CUT = "cut"
    HANG = "hang"


class DrillAction(StrEnum):
    """What the script does: see there."""

    LOOK = "look"
    CUT = "cut"
    HEAL = "heal"


_DONE = {DrillAction.CUT: "kn.cut=", DrillAction.HEAL: "kn.healed="}


@dataclass(frozen=True)
class Drilled:
    """How an action ended. `tools` are those that work, `undo` is what heals the node by hand.

    `healed` is whether there were rules, which have gone; `status` is 0 if all went well.
    """

    status: int = one("status", int, 0)
    tools: str = text("tools")
    undo: str = text("undo")
    healed: bool = flag("healed")
    stderr: str = text("stderr")


@dataclass(frozen=True)
class Drill(Script[Drilled]):
    """Has `flows` die for the node for `seconds`, or heals it; `tools` is what `look` has found.

    It answers whatever its exit status.
    """

    files = ("flock", "drill")
    statuses = (DrillStatus,)
    answer = Drilled
    seconds_allowed = 30
    action: DrillAction
    flows: tuple[Endpoint, ...]
    tools: str = ""
    seconds: int = 0
    lock: str = LOCK
    hang: int = 0

    def derived(self) -> Mapping[str, object]:
        return {"flows": "\n".join(f"{ip_address(a.host).version} {a.host} {a.port}" for a in self.flows)}

    def has_done(self, line: str) -> bool:
        """Whether a line that it writes says that the packets vanish, or are let through, from now on."""
        return self.action in _DONE and line.startswith(_DONE[self.action])

    def error(self, result: CommandResult) -> None:
        return None


@dataclass(frozen=True)
class LookAtWatch(Script[WatchUnit]):
    """Asks systemd for kube-nginx-watch; it need not be there."""

    root = False
    seconds_allowed = 10

    def text(self) -> str:
        return f"systemctl show -p ActiveState -p SubState -p StatusText {WATCH_UNIT}"

    def parse(self, result: CommandResult) -> WatchUnit:
        return WatchUnit(dict(line.partition("=")[::2] for line in result.stdout.splitlines()))
