"""What is put on a node, and removed: folders, single files, a release beside what runs there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256

from ..errors import StepError
from ..release.release import MODES, Release
from ..shell.command import CommandResult, parse_output
from .script import NodeStatus, Nothing, OnNode, Status

# nginx's lines without time and PID are the same on every node, and told once
_STAMP = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?=\[)|(?<=\] )\d+#\d+: ")


@dataclass(frozen=True)
class Mkdir(OnNode[None], Nothing):
    """Makes the three directories, and the service's own user where there is one."""

    files = ("common", "prepare", "mkdir")
    changes = True

    def parameters(self) -> Mapping[str, object]:
        """With the user."""
        return {**super().parameters(), "user": self.proxy.user}


class Tidy(OnNode[None], Nothing):
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


@dataclass(frozen=True)
class Stage(OnNode[None], Nothing):
    """Brings a release, and tests it there; only the files in `missing` are sent, the others are there."""

    files = ("common", "prepare", "tidy", "stage")
    statuses = (NodeStatus, StageStatus)
    changes = True
    seconds_allowed = 30
    release: Release
    missing: frozenset[str]

    @property
    def standard_input(self) -> bytes:
        """The missing files, one after the other."""
        return b"".join(self.release.contents[name] for name in self.release.contents if name in self.missing)

    def parameters(self) -> Mapping[str, object]:
        """The release by name, and how each of its files comes."""
        sizes = {name: len(self.release.contents[name]) for name in self.missing}
        parts = [
            f"{name} {MODES[name]} {self.release.sums[name]} {sizes.get(name, 0)}"
            for name in self.release.contents
        ]
        own = {"user": self.proxy.user, "release": self.release.name, "parts": "\n".join(parts)}
        return {**super().parameters(), **own}

    def error(self, result: CommandResult) -> StepError | None:
        """What its exit status means; what nginx says is the same on every node."""
        error = super().error(result)
        if error:
            error.tail = _STAMP.sub("", error.tail)
        return error


class ReceiveStatus(Status):
    """How templates/receive.sh ends."""

    OTHER_BYTES = 65
    NO_FOLDER = 66, "", "make it first: fab mkdir --limit {nodes}"


@dataclass(frozen=True)
class Receive(Nothing):
    """Puts a file in place, with `owner` USER:GROUP, "": whoever sends it; nothing is ever half written."""

    files = ("receive",)
    statuses = (ReceiveStatus,)
    seconds_allowed = 30
    path: str
    content: bytes
    mode: str
    owner: str = "0:0"

    @property
    def standard_input(self) -> bytes:
        """The file."""
        return self.content

    def parameters(self) -> Mapping[str, object]:
        """What it is to be."""
        folder, name = self.path.rsplit("/", 1)
        there = {"folder": folder, "name": name, "mode": self.mode, "owner": self.owner}
        return {**there, "size": len(self.content), "sha256": sha256(self.content).hexdigest()}


class ReceiveAsUser(Receive):
    """The same where root is not needed."""

    root = False


@dataclass(frozen=True)
class Uninstalled:
    """Whether anything was there, and the first folder that stays for what is not ours in it; "" if none."""

    changed: bool
    kept: str


class Uninstall(OnNode[Uninstalled]):
    """Removes the unit and what was shipped; a file of somebody else's keeps its folder."""

    files = ("common", "uninstall")
    changes = True

    def parse(self, result: CommandResult) -> Uninstalled:
        """What was removed."""
        lines = parse_output(result.stdout)
        kept = [path for key, path in lines if key == "kept"]
        return Uninstalled(("changed", "1") in lines, next(iter(kept), ""))
