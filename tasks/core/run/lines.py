"""The JSON document as it comes to be, for programs that do not wait for its end: --json=lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable

from ..console.summary import Record, Summary
from ..results import State


class Lines:
    """A line for each host when it has ended, and one on all of them at the end."""

    def __init__(self, summary: Summary, write: Callable[[str], None]) -> None:
        self._summary, self._write = summary, write
        self._records: dict[str, list[Record]] = {host: [] for host in summary.hosts}
        self._counts: Counter[str] = Counter()

    def note(self, record: Record) -> None:
        """Keeps what was found, and tells it if nothing comes after it."""
        self._records[record.host].append(record)
        if record.outcome.state == State.FAILED or record.outcome.result or record.step == self._summary.task:
            self._tell(record.host)

    def end(self) -> None:
        """Tells of those that no step was the last of, and of all."""
        for host in [*self._records]:
            self._tell(host)
        self._write(json.dumps(self._summary.last_line(self._counts)))

    def _tell(self, host: str) -> None:
        line = self._summary.line(host, self._records.pop(host))
        self._counts[line["status"]] += 1
        self._write(json.dumps(line))
