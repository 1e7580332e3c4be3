"""The table of nodes and apiservers: for people, in words and colours, and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.text import Text

from ..config.address import APISERVER_PORT
from ..config.settings import Endpoint
from ..console.command_line import named
from ..errors import StepError
from ..probes.probe import FAILED, OK, SILENT, WARNING, Cell, as_json
from .ways import Row

_COLOURS = {OK: "green", WARNING: "yellow", FAILED: "red"}
_KINDS = {OK: "note", WARNING: "warning", FAILED: "bad"}
THROUGH = "THROUGH KUBE-NGINX"


def columns(apiservers: Sequence[Endpoint]) -> list[str]:
    """The heads; an apiserver's port is left out where it is the usual one."""
    names = [a.host if a.port == APISERVER_PORT else str(a) for a in apiservers]
    return ["NODE", *names, THROUGH, "DRIFT"]


def lines(
    nodes: Sequence[str], rows: Mapping[str, Row], apiservers: Sequence[Endpoint]
) -> list[list[str | Text]]:
    """One line a node; of a node that failed before, that it was not seen."""

    def line(node: str) -> list[str | Text]:
        row = rows.get(node)
        if row is None:
            return [node, _painted(FAILED, "not seen"), *["-"] * (len(apiservers) + 1)]
        cells = [*(row.direct[a] for a in apiservers), row.worst]
        return [node, *(_painted(cell.state, cell.word) for cell in cells), _painted(*_drifted(row))]

    return [line(node) for node in nodes]


def _painted(state: str, word: str) -> Text:
    return Text(word, _COLOURS[state])


def _drifted(row: Row) -> tuple[str, str]:
    if not row.drift:
        return OK, "-" if row.facts.state == "not installed" else "none"
    more = f" +{len(row.drift) - 1}" if len(row.drift) > 1 else ""
    return WARNING, row.drift[0].word + more


def notes(rows: Sequence[Row]) -> list[str]:
    """What is bad, in sentences, each told once for all nodes and all places that have it."""
    nodes: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        for kind, place, text in _details(row):
            nodes.setdefault((kind, place, text), []).append(row.node)
    places: dict[tuple[str, str, str], list[str]] = {}
    for (kind, place, text), names in nodes.items():
        places.setdefault((kind, _among(names, len(rows)), text), []).append(place)
    order = (*_KINDS.values(),)[::-1]
    told = [
        f"{kind}: {who}: {', '.join(places)}: {text}"
        for (kind, who, text), places in sorted(places.items(), key=lambda group: order.index(group[0][0]))
    ]
    if any(drift.known for row in rows for drift in row.drift):
        told.append(named("hint: fab diff shows what has drifted, fab deploy brings it back"))
    return told


def unseen(failures: Mapping[str, StepError]) -> list[str]:
    """Why nodes were not seen, each reason told once for all that have it."""
    nodes: dict[str, list[str]] = {}
    for node, error in failures.items():
        nodes.setdefault(error.message, []).append(node)
    return [f"bad: {', '.join(names)}: {message}" for message, names in nodes.items()]


def _details(row: Row) -> Iterator[tuple[str, str, str]]:
    for apiserver, cell in row.direct.items():
        if cell.detail:
            yield _KINDS[cell.state], str(apiserver), cell.detail
    for listener, cell in row.through.items():
        if cell.detail:
            yield _KINDS[cell.state], f"through {listener}", cell.detail
    for drift in row.drift:
        yield _KINDS[WARNING], "drift", drift.text


def _among(nodes: Sequence[str], count: int) -> str:
    return f"all {count} nodes" if len(nodes) == count > 1 else ", ".join(nodes)


def summary(row: Row) -> str:
    """The row in one line."""
    met = [(str(apiserver), cell) for apiserver, cell in row.direct.items()]
    met += [(f"through {listener}", cell) for listener, cell in row.through.items()]
    bad = [f"{what} {cell.word}" for what, cell in met if cell.state != OK]
    bad += [f"drift: {drift.word}" for drift in row.drift]
    silent = any(cell.seen.status in SILENT for _, cell in met)
    return "; ".join(bad) or f"all {'answer' if silent else 'ready'}, the proxy too"


UNSEEN: Mapping[str, Any] = {
    "way": None,
    "clock_seconds": None,
    "apiservers": {},
    "through": None,
    "drift": None,
}
"""The row for programs, of a node that failed before anything was seen."""


def document(row: Row) -> dict[str, Any]:
    """The row for programs."""
    listeners = {str(listener): _listener(cell) for listener, cell in row.through.items()}
    return {
        "way": _way([*row.direct.values(), *row.through.values()]),
        "clock_seconds": round(row.facts.clock, 1),
        "apiservers": {str(apiserver): as_json(cell) for apiserver, cell in row.direct.items()},
        "through": {**_listener(row.worst), "listeners": listeners},
        "drift": [{"what": drift.word, "detail": drift.text} for drift in row.drift],
    }


def _listener(cell: Cell) -> dict[str, Any]:
    return {**as_json(cell), "led_to": [*map(str, cell.led)]}


def _way(cells: Sequence[Cell]) -> bool | None:
    """Whether any of them leads to an apiserver that serves; None: not known."""
    ways = {cell.way for cell in cells}
    return True if True in ways else None if None in ways else False
