"""What would go wrong on a node, found before anything is written there: pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from shlex import quote

from ..config.address import Endpoint, loops
from ..config.model import Proxy, Settings
from ..errors import StepError
from ..facts.facts import Facts
from ..facts.paths import UNIT_PATH
from ..facts.remedy import UNMASK, frees
from ..facts.tools import lacking
from ..release import servers
from ..release.release import BINARY, UNIT, Release
from .plan import Plan

_MACHINES = {"x86_64": 62, "aarch64": 183, "ppc64le": 21, "s390x": 22, "riscv64": 243}


def obstacles(release: Release, plan: Plan, facts: Facts, settings: Settings) -> Iterator[StepError]:
    """Each reason why `plan` cannot be carried out on a node, with what to do about it."""
    proxy = settings.proxy
    if not facts.systemd:
        yield StepError("systemd is not PID 1 there", hint="kube-nginx runs under systemd only")
    yield from lacks(facts)
    yield from masked(facts)
    yield from outsider(facts, settings.proxy)
    yield from in_the_way(facts)
    if facts.unloadable and not facts.unread and UNIT not in plan.files:
        where = f"see {' '.join(facts.drop_ins)}; " if facts.drop_ins else ""
        hint = f"{where}on the node: systemctl status kube-nginx"
        yield StepError(f"systemd cannot use the unit ({facts.unloadable})", hint=hint)
    yield from _other_user(facts)
    if plan.stages:
        yield from _room(release, plan, facts, proxy)
    yield from _machine(release, facts)
    yield from _libc(release, facts)
    yield from taken(facts, proxy, plan.unmanaged)
    yield from unresolved(settings, facts)


def _other_user(facts: Facts) -> Iterator[StepError]:
    """A user that a drop-in gives the service needs logs of its own, and is never what hosts.toml says."""
    text, user = facts.texts.get(UNIT_PATH, ""), facts.unit.get("User", "")
    written = re.findall(r"^User=(.*)$", text, re.M)
    if facts.drop_ins and text and not facts.unread and user != (written or [""])[-1]:
        yield StepError(
            f"a drop-in has the service run as {user or 'root'}: {' '.join(facts.drop_ins)}",
            hint=f'say it in hosts.toml, user = "{user}" under [proxy], and remove the drop-in',
        )


def in_the_way(facts: Facts) -> Iterator[StepError]:
    """What is where a file or a folder of the service should be, and cannot be replaced without a loss.

    So is what others can replace: a folder of theirs on the way there.
    """
    for path, whose in facts.unsafe.items():
        hint = f"on the node: chown root: {quote(path)}; chmod go-w {quote(path)}"
        if not (UNIT_PATH.startswith(path) or path.startswith(UNIT_PATH)):
            hint += "; or choose another proxy.prefix"  # of /tmp, or somebody's home, it is the better one
        yield StepError(f"{path} {whose}: who may write there can have root run anything", hint=hint)
    for path, what in facts.instead.items():
        hint = "see what it is, and move it away: kube-nginx needs that place"
        yield StepError(f"{path} is {what}", hint=hint)


def _room(release: Release, plan: Plan, facts: Facts, proxy: Proxy) -> Iterator[StepError]:
    """Twice what is shipped: as it arrives, and as it is put in place."""
    need = 2 * release.size
    if facts.free < need:
        yield StepError(
            f"{facts.free / 1e6:.1f} MB are free under {proxy.prefix}, {need / 1e6:.1f} MB are needed",
            hint=f"make room; on the node: df -h {proxy.prefix}",
        )
    options = facts.mounts.get("prefix", "").split(",")
    for option, word in (("ro", "read-only"), ("noexec", "noexec, so that nothing can be run from it")):
        if option in options:
            yield StepError(
                f"{proxy.prefix} is on a file system that is mounted {word}",
                hint=f"on the node: findmnt -T {proxy.prefix}; or choose another proxy.prefix",
            )
    if UNIT in plan.files and "ro" in facts.mounts.get("unit", "").split(","):
        yield StepError(
            "/etc/systemd/system is on a file system that is mounted read-only",
            hint="on the node: findmnt -T /etc/systemd/system",
        )


def _machine(release: Release, facts: Facts) -> Iterator[StepError]:
    """What the binary's own header says that it is for (ELF's e_machine)."""
    header = release.contents[BINARY][:20]
    if facts.arch in _MACHINES and header[:4] == b"\x7fELF":
        machine = int.from_bytes(header[18:20], "big" if header[5] == 2 else "little")
        if machine != _MACHINES[facts.arch]:
            names = {number: arch for arch, number in _MACHINES.items()}
            yield StepError(
                f"the binary is for {names.get(machine, 'another architecture')}, the node is {facts.arch}",
                hint="build it again: fab build --force",
            )


def _libc(release: Release, facts: Facts) -> Iterator[StepError]:
    """What the binary needs of the node's libc; a static one needs nothing."""
    there = re.fullmatch(r"glibc ([0-9.]+)", facts.libc)
    if not release.glibc:
        return
    if there is None:
        yield StepError(
            f"the binary needs glibc {release.glibc}, and the node has none",
            hint="build one that needs no libc: build.static = true, then fab build",
        )
    elif _numbers(there[1]) < _numbers(release.glibc):
        yield StepError(
            f"the binary needs glibc {release.glibc}, and the node has {there[1]}",
            hint="build on the oldest distribution of the fleet (build.hosts), or build.static = true",
        )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def startable(facts: Facts, proxy: Proxy) -> Iterator[StepError]:
    """Each reason why the service that is there cannot be started, nor another in its place."""
    yield from lacks(facts)
    yield from masked(facts)
    yield from outsider(facts, proxy)
    yield from taken(facts, proxy)


def lacks(facts: Facts) -> Iterator[StepError]:
    """That programs are missing which scripts need; who is there already need not be added."""
    if missing := [tool for tool in facts.missing if tool != "useradd" or not facts.user_id]:
        yield lacking(missing)


def installed(facts: Facts) -> Iterator[StepError]:
    """That there is nothing yet that could be started."""
    if facts.state == "not installed" and UNIT_PATH not in facts.files:
        yield StepError("kube-nginx is not installed there", hint="fab deploy --limit {nodes}")


def masked(facts: Facts) -> Iterator[StepError]:
    """What nobody may start, nor put a unit over."""
    if facts.masked:
        yield StepError("the unit is masked", hint=UNMASK)


def outsider(facts: Facts, proxy: Proxy) -> Iterator[StepError]:
    """That systemd would end somebody else's process with the service."""
    if facts.outsider:
        yield StepError(
            f"systemd takes PID {facts.outsider}, which is not the unit's, for its main process",
            hint="it would end with the service; on the node: have "
            f"{proxy.prefix}/logs/nginx.pid name a process of the unit, then systemctl reload kube-nginx",
        )


def refuse(errors: Iterable[StepError]) -> None:
    """Raises the first of `errors`, if there is one."""
    for error in errors:
        raise error


def taken(facts: Facts, proxy: Proxy, unmanaged: Sequence[int] = ()) -> Iterator[StepError]:
    """Each listen address that a process other than the service and `unmanaged` has."""
    for address in proxy.listen:
        holder = facts.holder(address)
        if holder and holder.pid not in unmanaged and not facts.listens(address):
            yield StepError(f"{address} is held by {holder}", hint=frees(holder))


def unresolved(settings: Settings, facts: Facts) -> Iterator[StepError]:
    """Each name that the node does not resolve, or resolves to the proxy itself, with what to do about it."""
    missing = [name for name in servers.names(settings.apiservers) if facts.addresses.get(name) == ()]
    if missing and not facts.resolver:
        yield StepError(
            f"the node has no getent, so that {_listed(missing)} cannot be resolved there",
            hint="install it there, or write addresses as apiservers in hosts.toml",
        )
    elif missing:
        verb = "does" if len(missing) == 1 else "do"
        yield StepError(
            f"{_listed(missing)} {verb} not resolve on the node",
            hint=f"on the node: getent ahosts {missing[0]}; correct apiservers in hosts.toml, "
            "or the node's /etc/resolv.conf or /etc/hosts",
        )
    for server in settings.apiservers:
        found = [Endpoint(host, server.port) for host in facts.addresses.get(server.host, ())]
        for there, listener in islice(_looping(found, settings.proxy.listen), 1):
            yield StepError(
                f"{server} is {there} on the node: the proxy, which has {listener}, would connect to itself",
                hint="name the apiserver's address in hosts.toml, or change proxy.listen",
            )


def _looping(found: Sequence[Endpoint], listen: Sequence[Endpoint]) -> Iterator[tuple[Endpoint, Endpoint]]:
    return (pair for pair in product(found, listen) if loops(*pair))


def _listed(names: Sequence[str]) -> str:
    *rest, last = names
    return f"{', '.join(rest)} and {last}" if rest else last
