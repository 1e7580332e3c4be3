"""docs/reliability.md, out of what the tests of faults have seen."""

from __future__ import annotations

import json
import os
import re
from dataclasses import asdict, dataclass
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
FOLDER = "KUBE_NGINX_FAULTS"
"""The environment variable that names the folder in which all workers of a test run leave their rows."""

FAULTS = 63
HEAD = """\
# What happens when things go wrong

Each row is a test on real systemd hosts over real SSH: the fault is injected, `fab deploy`, or the task that
is named, is run, and what it says is compared with this page, which those tests write. In every one of them
no other node was harmed, a service that ran before answered afterwards, the exit status and the recap were
right, and no traceback was shown. PIDs, addresses, times and sums are replaced by `…`. When the cause is
gone, a plain `fab deploy` mends what is left.

| # | fault | what you see | how the node ends |
| --- | --- | --- | --- |
"""
_VARIABLE = re.compile(
    r"\bPID \d+|\b\d{1,3}(?:\.\d{1,3}){3}(?!:8443)\b|\d{4}[-/]\d\d[-/]\d\d \d\d:\d\d:\d\d( \w+)?"
    r"|\b[0-9a-f]{10,64}\b|\b\d+#\d+|\w+@[\w.-]+(?= \(fab)|\d+\.\d MB|in \d+ ms"
    r"|SHA256:\S+|/\S*/(?=known_hosts)"
)


@dataclass(frozen=True)
class Row:
    """One fault: what an operator would call it, the lines that are told, and how the node ends."""

    number: int
    fault: str
    lines: str
    end: str


def steady(text: str) -> str:
    """A line without what differs from run to run."""
    return _VARIABLE.sub("…", text)


def note(row: Row) -> None:
    """Leaves a row for the page, if a run of all tests is under way."""
    if folder := os.environ.get(FOLDER):
        name = f"{row.number:02} {row.fault.replace('/', ' ')}.json"
        (Path(folder) / name).write_text(json.dumps(asdict(row)))


def page(folder: Path) -> str:
    """The page, from all rows; "" unless all faults have been seen."""
    rows = [Row(**json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]
    if len({row.number for row in rows}) < FAULTS:
        return ""
    return HEAD + "".join(f"| {r.number} | {r.fault} | {_cell(r.lines)} | {r.end} |\n" for r in rows)


def _cell(lines: str) -> str:
    return "<br>".join(f"`{line.strip()}`" for line in steady(lines).replace("|", "\\|").splitlines())
