"""The pages that are written from the code: `python -m tests.docs` writes them, test_docs compares them."""

from __future__ import annotations

import inspect
import json
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import is_dataclass
from pathlib import Path, PosixPath
from typing import Any, get_args, get_type_hints

from benchmarks.scale import page as scale
from tasks import ns
from tasks.core.config.model import PROFILES, SECTIONS
from tasks.core.config.validation import keys_of
from tasks.core.results import json_key, outputs
from tasks.core.run.flags import FLEET_HELP, ROLLOUT_HELP
from tests.ssh.page import page as ssh

ROOT = Path(__file__).parent.parent
BEGIN, END = "<!-- written from the code, down to the end mark: make docs -->\n", "<!-- end -->\n"
_UNSET = {"build.sha256"}
"""Keys whose default follows from another."""


def settings() -> str:
    """Each table of hosts.toml with its keys, their defaults and what they mean."""
    tables = "\n".join(_tables())
    return f"```toml\n{tables}```\n\nProfile `runbook` sets instead:\n\n```toml\n{_runbook()}```\n"


def _tables() -> Iterator[str]:
    for name, table in SECTIONS.items():
        lines = [
            (f"{key} = {_toml(f'{name}.{key}', getattr(table(), key))}", of.meaning)
            for key, of in keys_of(table).items()
        ]
        width = max(len(line) for line, _ in lines if len(line) <= 40)
        yield f"[{name}]\n" + "".join(f"{line:<{width}}  # {meaning}\n" for line, meaning in lines)


def _runbook() -> str:
    tables = []
    for name, base in PROFILES["runbook"].items():
        default = SECTIONS[name]()
        keys = [key for key in keys_of(type(base)) if f"{name}.{key}" not in _UNSET]
        differs = [key for key in keys if getattr(base, key) != getattr(default, key)]
        lines = [f"{key} = {_toml(f'{name}.{key}', getattr(base, key))}\n" for key in differs]
        tables.append(f"[{name}]\n{''.join(lines)}")
    return "\n".join(tables)


def _toml(name: str, value: object) -> str:
    if value is None or name in _UNSET:
        return '""'
    if isinstance(value, tuple):
        return f"[{', '.join(_toml(name, item) for item in value)}]"
    if isinstance(value, PosixPath):
        return json.dumps(str(value).replace(str(Path.home()), "~", 1))
    return json.dumps(value) if isinstance(value, bool | int | str) else json.dumps(str(value))


def tasks() -> str:
    """The flags that many tasks have; each task, in the order of the runbook, with its flags."""
    groups = (("Tasks that go to nodes", FLEET_HELP), ("Those that go batch by batch", ROLLOUT_HELP))
    shared = "\n".join(_table(f"{who}", _named(flags)) for who, flags in groups)
    return "\n".join([shared, *(_task(name) for name in ns.tasks)])


def _task(name: str) -> str:
    task = ns[name]
    first, _, rest = inspect.cleandoc(task.__doc__ or "").partition("\n")
    text = f"## fab {name}\n\n{first}\n" + (f"\n{_prose(rest.strip())}\n" if rest.strip() else "")
    flags = {_flag(argument): argument for argument in task.get_arguments()}
    shared = [flag for flag in flags if flag.split()[0] in _named(FLEET_HELP | ROLLOUT_HELP)]
    own = {flag: argument.help for flag, argument in flags.items() if flag not in shared}
    text += f"\nTakes {', '.join(f'`{flag.split()[0]}`' for flag in shared)}.\n" if shared else ""
    return text + (f"\n{_table('flag', own)}" if own else "")


def _named(flags: Mapping[str, str]) -> dict[str, str]:
    return {f"--{name.replace('_', '-')}": text for name, text in flags.items()}


def _table(head: str, rows: Mapping[str, str]) -> str:
    lines = "".join(f"| `{name}` | {text} |\n" for name, text in rows.items())
    return f"| {head} | {'what it is' if head == 'key' else 'what it does'} |\n| --- | --- |\n{lines}"


def _prose(text: str) -> str:
    return "\n\n".join(
        textwrap.indent(part, "    ") if part.startswith("fab ") else part for part in text.split("\n\n")
    )


def _flag(argument: Any) -> str:
    name = argument.name.strip("_-").replace("_", "-")
    return f"--{name}" if argument.kind is bool else f"--{name} {name.upper().replace('-', '_')}"


def json_keys() -> str:
    """What each task finds on a node, by the types that it returns."""
    found: dict[type, list[str]] = {}
    for name, task in ns.tasks.items():
        for kind in _dataclasses(get_type_hints(task.body).get("return")):
            found.setdefault(kind, []).append(f"fab {name}")
    return "\n".join(_found(kind, names) for kind, names in found.items())


def _dataclasses(kind: object) -> Iterator[type]:
    """Those that programs are told of, in a type."""
    if isinstance(kind, type) and is_dataclass(kind) and outputs(kind):
        yield kind
    for part in get_args(kind):
        yield from _dataclasses(part)


def _found(kind: type, names: list[str]) -> str:
    text = f"## {', '.join(names)}\n\n{inspect.cleandoc(kind.__doc__ or '')}\n\n"
    inner: dict[type, str] = {}
    rows = {}
    for item in outputs(kind):
        rows[json_key(item)] = item.metadata["meaning"]
        for part in _dataclasses(get_type_hints(kind)[item.name]):
            inner[part] = f"`{json_key(item)}` of {' and '.join(names)}"
    return text + _table("key", rows) + "".join(f"\n{_found(part, [name])}" for part, name in inner.items())


PAGES = {
    "docs/settings.md": settings,
    "docs/tasks.md": tasks,
    "docs/json.md": json_keys,
    "docs/scale.md": scale,
    "docs/ssh.md": ssh,
}


def written(page: str) -> str:
    """A page with the part between its marks as the code has it now."""
    before, _, rest = (ROOT / page).read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{PAGES[page]()}\n{END}{after}"


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(written(page))
