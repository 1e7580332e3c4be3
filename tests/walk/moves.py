"""The moves of a walk: how one is chosen, and how it is carried out. A move is a line, to be replayed."""

from __future__ import annotations

import random
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from tests.lab import faults

from . import damage
from .rules import BY_ITSELF, BrokenError, Rules, describe
from .tasks import LOOKS, WAIT, CommandResult, Promises
from .truth import Eyes, Truth
from .world import BAD, LISTENERS, LIVE, MIRRORS, PREFIXES, SERVERS, USERS, World

TASKS = {
    "deploy": 30,
    "deploy --force": 4,
    "rollback": 7,
    "restart": 5,
    "reload": 5,
    **dict.fromkeys(
        ("start", "stop", "enable", "disable", "conf", "unit", "scp", "mkdir", "daemon-reload"), 1.5
    ),
    **dict.fromkeys(LOOKS, 1.5),
    "uninstall --yes": 0.7,
}
ROLLING = "deploy", "deploy", "deploy", "deploy --force", "rollback", "restart", "reload"
HINDRANCES = "masked", "full", "taken", "locked", "paused", "stuffed", "filed"
CUTS = "fab-INT", "fab-TERM", "fab-KILL", "ssh-cut"
DURING = (*CUTS, "master-KILL", "worker-KILL", "api-stop", "api-pause", "api-start")


class Chooser:
    """Chooses moves, all from one source of chance."""

    def __init__(self, rng: random.Random, world: World) -> None:
        self.rng, self.world = rng, world
        self.last = ""

    def choose(self) -> str:
        """The next move, so that a walk spends its time well: changes are followed by deploys more often."""
        world, rng = self.world, self.rng
        self.last = self._next(world, rng)
        return self.last

    def _next(self, world: World, rng: random.Random) -> str:
        if set(world.servers.values()) != {"up"} and rng.random() < 0.4:
            return f"api {next(name for name, state in world.servers.items() if state != 'up')} start"
        if not (world.spec.good and world.living(world.spec.servers)) and self.last.startswith("run deploy"):
            return self._set(rng)
        if "prefix=" in self.last:
            return "run deploy"
        if self.last.startswith(("set", "damage")) and rng.random() < 0.5:
            return "run deploy"
        kinds: dict[str, tuple[float, Callable[[random.Random], str]]] = {
            "set": (16, self._set),
            "damage": (34, self._damage),
            "run": (30, lambda r: f"run {_weighted(r, TASKS)}"),
            "api": (5, lambda r: f"api {r.choice(LIVE)} {r.choice(('stop', 'stop', 'pause'))}"),
            "under": (5, lambda r: f"under {r.choice(HINDRANCES)} {r.choice(ROLLING)}"),
            "during": (10, self._during),
            "reboot": (0.3, lambda r: "reboot"),
        }
        return kinds[_weighted(rng, {kind: weight for kind, (weight, _) in kinds.items()})][1](rng)

    def _set(self, rng: random.Random) -> str:
        spec = self.world.spec
        other = [v for v in MIRRORS if v != spec.version]
        ways: dict[str, tuple[float, Callable[[], str]]] = {
            "servers": (12, lambda: ",".join(self._servers(rng))),
            "max_fails": (5, lambda: str(rng.randint(2, 6))),
            "listen": (4, lambda: rng.choice([*LISTENERS] if spec.listen not in BAD else ["one", "two"])),
            "version": (5, lambda: rng.choice(other)),
            "user": (3, lambda: rng.choice([u for u in USERS if u != spec.user])),
            "profile": (1, lambda: "runbook" if spec.profile == "recommended" else "recommended"),
            "prefix": (0.5, lambda: next(p for p in PREFIXES if p != spec.prefix)),
        }
        if not self.world.living(spec.servers):
            return "set servers=1,2,3"
        keys = {
            _weighted(rng, {key: weight for key, (weight, _) in ways.items()})
            for _ in range(rng.choice((1, 1, 2)))
        }
        return "set " + " ".join(f"{key}={ways[key][1]()}" for key in sorted(keys))

    def _servers(self, rng: random.Random) -> Sequence[str]:
        if rng.random() < 0.15:
            return rng.choice((["refused"], ["silent"], ["refused", "silent"]))
        chosen = rng.sample([*LIVE], rng.randint(1, 3))
        return [*chosen, "refused"] if rng.random() < 0.15 else chosen

    def _damage(self, rng: random.Random) -> str:
        weights = {name: 0.2 if name in damage.SELDOM else 1.0 for name in damage.DAMAGE}
        return f"damage {_weighted(rng, weights)}"

    def _during(self, rng: random.Random) -> str:
        kind = rng.choice(DURING)
        which = f"-{rng.choice(LIVE)}" if kind.startswith("api") else ""
        return f"during {kind}{which} {rng.uniform(0.4, 3.5):.2f} {rng.choice(ROLLING)}"


class Moves:
    """Carries moves out on the node, and sees that what must hold does."""

    def __init__(self, world: World, eyes: Eyes) -> None:
        self.world, self.eyes = world, eyes
        self.rules = Rules(world, eyes)
        self.promises = Promises(self.rules)

    def do(self, move: str) -> None:
        """Raises BrokenError if an invariant is broken, LabError if the lab is at fault."""
        kind, _, rest = move.partition(" ")
        getattr(self, f"_{kind}")(rest)

    def _set(self, rest: str) -> None:
        given: dict[str, Any] = dict(pair.split("=", 1) for pair in rest.split())
        if "servers" in given:
            given["servers"] = tuple(given["servers"].split(","))
            assert set(given["servers"]) <= set(SERVERS)
        if "max_fails" in given:
            given["max_fails"] = int(given["max_fails"])
        self.world.spec = replace(self.world.spec, **given)
        self.world.write()

    def _damage(self, name: str) -> None:
        damage.do(self.world, damage.DAMAGE[name])

    def _api(self, rest: str) -> None:
        name, verb = rest.split()
        self.world.server(name, verb)

    def _arguments(self, task: str) -> list[str]:
        waits = self.world.cut and task.split(maxsplit=1)[0] in ("deploy", "restart", "reload", "rollback")
        return shlex.split(task) + (["--wait", str(WAIT)] if waits else [])

    def _run(self, task: str, hindered: bool = False) -> None:
        before = self.eyes.look(0 if task in LOOKS and not task.startswith("check") else 8)
        ran = self.world.fab(*self._arguments(task))
        if self.world.cut and "locked by " in ran.text and "--wait" not in self._arguments(task):
            return  # what was cut off goes on there for a while
        self.promises.hold(CommandResult(task, before, ran, hindered=hindered))

    def _under(self, rest: str) -> None:
        name, _, task = rest.partition(" ")
        way: dict[str, Callable[[], Any]] = {
            "masked": lambda: faults.masked(self.world.node),
            "full": lambda: faults.disk_full(self.world.node, self.world.spec.prefix),
            "taken": self._taken,
            "locked": lambda: self._hindrance(damage.LOCK, damage.AWAY),
            "stuffed": lambda: self._hindrance(damage.STUFFED, damage.EMPTIED),
            "filed": lambda: self._hindrance(damage.FILED, damage.UNFILED),
            "paused": lambda: self._hindrance(damage.PAUSED, damage.RESUMED),
        }
        if name == "full" and "yes" not in damage.do(self.world, "[ ! -d $P ] || [ -L $P ] || echo yes"):
            return
        with way[name]():
            self._run(task, hindered=True)

    @contextmanager
    def _hindrance(self, there: str, away: str) -> Iterator[None]:
        damage.do(self.world, there)
        try:
            yield
        finally:
            damage.do(self.world, away)

    @contextmanager
    def _taken(self) -> Iterator[None]:
        damage.do(self.world, damage.SERVICE["stopped"] + "\n" + damage.PROCESSES["master-killed"])
        port = int(self.world.listen[0].rpartition(":")[2])
        deadline = time.monotonic() + 5
        while self.eyes.look(0).sockets and time.monotonic() < deadline:
            damage.do(self.world, damage.PROCESSES["worker-killed"])
        with faults.foreign_listener(self.world.node, port):
            yield

    def _during(self, rest: str) -> None:
        kind, delay, task = rest.split(" ", 2)
        before = self.eyes.look(8)
        if kind == "master-KILL" and not self._comes_back(before):
            return
        process = self.world.begin(*self._arguments(task))
        time.sleep(float(delay))
        over = process.poll() is not None
        if not over:
            self._strike(kind, process)
        ran = self.world.ended(process)
        if kind in CUTS and not over:
            self.world.cut = True
            self._until_quiet()
        self.promises.hold(CommandResult(task, before, ran, calm=False))
        if kind in CUTS and not over and ran.status:
            self.world.cut = True

    def _comes_back(self, now: Truth) -> bool:
        """Whether systemd can start the service again by itself."""
        return now.unit["LoadState"] == "loaded" and bool(now.parts["pidfile"]) and not self.eyes.starts()

    def _strike(self, kind: str, process: subprocess.Popen[str]) -> None:
        what, _, how = kind.partition("-")
        if what == "fab":
            process.send_signal(signal.Signals[f"SIG{how}"])
        elif what == "ssh":
            damage.do(self.world, "kill -KILL $(sessions) 2>/dev/null || true")
        elif what == "api":
            verb, _, name = how.partition("-")
            self.world.server(name, verb)
        else:
            damage.do(self.world, f"send {how} $({what})")

    def _until_quiet(self) -> None:
        """Waits until what was begun on the node has ended there."""
        deadline = time.monotonic() + 90
        busy = "[ ! -e /run/kube-nginx/action ] || flock -n /run/kube-nginx/action true || echo busy"
        while "busy" in damage.do(self.world, busy):
            if time.monotonic() > deadline:
                raise BrokenError("what was begun on a node ends there", describe(self.eyes.look()))
            time.sleep(0.2)

    def _reboot(self, _: str) -> None:
        before = self.eyes.look(8)
        healthy = not list(self.rules.whole(before))
        self.world.node.stop()
        self.world.node.start()
        self.world.cut = False
        if healthy:
            self.rules.goes_on(before, "after a boot", seconds=BY_ITSELF)


def _weighted(rng: random.Random, weights: dict[str, float]) -> str:
    return rng.choices([*weights], [*weights.values()])[0]
