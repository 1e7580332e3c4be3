"""What is put on a node, and removed: folders, single files, a release beside what runs there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from ..answer import flag, names
from ..errors import StepError
from ..release.release import MODES, Release
from ..shell.command import CommandResult
from .script import CommonStatus, OnNode, Script, Status

# nginx's lines without time and PID are the same on every node, and told once
_STAMP = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?=\[)|(?<=\] )\d+#\d+: ")


class Mkdir(OnNode[None]):
    """Makes the three directories, and the service's own user where there is one."""

    files = ("common", "prepare", "mkdir")
    changes = True

    def derived(self) -> Mapping[str, object]:
        return {"user": self.proxy.user}


class Tidy(OnNode[None]):
    """Removes what a run that was cut off has left behind; only for whoever has the node's lock."""

    files = ("common", "tidy")


class StageStatus(Status):
    """How templates/stage.sh ends."""

    OTHER_BYTES = (
        65,
        "checksum mismatch after upload",
        "nothing was changed; is the disk full, or the network bad?",
    )
    REFUSED = (
        67,
        "nginx refuses the new release there",
        "nothing was changed; correct hosts.toml, or build again",
    )
    NO_WATCH = (
        68,
        "kube-nginx-watch does not run there",
        "nothing was changed; build it again: fab build --force; or do without: [watch] enabled = false",
    )


@dataclass(frozen=True)
class Stage(OnNode[None]):
    """Brings a release, and tests it there; only the files in `missing` are sent, the others are there."""

    files = ("common", "prepare", "tidy", "stage")
    statuses = (CommonStatus, StageStatus)
    changes = True
    seconds_allowed = 30  # between two signs of life
    to_stage: Release
    missing: frozenset[str]

    @property
    def standard_input(self) -> bytes:
        return b"".join(text for name, (text, _) in self.to_stage.shipped.items() if name in self.missing)

    def derived(self) -> Mapping[str, object]:
        parts = [
            f"{name} {MODES[name]} {digest} {len(content) if name in self.missing else 0}"
            for name, (content, digest) in self.to_stage.shipped.items()
        ]
        return {"user": self.proxy.user, "release": self.to_stage.name, "parts": "\n".join(parts)}

    def error(self, result: CommandResult) -> StepError | None:
        error = super().error(result)
        if error:  # its command would be a whole file of them
            error.command, error.tail = "", _STAMP.sub("", error.tail)
        return error


class ReceiveStatus(Status):
    """How templates/receive.sh ends."""

    OTHER_BYTES = 65
    NO_FOLDER = 66, "", "make it first: fab mkdir --limit {nodes}"


@dataclass(frozen=True)
class Receive(Script[None]):
    """Puts a file in place, with `owner` USER:GROUP, "": whoever sends it; nothing is ever half written."""

    files = ("receive",)
    statuses = (ReceiveStatus,)
    seconds_allowed = 30  # between two signs of life
    path: str
    content: bytes
    mode: str
    owner: str = "0:0"

    @property
    def standard_input(self) -> bytes:
        return self.content

    def derived(self) -> Mapping[str, object]:
        return {"size": len(self.content), "sha256": sha256(self.content).hexdigest()}


class ReceiveAsUser(Receive):
    """The same where root is not needed."""

    root = False


@dataclass(frozen=True)
class Uninstalled:
    """Whether anything was there, and the folders that stay for what is not ours in them."""

    changed: bool = flag("changed")
    kept: tuple[str, ...] = names("kept")


class Uninstall(OnNode[Uninstalled]):
    """Removes the unit and what was shipped; a file of somebody else's keeps its folder."""

    files = ("common", "no_watch", "uninstall")
    answer = Uninstalled
    changes = True
