"""What must hold, whatever was done: each rule looks at the truth, and says in words how it was broken."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

from tests.conftest import Ran

from .truth import NAMES, Eyes, Truth, changes
from .world import SERVERS, UNIT, World

GOES_ON = 10.0
BY_ITSELF = 15.0  # systemd starts a service again 5 s after its end
FORGIVEN = {"recommended": 2.5, "runbook": 31.0}  # fail_timeout
LEFTOVER = re.compile(r"[^|]*(\.part|\.fresh|/\.kube-nginx[^/|]*|/\.running|/\.current|/\.previous)\|")
_SERVER = re.compile(r"^\s*server (\S+) max_fails=(\d+)", re.MULTILINE)
_LISTEN = re.compile(r"^\s*listen (\S+);", re.MULTILINE)


class BrokenError(AssertionError):
    """An invariant, in words, and what was seen instead."""

    def __init__(self, invariant: str, seen: str) -> None:
        super().__init__(f"{invariant}\nseen: {seen}")
        self.invariant, self.seen = invariant, seen


class Rules:
    """The rules for one node."""

    def __init__(self, world: World, eyes: Eyes) -> None:
        self.world, self.eyes = world, eyes

    def told(self, ran: Ran, calm: bool = True) -> None:
        """No fault of ours is shown, and every command ends."""
        # Ctrl-C while Python is still importing is told by Python
        if "Traceback" in ran.text and (calm or "KeyboardInterrupt" not in ran.text):
            raise BrokenError("no traceback in any output", ran.text[-3000:])
        for words in ("this is a fault of kube-nginx", "(the walk: no end after"):
            if words in ran.text:
                raise BrokenError("every command ends, and with an error that was foreseen", ran.text[-3000:])

    def goes_on(self, before: Truth, why: str, also: tuple[str, ...] = (), seconds: float = GOES_ON) -> Truth:
        """What served before serves, on the listeners where it did; `also`: or on one of these."""
        wanted = [at for at, met in before.met.items() if self.world.living(met.answers)]
        deadline = time.monotonic() + seconds
        while True:
            now = self.eyes.look()
            missing = [at for at in wanted if at not in now.serving]
            if not missing or any(at in now.serving for at in also):
                return now
            if time.monotonic() > deadline:
                raise BrokenError(
                    f"{why}: what served before serves within {seconds:g} s",
                    f"{', '.join(missing)} answered before; now: {describe(now)}",
                )
            time.sleep(0.2)

    def of_one_release(self, before: Truth, now: Truth, why: str) -> None:
        """The three files are those of before, or of one release; so is what runs."""
        if now.installed not in (before.installed, *now.releases.values(), *before.releases.values()):
            raise BrokenError(
                f"{why}: the files are those of one release, or of before",
                f"{_short(now.installed)}; before: {_short(before.installed)}; "
                f"releases: {[_short(x) for x in now.releases.values()]}",
            )
        running = {digest for digest, _ in now.masters.values()}
        known = {now.installed[0], *(digest for digest, _ in before.masters.values())}
        if before.masters and not running <= known:
            raise BrokenError(f"{why}: it runs the binary that is on disk, or that of before", describe(now))

    def untouched(self, before: Truth, now: Truth, why: str) -> None:
        """Not one inode, time or PID of it is another one."""
        seen = changes(before, now)
        if before.unit["ActiveState"] != "active" or not before.masters:  # systemd is at work on it
            seen = [x for x in seen if x[2:7] in ("files", "sums:") and "/logs" not in x]
        if seen:
            raise BrokenError(f"{why} changes nothing on the node", "\n".join(seen[:20]))

    def whole(self, now: Truth, ready: bool = True) -> Iterator[str]:
        """How the node differs from what hosts.toml says; `ready`: it must also take new connections."""
        yield from self._unit(now)
        yield from self._processes(now)
        yield from self._files(now)
        yield from self._conf(now)
        if now.parts["pidfile"] and (why := self.eyes.starts()):
            yield f"a start would fail: {why}"
        if ready:
            yield from self._answers(now)

    def _unit(self, now: Truth) -> Iterator[str]:
        wanted = {
            "LoadState": "loaded",
            "ActiveState": "active",
            "SubState": "running",
            "UnitFileState": "enabled",
            "NeedDaemonReload": "no",
            "FragmentPath": f"/etc/systemd/system/{UNIT}",
            "User": self.world.spec.user,
        }
        for key, value in wanted.items():
            if now.unit.get(key, "") != value:
                yield f"systemd says {key}={now.unit.get(key)}, not {value}"

    def _processes(self, now: Truth) -> Iterator[str]:
        spec, alive = self.world.spec, now.processes
        masters = [p for p in alive if p.is_master]
        if len(masters) != 1:
            yield f"{len(masters)} masters: {alive}"
            return
        pid = masters[0].pid
        if now.unit.get("MainPID") != str(pid):
            yield f"systemd says MainPID={now.unit.get('MainPID')}, the master is {pid}"
        if now.parts["pidfile"] != [str(pid)]:
            yield f"nginx.pid says {now.parts['pidfile']}, the master is {pid}"
        digest, version = now.masters.get(pid, ("", ""))
        if (digest, version) != (now.installed[0], spec.version):
            yield f"nginx {version} ({digest[:10]}) runs, {now.installed[0][:10]} is on disk"
        workers = [p for p in alive if not p.is_master and "shutting down" not in p.title]
        if not workers or any(p.parent != pid or p.state.startswith("T") for p in workers):
            yield f"its workers: {workers}"
        if set(now.sockets) != set(self.world.listen):
            yield f"it listens on {sorted(now.sockets)}, not on {self.world.listen}"

    def _files(self, now: Truth) -> Iterator[str]:
        spec, p = self.world.spec, self.world.spec.prefix
        owner = spec.user or "root"
        wanted = {
            f"{p}/": "d|755|root",
            f"{p}/conf": "d|755|root",
            f"{p}/sbin": "d|755|root",
            f"{p}/releases": "d|755|root",
            f"{p}/sbin/kube-nginx": "f|755|root",
            f"{p}/conf/kube-nginx.conf": "f|644|root",
            f"/etc/systemd/system/{UNIT}": "f|644|root",
        }
        rows = dict(line.split("|", 1) for line in now.files)
        linked = [path for path, row in rows.items() if row.startswith("l|") and "/releases/" not in path]
        for path, row in wanted.items():
            below = any(
                path.startswith(f"{link}/") or path == link != f"/etc/systemd/system/{UNIT}"
                for link in linked
            )
            if not below and not rows.get(path, "nothing").startswith(f"{row}|"):
                yield f"{path} is {rows.get(path, 'nothing')[:40]}, not {row}"
        logs = rows.get(f"{p}/logs", "nothing").split("|")
        if logs[0] != "l" and (logs[0] != "d" or logs[1] not in ("755", "750", "700") or logs[2] != owner):
            yield f"{p}/logs is {logs[:3]}, not {owner}'s"
        if now.installed != now.releases.get(now.current):
            yield f"the files are {_short(now.installed)}, those of release {now.current} are " + str(
                _short(now.releases.get(now.current, ()))
            )
        for line in now.files:
            if LEFTOVER.match(line):
                yield f"a leftover: {line}"

    def _conf(self, now: Truth) -> Iterator[str]:
        spec = self.world.spec
        seen = servers_of(now, self.world)
        if seen != set(spec.servers):
            yield f"the configuration on disk has the apiservers {sorted(seen)}, not {sorted(spec.servers)}"
        if {m[2] for m in _SERVER.finditer(now.conf)} != {str(spec.max_fails)}:
            yield f"the configuration on disk does not say max_fails={spec.max_fails}"
        if sorted(_LISTEN.findall(now.conf)) != sorted(self.world.listen):
            yield f"the configuration on disk listens on {_LISTEN.findall(now.conf)}"

    def _answers(self, now: Truth) -> Iterator[str]:
        spec = self.world.spec
        strangers = now.reached - set(spec.servers)
        if strangers:
            yield f"a connection reached apiserver {sorted(strangers)}, which hosts.toml does not have"
        living = self.world.living(spec.servers)
        if not self.world.fair:
            return
        deadline = time.monotonic() + FORGIVEN[spec.profile]
        met: dict[str, set[str]] = {at: set(now.met[at].answers) for at in now.serving}
        every = living if spec.profile == "recommended" and len(living) == len(spec.servers) else set()
        while any(not met.get(at) or every - met[at] for at in self.world.listen):
            if time.monotonic() > deadline:
                yield f"of apiservers {sorted(living)}, those were met: {met}; {describe(now)}"
                return
            for at, seen in self.eyes.look(12).met.items():
                met[at] = met.get(at, set()) | set(seen.answers)


def servers_of(now: Truth, world: World) -> set[str]:
    """The apiservers that the configuration on disk has, by the walk's names."""
    silent = world.node.address.rpartition(".")[0] + ".250"
    known = {SERVERS["silent"].format(silent=silent): "silent"}
    for host in world.lab.apiservers:
        known |= {f"{host.address}:6443": str(host.number), f"lab-api-{host.number}:6443": str(host.number)}
    known[f"{world.lab.apiservers[0].address}:6444"] = "refused"
    return {known.get(match[1], match[1]) for match in _SERVER.finditer(now.conf)}


def listeners_of(now: Truth) -> set[str]:
    """The listeners that the configuration on disk has."""
    return set(_LISTEN.findall(now.conf))


def describe(now: Truth) -> str:
    """A truth in a line."""
    unit = {key: now.unit.get(key) for key in ("ActiveState", "SubState", "MainPID", "UnitFileState")}
    alive = [(p.pid, p.parent, p.state, p.title[:24]) for p in now.processes]
    met = {at: (m.answers, m.why) for at, m in now.met.items()}
    return f"{unit} processes {alive} sockets {sorted(now.sockets)} answers {met} current {now.current}"


def _short(sums: tuple[str, ...]) -> dict[str, str]:
    return {name: digest[:8] for name, digest in zip(NAMES, sums, strict=False)}
