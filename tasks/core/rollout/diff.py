"""What deploy would do to a node, and how its files differ: for programs, and in lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import unified_diff

from rich.console import Console

from ..config.model import Proxy
from ..facts.facts import Facts
from ..folding.alike import told
from ..release.release import paths
from ..results import output
from .plan import Action

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@dataclass(frozen=True, slots=True)
class NodePlan:
    """What `deploy` would do to one node."""

    action: Action = output("the least disruptive action that brings the node to what hosts.toml says")
    why: tuple[str, ...] = output("each reason for it")
    release: str = output("the name of the release that the node is to run")
    edited: tuple[str, ...] = output("files that were edited on the node; deploy keeps copies of them there")
    diffs: Mapping[str, str] = output("unified diffs, by the names of the files that are text")
    drop_ins: tuple[str, ...] = output("drop-ins of others that change the unit", (), optional=True)
    notes: tuple[str, ...] = output("what works, and is worth knowing", (), optional=True)

    def lines(self) -> Iterator[str]:
        """For people."""
        yield f"{self.action}: {'; '.join(self.why)}"
        for name in self.edited:
            yield f"{name} was edited on the node; deploy keeps a copy of it there"
        for path in self.drop_ins:
            yield f"{path} changes the unit, and is not deploy's"
        for text in self.diffs.values():
            yield from text.splitlines()


def diffs(texts: Mapping[str, str], facts: Facts, proxy: Proxy) -> dict[str, str]:
    """Unified diffs of the configuration and the unit, from what the node has to what it is to have."""
    where = paths(proxy)
    return {
        name: "".join(
            unified_diff(
                facts.texts.get(where[name], "").splitlines(keepends=True),
                text.splitlines(keepends=True),
                f"{where[name]} (on the node)" if where[name] in facts.texts else "/dev/null",
                f"{where[name]} (from hosts.toml)",
                n=2,
            )
        )
        for name, text in texts.items()
        if facts.texts.get(where[name]) != text
    }


def show(console: Console, plans: Mapping[str, NodePlan]) -> None:
    """Prints the plans, by the names of nodes; each once for all that have the same."""
    same: dict[str, list[str]] = {}
    for node, plan in plans.items():
        same.setdefault("\n".join(plan.lines()), []).append(node)
    for text, nodes in same.items():
        for line in ("", *told(text, nodes).split("\n")):
            style = _COLOURS.get(line[:1], "")
            console.print(line, markup=False, highlight=False, soft_wrap=True, style=style)
