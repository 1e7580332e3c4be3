"""What state the service is in on a node: what `fab status` shows."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ..config.model import Settings
from ..errors import StepError, last_lines
from ..facts import layout
from ..facts.facts import CURRENT, Facts
from ..facts.remedy import brings_up
from ..probes.proof import listener_state
from ..release.release import found, name_of
from ..results import State, StepResult, output
from ..scripts.service import LastLines
from ..ssh.node import Node
from ..watch.seen import WatchSeen, watch_of


@dataclass(frozen=True, slots=True)
class NodeStatus:
    """The service on one node."""

    state: str = output("systemd's ActiveState")
    substate: str = output("its SubState")
    since: str | None = output("the time since when it is active, as systemd writes it; null while it is not")
    since_seconds: float | None = output("for how many seconds it has been; null while it is not", digits=1)
    restarts: int | None = output("how often systemd restarted it by itself; null before systemd 235")
    enabled: bool = output("whether it starts at boot")
    unit: tuple[str, ...] = output("what is wrong with the unit, or added to it: `drop-in`, `masked`, ...")
    version: str = output("nginx's version that runs")
    release: str = output("the release that was put there last")
    edited: bool = output("whether other files are in use than those of that release")
    replaced: bool = output("whether another binary runs than the one on disk")
    watch: WatchSeen = output("kube-nginx-watch")
    listeners: Mapping[str, str] = output("of each address: `answers`, `accepts`, `listens`, `refuses`, ...")


_COLUMNS: Mapping[str, Callable[[NodeStatus], str]] = {
    "STATE": lambda seen: ", ".join(
        [f"{seen.state} ({seen.substate})", *([] if seen.enabled else ["disabled"]), *seen.unit]
    ),
    "SINCE": lambda seen: _age(seen.since_seconds),
    "RESTARTS": lambda seen: "-" if seen.restarts is None else str(seen.restarts),
    "VERSION": lambda seen: (seen.version or "-") + (", replaced" if seen.replaced else ""),
    "RELEASE": lambda seen: (seen.release or "-") + (", edited" if seen.edited else ""),
    "WATCH": lambda seen: str(seen.watch),
    "LISTENER": lambda seen: _listeners(seen.listeners),
}
COLUMNS = ("NODE", *_COLUMNS)


def status_of(settings: Settings, node: Node) -> StepResult[NodeStatus]:
    """The state of the service on `node`; failed unless it is active, and an apiserver answers through it."""
    facts = node.survey(settings.proxy)
    met = {str(a): listener_state(node, settings, a) for a in settings.proxy.listen}
    found = NodeStatus(
        state=facts.unit.get("ActiveState", ""),
        substate=facts.unit.get("SubState", ""),
        since=facts.unit.get("ActiveEnterTimestamp") if facts.active else None,
        since_seconds=facts.active_seconds,
        restarts=facts.restarts,
        enabled=facts.enabled,
        unit=tuple(layout.unit_state(facts)),
        version=facts.version,
        release=facts.releases.get(CURRENT, ""),
        edited=_edited(facts, settings),
        replaced=facts.replaced,
        watch=watch_of(facts, settings),
        listeners={address: state for address, (state, _) in met.items()},
    )
    why, then = _missing(facts, settings, met)
    if not why:
        return StepResult(State.OK, f"{facts.state}, nginx {facts.version}", value=found)
    log = node.do(LastLines(5))
    hint = "see why: fab logs --limit {nodes}" + (f"; then {then}" if then else "")
    error = StepError(why, tail=last_lines(log), hint=hint)
    return StepResult(State.FAILED, why, value=found, error=error)


def _missing(facts: Facts, settings: Settings, met: Mapping[str, tuple[str, str]]) -> tuple[str, str]:
    """Why the service is not as it should be, and what brings it up; "": it is."""
    remedy = brings_up(facts, settings.proxy)
    if not facts.active:
        return facts.state, remedy
    for address, (state, text) in met.items():
        if state not in ("answers", "listens"):
            why = f", no apiserver answers through it: {text}" if text else ""
            then = "fab check --limit {nodes}" if state == "accepts" else remedy
            return f"active, but {address}: {state}{why}", then
    gone = next((word for word in layout.unit_state(facts) if word in layout.UNSUPERVISED), "")
    return (
        (f"active, but {gone}: nothing starts it again after a crash or a boot", remedy) if gone else ("", "")
    )


def rows(nodes: Sequence[str], found: Mapping[str, NodeStatus | None]) -> list[tuple[str, ...]]:
    """Of COLUMNS, in the order of `nodes`; those that are not in `found` are left out."""
    unseen = ("not seen", *["-"] * (len(_COLUMNS) - 1))
    return [
        (node, *(column(seen) for column in _COLUMNS.values())) if (seen := found[node]) else (node, *unseen)
        for node in nodes
        if node in found
    ]


def _edited(facts: Facts, settings: Settings) -> bool:
    """Whether other files are in use than those of the release that was put there."""
    name = facts.releases.get(CURRENT)
    return bool(name) and name_of(found(facts, settings.proxy)) != name


def _listeners(seen: Mapping[str, str]) -> str:
    """One word if all is well."""
    if set(seen.values()) == {"answers"}:
        return "answers"
    return ", ".join(f"{address} {state}" for address, state in seen.items())


def _age(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
