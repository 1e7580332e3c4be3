"""What has to be done on a node: pure, from what it is to have and what a survey saw there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum

from ..config.address import Endpoint, parse_endpoint
from ..config.model import Proxy
from ..facts import layout
from ..facts.facts import CURRENT, PREVIOUS, Facts
from ..facts.paths import UNIT_PATH
from ..release.release import BINARY, CONF, NAMES, UNIT, found, name_of, paths
from ..results import Result
from ..watch import needs


class Action(StrEnum):
    """What can be done to a node, the least disruptive first."""

    NOTHING = "nothing"
    MODE = "mode"  # what is around the files is put right
    ENABLE = "enable"
    RELOAD = "reload"
    UPGRADE = "upgrade"
    RESTART = "restart"
    INSTALL = "install"
    STOP = "stop"  # where there is nothing to go back to


RESULTS = {
    Action.NOTHING: Result.UNCHANGED,
    Action.MODE: Result.CORRECTED,
    Action.ENABLE: Result.ENABLED,
    Action.RELOAD: Result.RELOADED,
    Action.UPGRADE: Result.UPGRADED,
    Action.RESTART: Result.RESTARTED,
    Action.INSTALL: Result.INSTALLED,
}
"""What a node is when it has been done."""

_NO_WATCH: Mapping[str, str] = {}
_UNKEPT = "its release is not kept there"


@dataclass(frozen=True, slots=True)
class Plan:
    """`why` gives each reason for it, `files` the names that are replaced.

    `stages`: the release has to be brought to the node, if only to be kept there. `edited` are files that
    somebody has changed on the node. `unmanaged` are PIDs that hold the port and are to end. `first`: there
    is no such service yet, nor any file of it, so that nobody can be harmed. `watch`: whether it is to run,
    None: it is as it should be.
    """

    action: Action
    why: tuple[str, ...]
    files: tuple[str, ...]
    edited: tuple[str, ...] = ()
    unmanaged: tuple[int, ...] = ()
    stages: bool = False
    first: bool = False
    watch: bool | None = None

    @property
    def result(self) -> Result:
        """What the node is when it has been done."""
        return RESULTS[self.action]


def plan(
    sums: Mapping[str, str],
    facts: Facts,
    proxy: Proxy,
    force: bool = False,
    version: str = "",
    silent: str = "",
    watch: Mapping[str, str] = _NO_WATCH,
) -> Plan:
    """The least disruptive action after which the node runs the files with these sha256 `sums`.

    nothing < mode (users, folders, permissions, links, the watch) < enable < reload (the configuration
    differs) < upgrade (the binary differs) < restart (the unit differs, or the service is not as it should
    be) < install (none of the files is there). `force` asks for a restart in any case; so does `silent`, why
    the service is known not to serve. `version` is nginx's, `watch` are the sums of the watch's files.
    """
    there, of_watch = found(facts, proxy), needs.reasons(watch, facts, proxy)
    watches = bool(watch) if of_watch else None
    files = tuple(name for name in NAMES if there.get(name) != sums[name])
    if not there and facts.process is None:
        nothing, unmanaged = ("nothing of it is there",), _unmanaged(facts, proxy)
        first = facts.unit.get("LoadState", "not-found") == "not-found" and not unmanaged
        return Plan(Action.INSTALL, nothing, files, (), unmanaged, stages=True, first=first, watch=watches)
    kept = _kept(sums, facts)
    wants = {
        Action.RESTART: _restart(files, facts, proxy, force, silent),
        Action.UPGRADE: _upgrade(files, sums, facts, version),
        Action.RELOAD: _reload(files, facts, proxy),
        Action.ENABLE: [] if facts.enabled else ["it does not start at boot"],
        Action.MODE: [*layout.around(facts, proxy, files), *of_watch],
    }
    if not kept and not any(reasons for action, reasons in wants.items() if action != Action.MODE):
        wants[Action.MODE] += [_UNKEPT]
    if wants[Action.UPGRADE] and (why_not := _no_upgrade(facts, proxy)):
        wants[Action.RESTART] += [f"{reason} ({why_not})" for reason in wants.pop(Action.UPGRADE)]
    action = next((action for action in reversed(Action) if wants.get(action)), Action.NOTHING)
    why = tuple(reason for reasons in wants.values() for reason in reasons)
    edited = _edited(there, facts) if files else ()
    stages = bool(files) or not kept or bool(needs.missing(watch, facts, proxy))
    return Plan(action, why, files, edited, _unmanaged(facts, proxy), stages, watch=watches)


def _kept(sums: Mapping[str, str], facts: Facts) -> bool:
    """Whether the node has the whole release to go back to, and knows that it is the current one."""
    return facts.releases.get(CURRENT) == name_of(sums) and facts.kept.get(CURRENT) == sums


def _restart(files: tuple[str, ...], facts: Facts, proxy: Proxy, force: bool, silent: str) -> list[str]:
    process, why = facts.process, ["--force"] if force else []
    if not facts.active:
        why.append(f"the service is {facts.state}")
    if UNIT in files:
        why.append("the unit differs")
    elif facts.active and not facts.took(UNIT_PATH, "unit"):
        why.append("it was started before the unit was changed")
    else:
        why += layout.user(facts, proxy)
    if facts.active and process is None:
        why.append("its main process cannot be seen")
    if process and not layout.runs_ours(facts, proxy):
        why.append(f"it runs {process.executable}")
    why += [f"it cannot listen on {new} while it has {old}" for new, old in facts.overlapping(proxy.listen)]
    for pid in _unmanaged(facts, proxy):
        why.append(f"a kube-nginx outside of the unit has the port (PID {pid})")
    if facts.active and not files and not _taken_but_listening(facts, proxy):
        why.append("it does not have its listen address")
    return [*why, silent] if silent else why


def _taken_but_listening(facts: Facts, proxy: Proxy) -> bool:
    """Whether the listeners are there, as far as the configuration that runs can tell."""
    taken = facts.took(paths(proxy)[CONF], "conf")
    return not taken or all(facts.listens(address) for address in proxy.listen)


def _upgrade(files: tuple[str, ...], sums: Mapping[str, str], facts: Facts, version: str) -> list[str]:
    runs = facts.process.sha256 if facts.process else ""
    if BINARY in files and runs != sums[BINARY]:
        return [
            f"nginx {facts.version} becomes {version}"
            if version and facts.version and version != facts.version
            else "the binary differs"
        ]
    if BINARY in files:
        return ["the binary differs"]
    if runs and runs != sums[BINARY]:
        return ["it runs another binary than the one on disk"]
    return []


def _no_upgrade(facts: Facts, proxy: Proxy) -> str:
    """Why a new binary cannot take over from the running one; "" if it can."""
    if "PIDFile=" not in facts.texts.get(UNIT_PATH, ""):
        return "without PIDFile in the unit systemd would lose its main process"
    if facts.process and facts.process.detached and layout.runs_ours(facts, proxy):
        return "the service cannot write to logs, which was removed under it"
    return ""


def _reload(files: tuple[str, ...], facts: Facts, proxy: Proxy) -> list[str]:
    why = [*layout.processes(facts)]
    if CONF in files:
        return ["the configuration differs", *why]
    if facts.active and not facts.took(paths(proxy)[CONF], "conf"):
        return ["it has not taken the configuration that is on disk", *why]
    return why


def _unmanaged(facts: Facts, proxy: Proxy) -> tuple[int, ...]:
    """Processes that run our binary and have the port, but are not the unit's."""
    ours = paths(proxy)[BINARY]
    holders = [facts.holder(address) for address in proxy.listen]
    unmanaged = [h.pid for h in holders if h and h.executable.removesuffix("?(deleted)") == ours]
    return tuple(dict.fromkeys(unmanaged))


def _edited(there: Mapping[str, str], facts: Facts) -> tuple[str, ...]:
    """The files that are not as the current release has them."""
    kept = facts.kept.get(CURRENT, {})
    return tuple(name for name, digest in there.items() if name in kept and kept[name] != digest)


def _listens(text: str) -> Iterator[Endpoint]:
    for word in text.split():
        with suppress(ValueError):
            yield parse_endpoint(word)


def returning(facts: Facts, proxy: Proxy) -> Action:
    """The least disruptive action after which a node runs its previous release. It must have one."""
    kept = facts.kept[PREVIOUS]
    there = found(facts, proxy)
    if not facts.active or kept.get(UNIT) != there.get(UNIT):
        return Action.RESTART
    if any(facts.overlapping([*_listens(facts.listens_in.get(PREVIOUS, ""))])):
        return Action.RESTART
    running = facts.process.sha256 if facts.process else ""
    if kept.get(BINARY) not in (there.get(BINARY), running) or there.get(BINARY) != running:
        return Action.RESTART if _no_upgrade(facts, proxy) else Action.UPGRADE
    return Action.RELOAD
