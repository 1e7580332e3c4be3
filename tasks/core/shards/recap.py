"""The documents of several runs of one task, put together."""

from __future__ import annotations

import json
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from ..console import command_line
from ..console.summary import Summary
from ..errors import UsageError
from ..results import Result
from .document import LIMITED, Document, NodeRun, read
from .selection import Shard


class Recap:
    """What became of the nodes of all documents: of a node that is in two, the later one says it."""

    def __init__(self, documents: Sequence[Document]) -> None:
        """There is at least one. Raises UsageError: they are not of one task."""
        first = documents[0]
        self.task = first.task
        for other in documents:
            if other.task != self.task:
                raise UsageError(
                    f"{other.file} is of {other.task}, and {first.file} of {self.task}: "
                    "a recap is of one task, so name those of each for themselves"
                )
        self._documents = documents
        self.nodes: dict[str, NodeRun] = {node.name: node for each in documents for node in each.nodes}

    @cached_property
    def summary(self) -> Summary:
        """The same as if it had been one run."""
        nodes = self.nodes.values()
        records = [record for node in nodes for record in node.records]
        ways = {node.name: node.retry for node in nodes}
        retry = next(iter(ways.values())) if len({*ways.values()}) == 1 else LIMITED
        typed = {node.name: node.typed for node in nodes}
        together = Summary(self.task, [*self.nodes], retry, typed=typed, records=records, retries=ways)
        why = "; ".join(dict.fromkeys(each.stopped for each in self._documents if each.stopped))
        together.stop(
            [node.name for node in nodes if node.result == Result.NOT_STARTED], why or "not known why"
        )
        return together

    @cached_property
    def unknown(self) -> list[str]:
        """What is not known: runs that could not begin, and shards of which there is no document.

        Both are over when a later run went over these nodes.
        """
        errors = [
            f"{each.file}: {each.error}"
            for at, each in enumerate(self._documents)
            if each.error and not self._ran_after(at, each.limit, each.shard)
        ]
        return [*errors, *self._missing()]

    def _ran_after(self, at: int, limit: str, shard: Shard | None) -> bool:
        """Whether documents after that one are of runs over all nodes of this part of the fleet."""
        after = self._documents[at + 1 :]
        ran = {later.shard for later in after if not later.error and later.limit in ("", limit)}
        counts = Counter(each.count for each in ran if each)
        return bool(ran & {None, shard}) or any(count == there for count, there in counts.items())

    def _missing(self) -> Iterator[str]:
        last = {(each.limit, each.shard.count): at for at, each in enumerate(self._documents) if each.shard}
        for (limit, count), at in sorted(last.items()):
            if self._ran_after(at, limit, None):
                continue
            shards = {each.shard for each in self._documents if each.limit == limit}
            numbers = {shard.number for shard in shards if shard and shard.count == count}
            missing = [f"{number}/{count}" for number in range(1, count + 1) if number not in numbers]
            if missing:
                limited = f" --limit {shlex.quote(limit)}" if limit else ""
                first = f"fab {command_line.name_of(self.task)}{limited} --shard {missing[0]} --json"
                yield f"no file is of {_some(missing)}: {first}{', and so on' * (len(missing) > 1)}"

    @property
    def ok(self) -> bool:
        """Whether all is known, and no node failed or was not started."""
        return not self.unknown and all(node.ok for node in self.nodes.values())

    def lines(self) -> Iterator[str]:
        """How much was put together, and how many nodes ended how."""
        seen = Counter(node.name for each in self._documents for node in each.nodes)
        files = _counted(len(self._documents), "file")
        yield f"{self.task}: {_counted(len(self.nodes), 'node')} in {files}{self._begun()}"
        if twice := sum(count > 1 for count in seen.values()):
            yield f"{twice:,} of them in more than one: the later file counts"
        good = sum(node.ok for node in self.nodes.values())
        if self.nodes:
            bad = f", {len(self.nodes) - good:,} failed" if good < len(self.nodes) else ""
            yield self.summary.counted() or f"{self.task}: {good:,} ok{bad}"

    def _begun(self) -> str:
        """When, so that a file of an earlier rollout is seen to be one."""
        first, last = self._times[:1], self._times[-1:]
        if first == last:
            return "".join(f", begun {time}" for time in first)
        return f", begun from {first[0]} to {last[0]}"

    @cached_property
    def _times(self) -> list[str]:
        return [time.isoformat() for time in sorted(each.began for each in self._documents if each.began)]

    def failures(self) -> Iterator[str]:
        """What failed, what was not started, what is not known, and what to do next."""
        yield from self.unknown
        if not all(node.ok for node in self.nodes.values()):
            yield from self.summary.failures()

    def document(self) -> str:
        """One JSON document, as a run over all nodes would have written it; see docs/json.md."""
        stopped = self.summary.why_not if self.summary.not_started else ""
        limits = [each.limit for each in self._documents]
        limit = ",".join(dict.fromkeys(limits)) if all(limits) else ""
        about = {"task": self.task, "ok": self.ok, "limit": limit}
        about |= {
            "began": "".join(self._times[:1]),
            "retry": self.summary.retry,
            "stopped": stopped,
            "error": "\n".join(self.unknown),
        }
        told = {key: value for key, value in about.items() if value != ""}
        return json.dumps({**told, "nodes": [node.told for node in self.nodes.values()]}, indent=2)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _some(shards: Sequence[str]) -> str:
    """`shard 1/3`; `shards 1/3, 3/3`; of many the first five, and how many more."""
    more = f" and {len(shards) - 5:,} more" if len(shards) > 5 else ""
    return f"shard{'s' * (len(shards) > 1)} {', '.join(shards[:5])}{more}"


def recap_of(files: Sequence[str]) -> Recap:
    """Reads them. Raises UsageError: there are none; which are no documents, why; they are of two tasks."""
    if not files:
        raise UsageError("recap names no file: fab recap FILE...")
    documents, problems = [], []
    for file in files:
        try:
            documents.append(read(file))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return Recap(documents)
