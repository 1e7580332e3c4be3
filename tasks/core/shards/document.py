"""What a run left behind with --json, read and checked: docs/json.md says what is in it."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from ..console.summary import Record
from ..errors import StepError, UsageError
from ..localfiles import read_bounded
from ..results import Result, State, StepResult
from .selection import Shard, shard_of

T = TypeVar("T")

LIMITED = "fab {task} --limit {names}"
"""How a task is repeated on nodes of hosts.toml, where a document does not say it."""
_MOST = 1 << 30  # bytes: the diffs of 100,000 nodes are in it


@dataclass(frozen=True, slots=True)
class NodeRun:
    """What became of a node. `result` is "" in tasks that do not say; `told` is all that the document has.

    `typed` is how a command line names it, and `retry` the one that repeats the task: with {task}, {names}.
    """

    name: str
    typed: str
    retry: str
    ok: bool
    result: str
    records: tuple[Record, ...]
    told: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Document:
    """What a run of `task` wrote into `file`.

    `shard` and `limit`: which part of the fleet it went over; None and "": all. `stopped` is why nodes were
    not started, and `error` why it could not begin; "": it could. `began`: None where it does not say.
    """

    file: str
    task: str
    shard: Shard | None
    limit: str
    stopped: str
    error: str
    began: datetime | None
    nodes: tuple[NodeRun, ...]


def read(file: str) -> Document:
    """The document in a file or a pipe. Raises UsageError: it is none, and why."""
    try:
        return _document(file, _parsed(read_bounded(Path(file), _MOST, piped=True)))
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    except (ValueError, UsageError) as error:
        raise UsageError(f"{file}: {error}") from None


def _parsed(content: bytes) -> object:
    """The document, also of a run that wrote a line for each node, and then one of all of them."""
    if not content.strip():
        raise ValueError("is empty: that run has not ended, or had no --json")
    try:
        text = content.decode()
    except UnicodeDecodeError:
        raise ValueError("is no text in UTF-8") from None
    lines = [*enumerate(text.split("\n"))] if text.startswith('{"') else [(0, text)]
    *nodes, (_, last) = [(number, _json(line, number)) for number, line in lines if line.strip()]
    if isinstance(last, dict) and "node" in last:
        raise ValueError("ends before its run did: the last line is of a node")
    for number, node in nodes:
        if not (isinstance(node, dict) and "node" in node):
            other = "is of no node, and not the last: give each document a file of its own"
            raise ValueError(f"line {number + 1} {other}")
    if not isinstance(last, dict) or len(lines) == 1:
        return last
    if nodes and last.get("nodes"):
        other = "and more in its last line: give each document a file of its own"
        raise ValueError(f"has nodes in lines of their own, {other}")
    return {"nodes": [], **last} | ({"nodes": [node for _, node in nodes]} if nodes else {})


def _json(text: str, above: int) -> object:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        where = f"line {above + error.lineno}: {error.msg}"
        raise ValueError(f"is no JSON ({where}); fab TASK --json writes it") from None
    except (ValueError, RecursionError):
        raise ValueError("has numbers too long, or objects too deep, for a document of --json") from None


def _document(file: str, value: object) -> Document:
    of = _Object("the document", value)
    task, error = of.take("task", str), of.take("error", str, "")
    retry = of.take("retry", str, LIMITED)
    if not _repeats(retry):
        raise ValueError(f"retry is {retry!r}, which is no line to repeat a task")
    if not re.fullmatch("[a-z][a-z-]*", task):
        raise ValueError(f"task is {task!r}, which is no task")
    return Document(
        file,
        task,
        _shard(of.take("shard", str, ""), error),
        of.take("limit", str, ""),
        of.take("stopped", str, ""),
        error,
        _time(of.take("began", str, "")),
        tuple(_node(_Object(f"nodes[{at}]", node), retry) for at, node in enumerate(of.take("nodes", list))),
    )


def _shard(text: str, error: str) -> Shard | None:
    """The shard; None: all, or one that was refused as there is none such."""
    try:
        return shard_of(text) if text else None
    except UsageError:
        if error:
            return None
        raise


def _time(text: str) -> datetime | None:
    with suppress(ValueError):
        time = datetime.fromisoformat(text) if text else None
        if time is None or time.tzinfo:
            return time
    raise ValueError(f"began is {text!r}, which is no time with its zone")


def _repeats(retry: str) -> bool:
    """Whether it is one command line of fab and no more, as it comes to be copied into a shell."""
    places = ("{task}", "{names}")
    try:
        words = shlex.split(retry)
    except ValueError:
        return False
    typed = " ".join(word if word in places else shlex.quote(word) for word in words)
    return (retry.isprintable(), typed, words[:1], words.count("{task}")) == (True, retry, ["fab"], 1)


def _node(of: _Object, retry: str) -> NodeRun:
    name, ok, result = of.take("node", str), of.take("ok", bool), of.take("result", str, "")
    typed = of.take("typed", str, name)
    for key, text in (("node", name), ("typed", typed)):  # they come to stand on a command line
        if not text.isprintable() or re.search(r"^$|^[-@]|[ ,]", text):
            raise ValueError(f"{of.where}.{key} is {text!r}, which is no name of a node")
    records = tuple(_records(name, typed, of, result))
    bad = result == Result.NOT_STARTED or any(record.outcome.state == State.FAILED for record in records)
    if ok == bad:
        raise ValueError(f"{of.where}.ok is {str(ok).lower()}, which its steps and its result do not say")
    told = {key: value for key, value in of.keys.items() if key != "status"}  # which only lines have
    return NodeRun(name, typed, retry, ok, result, records, told)


def _records(name: str, typed: str, of: _Object, result: str) -> Iterator[Record]:
    """A node's steps; with the one that failed, else with the last, goes what became of the node."""
    steps = [_Object(f"{of.where}.steps[{at}]", step) for at, step in enumerate(of.take("steps", list))]
    failure = None if of.keys.get("error") is None else _Object(f"{of.where}.error", of.keys["error"])
    failed = failure.take("step", str) if failure else ""
    last = next((step for step in steps if failed == step.take("step", str)), steps[-1] if steps else None)
    address = of.take("address", str, "")
    for step in steps:
        try:
            state = State(step.take("state", str))
        except ValueError:
            raise ValueError(f"{step.where}.state is none of {', '.join(State)}") from None
        error = _error(typed, failure) if failure and step is last else None
        became = result if step is last and result != Result.NOT_STARTED else None
        outcome: StepResult[object] = StepResult(
            state, step.take("detail", str), error=error, result=became or None
        )
        yield Record(name, step.take("step", str), outcome, step.take("seconds", float), address=address)


def _error(typed: str, of: _Object) -> StepError:
    """What failed; its advice is for any node again, so that nodes with the same are told together."""
    advised = re.compile(rf"(--limit|-H) {re.escape(shlex.quote(typed))}(?![\w.:-])")
    return StepError(
        of.take("message", str),
        command=of.take("command", str),
        tail="\n".join(map(str, of.take("tail", list))),
        hint=advised.sub(r"\1 {nodes}", of.take("hint", str)),
    )


class _Object:
    """An object of a document, and `where` it is. Raises ValueError: there is something else."""

    def __init__(self, where: str, value: object) -> None:
        if not isinstance(value, dict):
            raise ValueError(f"{where} is no object")
        self.where = where
        self.keys: Mapping[str, object] = value

    def take(self, key: str, kind: type[T], *default: T) -> T:
        """The value of a key; `default` where it is absent, and may be."""
        value: Any = self.keys.get(key, *default)
        fits = type(value) in (int, float) if kind is float else isinstance(value, kind)
        if not fits:
            what = {str: "text", list: "list", bool: "boolean", float: "number"}[kind]
            raise ValueError(f"{self.where} has no {what} `{key}`, as what --json writes has")
        found: T = value
        return found
