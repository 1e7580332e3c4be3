"""The command line that runs, and what to type next: the names of our tasks there, and of nodes."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from tempfile import mkstemp
from typing import Any

from ..errors import UsageError
from ..folding.alike import MANY

_OURS = (__package__ or "").rsplit(".", 2)[0]
_LIMITED = re.compile(r"\bfab ([\w.-]+) --limit \{nodes\}")
_COMMAND = re.compile(r"\bfab (?:--help )?[a-z][a-z-]*(?: [a-z][a-z-]*)*")


def named(text: str) -> str:
    """`text` with each `fab TASK` as it has to be typed here: `fab kube-nginx.TASK`, say."""
    known = _names()

    def typed(command: re.Match[str]) -> str:
        words, tasks = command[0].split(" "), True
        for at, word in enumerate(words):
            tasks = tasks and (word in known or at == 0 or word == "--help")
            words[at] = known.get(word, word) if tasks and at else word
        return " ".join(words)

    return _COMMAND.sub(typed, text) if known else text


def advice(hint: str, hosts: Sequence[str]) -> str:
    """`hint` as it has to be typed for these hosts, its `{nodes}`: after -H with -H again."""
    typed = named(hint)
    by_host = bool(_hosts(_program()))
    if by_host:
        typed = _LIMITED.sub(r"fab -H {nodes} \1", typed)
    return typed.replace("{nodes}", several(hosts, may_be_file=not by_host)) if "{nodes}" in typed else typed


def several(hosts: Sequence[str], may_be_file: bool) -> str:
    """These hosts as one word of a command line; many of them as @FILE, which --limit takes."""
    if may_be_file and len(hosts) > MANY:
        with suppress(OSError):  # there is no room for one
            return shlex.quote(f"@{_file_of(tuple(hosts))}")
    return shlex.quote(",".join(hosts))


@cache
def _file_of(hosts: tuple[str, ...]) -> str:
    number, path = mkstemp(prefix="kube-nginx-", suffix=".nodes")
    with open(number, "w", encoding="utf-8") as file:
        file.writelines(f"{host}\n" for host in hosts)
    return path


def name_of(task: str) -> str:
    """The name of a task of this library as it has to be typed here."""
    return _names().get(task, task)


def refuse_two_documents() -> None:
    """Raises UsageError where --json is asked for and the command line would write more than one document."""
    if not asks_for_json():
        return
    program = _program()
    tasks = [context.name for context in _contexts(program)]
    if len(tasks) > 1:
        raise UsageError(
            f"--json is one document, and {', '.join(tasks)} would write {len(tasks)} things: "
            "give each a command line of its own"
        )


def is_one_task() -> bool:
    """Whether the command line that runs is one task of this library, and nothing else."""
    program = _program()
    return program is not None and len(program.tasks) == len(_contexts(program)) == 1


def asks_for_json() -> object:
    """What --json was given where a task of this library was typed with it: True, or its value."""
    typed = (task.args["json"].value for task in _contexts(_program()) if "json" in task.args)
    return next(filter(None, typed), None)


def _program() -> Any:
    """Invoke's Program, once it has read its command line; None where this library is only imported."""
    for module in ("fabric.main", "invoke.main"):
        program = getattr(sys.modules.get(module), "program", None)
        if hasattr(program, "collection") and hasattr(program, "tasks"):
            return program
    return None


def _hosts(program: Any) -> str:
    """What -H was given."""
    return str(program.args["hosts"].value or "") if program and "hosts" in program.args else ""


def _contexts(program: Any) -> list[Any]:
    """The tasks of this library that were typed."""
    return [task for task in program.tasks if _is_ours(program.collection[task.name])] if program else []


def _is_ours(task: Any) -> bool:
    return str(task.body.__module__).startswith(f"{_OURS}.")


def _names() -> dict[str, str]:
    """How each task of this library is typed; those of the place that was called come first."""
    if not (program := _program()):
        return {}
    place = next((context.name.rpartition(".")[0] for context in _contexts(program)), "")
    known: dict[str, str] = {}
    for name in sorted(program.collection.task_names, key=lambda name: name.rpartition(".")[0] != place):
        task = program.collection[name]
        if _is_ours(task):
            known.setdefault(task.body.__name__.rstrip("_").replace("_", "-"), name)
    return known
