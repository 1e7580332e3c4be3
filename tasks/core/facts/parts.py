"""What facts are made of: files, folders, whoever else has a listen address, and the main process."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address

from ..answer import Lines

_SERVICE = re.compile(r"[\w:.@\\][\w:.@\\-]*\.service", re.ASCII)


@dataclass(frozen=True, slots=True)
class File:
    """A file on a node: `mode` in octal, `owner` a number; `changed` is its ctime, `modified` its mtime."""

    sha256: str
    mode: str = "644"
    owner: str = "0"
    changed: float = 0.0
    modified: float = 0.0

    def has(self, mode: str) -> bool:
        """Whether it has this mode, and is root's."""
        return (self.mode, self.owner) == (mode, "0")

    @classmethod
    def read(cls, value: str) -> File | None:
        """Out of the survey's line; None if that is not whole."""
        fields = value.split()
        if len(fields) != 5:
            return None
        sha256, mode, owner, changed, modified = fields
        return cls(sha256, mode, owner, float(changed), float(modified))


@dataclass(frozen=True, slots=True)
class Folder:
    """A folder on a node: `owner` a number, `mode` in octal, without setgid and the like."""

    owner: str
    mode: str

    @classmethod
    def read(cls, value: str) -> Folder | None:
        """Out of the survey's line; None if that is not whole."""
        fields = value.split()
        return cls(fields[0], fields[1][-3:].rjust(3, "0")) if len(fields) == 2 else None


@dataclass(frozen=True, slots=True)
class Holder:
    """A process that is not the service's and has a listen address; `unit` is "" if unknown."""

    pid: int
    unit: str
    executable: str
    name: str

    def __str__(self) -> str:
        where = f", {self.unit}" if self.unit and self.unit != self.name else ""
        return f"{self.name} (PID {self.pid}{where})" if self.pid else "a process that cannot be seen"

    @classmethod
    def read(cls, value: str) -> Holder | None:
        """Out of the survey's line; None is the service itself."""
        if value == "ours":
            return None
        fields = value.split(" ")
        if len(fields) != 4 or not all(fields) or not fields[0].isdecimal():
            return cls(0, "", "", "unknown")
        pid, unit, executable, name = fields
        return cls(int(pid), unit if _SERVICE.fullmatch(unit) else "", executable, name)


@dataclass(frozen=True, slots=True)
class Process:
    """The service's main process. Times are in seconds since the epoch, of the node's clock.

    `identity` tells it from every other process since the node was installed, as PID:TICKS tells each worker
    in `worker_identities` from others since the boot. `owner` is the user's number. `beside` are processes of
    the unit that accept connections and are neither it nor its workers, `stopped` those that a signal keeps
    from running. `named` is whether its pid file names it, `detached` whether the service's own view of logs
    has gone with the folder.
    """

    pid: int
    executable: str
    sha256: str
    version: str
    started: float
    identity: str
    workers: Mapping[int, float] = field(default_factory=dict)
    worker_identities: frozenset[str] = frozenset()
    owner: str = "0"
    beside: tuple[int, ...] = ()
    stopped: tuple[int, ...] = ()
    named: bool = True
    detached: bool = False

    @classmethod
    def read(cls, lines: Lines) -> Process | None:
        """Out of the survey's lines; None if there is none."""
        if not lines.get("pid"):
            return None
        workers = {pid: ticks for pid, ticks in lines.below("worker").items() if ticks}
        booted = float(lines.get("now") or 0) - float(lines.get("uptime") or 0)

        def wall(ticks: str) -> float:
            return booted + int(ticks or 0) / int(lines.get("ticks") or 100)

        started = lines.get("started", "")
        return cls(
            pid=int(lines["pid"]),
            executable=lines.get("exe", ""),
            sha256=lines.get("running_sum", ""),
            version=version(lines.get("running", "")),
            started=wall(started),
            identity=f"{lines.get('boot', '')}:{lines['pid']}:{started}",
            workers={int(pid): wall(ticks) for pid, ticks in workers.items()},
            worker_identities=frozenset(f"{pid}:{ticks}" for pid, ticks in workers.items()),
            owner=lines.get("owner", ""),
            beside=tuple(map(int, lines.below("beside"))),
            stopped=tuple(map(int, lines.below("stopped"))),
            named=lines.get("pid_file") == "1",
            detached=lines.get("detached") == "1",
        )


def version(value: str) -> str:
    """nginx's version in what it says of itself."""
    return value.rpartition("nginx/")[2]


def content(value: str) -> str:
    """The text of a file."""
    return b64decode(value).decode(errors="replace")


def addresses(value: str) -> tuple[str, ...]:
    """Those that nginx can connect to, IPv4 first; for a link-local one it would need a zone."""
    found = {ip for word in value.split() if (ip := _address(word))}
    plain = {getattr(ip, "ipv4_mapped", None) or ip for ip in found}
    usable = [ip for ip in plain if ip.version == 4 or not ip.is_link_local]
    return tuple(map(str, sorted(usable, key=lambda ip: (ip.version, int(ip)))))


def _address(word: str) -> IPv4Address | IPv6Address | None:
    """None for what is none, and for one with a zone."""
    try:
        return None if "%" in word else ip_address(word)
    except ValueError:
        return None
