"""What state the service is in on a node: what `fab status` shows."""

from __future__ import annotations

from typing import Any

from ..config.settings import Settings
from ..errors import StepError, last_lines
from ..facts import layout
from ..facts.facts import CURRENT, Facts
from ..facts.remedy import brings_up
from ..probes.proof import listener_state
from ..release.release import found, name_of
from ..results import StepResult
from ..scripts import commands
from ..ssh.node import Node

COLUMNS = ("NODE", "STATE", "SINCE", "RESTARTS", "VERSION", "RELEASE", "LISTENER")


def look(settings: Settings, node: Node) -> StepResult[object]:
    """The state of the service on `node`; failed unless it is active, and an apiserver answers through it."""
    facts = node.survey(settings.proxy)
    met = {str(a): listener_state(node, settings, a) for a in settings.proxy.listen}
    data = {
        "state": facts.unit.get("ActiveState", ""),
        "substate": facts.unit.get("SubState", ""),
        "since": facts.unit.get("ActiveEnterTimestamp") if facts.active else None,
        "since_seconds": None if facts.active_seconds is None else round(facts.active_seconds, 1),
        "restarts": facts.restarts,
        "enabled": facts.enabled,
        "unit": list(layout.unit_state(facts)),
        "version": facts.version,
        "release": facts.releases.get(CURRENT, ""),
        "edited": _edited(facts, settings),
        "replaced": facts.replaced,
        "listeners": {address: state for address, (state, _) in met.items()},
    }
    silent = [(address, *seen) for address, seen in met.items() if seen[0] not in ("answers", "listens")]
    gone = [word for word in layout.unit_state(facts) if word in layout.UNSUPERVISED]
    if facts.active and not silent and not gone:
        return StepResult("ok", f"{facts.state}, nginx {facts.version}", data)
    why, then = facts.state, brings_up(facts, settings.proxy)
    if facts.active and not silent:
        why = f"active, but {gone[0]}: nothing starts it again after a crash or a boot"
    elif facts.active:
        address, state, text = silent[0]
        why = f"active, but {address}: {state}" + (
            f", no apiserver answers through it: {text}" if text else ""
        )
        then = "fab check --limit {nodes}" if state == "accepts" else then
    log = node.sh(commands.journal(5, follow=False), check=False).stdout
    hint = "see why: fab logs --limit {nodes}" + (f"; then {then}" if then else "")
    return StepResult("failed", why, data, StepError(why, tail=last_lines(log), hint=hint))


def row(host: str, data: dict[str, Any]) -> tuple[str, ...]:
    """Of COLUMNS, what `look` saw of `host`."""
    if not data:
        return (host, "not seen", "-", "-", "-", "-", "-")
    restarts = data["restarts"]
    return (
        host,
        ", ".join([f"{data['state']} ({data['substate']})", *_disabled(data), *data["unit"]]),
        _age(data["since_seconds"]),
        "-" if restarts is None else str(restarts),
        (data["version"] or "-") + (", replaced" if data["replaced"] else ""),
        (data["release"] or "-") + (", edited" if data["edited"] else ""),
        _listeners(data["listeners"]),
    )


def _disabled(data: dict[str, Any]) -> list[str]:
    return [] if data["enabled"] else ["disabled"]


def _edited(facts: Facts, settings: Settings) -> bool:
    """Whether other files are in use than those of the release that was put there."""
    name = facts.releases.get(CURRENT)
    return bool(name) and name_of(found(facts, settings.proxy)) != name


def _listeners(seen: dict[str, str]) -> str:
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
