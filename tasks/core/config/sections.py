"""The tables of hosts.toml, each read with the checks of its keys."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from . import inventory, joint, rules
from .check import Table, choice
from .model import (
    RUNBOOK_BUILD,
    RUNBOOK_PROXY,
    Build,
    Check,
    Proxy,
    Rollout,
    Settings,
    Ssh,
    expanded,
    keys_of,
)

PROFILES = ("recommended", "runbook")
SECTIONS: dict[str, type] = {"ssh": Ssh, "build": Build, "proxy": Proxy, "rollout": Rollout, "check": Check}
TOP = ("profile", "nodes", "apiservers")
KEYS = (*TOP, *(f"{name}.{key}" for name, cls in SECTIONS.items() for key in keys_of(cls)))
"""Every key that hosts.toml may have, dotted."""

S = TypeVar("S", Ssh, Build, Proxy, Rollout, Check)


def read(data: Mapping[str, object], path: Path, problems: list[str]) -> Settings:
    """The settings in `data`; what is wrong is appended to `problems`, defaults stand in for it."""
    top = Table(data, "", problems)
    profile = top.take("profile", choice(*PROFILES), PROFILES[0])
    tables = {name: top.table(name) for name in SECTIONS}
    runbook = profile == "runbook"
    ssh, check = _section(tables["ssh"], Ssh()), _section(tables["check"], Check())
    settings = Settings(
        path=path,
        profile=profile,
        nodes=inventory.nodes(top, problems, ssh.port or 22),
        apiservers=inventory.apiservers(top),
        ssh=replace(
            ssh,
            identity=str(_file(path.parent, ssh.identity) or ""),
            config=_file(path.parent, ssh.config),
        ),
        build=_build(tables["build"], RUNBOOK_BUILD if runbook else Build()),
        proxy=_section(tables["proxy"], RUNBOOK_PROXY if runbook else Proxy()),
        rollout=_section(tables["rollout"], Rollout()),
        check=replace(check, ca=_file(path.parent, check.ca)),
        given=frozenset(_given(data)),
    )
    top.finish(KEYS)
    joint.check(settings, top, tables)
    return settings


def _section(table: Table, base: S) -> S:
    """A table's values; what it leaves out is as in `base`."""
    values: dict[str, Any] = {}
    for name, key in keys_of(type(base)).items():
        default = getattr(base, name)
        take = table.take_list if isinstance(default, tuple) else table.take
        values[name] = take(name, key.check, default)
    table.finish(KEYS)
    return replace(base, **values)


def _given(data: Mapping[str, object]) -> Iterator[str]:
    for name in SECTIONS:
        if isinstance(table := data.get(name), Mapping):
            yield from (f"{name}.{key}" for key in table)


def _file(folder: Path, given: Path | str | None) -> Path | None:
    """A file that hosts.toml names, which is in `folder`."""
    return folder / expanded(str(given)) if given else None


def _build(table: Table, base: Build) -> Build:
    build = _section(table, replace(base, sha256=""))
    build = replace(build, work_dir=build.work_dir or base.work_dir)
    if not table.sound("version", "sha256"):
        return build
    try:
        return replace(build, sha256=rules.pin(build.version, build.sha256))
    except ValueError as error:
        table.problem("sha256", str(error))
        return build
