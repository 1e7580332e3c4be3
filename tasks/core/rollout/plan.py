"""What has to be done on a node: pure, from what it is to have and what a survey saw there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import unified_diff

from ..config.settings import Proxy
from ..remote.commands import UNIT_PATH
from ..remote.facts import CURRENT, PREVIOUS, Facts, File
from .release import BINARY, CONF, MODES, NAMES, UNIT, found, paths

NOTHING, ENABLE, RELOAD, UPGRADE, RESTART, INSTALL = ACTIONS = (
    "nothing",
    "enable",
    "reload",
    "upgrade",
    "restart",
    "install",
)
"""What can be done to a node, the gentlest first."""

STOP = "stop"
"""What is done when there is nothing to go back to."""

RESULTS = {
    NOTHING: "unchanged",
    ENABLE: "enabled",
    RELOAD: "reloaded",
    UPGRADE: "upgraded",
    RESTART: "restarted",
    INSTALL: "installed",
}
"""What a node is when it has been done."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`action` is one of ACTIONS, `why` gives each reason for it, `files` the names that are replaced.

    `edited` are files that somebody has changed on the node. `strays` are PIDs that hold the port and
    are to end.
    """

    action: str
    why: tuple[str, ...]
    files: tuple[str, ...]
    edited: tuple[str, ...] = ()
    strays: tuple[int, ...] = ()

    @property
    def result(self) -> str:
        """What the node is when it has been done."""
        return RESULTS[self.action]


def plan(sums: Mapping[str, str], facts: Facts, proxy: Proxy, force: bool = False, version: str = "") -> Plan:
    """The gentlest action after which the node runs the files with these sha256 `sums`, nginx `version`.

    nothing < enable < reload (the configuration differs) < upgrade (the binary differs) < restart (the
    unit differs, or the service is not as it should be) < install (none of the files is there).
    `force` asks for a restart in any case.
    """
    there = found(facts, proxy)
    files = tuple(name for name in NAMES if _differs(facts.files.get(paths(proxy)[name]), name, sums))
    if not there:
        return Plan(INSTALL, ("nothing of it is there",), files, (), _strays(facts, proxy))
    wants = {
        RESTART: _restart(files, facts, proxy, force),
        UPGRADE: _upgrade(files, sums, facts, version),
        RELOAD: _reload(files, facts, proxy),
        ENABLE: [] if facts.enabled else ["it does not start at boot"],
    }
    if wants[UPGRADE] and (why_not := _no_upgrade(facts)):
        wants[RESTART] += [f"{reason} ({why_not})" for reason in wants.pop(UPGRADE)]
    action = next((action for action in (RESTART, UPGRADE, RELOAD, ENABLE) if wants.get(action)), NOTHING)
    why = tuple(reason for reasons in wants.values() for reason in reasons)
    edited = _edited(there, facts) if files else ()
    return Plan(action, why, files, edited, _strays(facts, proxy))


def _differs(there: File | None, name: str, sums: Mapping[str, str]) -> bool:
    return there is None or not there.matches(sums[name], MODES[name])


def _restart(files: tuple[str, ...], facts: Facts, proxy: Proxy, force: bool) -> list[str]:
    why = ["--force"] if force else []
    if not facts.active:
        why.append(f"the service is {facts.state}")
    if UNIT in files:
        why.append("the unit differs")
    elif facts.active and (_unread(facts) or not facts.took(UNIT_PATH, "unit")):
        why.append("it was started before the unit was changed")
    if facts.active and facts.process is None:
        why.append("its main process cannot be seen")
    if facts.process and facts.process.executable.removesuffix(" (deleted)") != paths(proxy)[BINARY]:
        why.append(f"it runs {facts.process.executable}")
    for pid in _strays(facts, proxy):
        why.append(f"a kube-nginx outside of the unit has the port (PID {pid})")
    if facts.active and not files and not _taken_but_listening(facts, proxy):
        why.append("it does not have its listen address")
    return why


def _unread(facts: Facts) -> bool:
    """Whether systemd has yet to read the unit; a drop-in of somebody's is no reason to restart."""
    return facts.unit.get("NeedDaemonReload") == "yes" and not facts.unit.get("DropInPaths")


def _taken_but_listening(facts: Facts, proxy: Proxy) -> bool:
    """Whether the listeners are there, as far as the configuration that runs can tell."""
    taken = facts.took(paths(proxy)[CONF], "conf")
    return not taken or all(facts.listens(address) for address in proxy.listen)


def _upgrade(files: tuple[str, ...], sums: Mapping[str, str], facts: Facts, version: str) -> list[str]:
    if BINARY in files:
        return [
            f"nginx {facts.version} becomes {version}"
            if version and facts.version and version != facts.version
            else "the binary differs"
        ]
    if facts.process and facts.process.sha256 != sums[BINARY]:
        return ["it runs another binary than the one on disk"]
    return []


def _no_upgrade(facts: Facts) -> str:
    """Why a new binary cannot take over from the running one; "" if it can."""
    if "PIDFile=" in facts.texts.get(UNIT_PATH, ""):
        return ""
    return "without PIDFile in the unit systemd would lose its main process"


def _reload(files: tuple[str, ...], facts: Facts, proxy: Proxy) -> list[str]:
    if CONF in files:
        return ["the configuration differs"]
    if facts.active and not facts.took(paths(proxy)[CONF], "conf"):
        return ["it has not taken the configuration that is on disk"]
    return []


def _strays(facts: Facts, proxy: Proxy) -> tuple[int, ...]:
    """Processes that run our binary and have the port, but are not the unit's."""
    ours = paths(proxy)[BINARY]
    holders = [facts.holder(address) for address in proxy.listen]
    strays = [h.pid for h in holders if h and h.executable.removesuffix("?(deleted)") == ours]
    return tuple(dict.fromkeys(strays))


def _edited(there: Mapping[str, str], facts: Facts) -> tuple[str, ...]:
    """The files that are not as the current release has them."""
    kept = facts.kept.get(CURRENT, {})
    return tuple(name for name, digest in there.items() if name in kept and kept[name] != digest)


def diffs(texts: Mapping[str, str], facts: Facts, proxy: Proxy) -> dict[str, str]:
    """Unified diffs of the configuration and the unit, from what the node has to what it is to have."""
    where = paths(proxy)
    return {
        name: "".join(
            unified_diff(
                facts.texts.get(where[name], "").splitlines(keepends=True),
                text.splitlines(keepends=True),
                f"{where[name]} (on the node)" if where[name] in facts.texts else "/dev/null",
                f"{where[name]} (from hosts.toml)",
                n=2,
            )
        )
        for name, text in texts.items()
        if facts.texts.get(where[name]) != text
    }


def returning(facts: Facts, proxy: Proxy) -> str:
    """The gentlest action after which a node runs its previous release. It must have one."""
    kept = facts.kept[PREVIOUS]
    there = found(facts, proxy)
    if not facts.active or kept.get(UNIT) != there.get(UNIT):
        return RESTART
    running = facts.process.sha256 if facts.process else ""
    if kept.get(BINARY) not in (there.get(BINARY), running) or there.get(BINARY) != running:
        return RESTART if _no_upgrade(facts) else UPGRADE
    return RELOAD
