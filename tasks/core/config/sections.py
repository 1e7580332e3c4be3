"""The tables of hosts.toml, each read with its checks, and the rules that join several keys."""

from collections.abc import Iterator, Mapping
from dataclasses import fields, replace
from pathlib import Path, PurePosixPath
from typing import cast

from . import endpoints, inventory, places, rules
from .address import parse_node, parse_user
from .check import Table, boolean, choice, integer, optional, parsed, shown, string
from .model import (
    REMOTE_WORK_DIR,
    RUNBOOK_BUILD,
    RUNBOOK_PROXY,
    Build,
    Check,
    HostKeys,
    Proxy,
    Rollout,
    Settings,
    Ssh,
    expanded,
)

PROFILES = ("recommended", "runbook")
SECTIONS = {"ssh": Ssh, "build": Build, "proxy": Proxy, "rollout": Rollout, "check": Check}
TOP = ("profile", "nodes", "apiservers")
KEYS = (*TOP, *(f"{name}.{key.name}" for name, cls in SECTIONS.items() for key in fields(cls)))
"""Every key that hosts.toml may have, dotted."""

MOST_LISTENERS = 8


def read(data: Mapping[str, object], path: Path, problems: list[str]) -> Settings:
    """The settings in `data`; what is wrong is appended to `problems`, defaults stand in for it."""
    top = Table(data, "", problems)
    profile = top.take("profile", choice(*PROFILES), PROFILES[0])
    ssh = _ssh(top.table("ssh"), path.parent)
    build_table, proxy_table = top.table("build"), top.table("proxy")
    runbook = profile == "runbook"
    settings = Settings(
        path=path,
        profile=profile,
        nodes=inventory.nodes(top, problems, ssh.port or 22),
        apiservers=inventory.apiservers(top),
        ssh=ssh,
        build=_build(build_table, RUNBOOK_BUILD if runbook else Build()),
        proxy=_proxy(proxy_table, RUNBOOK_PROXY if runbook else Proxy()),
        rollout=_rollout(top.table("rollout")),
        check=_check(top.table("check"), path.parent),
        given=frozenset(_given(data)),
    )
    top.finish(KEYS)
    endpoints.check(settings, top, proxy_table)
    _check_version(settings, build_table, proxy_table)
    _check_folders(settings, build_table, proxy_table)
    return settings


def _given(data: Mapping[str, object]) -> Iterator[str]:
    for name in SECTIONS:
        if isinstance(table := data.get(name), Mapping):
            yield from (f"{name}.{key}" for key in table)


def _ssh(table: Table, folder: Path) -> Ssh:
    base = Ssh()
    config = table.take("config", optional(string), "~/.ssh/config")
    identity = table.take("identity", optional(string), base.identity)
    ssh = Ssh(
        user=table.take("user", optional(parsed(parse_user)), base.user),
        port=table.take("port", inventory.PORT, base.port),
        identity=str(folder / expanded(identity)) if identity else "",
        config=folder / expanded(config) if config else None,
        gateway=table.take("gateway", optional(parsed(_ssh_host)), base.gateway),
        host_keys=cast(HostKeys, table.take("host_keys", choice("strict", "accept-new"), "strict")),
        sudo=table.take("sudo", boolean, base.sudo),
        connect_timeout=table.take("connect_timeout", integer(1, 600, " (seconds)"), base.connect_timeout),
    )
    table.finish(KEYS)
    return ssh


def _build(table: Table, base: Build) -> Build:
    version = table.take("version", parsed(rules.version), base.version)
    sha256 = table.take("sha256", optional(parsed(rules.sha256)), "")
    build = Build(
        version=version,
        sha256=sha256,
        mirrors=table.take_list("mirrors", parsed(rules.mirror), base.mirrors),
        hosts=table.take_list("hosts", parsed(_ssh_host), base.hosts),
        work_dir=table.take("work_dir", optional(parsed(places.work_dir)), "") or base.work_dir,
        static=table.take("static", boolean, base.static),
    )
    table.finish(KEYS)
    if not table.sound("version", "sha256"):
        return build
    try:
        return replace(build, sha256=rules.pin(version, sha256))
    except ValueError as error:
        table.problem("sha256", str(error))
        return build


def _proxy(table: Table, base: Proxy) -> Proxy:
    duration = parsed(rules.duration)
    proxy = Proxy(
        prefix=table.take("prefix", parsed(places.prefix), base.prefix),
        listen=table.take_list("listen", parsed(endpoints.listener), base.listen),
        balance=table.take("balance", parsed(rules.balance), base.balance),
        max_fails=table.take("max_fails", integer(0, 1000), base.max_fails),
        fail_timeout=table.take("fail_timeout", parsed(rules.whole_seconds), base.fail_timeout),
        connect_timeout=table.take("connect_timeout", duration, base.connect_timeout),
        proxy_timeout=table.take("proxy_timeout", optional(duration), base.proxy_timeout),
        worker_processes=table.take("worker_processes", integer(1, 512), base.worker_processes),
        worker_connections=table.take(
            "worker_connections",
            integer(16, 65000, ": each is a file, and the unit allows 65536 (LimitNOFILE)"),
            base.worker_connections,
        ),
        worker_shutdown_timeout=table.take(
            "worker_shutdown_timeout", optional(duration), base.worker_shutdown_timeout
        ),
        user=table.take("user", optional(parsed(rules.account)), base.user),
    )
    table.finish(KEYS)
    inventory.at_most(table, "listen", len(proxy.listen), MOST_LISTENERS, "each takes a worker connection")
    return proxy


def _rollout(table: Table) -> Rollout:
    base = Rollout()
    rollout = Rollout(
        parallel=table.take("parallel", integer(1, 1000), base.parallel),
        canary=table.take("canary", rules.canary, base.canary),
        batch=table.take("batch", rules.batch, base.batch),
        pause=table.take("pause", integer(0, 86400, " (seconds)"), base.pause),
        max_failures=table.take("max_failures", rules.max_failures, base.max_failures),
        timeout=table.take("timeout", integer(5, 600, " (seconds)"), base.timeout),
        settle=table.take("settle", integer(0, 60, " (seconds)"), base.settle),
        keep=table.take("keep", integer(2, 50, ": the one that runs, and one to go back to"), base.keep),
    )
    table.finish(KEYS)
    if rollout.settle >= rollout.timeout and table.sound("settle", "timeout"):
        table.problem(
            "settle",
            f"{rollout.settle} must be less than rollout.timeout, {rollout.timeout}: within that time "
            "a process has to have lived this long; lower settle or raise timeout",
        )
    return rollout


def _check(table: Table, folder: Path) -> Check:
    base = Check()
    ca = table.take("ca", optional(string), "")
    check = Check(
        ca=folder / expanded(ca) if ca else None,
        timeout=table.take("timeout", integer(1, 60, " (seconds)"), base.timeout),
    )
    table.finish(KEYS)
    return check


def _ssh_host(text: str) -> str:
    parse_node(text)
    return text


def _check_version(settings: Settings, build: Table, proxy: Table) -> None:
    if not build.sound("version"):
        return
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


def _check_folders(settings: Settings, build: Table, proxy: Table) -> None:
    work_dir = settings.build.work_dir or REMOTE_WORK_DIR
    prefix = settings.proxy.prefix
    if not build.sound("work_dir") or not proxy.sound("prefix"):
        return
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
