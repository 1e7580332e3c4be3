"""What is known of a node at one moment."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from ..answer import Lines, answer, each, flag, names, one, strings, text
from ..config.address import Endpoint
from .parts import File, Folder, Holder, Process, addresses, content, version
from .sockets import excludes, from_kernel, overlap
from .watch import WatchUnit

__all__ = ["CURRENT", "PREVIOUS", "Facts", "File", "Folder", "Holder", "Process"]

CURRENT, PREVIOUS = "current", "previous"
_TEXT = "644"  # the mode of a configuration and a unit
_AT_ONCE = 1.0  # seconds after its start in which a process has its first workers


def _kept(lines: Lines) -> Mapping[str, Mapping[str, str]]:
    kept = Lines(lines.below("kept"))
    return {which: kept.below(which) for which in lines.below("release")}


def _listening(lines: Lines) -> Mapping[Endpoint, Holder | None]:
    return {from_kernel(address): Holder.read(owner) for address, owner in lines.below("listen").items()}


@dataclass(frozen=True, slots=True)
class Facts:
    """One node at one moment.

    `files`, `texts` and `directories` are by path, `instead` says what is in the place of one that is not
    what it should be, `unsafe` whose a folder above them is that others than root may write to. `journal`
    is journald's Storage=, "" for its default. `unit` is systemd's view, which `new_drop_ins` are not in
    yet, `outsider` the PID that it takes for the main process although it is not the unit's (0: none),
    `listening` maps each address that somebody listens on to None
    (the service itself) or, for the wanted ports, to who it is. `kept` holds the sha256 of each file of
    the releases `current` and `previous`, `listens_in` the addresses on which those listen, `recorded`
    what was last seen to be taken, `leftovers` the files of a run that was cut off, or is under way.
    `free` is in bytes, `mounts` holds mount options. `installed` is nginx's version in the binary on
    disk, "" if there is none. `addresses` holds, of each name that the survey was asked for, what the
    node resolves it to: IP addresses, or () if it does not resolve there; `resolver` is whether the node
    has the means to. `missing` are programs that scripts need and the node lacks. `began` and `ended` are the
    node's time before and after the survey, in seconds since the epoch; `clock` is by how many
    seconds the node's clock is ahead of this machine's (behind: less than 0), at the least: what the
    round trip of the survey can explain is taken off. `kernel` is its release.
    """

    arch: str = text("arch")
    uid: int = one("uid", int, -1)
    user_id: str = text("user")
    systemd: bool = flag("systemd")
    libc: str = text("libc")
    free: int = one("free", lambda kilobytes: int(kilobytes) * 1024, 0)
    mounts: Mapping[str, str] = strings("mount")
    directories: Mapping[str, Folder] = each("dir", Folder.read)
    instead: Mapping[str, str] = strings("instead")
    unsafe: Mapping[str, str] = strings("unsafe")
    journal: str = text("journal")
    files: Mapping[str, File] = each("file", File.read)
    texts: Mapping[str, str] = each("text", content)
    releases: Mapping[str, str] = strings("release")
    kept: Mapping[str, Mapping[str, str]] = answer(_kept)
    listens_in: Mapping[str, str] = strings("listens")
    recorded: Mapping[str, str] = strings("recorded")
    leftovers: tuple[str, ...] = names("leftover")
    unit: Mapping[str, str] = strings("unit")
    outsider: int = one("outsider", int, 0)
    new_drop_ins: tuple[str, ...] = names("drop_in")
    process: Process | None = answer(Process.read)
    watch: WatchUnit = answer(WatchUnit.read)
    kernel: str = text("kernel")
    uptime: float = one("uptime", float, 0.0)
    installed: str = one("installed", version, "")
    addresses: Mapping[str, tuple[str, ...]] = each("address", addresses)
    resolver: bool = one("resolver", "missing".__ne__, True)
    missing: tuple[str, ...] = names("missing")
    began: float | None = one("now", float, None)
    ended: float | None = one("end", float, None)
    clock: float = 0.0
    listening: Mapping[Endpoint, Holder | None] = answer(_listening)

    def compared(self, asked: float, answered: float) -> Facts:
        """The same with `clock`; these are this machine's times, in seconds, before and after the survey.

        Of all differences with which the survey lay between the two times it is the smallest.
        """
        began = asked if self.began is None else self.began
        ended = answered if self.ended is None else self.ended
        return replace(self, clock=min(max(0.0, ended - answered), began - asked))

    @property
    def active(self) -> bool:
        """Whether the unit is active (running)."""
        return (self.unit.get("ActiveState"), self.unit.get("SubState")) == ("active", "running")

    @property
    def enabled(self) -> bool:
        """Whether the service starts at boot."""
        return self.unit.get("UnitFileState") == "enabled"

    @property
    def masked(self) -> bool:
        """Whether somebody has forbidden the unit."""
        return self.unit.get("LoadState") == "masked"

    @property
    def drop_ins(self) -> list[str]:
        """The paths of the unit's drop-ins, those that systemd has not read among them."""
        return [*self.unit.get("DropInPaths", "").split(), *self.new_drop_ins]

    @property
    def unread(self) -> bool:
        """Whether systemd has yet to read the unit, or a drop-in, as it is now."""
        stale = self.unit.get("NeedDaemonReload") == "yes" or bool(self.new_drop_ins)
        return stale or not (self.loaded_unit or self.unloadable)

    @property
    def unloadable(self) -> str:
        """How systemd calls a unit that it has read and cannot use, for a drop-in, say; "" if it can."""
        state = self.unit.get("LoadState", "")
        return state if state == "bad-setting" else ""

    @property
    def loaded_unit(self) -> bool:
        """Whether systemd knows the unit from its file."""
        return self.unit.get("LoadState") == "loaded"

    @property
    def state(self) -> str:
        """The unit's state as `systemctl status` words it."""
        if self.unit.get("LoadState") in ("not-found", None):
            return "not installed"
        return f"{self.unit.get('ActiveState')} ({self.unit.get('SubState')})"

    @property
    def active_seconds(self) -> float | None:
        """Seconds since the unit became active; None while it is not."""
        entered = int(self.unit.get("ActiveEnterTimestampMonotonic") or 0) / 1e6
        return max(0.0, self.uptime - entered) if self.active and entered else None

    @property
    def restarts(self) -> int | None:
        """How often systemd restarted it by itself; None before systemd 235, which does not count."""
        text = self.unit.get("NRestarts", "")
        return int(text) if text.isdigit() else None

    @property
    def version(self) -> str:
        """The version that runs; "" if none does."""
        return self.process.version if self.process else ""

    @property
    def replaced(self) -> bool:
        """Whether another binary runs than the one on disk."""
        return self.process is not None and self.process.sha256 not in {f.sha256 for f in self.files.values()}

    def listens(self, wanted: Endpoint) -> bool:
        """Whether the service itself has the listen address `wanted`."""
        return self.listening.get(wanted, self) is None

    def holder(self, wanted: Endpoint) -> Holder | None:
        """Who else has `wanted`, or an address that excludes it; None if nobody has.

        What the service itself listens on nobody excludes, be it with a socket on [::] that has no IPv4.
        """
        if self.listens(wanted):
            return None
        for there, holder in self.listening.items():
            if holder is not None and there.port == wanted.port and excludes(there.host, wanted.host):
                return holder
        return None

    def overlapping(self, wanted: Sequence[Endpoint]) -> Iterator[tuple[Endpoint, Endpoint]]:
        """Addresses that the service is to get, each with one of its own that keeps it from it meanwhile."""
        for new, (old, holder) in product(wanted, self.listening.items()):
            if holder is None and new not in self.listening and overlap(new, old):
                yield new, old

    def took(self, path: str, what: str) -> bool:
        """Whether the running process has read the file at `path` as it is now.

        `what` is the file's name in the record that every action of ours leaves, "conf" or "unit". A file
        that is as the record has it may have been another meanwhile, and read: what the workers have is known
        only if the file or they are still the same. Without a record the times decide.
        """
        file, process = self.files.get(path), self.process
        if file is None or process is None:
            return False
        if self._is_recorded and self.recorded.get(what) == file.sha256:
            return what == "unit" or self._is_as_recorded(file) or self._has_recorded_workers
        if process.started > file.changed or file.has(_TEXT):
            return process.started > file.changed
        # a mode or owner that is wrong explains a later ctime; a reload may have read another one meanwhile
        first = all(start - process.started < _AT_ONCE for start in process.workers.values())
        return process.started > file.modified and (what == "unit" or first)

    def _is_as_recorded(self, file: File) -> bool:
        """Whether the configuration has not been touched since; records of before do not tell."""
        try:
            return float(self.recorded.get("changed") or file.changed) == file.changed
        except ValueError:
            return False

    @property
    def _is_recorded(self) -> bool:
        return self.process is not None and self.recorded.get("main") == self.process.identity

    @property
    def _has_recorded_workers(self) -> bool:
        """Whether those that run are those that took what was recorded."""
        workers = self.process.worker_identities if self.process else frozenset()
        return bool(workers) and workers <= set(self.recorded.get("workers", "").split())

    def loaded(self, path: str, what: str) -> str:
        """The sha256 of the file that the running process has read in place of `path`; "" if not known.

        In doubt, after edits and reloads by hand, it is what was last recorded.
        """
        file, process = self.files.get(path), self.process
        if process is None:
            return ""
        if file and self.took(path, what):
            return file.sha256
        starts = [process.started] if what == "unit" else [*process.workers.values()]
        by_hand = file is not None and bool(starts) and min(starts) > file.changed
        if not self._is_recorded or (by_hand and what == "conf" and not self._has_recorded_workers):
            return file.sha256 if file and by_hand else ""
        return self.recorded.get(what, "")
