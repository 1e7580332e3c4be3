"""What became of the hosts of a run: for people at its end, for programs as one JSON document."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from ..errors import StepError
from ..folding.alike import alike, listed, told
from ..results import Result, State, StepResult, as_json
from . import command_line

_CHANGED = (
    *(Result.CORRECTED, Result.ENABLED, Result.RELOADED, Result.UPGRADED, Result.RESTARTED),
    *(Result.INSTALLED, Result.ROLLED_BACK),
)
"""The results after which a host that did not fail is not what it was."""


@dataclass(frozen=True, slots=True)
class Record:
    """A result with its place: which host, which step, how many seconds; `slow`: what it waited for.

    `address` is HOST:PORT; "" of what is no host.
    """

    host: str
    step: str
    outcome: StepResult[object]
    seconds: float
    slow: str = ""
    address: str = ""

    @property
    def error(self) -> StepError | None:
        """Why it failed."""
        return self.outcome.error


@dataclass
class Summary:
    """All that is known of a run of `task` over `hosts`.

    `retry` is the line that repeats it, with {task} and {names}; `retries` those of hosts that have another
    (as several runs may have) by their names; `hint` what to do where hosts do not answer. `began`: when
    the run did, in ISO 8601 with its zone. `typed` is how hosts are named on a command line, where that is
    not by their names. `counts`: the results are counted even if there is none. `total` is what was found on
    all hosts together. `shard` and `limit` (of --limit or -H): which part of the fleet these are; "": all.
    """

    task: str
    hosts: list[str]
    retry: str
    hint: str = ""
    typed: Mapping[str, str] = field(default_factory=dict)
    records: list[Record] = field(default_factory=list)
    counts: bool = False
    total: object = None
    not_started: list[str] = field(default_factory=list)
    why_not: str = ""
    shard: str = ""
    limit: str = ""
    began: str = ""
    retries: Mapping[str, str] = field(default_factory=dict)

    @property
    def failed(self) -> list[str]:
        """The hosts that failed, in the fleet's order."""
        bad = {record.host for record in self.records if record.outcome.state == State.FAILED}
        return [host for host in self.hosts if host in bad]

    def stop(self, hosts: Sequence[str], why: str) -> None:
        """Notes that these hosts are not started, and why."""
        self.not_started += [host for host in hosts if host not in self.not_started]
        self.why_not = why

    def interrupted(self) -> None:
        """Notes that hosts which are not done are not started, or not wholly, since Ctrl-C came."""
        if not self.not_started:
            over = {r.host for r in self.records if r.outcome.result or r.step == self.task} | {*self.failed}
            self.stop([host for host in self.hosts if host not in over], "interrupted")

    def results(self) -> dict[str, str]:
        """What became of each host, for tasks that say so; a failure outweighs what was said before it."""
        if not (self.counts or self.not_started or any(r.outcome.result for r in self.records)):
            return {}
        return _results(self.records) | dict.fromkeys(self.not_started, str(Result.NOT_STARTED))

    def counted(self) -> str:
        """How many hosts have which result; "" for tasks that do not say."""
        results = self.results()
        counted = Counter(results[host] for host in self.hosts if host in results)
        counts = ", ".join(f"{count} {result}" for result, count in counted.items())
        return f"{self.task}: {counts}" if results else ""

    def failures(self) -> Iterator[str]:
        """Lines on what failed and what was not started, and what to do next."""
        yield "" if self.results() else f"\n{self.task}: {len(self.failed)} of {len(self.hosts)} failed"
        place = {host: at for at, host in enumerate(self.hosts)}
        in_order = sorted(self.records, key=lambda record: place[record.host])
        yield from grouped(in_order, self.typed)
        if self.hint and any(r.error and r.error.unreachable for r in self.records):
            yield f"  hint: {self.hint}"
        if self.not_started:
            yield from self._changed()
            yield f"{Result.NOT_STARTED}: {listed(self.not_started)}: {self.why_not}"
        yield from self._again()

    def _again(self) -> Iterator[str]:
        again = {*self.failed, *self.not_started}
        ways: dict[str, list[str]] = {}
        for host in self.hosts:
            if host in again:
                way = self.retries.get(host, self.retry)
                ways.setdefault(way, []).append(self.typed.get(host, host))
        for way, typed in ways.items():
            names = command_line.several(typed, may_be_file="--limit" in way)
            task = command_line.name_of(self.task)
            yield f"retry: {way.replace('{task}', task, 1).replace('{names}', names, 1)}"

    def _changed(self) -> Iterator[str]:
        failed = {*self.failed}
        done = {h: r for h, r in self.results().items() if r in _CHANGED and h not in failed}
        for result in dict.fromkeys(done.values()):
            yield f"{result}: {listed([host for host, what in done.items() if what == result])}"

    def document(self) -> str:
        """The JSON document; see docs/json.md."""
        results = self.results()
        by_host: dict[str, list[Record]] = {host: [] for host in self.hosts}
        for record in self.records:
            by_host[record.host].append(record)
        nodes = [self._node(host, mine, results.get(host)) for host, mine in by_host.items()]
        return json.dumps({**self._head(), "nodes": nodes}, indent=2)

    def line(self, host: str, mine: Sequence[Record]) -> dict[str, Any]:
        """What the document says of a host, when it has ended with these records; and that in a word."""
        told = self.counts or any(record.outcome.result for record in mine)
        result = _results(mine).get(host) if told else None
        left = host in self.not_started
        node = self._node(host, mine, str(Result.NOT_STARTED) if left else result)
        word = State.FAILED if not node["ok"] else State.CHANGED if node["changed"] else State.OK
        return {"node": host, "status": str(Result.NOT_STARTED if left else word), **node}

    def last_line(self, counts: Mapping[str, int]) -> dict[str, Any]:
        """What the document says of them all."""
        return {**self._head(), "counts": counts}

    def _head(self) -> dict[str, Any]:
        ok = not (self.failed or self.not_started)
        document = {"task": self.task, "ok": ok, "shard": self.shard, "limit": self.limit}
        document |= {"began": self.began, "retry": self.retry, "stopped": self.why_not}
        told = {key: value for key, value in document.items() if value != ""}
        return {**told, **(as_json(self.total) or {})}

    def _node(self, host: str, mine: Sequence[Record], result: str | None) -> dict[str, Any]:
        states = {record.outcome.state for record in mine}
        ok = State.FAILED not in states and result != Result.NOT_STARTED
        error = next((record for record in mine if record.error), None)
        address = next((record.address for record in mine if record.address), None)
        found: dict[str, Any] = {}
        for record in mine:
            found |= _found(record.outcome.value)
        return {
            "node": host,
            **({"typed": self.typed[host]} if self.typed.get(host, host) != host else {}),
            **({"address": address} if address else {}),
            "ok": ok,
            "changed": ok and result in _CHANGED if result else State.CHANGED in states,
            "steps": [_step(record) for record in mine],
            "error": error and error.error and self._error(host, error.step, error.error),
            **found,
            **({"result": result} if result else {}),
        }

    def _error(self, host: str, step: str, error: StepError) -> dict[str, Any]:
        return {
            "step": step,
            "message": error.message,
            "command": error.command,
            "status": error.status,
            "tail": error.tail.splitlines(),
            "hint": command_line.advice(error.hint, [self.typed.get(host, host)]),
        }


def _results(records: Iterable[Record]) -> dict[str, str]:
    seen, failed = {}, {}
    for record in records:
        if record.outcome.result:
            seen[record.host] = str(record.outcome.result)
        if record.error:
            failed[record.host] = str(record.outcome.result or Result.FAILED)
    return seen | failed


def _found(value: object) -> dict[str, Any]:
    """What a step found as keys of its node; what is no dataclass and no mapping is the key `value`."""
    told = as_json(value)
    return told if isinstance(told, dict) else {} if told is None else {"value": told}


def grouped(records: Sequence[Record], typed: Mapping[str, str]) -> list[str]:
    """The failures, each told once for all hosts that have the same one; they are `typed` so."""
    failed = {record.host: record for record in records if record.error}
    said = ((host, record.address, _said(record)) for host, record in failed.items())
    return [_explained(texts, failed[hosts[0]], hosts, typed) for texts, hosts in alike(said)]


def _said(record: Record) -> tuple[str, str, str]:
    """All that tells one failure from another."""
    error = cast(StepError, record.error)
    return f"{record.step}: {error.message}", error.tail, error.hint


def _explained(texts: Sequence[str], first: Record, hosts: Sequence[str], typed: Mapping[str, str]) -> str:
    """A failure in words: hosts, step, what was seen, the command, its last lines, what to do next."""
    message, tail, hint = texts
    lines = [told(message, hosts)]
    if first.error and first.error.command:
        command, *rest = first.error.command.strip().splitlines()
        lines.append(f"  command: {command}{' ...' if rest else ''}")
    lines += [f"  | {line}" for line in tail.splitlines()]
    own, meant, such = first.error.hint if first.error else hint, hosts, ""
    if hint.count("...") > own.count("..."):  # a command that lacks something cannot be typed
        hint, meant, such = own, hosts[:1], f"such as, for {hosts[0]}: "
    if hint:
        lines.append(f"  hint: {such}{command_line.advice(hint, [typed.get(host, host) for host in meant])}")
    return "\n".join(lines)


def refusal(task: str, message: str, as_line: bool = False, shard: str = "", limit: str = "") -> str:
    """The JSON document, or the last line, of a run that could not begin."""
    part = {key: text for key, text in {"shard": shard, "limit": limit}.items() if text}
    document = {"task": task, "ok": False, **part, "nodes": [], "error": message}
    return json.dumps(document, indent=None if as_line else 2)


def _step(record: Record) -> dict[str, Any]:
    return {
        "step": record.step,
        "state": record.outcome.state,
        "detail": record.outcome.detail,
        "seconds": round(record.seconds, 3),
    }
