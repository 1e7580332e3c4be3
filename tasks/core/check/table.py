"""The table of nodes and apiservers, in words and colours, and what is bad in sentences. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.text import Text

from ..config.address import APISERVER_PORT, Endpoint
from ..console.command_line import named
from ..errors import StepError
from ..results import State
from .node_check import NodeCheck

_COLOURS = {State.FAILED: "red", State.WARNING: "yellow", State.OK: "green"}
_KINDS = {State.FAILED: "bad", State.WARNING: "warning", State.OK: "note"}
THROUGH = "THROUGH KUBE-NGINX"


def columns(apiservers: Sequence[Endpoint]) -> list[str]:
    """The heads; an apiserver's port is left out where it is the usual one."""
    names = [a.host if a.port == APISERVER_PORT else str(a) for a in apiservers]
    return ["NODE", *names, THROUGH, "DRIFT"]


def lines(
    nodes: Sequence[str], seen: Mapping[str, NodeCheck], apiservers: Sequence[Endpoint]
) -> list[list[str | Text]]:
    """One line a node; of a node that failed before, that it was not seen."""
    return [[node, *_cells(seen.get(node), apiservers)] for node in nodes]


def _cells(check: NodeCheck | None, apiservers: Sequence[Endpoint]) -> list[str | Text]:
    if check is None or check.through is None:
        return [_painted(State.FAILED, "not seen"), *["-"] * (len(apiservers) + 1)]
    drift = check.drift or ()
    more = f" +{len(drift) - 1}" if len(drift) > 1 else ""
    drifted = drift[0].what + more if drift else "none" if check.installed else "-"
    met = [*(check.apiservers[apiserver] for apiserver in apiservers), check.through]
    state = State.WARNING if drift else State.OK
    return [*(_painted(there.state, there.word) for there in met), _painted(state, drifted)]


def _painted(state: State, word: str) -> Text:
    return Text(word, _COLOURS[state])


def notes(seen: Mapping[str, NodeCheck]) -> list[str]:
    """What is bad, in sentences, each told once for all nodes and all places that have it."""
    nodes: dict[tuple[State, str, str], list[str]] = {}
    for node, check in seen.items():
        found = [(there.state, place, there.detail) for place, there in check.met.items() if there.detail]
        found += [(State.WARNING, "drift", drift.detail) for drift in check.drift or ()]
        for finding in found:
            nodes.setdefault(finding, []).append(node)
    places: dict[tuple[State, str, str], list[str]] = {}
    for (state, place, text), names in nodes.items():
        who = f"all {len(seen)} nodes" if len(names) == len(seen) > 1 else ", ".join(names)
        places.setdefault((state, who, text), []).append(place)
    sentences = [
        f"{kind}: {who}: {', '.join(at)}: {text}"
        for wanted, kind in _KINDS.items()
        for (state, who, text), at in places.items()
        if state == wanted
    ]
    if any(drift.known for check in seen.values() for drift in check.drift or ()):
        sentences.append(named("hint: fab diff shows what has drifted, fab deploy brings it back"))
    return sentences


def unseen(failures: Mapping[str, StepError]) -> list[str]:
    """Why nodes were not seen, each reason told once for all that have it."""
    nodes: dict[str, list[str]] = {}
    for node, error in failures.items():
        nodes.setdefault(error.message, []).append(node)
    return [f"bad: {', '.join(names)}: {message}" for message, names in nodes.items()]


def summary(check: NodeCheck) -> str:
    """All of a node in one line."""
    bad = [f"{place} {there.word}" for place, there in check.met.items() if there.state != State.OK]
    bad += [f"drift: {drift.what}" for drift in check.drift or ()]
    silent = any(there.result.tells_nothing for there in check.met.values())
    return "; ".join(bad) or f"all {'answer' if silent else 'ready'}, the proxy too"
