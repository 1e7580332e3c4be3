"""The table of nodes and apiservers, in words and colours, and what is bad in sentences. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.text import Text

from ..config.address import APISERVER_PORT, Endpoint
from ..console.command_line import named
from ..errors import StepError
from ..folding.alike import alike, listed, told
from ..results import State
from ..trust.advisories import sentence
from ..users.judged import sentences
from ..watch.seen import WatchState
from .node_check import NodeCheck

_COLOURS = {State.FAILED: "red", State.WARNING: "yellow", State.OK: "green"}
_KINDS = {State.FAILED: "bad", State.WARNING: "warning", State.OK: "note"}
_TOLD = (WatchState.NOT_RUNNING, WatchState.NOT_POSSIBLE, WatchState.SILENT)
THROUGH, USERS = "THROUGH", "USERS"


def columns(apiservers: Sequence[Endpoint]) -> list[str]:
    """The heads; an apiserver's port is left out where it is the usual one."""
    names = [a.host if a.port == APISERVER_PORT else str(a) for a in apiservers]
    return ["NODE", *names, THROUGH, "DRIFT", USERS]


def lines(
    nodes: Sequence[str], seen: Mapping[str, NodeCheck], apiservers: Sequence[Endpoint]
) -> list[list[str | Text]]:
    """One line a node; of a node that failed before, that it was not seen."""
    return [[node, *_cells(seen.get(node), apiservers)] for node in nodes]


def _cells(check: NodeCheck | None, apiservers: Sequence[Endpoint]) -> list[str | Text]:
    if check is None or check.through is None:
        return [_painted(State.FAILED, "not seen"), *["-"] * (len(apiservers) + 2)]
    drift = check.drift or ()
    more = f" +{len(drift) - 1}" if len(drift) > 1 else ""
    drifted = drift[0].what + more if drift else "none" if check.installed else "-"
    met = [*(check.apiservers[apiserver] for apiserver in apiservers), check.through]
    state = State.WARNING if drift else State.OK
    cells = [*(_painted(there.state, there.word) for there in met), _painted(state, drifted)]
    return [*cells, _painted(check.users.state, check.users.word) if check.users else "-"]


def _painted(state: State, word: str) -> Text:
    return Text(word, _COLOURS[state])


def notes(seen: Mapping[str, NodeCheck]) -> list[str]:
    """What is bad, in sentences, each told once for all nodes and all places that have it."""
    places: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for (state, place, text), nodes in alike(_found(seen)):
        places.setdefault((state, text, tuple(nodes)), []).append(place)
    sentences = [
        f"{kind}: {_who(nodes, len(seen))}: {', '.join(at)}: {text}"
        for wanted, kind in _KINDS.items()
        for (state, text, nodes), at in places.items()
        if state == wanted
    ]
    if any(drift.known for check in seen.values() for drift in check.drift or ()):
        sentences.append(named("hint: fab diff shows what has drifted, fab deploy brings it back"))
    return sentences


def _found(seen: Mapping[str, NodeCheck]) -> Iterator[tuple[str, str, tuple[str, str, str]]]:
    """Of each node what is to be told: state, place, sentence."""
    for node, check in seen.items():
        for place, there in check.met.items():
            if there.detail:
                yield node, "", (there.state, place, there.detail)
        for drift in check.drift or ():
            yield node, "", (State.WARNING, "drift", drift.detail)
        for ejection in check.watch.ejected if check.watch else ():
            why = f"the watch keeps nginx from it for {ejection.seconds} s: {ejection.why}"
            yield node, "", (State.WARNING, ejection.apiserver, why)
        if check.watch and check.watch.state in _TOLD:
            yield node, "", (State.WARNING if check.lame else State.OK, "watch", check.watch.why)
        if check.advisories:  # a node that works is not in a worse state for it
            yield node, "", (State.WARNING, "version", sentence(check.version, check.advisories))
        for state, text in sentences(check.users) if check.users else ():
            yield node, "", (state, "users", text)


def _who(nodes: Sequence[str], count: int) -> str:
    return f"all {count} nodes" if len(nodes) == count > 1 else listed(nodes)


def unseen(failures: Mapping[str, StepError], addresses: Mapping[str, str]) -> list[str]:
    """Why nodes, which have these addresses, were not seen: each reason told once for all that have it."""
    said = ((node, addresses.get(node, ""), [error.message]) for node, error in failures.items())
    return [f"bad: {told(message, nodes)}" for (message,), nodes in alike(said)]


def summary(check: NodeCheck) -> str:
    """All of a node in one line."""
    bad = [f"{place} {there.word}" for place, there in check.met.items() if there.state != State.OK]
    bad += [f"drift: {drift.what}" for drift in check.drift or ()]
    bad += [f"watch {check.watch}"] if check.lame else []
    bad += [f"users: {check.users.word}"] if check.users and check.users.warnings else []
    silent = any(there.result.tells_nothing for there in check.met.values())
    return "; ".join(bad) or f"all {'answer' if silent else 'ready'}, the proxy too"
