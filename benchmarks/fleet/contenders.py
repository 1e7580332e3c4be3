"""Who is measured: ours, and others at the same work, each a script of benchmarks/contenders."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet.hosts import Hosts

SCRIPTS = Path(__file__).parents[1] / "contenders"


@dataclass(frozen=True, slots=True)
class Contender:
    """One of them: its command, and which of the hosts have answered, out of what it wrote."""

    name: str
    command: Callable[[Hosts], Sequence[str]]
    answered: Callable[[str, Hosts], set[str]]


def _said(out: str, hosts: Hosts) -> set[str]:
    return set(re.findall(r"^answered (\S+)$", out, re.M))


def _script(name: str, script: str, *words: str) -> Contender:
    """A script that this Python runs, whose libraries ours needs, too."""
    place = str(SCRIPTS / f"{script}.py")
    return Contender(
        name, lambda hosts: [sys.executable, place, str(hosts.folder / "hosts.json"), *words], _said
    )


def _ours(task: str, word: str) -> Contender:
    """A task of ours; each line of a node that is as it should be has the word."""

    def answered(out: str, hosts: Hosts) -> set[str]:
        lines = (line.split() for line in out.splitlines())
        return {name for line in lines if word in line for name in line} & hosts.addresses.keys()

    return Contender(f"fab {task}", lambda hosts: [sys.executable, "-m", "fabric", task], answered)


LIGHT = (
    _ours("status", "answers"),
    _ours("deploy", "unchanged"),
    _script("Fabric with ssh_config", "plain_fabric", "ssh_config"),
    _script("Fabric", "plain_fabric"),
    _script("paramiko", "bare_paramiko"),
)
