"""Runbook: "install and deploy nginx", and the files that it ships."""

from __future__ import annotations

from pathlib import Path
from typing import Unpack

from invoke import Context

from .core.console import terminal
from .core.errors import KubeNginxError
from .core.facts.facts import Facts, Folder
from .core.facts.layout import folders
from .core.facts.paths import UNIT_PATH, binary_path, conf_path
from .core.localfiles import write_atomic
from .core.release import render as rendering
from .core.release import servers
from .core.release.release import BINARY
from .core.results import State, StepResult
from .core.rollout.deployment import Releases
from .core.rollout.preflight import in_the_way, masked, refuse, unresolved
from .core.run.flags import FleetFlags, fleet_task, task
from .core.run.opening import reporting, run
from .core.run.run import Run
from .core.scripts.files import Mkdir
from .core.ssh.fleet import settings_of
from .core.ssh.node import Node

__all__ = ["conf", "mkdir", "render", "scp", "unit"]

Done = dict[str, StepResult[None]]


@fleet_task()
def mkdir(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """5. Create conf, logs and sbin under the prefix, and the service's user."""
    with run(c, "mkdir", **flags) as r:
        return r.step("mkdir", lambda node: _mkdir(r, node), finish=True)


def _mkdir(r: Run, node: Node) -> StepResult[None]:
    facts, proxy = node.survey(r.settings.proxy), r.settings.proxy
    refuse(in_the_way(facts))
    wanted = {path: Folder(owner, "755") for path, owner in folders(proxy, facts.user_id).items()}
    if dict(facts.directories) == wanted:
        return StepResult(State.OK, proxy.prefix)
    r.lock(node)
    node.do(Mkdir(proxy))
    return StepResult(State.CHANGED, proxy.prefix)


@fleet_task()
def scp(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """6. Ship the binary that fits each node's architecture as sbin/kube-nginx."""
    with run(c, "scp", **flags) as r:
        releases = Releases(r.settings)
        return r.step("scp", lambda node: _scp(r, node, releases), finish=True)


def _scp(r: Run, node: Node, releases: Releases) -> StepResult[None]:
    facts = node.survey(r.settings.proxy)
    refuse(in_the_way(facts))
    release = releases.for_node(facts)
    path = binary_path(r.settings.proxy)
    r.lock(node)
    changed = node.ship(release.contents[BINARY], path, "0755", facts)
    return StepResult(State.CHANGED if changed else State.OK, f"{path} {release.version}")


@fleet_task()
def conf(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """7. Render and ship conf/kube-nginx.conf."""
    with run(c, "conf", **flags) as r:
        return r.step("conf", lambda node: _conf(r, node), finish=True)


def _conf(r: Run, node: Node) -> StepResult[None]:
    settings = r.settings
    facts = node.survey(settings.proxy, servers.names(settings.apiservers))
    refuse(unresolved(settings, facts))
    refuse(in_the_way(facts))
    text = rendering.conf(settings, facts.addresses)
    return _ship_text(r, node, facts, conf_path(settings.proxy), text)


@fleet_task()
def unit(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """8. Render and ship the systemd unit."""
    with run(c, "unit", **flags) as r:
        return r.step("unit", lambda node: _unit(r, node), finish=True)


def _unit(r: Run, node: Node) -> StepResult[None]:
    facts = node.survey(r.settings.proxy)
    refuse(masked(facts))
    refuse(in_the_way(facts))
    return _ship_text(r, node, facts, UNIT_PATH, rendering.unit(r.settings))


def _ship_text(r: Run, node: Node, facts: Facts, path: str, text: str) -> StepResult[None]:
    r.lock(node)
    changed = node.ship(text.encode(), path, "0644", facts)
    return StepResult(State.CHANGED if changed else State.OK, path)


@task(help={"to": "Write kube-nginx.conf and kube-nginx.service into this folder."})
def render(c: Context, to: str = "") -> dict[str, str]:
    """Show the configuration and the unit, or write them to a folder; no connection."""
    with reporting("render"):
        settings = settings_of(c)
        files = {"kube-nginx.conf": rendering.conf(settings), "kube-nginx.service": rendering.unit(settings)}
        for name, text in files.items():
            if to:
                _write(Path(to) / name, text)
            terminal.write(f"{to}/{name}" if to else f"# {name}\n{text}")
    return files


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.encode(), 0o644)
    except OSError as error:
        raise KubeNginxError(f"cannot write {path}: {error.strerror}") from None
