"""What is true on a node, looked up without the library's own code."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from shlex import quote

from .handshakes import Met, certificates, meet
from .world import UNIT, World

NAMES = "kube-nginx", "kube-nginx.conf", UNIT
PROPERTIES = (
    "LoadState,ActiveState,SubState,MainPID,UnitFileState,NeedDaemonReload,FragmentPath,DropInPaths,User"
)
LOOK = r"""
unit=kube-nginx.service; etc=/etc/systemd/system
part() { echo "--- $1"; }
part unit; systemctl show -p "$properties" $unit
part processes; ps -ww -eo pid=,ppid=,stat=,args= | grep 'nginx: [mw]' | grep -v grep
part sockets; ss -Hltnp | grep 'kube-nginx\|"nginx"'
part files
for at in "$prefix/" $etc/$unit $etc/$unit.d $etc/multi-user.target.wants/$unit; do
  find "$at" -printf '%p|%y|%m|%u|%i|%T@|%C@|%l\n' 2>/dev/null
done | grep -v '/logs/[^/]*\.log|'
find $etc /run -maxdepth 1 \( -name "*$unit*" -o -name 'kube-nginx*' \) -printf '%p|%y|%m|%u|%i|%T@|-|%l\n'
part sums
cd /; sha256sum "$prefix/sbin/kube-nginx" "$prefix/conf/kube-nginx.conf" $etc/$unit 2>/dev/null
find "$prefix/releases" -mindepth 2 -maxdepth 2 -type f -exec sha256sum {} +  2>/dev/null
part current; readlink "$prefix/releases/current"
part pidfile; cat "$prefix/logs/nginx.pid" 2>/dev/null
part conf; cat "$prefix/conf/kube-nginx.conf" 2>/dev/null; echo
part masters
for pid in $(ps -eo pid=,args= | sed -n 's/^ *\([0-9]*\) nginx: master.*/\1/p'); do
  echo "$pid $(sha256sum < /proc/$pid/exe | cut -c1-64) $(/proc/$pid/exe -v 2>&1)"
done
"""
_PROCESS = re.compile(r"\s*(\d+)\s+(\d+)\s+(\S+)\s+(nginx: .*)")
_MASTER = re.compile(r"(\d+) (\S+) .*nginx/(\S+)")


@dataclass(frozen=True)
class Process:
    """One of nginx's processes on the node."""

    pid: int
    parent: int
    state: str
    title: str

    @property
    def is_master(self) -> bool:
        """Whether it is a master."""
        return "master process" in self.title


@dataclass(frozen=True)
class Truth:
    """What was seen. `met`: who answered through each listener that was tried."""

    parts: dict[str, list[str]]
    met: dict[str, Met]
    prefix: str

    @cached_property
    def unit(self) -> dict[str, str]:
        """What systemd holds of the unit."""
        return dict(line.split("=", 1) for line in self.parts["unit"] if "=" in line)

    @cached_property
    def processes(self) -> list[Process]:
        """Masters and workers."""
        found = [match for line in self.parts["processes"] if (match := _PROCESS.fullmatch(line))]
        return [Process(int(m[1]), int(m[2]), m[3], m[4]) for m in found]

    @property
    def masters(self) -> dict[int, tuple[str, str]]:
        """Of each master, the sum of what it runs and its version."""
        found = [match for line in self.parts["masters"] if (match := _MASTER.match(line))]
        return {int(m[1]): (m[2], m[3]) for m in found}

    @cached_property
    def sockets(self) -> dict[str, set[int]]:
        """The listeners that processes of ours have, and which."""
        rows = [line.split() for line in self.parts["sockets"]]
        return {
            row[3]: {int(pid) for pid in re.findall(r"pid=(\d+)", row[-1])} for row in rows if len(row) > 4
        }

    @cached_property
    def sums(self) -> dict[str, str]:
        """sha256 by path."""
        rows = [line.split(None, 1) for line in self.parts["sums"]]
        return {path: digest for digest, path in rows}

    @property
    def installed(self) -> tuple[str, ...]:
        """The sums of the three files, as they are on disk; "" for one that is not there."""
        paths = f"{self.prefix}/sbin/kube-nginx", f"{self.prefix}/conf/kube-nginx.conf"
        return tuple(self.sums.get(path, "") for path in (*paths, f"/etc/systemd/system/{UNIT}"))

    @property
    def releases(self) -> dict[str, tuple[str, ...]]:
        """The sums of each release that is kept."""
        folder = f"{self.prefix}/releases"
        names = {
            path.removeprefix(f"{folder}/").split("/")[0] for path in self.sums if path.startswith(folder)
        }
        return {name: tuple(self.sums.get(f"{folder}/{name}/{file}", "") for file in NAMES) for name in names}

    @property
    def elsewhere(self) -> bool:
        """Whether what runs has another prefix than the one that was looked at."""
        return any(p.is_master and f" -p {self.prefix}" not in p.title for p in self.processes)

    @property
    def current(self) -> str:
        """The release that the node says it runs."""
        return "".join(self.parts["current"])

    @property
    def conf(self) -> str:
        """The configuration on disk."""
        return "\n".join(self.parts["conf"])

    @property
    def files(self) -> list[str]:
        """All that is ours on the node, each with its inode, mode, owner and times; what makes up a touch."""
        return sorted(set(self.parts["files"]))

    @property
    def footprint(self) -> dict[str, object]:
        """What a task that only looks, or has nothing to do, leaves as it is."""
        alive = [(p.pid, p.title) for p in self.processes if "shutting down" not in p.title]
        return {"files": self.files, "processes": sorted(alive), "unit": self.unit, "sums": self.sums}

    @property
    def reached(self) -> set[str]:
        """The apiservers that answered, whatever the listener."""
        return {name for met in self.met.values() for name in met.answers}

    @property
    def serving(self) -> list[str]:
        """The listeners through which some apiserver answers."""
        return [at for at, met in self.met.items() if met.answers]


class Eyes:
    """Looks at one node."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.known = certificates(world.lab)

    def look(self, times: int = 4) -> Truth:
        """What is there now; `times` handshakes through each listener that a process of ours has."""
        world, prefix = self.world, self.world.spec.prefix
        text = world.node.enter(f"prefix={quote(prefix)} properties={PROPERTIES}\n{LOOK}")
        parts: dict[str, list[str]] = {}
        for line in text.splitlines():
            if line.startswith("--- "):
                rows = parts.setdefault(line[4:], [])
            else:
                rows.append(line)
        seen = Truth(parts, {}, prefix)
        met = meet(world.node, self.known, sorted(seen.sockets), times) if times else {}
        return Truth(parts, met, prefix)

    def starts(self) -> str:
        """Whether the installed binary takes the installed configuration, as its user; "" or why not."""
        world = self.world
        p, user = world.spec.prefix, world.spec.user
        command = f"{p}/sbin/kube-nginx -t -q -c {p}/conf/kube-nginx.conf -p {p} -e stderr"
        as_user = f"runuser -u {user} -- " if user else ""
        said = world.node.enter(f"{as_user}{command} >/tmp/walk.test 2>&1 || cat /tmp/walk.test")
        return said.strip()


def changes(before: Truth, after: Truth) -> list[str]:
    """How two footprints differ."""
    lines = []
    for key, was in before.footprint.items():
        old, new = _rows(was), _rows(after.footprint[key])
        lines += [f"- {key}: {x}" for x in old if x not in new] + [
            f"+ {key}: {x}" for x in new if x not in old
        ]
    return lines


def _rows(value: object) -> list[object]:
    if isinstance(value, dict):
        return [*value.items()]
    assert isinstance(value, list)
    return value
