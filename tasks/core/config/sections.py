"""The tables of hosts.toml, each read with the checks of its keys."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import permutations, product
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from . import inventory, rules
from .address import REACHED_AT, Endpoint, NodeSpec, loops
from .check import Table, choice, shown
from .inventory import at_most
from .model import (
    REMOTE_WORK_DIR,
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

MOST_LISTENERS = 8
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
    _together(settings, top, tables)
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


def _together(settings: Settings, top: Table, tables: Mapping[str, Table]) -> None:
    """Notes what cannot be together; what is wrong by itself is told already."""
    build, proxy, rollout = (tables[name] for name in ("build", "proxy", "rollout"))
    if rollout.sound("settle", "timeout"):
        _times(settings, rollout)
    if proxy.sound("listen"):
        _listeners(settings, top, proxy)
    if build.sound("version"):
        _version(settings, proxy)
    if build.sound("work_dir") and proxy.sound("prefix"):
        _folders(settings, proxy)


def _times(settings: Settings, table: Table) -> None:
    rollout = settings.rollout
    if rollout.settle >= rollout.timeout:
        table.problem(
            "settle",
            f"{rollout.settle} must be less than rollout.timeout, {rollout.timeout}: within that time "
            "a process has to have lived this long; lower settle or raise timeout",
        )


def _listeners(settings: Settings, top: Table, proxy: Table) -> None:
    listen = settings.proxy.listen
    at_most(proxy, "listen", len(listen), MOST_LISTENERS, "each takes a worker connection")
    for server, own in product(settings.apiservers, listen):
        if loops(server, own):
            top.problem(
                "apiservers",
                f"{server} is the proxy's own listener {own}, so that it would connect to "
                "itself; name the apiserver's address, or change proxy.listen",
            )
    for problem in (*_covered(listen), *_taken(settings), *_privileged(settings, proxy)):
        proxy.problem("listen", problem)


def _covered(listen: Sequence[Endpoint]) -> Iterator[str]:
    for wide, other in permutations(listen, 2):
        same_family = (":" in wide.host) == (":" in other.host)
        if wide.host in REACHED_AT and same_family and wide.port == other.port:
            yield (
                f"{wide} is {other}, too: all addresses of a node with port {wide.port}, so that nginx "
                f'listens on {wide} alone; write one of them: "{wide}" or "{other}"'
            )


def _taken(settings: Settings) -> Iterator[str]:
    """Wildcard listeners on a port that an apiserver on one of the nodes has already."""
    for wide in settings.proxy.listen:
        if wide.host not in REACHED_AT:
            continue
        ports = {server.host: server for server in settings.apiservers if server.port == wide.port}
        own = next(((node, server) for node in settings.nodes if (server := _of(node, ports))), None)
        if own:
            yield (
                f"{wide} is all addresses of a node with port {wide.port}, and on {own[0].name} the "
                f"apiserver {own[1]} has that port; choose another one, such as 127.0.0.1:8443"
            )


def _of(node: NodeSpec, apiservers: dict[str, Endpoint]) -> Endpoint | None:
    return apiservers.get(node.host.lower()) or apiservers.get(node.name.lower())


def _privileged(settings: Settings, proxy: Table) -> Iterator[str]:
    user = settings.proxy.user
    for own in settings.proxy.listen if user and proxy.sound("user") else ():
        if own.port < 1024:
            yield (
                f"{own}: only root may listen below port 1024, and the proxy runs as "
                f'{user}; choose a port from 1024 on, or write user = ""'
            )


def _version(settings: Settings, proxy: Table) -> None:
    version = settings.build.version
    method, shutdown = settings.proxy.balance, settings.proxy.worker_shutdown_timeout
    for key, value, since, instead in (
        ("balance", method, rules.balance_since(method), "least_conn"),
        ("worker_shutdown_timeout", shutdown, rules.SHUTDOWN_TIMEOUT_SINCE, ""),
    ):
        if value and proxy.sound(key) and rules.number(version) < since:
            proxy.problem(
                key,
                f"{shown(value)} needs nginx {rules.dotted(since)} or newer, and build.version is "
                f'{version}; write "{instead}" or choose a newer version',
            )


def _folders(settings: Settings, proxy: Table) -> None:
    work_dir, prefix = settings.build.work_dir or REMOTE_WORK_DIR, settings.proxy.prefix
    if PurePosixPath(work_dir).is_relative_to(prefix):
        proxy.problem(
            "prefix",
            f"{shown(prefix)} holds the work folder {work_dir}, which uninstall "
            "would remove with it; choose folders that are not inside each other",
        )
    elif PurePosixPath(prefix).is_relative_to(work_dir):
        proxy.problem(
            "prefix",
            f"{shown(prefix)} is in the work folder {work_dir}, where nginx is compiled; "
            "choose folders that are not inside each other",
        )
