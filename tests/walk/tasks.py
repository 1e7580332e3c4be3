"""What each task's exit status promises."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.conftest import Ran

from .rules import BY_ITSELF, FORGIVEN, BrokenError, Rules, describe, listeners_of, servers_of
from .truth import Truth

LOOKS = "diff", "diff --exit-code", "preflight", "status --json", "check --json", "connections", "logs"
WAIT = 150


@dataclass
class CommandResult:
    """A task that has ended: what was before, and what it said. `calm`: no fault came meanwhile."""

    task: str
    before: Truth
    ran: Ran
    calm: bool = True
    hindered: bool = False
    """Whether something was in the way that only a human may undo."""

    @property
    def name(self) -> str:
        """The task without its flags."""
        return self.task.split()[0]


class Promises:
    """Holds each task to what it promised."""

    def __init__(self, rules: Rules) -> None:
        self.rules, self.world, self.eyes = rules, rules.world, rules.eyes

    def hold(self, e: CommandResult) -> None:
        """Raises BrokenError if what the task promised is not so."""
        self.rules.told(e.ran, e.calm)
        own = f"_{e.name.replace('-', '_')}"
        if e.calm and e.ran.status not in (0, 1, *((3,) if "--exit-code" in e.task else ())):
            raise BrokenError(
                "a task ends with 0 or 1", f"fab {e.task}: {e.ran.status}\n{e.ran.text[-2000:]}"
            )
        if e.task in LOOKS:
            self._looked(e)
        if hasattr(self, own):
            check: Callable[[CommandResult], None] = getattr(self, own)
            check(e)
        elif e.name not in ("stop", "uninstall"):
            self.rules.goes_on(e.before, f"after fab {e.task} ({e.ran.status})")

    def _looked(self, e: CommandResult) -> None:
        now = self.eyes.look(0)
        self.rules.untouched(e.before, now, f"fab {e.task}")

    def _deploy(self, e: CommandResult) -> None:
        world, why = self.world, f"after fab {e.task}, exit status {e.ran.status}"
        if e.ran.status == 0:
            self._is_whole(e, why)
            world.cut = False
            if e.calm and not e.hindered:
                self._nothing_left_to_do(why)
            return
        patience = 10.0 if e.calm else BY_ITSELF + 30
        now = self.rules.goes_on(e.before, why, () if e.calm else tuple(world.listen), patience)
        self.rules.of_one_release(e.before, now, why)
        if e.calm and not e.hindered and world.spec.good and world.fair:
            raise BrokenError(
                "a deploy of a good hosts.toml, with an apiserver that lives, ends with 0",
                f"{e.ran.text[-3000:]}\n{describe(now)}",
            )

    def _is_whole(self, e: CommandResult, why: str) -> None:
        deadline = time.monotonic() + (0 if e.calm else BY_ITSELF)
        while faults := list(self.rules.whole(self.eyes.look(12), ready=e.calm)):
            if time.monotonic() > deadline:
                raise BrokenError(
                    f"{why}: it is as hosts.toml says", "\n".join([*faults, e.ran.text[-3000:]])
                )
            time.sleep(0.3)
        if e.before.serving and e.calm and not (now := self.eyes.look()).serving:
            raise BrokenError(f"{why}: a change that takes the node's way is not kept", describe(now))

    def _nothing_left_to_do(self, why: str) -> None:
        before = self.eyes.look(0)
        diff = self.world.fab("diff", "--exit-code")
        self.rules.told(diff)
        if diff.status:
            raise BrokenError(f"{why}: the next diff is empty", f"{diff.status}\n{diff.text[-3000:]}")
        again = self.world.fab("deploy")
        self.rules.told(again)
        if again.status:
            raise BrokenError(f"{why}: the next deploy ends with 0", again.text[-3000:])
        self.rules.untouched(before, self.eyes.look(0), f"{why}: the next deploy")

    def _diff(self, e: CommandResult) -> None:
        if e.calm and e.ran.status == 0 and "--exit-code" in e.task:
            faults = list(self.rules.whole(self.eyes.look(0), ready=False))
            if faults:
                raise BrokenError("diff is empty only if the node is as hosts.toml says", "\n".join(faults))

    def _status(self, e: CommandResult) -> None:
        now = self.eyes.look(0)
        states = {e.before.unit["ActiveState"], now.unit["ActiveState"]}
        if e.ran.status not in (0, 1) or not e.ran.out.startswith("{"):
            return
        node = json.loads(e.ran.out)["nodes"][0]
        if len(states) == 1 and node.get("state", "") not in ("", *states):
            raise BrokenError("status says the state that systemctl says", f"{node['state']}, not {states}")
        listening = set(self.world.listen) <= set(now.sockets)
        if len(states) == 1 and e.ran.status == 0 and not (states == {"active"} and listening):
            raise BrokenError(
                "status ends with 0 only if it is active and listens", f"{describe(now)}\n{e.ran.out}"
            )

    def _check(self, e: CommandResult) -> None:
        now = self.eyes.look()
        answers = all(at in now.serving for at in self.world.listen)
        spec = self.world.spec
        if e.ran.status == 0 and not answers and not e.before.serving and self.world.living(spec.servers):
            time.sleep(FORGIVEN[spec.profile])
            if not self.eyes.look().serving:
                raise BrokenError(
                    "check ends with 0 only if an apiserver answers", f"{describe(now)}\n{e.ran.out}"
                )
        alive = len(self.world.living(spec.servers)) == len(spec.servers)
        steady = set(e.before.serving) == set(now.serving)
        if e.ran.status == 1 and answers and alive and steady and now.reached <= set(spec.servers):
            raise BrokenError(
                "check ends with 1 only if something is wrong", f"{describe(now)}\n{e.ran.text}"
            )

    def _restart(self, e: CommandResult) -> None:
        why = f"after fab {e.task}, exit status {e.ran.status}"
        if e.ran.status == 0:
            self._runs_what_is_installed(e, why)
            return
        now = self.rules.goes_on(e.before, why, seconds=10.0 if e.calm else BY_ITSELF + 30)
        self.rules.of_one_release(e.before, now, why)

    _reload = _restart
    _rollback = _restart

    def _runs_what_is_installed(self, e: CommandResult, why: str) -> None:
        if "no release before" in e.ran.text or not e.calm or e.before.elsewhere:
            self.rules.goes_on(e.before, why, seconds=BY_ITSELF)
            return
        now = self.eyes.look(8)
        faults = []
        if now.unit["ActiveState"] != "active":
            faults.append("it is not active")
        if {digest for digest, _ in now.masters.values()} != {now.installed[0]}:
            faults.append("it does not run the installed binary")
        if set(now.sockets) != listeners_of(now):
            faults.append(f"it does not listen on {listeners_of(now)}")
        if now.reached - servers_of(now, self.world):
            faults.append(f"it leads to an apiserver that the configuration does not have: {now.reached}")
        if e.name == "rollback" and now.installed != now.releases.get(now.current):
            faults.append(f"the files are not those of release {now.current}")
        if not now.serving and self._waits_for_an_answer(now):
            faults.append("no apiserver answers, though one lives")
        if faults:
            raise BrokenError(
                f"{why}: it runs what is on disk", "\n".join([*faults, describe(now), e.ran.text[-2000:]])
            )

    def _waits_for_an_answer(self, now: Truth) -> bool:
        """Whether none answers, though all that the configuration has live, and nginx has forgiven them."""
        servers = servers_of(now, self.world)
        if not servers or len(self.world.living(servers)) < len(servers):
            return False
        time.sleep(FORGIVEN["runbook" if "hash" in now.conf else "recommended"])
        return not self.eyes.look(8).serving

    def _stop(self, e: CommandResult) -> None:
        now = self.eyes.look(0)
        if (
            e.ran.status == 0
            and e.calm
            and (now.sockets or now.unit["ActiveState"] not in ("inactive", "failed"))
        ):
            raise BrokenError("after fab stop nothing of it runs", describe(now))

    def _start(self, e: CommandResult) -> None:
        now = self.rules.goes_on(e.before, f"after fab start ({e.ran.status})")
        if e.ran.status == 0 and e.calm and now.unit["ActiveState"] not in ("active", "activating"):
            raise BrokenError("after fab start it is active", describe(now))

    def _enable(self, e: CommandResult) -> None:
        now = self.rules.goes_on(e.before, f"after fab {e.task}")
        enabled = now.unit["UnitFileState"] == "enabled"  # a unit that is gone is neither, and does not start
        if e.ran.status == 0 and enabled != (e.name == "enable"):
            raise BrokenError(f"after fab {e.name} it is {e.name}d", str(now.unit))

    _disable = _enable

    def _daemon_reload(self, e: CommandResult) -> None:
        now = self.rules.goes_on(e.before, f"after fab {e.task}")
        if e.ran.status == 0 and now.unit["NeedDaemonReload"] != "no":
            raise BrokenError("after fab daemon-reload systemd has read the unit", str(now.unit))

    def _conf(self, e: CommandResult) -> None:
        now = self.rules.goes_on(e.before, f"after fab {e.task}")
        seen = servers_of(now, self.world)
        if e.ran.status == 0 and seen != set(self.world.spec.servers):
            raise BrokenError("after fab conf the configuration on disk is what hosts.toml says", f"{seen}")

    def _uninstall(self, e: CommandResult) -> None:
        now = self.eyes.look(0)
        left = [
            line
            for line in now.files
            if not line.startswith("/run/") and ".d|" not in line and ".d/" not in line
        ]
        if e.ran.status or left or now.processes or now.unit["ActiveState"] != "inactive":
            raise BrokenError(
                "after fab uninstall nothing of it is left", "\n".join([*left, describe(now), e.ran.text])
            )
