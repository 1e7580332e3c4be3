"""What is told at the end: plans, failures and what to do about them, and the JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import Console

from ..errors import StepError
from ..results import as_json
from .command_line import advice
from .report import Record

_DIFF = {"+": "green", "-": "red", "@": "cyan"}


def show_plans(console: Console, plans: dict[str, dict[str, Any]]) -> None:
    """What deploy would do to each host, and the diffs of its files; each told once for all alike."""
    alike: dict[str, list[str]] = {}
    for host, data in plans.items():
        alike.setdefault("\n".join(_plan(data)), []).append(host)
    for text, hosts in alike.items():
        first, *lines = text.split("\n")
        for line in ("", f"{', '.join(hosts)}: {first}", *lines):
            style = _DIFF.get(line[:1], "")
            console.print(line, markup=False, highlight=False, soft_wrap=True, style=style)


def _plan(data: dict[str, Any]) -> Iterator[str]:
    yield f"{data['action']}: {'; '.join(data['why'])}"
    for name in data["edited"]:
        yield f"{name} was edited on the node; deploy keeps a copy of it there"
    for path in data.get("drop_ins", ()):
        yield f"{path} changes the unit, and is not deploy's"
    for text in data["diffs"].values():
        yield from text.splitlines()


def explain(error: StepError, step: str, hosts: Sequence[str]) -> str:
    """A failure in words: hosts, step, what was seen, the command, its last lines, what to do next."""
    lines = [f"{', '.join(hosts)}: {step}: {error.message}"]
    if error.command:
        first, *rest = error.command.strip().splitlines()
        lines.append(f"  command: {first}{' ...' if rest else ''}")
    lines += [f"  | {line}" for line in error.tail.splitlines()]
    if error.hint:
        lines.append(f"  to do: {advice(error.hint, hosts)}")
    return "\n".join(lines)


def grouped(records: Sequence[Record]) -> list[str]:
    """The failures, each told once for all hosts that have the same one."""
    groups: dict[tuple[str, str, str, str], tuple[StepError, list[str]]] = {}
    for record in records:
        error = record.error
        if error:
            key = (record.step, error.message, error.tail, error.hint)
            groups.setdefault(key, (error, []))[1].append(record.host)
    return [explain(error, key[0], hosts) for key, (error, hosts) in groups.items()]


NOT_BEGUN = "not begun"
CHANGED = ("corrected", "enabled", "reloaded", "upgraded", "restarted", "installed", "went back")
"""The results after which a host is not what it was."""


def document(
    task: str,
    records: Sequence[Record],
    hosts: Sequence[str],
    results: Mapping[str, str] | None = None,
    summary: Mapping[str, Any] | None = None,
) -> str:
    """The JSON document of a run; `results` says what became of each host, for tasks that say so.

    `summary` is what a task says of all hosts together.
    """
    results = results or {}
    nodes = []
    for host in hosts:
        mine = [r for r in records if r.host == host]
        error = next((r for r in mine if r.error), None)
        data: dict[str, Any] = {}
        for record in mine:
            data |= record.outcome.data | (as_json(record.outcome.value) or {})
        nodes.append(
            {
                "node": host,
                "ok": results.get(host) != NOT_BEGUN and all(r.outcome.state != "failed" for r in mine),
                "changed": _is_changed(mine, results.get(host)),
                "steps": [
                    {
                        "step": r.step,
                        "state": r.outcome.state,
                        "detail": r.outcome.detail,
                        "seconds": round(r.seconds, 3),
                    }
                    for r in mine
                ],
                "error": error and error.error and _error(host, error.step, error.error),
                **data,
                **({"result": results[host]} if host in results else {}),
            }
        )
    ok = NOT_BEGUN not in results.values() and all(r.outcome.state != "failed" for r in records)
    return json.dumps({"task": task, "ok": ok, **(summary or {}), "nodes": nodes}, indent=2)


def _is_changed(mine: Sequence[Record], result: str | None) -> bool:
    return any(r.outcome.state == "changed" for r in mine) if result is None else result in CHANGED


def refusal(task: str, message: str) -> str:
    """The JSON document of a run that could not begin."""
    return json.dumps({"task": task, "ok": False, "nodes": [], "error": message}, indent=2)


def _error(host: str, step: str, error: StepError) -> dict[str, Any]:
    return {
        "step": step,
        "message": error.message,
        "command": error.command,
        "status": error.status,
        "tail": error.tail.splitlines(),
        "hint": advice(error.hint, [host]),
    }
