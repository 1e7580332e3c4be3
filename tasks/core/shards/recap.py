"""The documents of several runs of one task, put together."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import cached_property

from ..console import command_line
from ..console.summary import Summary
from ..errors import UsageError
from ..results import Result
from .document import Document, NodeRun, read


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
        together = Summary(self.task, [*self.nodes], "fab {task} --limit {names}", records=records)
        why = "; ".join(dict.fromkeys(each.stopped for each in self._documents if each.stopped))
        together.stop(
            [node.name for node in nodes if node.result == Result.NOT_STARTED], why or "not known why"
        )
        return together

    @cached_property
    def unknown(self) -> list[str]:
        """What is not known: runs that could not begin, and shards of which there is no document."""
        begun = [f"{each.file}: {each.error}" for each in self._documents if each.error]
        return [*begun, *self._missing()]

    def _missing(self) -> Iterator[str]:
        there = {each.shard for each in self._documents if each.shard}
        for count in sorted({shard.count for shard in there}):
            numbers = {shard.number for shard in there if shard.count == count}
            for number in sorted({*range(1, count + 1)} - numbers):
                task = command_line.name_of(self.task)
                yield f"no file is of shard {number}/{count}: fab {task} --shard {number}/{count} --json"

    @property
    def ok(self) -> bool:
        """Whether all is known, and no node failed or was not started."""
        return not self.unknown and all(node.ok for node in self.nodes.values())

    def lines(self) -> Iterator[str]:
        """How much was put together, and how many nodes ended how."""
        seen = Counter(node.name for each in self._documents for node in each.nodes)
        yield f"{self.task}: {_counted(len(self.nodes), 'node')} in {_counted(len(self._documents), 'file')}"
        if twice := sum(count > 1 for count in seen.values()):
            yield f"{twice:,} of them in more than one: the later file counts"
        good = sum(node.ok for node in self.nodes.values())
        if self.nodes:
            bad = f", {len(self.nodes) - good:,} failed" if good < len(self.nodes) else ""
            yield self.summary.counted() or f"{self.task}: {good:,} ok{bad}"

    def failures(self) -> Iterator[str]:
        """What failed, what was not started, what is not known, and what to do next."""
        yield from self.unknown
        if not all(node.ok for node in self.nodes.values()):
            yield from self.summary.failures()

    def document(self) -> str:
        """One JSON document, as a run over all nodes would have written it; see docs/json.md."""
        stopped = self.summary.why_not if self.summary.not_started else ""
        about = {"task": self.task, "ok": self.ok, "stopped": stopped, "error": "\n".join(self.unknown)}
        told = {key: value for key, value in about.items() if value != ""}
        return json.dumps({**told, "nodes": [node.told for node in self.nodes.values()]}, indent=2)


def _counted(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


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
