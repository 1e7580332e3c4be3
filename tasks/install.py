"""Runbook: "install and deploy nginx", and the files that it ships."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from invoke import Context, Exit, task

from .core import commands, report, store
from .core import render as rendering
from .core.errors import KubeNginxError, StepError
from .core.fleet import settings_of
from .core.node import Node
from .core.report import Outcome
from .core.run import FLEET_HELP, UNMASK, Run, run, told
from .core.settings import Settings


@task(help=FLEET_HELP)
def mkdir(c: Context, limit: str | None = None, json: bool = False) -> None:
    """5. Create conf, logs and sbin under the prefix, and the service's user."""
    with run(c, "mkdir", limit=limit, json=json) as r:
        r.step("mkdir", lambda node: _mkdir(r.settings, node))


def _mkdir(settings: Settings, node: Node) -> Outcome:
    facts, proxy = node.survey(settings.proxy), settings.proxy
    owner = facts.user_id if proxy.user else facts.directories.get("logs")
    there = set(facts.directories) == {"conf", "logs", "sbin"}
    if there and owner and facts.directories["logs"] == owner:
        return Outcome("ok", proxy.prefix)
    node.sh(commands.mkdir(proxy))
    node.forget()
    return Outcome("changed", proxy.prefix)


@task(help=FLEET_HELP)
def scp(c: Context, limit: str | None = None, json: bool = False) -> None:
    """6. Ship the binary that fits each node's architecture as sbin/kube-nginx."""
    with run(c, "scp", limit=limit, json=json) as r:
        binaries = Binaries(r.settings)
        r.step("scp", lambda node: _scp(r.settings, node, binaries))


class Binaries:
    """The binaries that were built for these settings, read once.

    Raises KubeNginxError if there is none at all.
    """

    def __init__(self, settings: Settings) -> None:
        self._by_arch = {b.arch: (b, b.read()) for b in store.kept(settings)}
        if not self._by_arch:
            version = settings.build.version
            raise KubeNginxError(
                f"no binary of nginx {version} with these flags has been built: run fab build first"
            )

    def for_node(self, settings: Settings, node: Node) -> tuple[store.Binary, bytes]:
        """Raises StepError: none for the node's architecture."""
        arch = node.survey(settings.proxy).arch
        if arch not in self._by_arch:
            raise StepError(
                f"the node is {arch}, and the binaries are for {', '.join(sorted(self._by_arch))}",
                hint=f"add a build host that is {arch} to build.hosts, then fab build",
            )
        return self._by_arch[arch]


def _scp(settings: Settings, node: Node, binaries: Binaries) -> Outcome:
    binary, content = binaries.for_node(settings, node)
    path = commands.binary_path(settings.proxy)
    changed = node.ship(content, path, "0755", node.survey(settings.proxy))
    return Outcome("changed" if changed else "ok", f"{path} {binary.version}")


@task(help=FLEET_HELP)
def conf(c: Context, limit: str | None = None, json: bool = False) -> None:
    """7. Render and ship conf/kube-nginx.conf."""
    with run(c, "conf", limit=limit, json=json) as r:
        _ship_text(r, "conf", commands.conf_path(r.settings.proxy), rendering.conf(r.settings))


@task(help=FLEET_HELP)
def unit(c: Context, limit: str | None = None, json: bool = False) -> None:
    """8. Render and ship the systemd unit."""
    with run(c, "unit", limit=limit, json=json) as r:
        _ship_text(r, "unit", commands.UNIT_PATH, rendering.unit(r.settings))


def _ship_text(r: Run, step: str, path: str, text: str) -> None:
    def work(node: Node) -> Outcome:
        if step == "unit" and node.survey(r.settings.proxy).unit.get("LoadState") == "masked":
            raise StepError("the unit is masked", hint=UNMASK)
        changed = node.ship(text.encode(), path, "0644", node.survey(r.settings.proxy))
        return Outcome("changed" if changed else "ok", path)

    r.step(step, work)


@task(help={"to": "Write kube-nginx.conf and kube-nginx.service into this folder."})
def render(c: Context, to: str = "") -> None:
    """Show the configuration and the unit, or write them to a folder; no connection."""
    with told():
        settings = settings_of(c)
        files: dict[str, Any] = {
            "kube-nginx.conf": rendering.conf(settings),
            "kube-nginx.service": rendering.unit(settings),
        }
    for name, text in files.items():
        if not to:
            report.write(f"# {name}\n{text}")
            continue
        try:
            Path(to).mkdir(parents=True, exist_ok=True)
            store.write_whole(Path(to) / name, text.encode(), 0o644)
        except OSError as error:
            raise Exit(f"cannot write {to}/{name}: {error.strerror}", code=1) from None
        report.write(f"{to}/{name}")
