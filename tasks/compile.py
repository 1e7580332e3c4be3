"""Runbook: "download and compile nginx", "verify the compiled nginx"."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from invoke import Context

from .core.errors import StepError
from .core.late import late
from .core.results import State, StepResult, output, values
from .core.run.flags import FLEET_HELP, Json, task

with late():
    from .core.config import model
    from .core.console import terminal
    from .core.facts import paths
    from .core.nginx import build_commands, fetch, store, watch
    from .core.run import opening
    from .core.shell import local
    from .core.ssh import fleet
    from .core.ssh import node as nodes
    from .core.trust import advisories

if TYPE_CHECKING:
    from .core.config.model import Settings
    from .core.run.run import Run
    from .core.scripts.script import Script
    from .core.shell.local import Local
    from .core.ssh.node import Node

    Builder = Local | Node

__all__ = ["build", "configure", "download", "make_install", "verify"]

A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Built:
    """A binary that was verified."""

    binary: str = output("its path on this machine")
    version: str = output("nginx's")
    arch: str = output("as `uname -m` names it")
    glibc: str = output("the newest glibc symbol that it needs; empty: none")
    advisories: tuple[advisories.Advisory, ...] = output("nginx's advisories that are known of this version")


NGINX = "nginx"
_JSON = {"json": FLEET_HELP["json"]}
_PIN = "Write the lines for hosts.toml of this version, if nginx's signature of it is good; keep nothing."


def _builders(c: Context) -> list[Builder]:
    settings = fleet.settings_of(c)
    store.refuse_shared(settings)
    hosts = settings.build.hosts
    return [local.Local() if host == model.LOCAL else fleet.ssh_host(c, host) for host in hosts]


def _do(host: Builder, script: Script[A], show: Callable[[str], None] | None = None) -> A:
    """Runs a script there; its answer. Raises StepError."""
    if isinstance(host, nodes.Node):
        return host.do(script, show)
    limits: Any = {"timeout": script.time_limit, "most": script.output_limit, "tail": script.tail}
    return script.read(host.sh(script.text(), each_line=show, check=False, **limits))


def _arch(host: Builder) -> str:
    arch = str(host.sh("uname -m", root=False).stdout.strip())
    if not re.fullmatch(r"\w+", arch):  # it becomes part of a path here
        raise StepError(f"uname -m says {arch!r}", hint="see what the login shell there prints by itself")
    return arch


def _work(settings: Settings, host: Builder) -> str:
    return (
        str(store.folder(settings)) if host.label == model.LOCAL else settings.build.work_dir_for(host.label)
    )


def _missing(settings: Settings, arch: str, force: bool) -> list[str]:
    """Which of the two programs have to be compiled."""
    kept = {NGINX: store.find(settings, arch), paths.WATCH: store.find_watch(settings, arch)}
    wanted = [NGINX, paths.WATCH] if settings.watch.enabled else [NGINX]
    return [name for name in wanted if force or not kept[name]]


def _kept(settings: Settings, arch: str) -> StepResult[None]:
    return StepResult(State.OK, f"kept: {build_commands.key(settings.build, arch)}")


@task(help=_JSON | {"pin": _PIN}, optional=["json"])
def download(c: Context, pin: str = "", json: Json = None) -> list[fetch.Source]:
    """1. Fetch nginx's source, check its sha256 and nginx's signature, unpack it."""
    hosts = (lambda: [local.Local()]) if pin else (lambda: _builders(c))
    with opening.run(c, "download", json=json, hosts=hosts, pin=pin or None) as r:
        found = values(r.step("download", _pin(r.settings, pin) if pin else _download(r)))
        if pin and found and not json:
            terminal.write(found[model.LOCAL].toml)
        for note in {source.note for source in found.values() if source.note}:
            r.console.print(note, highlight=False, markup=False, soft_wrap=True)
        return [*found.values()]


def _pin(settings: Settings, text: str) -> Callable[[Builder], StepResult[fetch.Source]]:
    version = fetch.version_of("--pin", text)

    def work(host: Builder) -> StepResult[fetch.Source]:
        source = fetch.pin(settings.build, version, store.folder(settings))
        return StepResult(State.OK, source.words, value=source)

    return work


def _download(r: Run) -> Callable[[Builder], StepResult[fetch.Source]]:
    build, folder, once = r.settings.build, store.folder(r.settings), Lock()

    def work(host: Builder) -> StepResult[fetch.Source]:
        with once:
            source = fetch.fetch(build, folder)
            store.refuse_shared(r.settings)  # it may have been made just now, by whomever
        place = _work(r.settings, host)
        tarball = fetch.tarball_path(build, folder)
        changed = source.transferred
        if isinstance(host, nodes.Node):
            changed |= _send_tarball(host, place, tarball.name, fetch.read(build, folder), build.sha256)
        changed |= _do(host, build_commands.Unpack(build, place)).changed
        return StepResult(State.CHANGED if changed else State.OK, source.words, value=source)

    return work


def _send_tarball(host: Node, place: str, name: str, content: bytes, digest: str) -> bool:
    path = f"{place}/{name}"
    if host.do(build_commands.WorkFolder(place, name)).sha256 == digest:
        return False
    host.send(content, path, "0644", root=False)
    return True


@task(help=_JSON | {"force": "Also if the binary is kept already."}, optional=["json"])
def configure(c: Context, force: bool = False, json: Json = None) -> None:
    """2. See that a C compiler is there, then ./configure with the runbook's flags."""
    with opening.run(c, "configure", json=json, hosts=lambda: _builders(c)) as r:
        r.step("configure", lambda host: _configure(r, host, force))


def _configure(r: Run, host: Builder, force: bool) -> StepResult[None]:
    arch = _arch(host)
    if not (missing := _missing(r.settings, arch, force)):
        return _kept(r.settings, arch)
    build, place = r.settings.build, _work(r.settings, host)
    _need(host, f"{build_commands.source(build, place)}/configure", "fab download")
    r.reporter.progress(host.label, "looking for a C compiler")
    installed = _do(host, build_commands.Tools(build.static)).changed
    if NGINX in missing:
        _do(host, build_commands.Configure(build, place), lambda line: r.reporter.progress(host.label, line))
    detail = " ".join(build_commands.flags(build))
    return StepResult(State.CHANGED, f"{detail} (compiler installed)" if installed else detail)


def _need(host: Builder, path: str, first: str) -> None:
    if host.sh(build_commands.exists(path), root=False, check=False).status:
        raise StepError(f"{path} does not exist", hint=f"do this first: {first}")


@task(help=_JSON | {"force": "Also if the binary is kept already."}, optional=["json"])
def make_install(c: Context, force: bool = False, json: Json = None) -> None:
    """3. Run make and make install, and keep a stripped binary."""
    with opening.run(c, "make-install", json=json, hosts=lambda: _builders(c)) as r:
        r.step("make-install", lambda host: _make_install(r, host, force))


def _make_install(r: Run, host: Builder, force: bool) -> StepResult[None]:
    build, place, arch = r.settings.build, _work(r.settings, host), _arch(host)
    if not (missing := _missing(r.settings, arch, force)):
        return _kept(r.settings, arch)
    if NGINX in missing:
        _need(host, f"{build_commands.source(build, place)}/objs/Makefile", "fab configure")
        make = build_commands.MakeInstall(build, place, arch, connected=isinstance(host, nodes.Node))
        _do(host, make, lambda line: r.reporter.progress(host.label, line))
    if paths.WATCH in missing:
        _do(host, watch.MakeWatch(place, arch))
    keys = {NGINX: build_commands.key(build, arch), paths.WATCH: watch.key(arch)}
    return StepResult(State.CHANGED, ", ".join(keys[name] for name in missing))


@task(help=_JSON, optional=["json"])
def verify(c: Context, json: Json = None) -> list[Built]:
    """4. Run what was built: its version, flags, libraries."""
    with opening.run(c, "verify", json=json, hosts=lambda: _builders(c)) as r:
        found = values(r.step("verify", lambda host: _verify(r.settings, host)))
        version = r.settings.build.version
        if told := advisories.sentence(version, advisories.affecting(version)):
            r.console.print(f"warning: {told}", highlight=False, markup=False, soft_wrap=True)
        return [*found.values()]


def _verify(settings: Settings, host: Builder) -> StepResult[Built]:
    build = settings.build
    key = build_commands.key(build, _arch(host))
    path = f"{_work(settings, host)}/binaries/{key}/kube-nginx"
    _need(host, path, "fab make-install")
    seen = _do(host, build_commands.Inspect(path))
    if faults := build_commands.faults(build, seen):
        raise StepError(f"{path}: {'; '.join(faults)}", hint="build it again: fab build --force")
    content = _brought(host, path, seen.sha256)
    known = store.find(settings, seen.arch)
    binary = store.keep(settings, content, seen)
    same = known is not None and known.sha256 == binary.sha256
    known_of_it = advisories.affecting(binary.version)
    built = Built(binary.path, binary.version, binary.arch, binary.glibc, known_of_it)
    if settings.watch.enabled:
        same &= _verify_watch(settings, host, seen.arch)
    return StepResult(State.OK if same else State.CHANGED, binary.summary, value=built)


def _brought(host: Builder, path: str, digest: str) -> bytes:
    content = host.fetch(path)
    if fetch.sum_of(content) != digest:
        raise StepError(f"{path} changed on its way here", hint="run fab verify again")
    return content


def _verify_watch(settings: Settings, host: Builder, arch: str) -> bool:
    """Keeps kube-nginx-watch, if it is what was built; true if it was kept already."""
    path = f"{_work(settings, host)}/binaries/{watch.key(arch)}/{paths.WATCH}"
    _need(host, path, "fab make-install")
    seen = _do(host, watch.InspectWatch(path))
    content = _brought(host, path, seen.sha256)
    known = store.find_watch(settings, arch)
    return store.keep_watch(settings, content, seen).sha256 == (known and known.sha256)


@task(help=_JSON | {"force": "Also if the binary is kept already."}, optional=["json"])
def build(c: Context, force: bool = False, json: Json = None) -> list[Built]:
    """1-4. Compile nginx with its stream module only: download, configure, make-install, verify."""
    with opening.run(c, "build", json=json, hosts=lambda: _builders(c)):
        download(c)
        configure(c, force=force)
        make_install(c, force=force)
        return verify(c)
