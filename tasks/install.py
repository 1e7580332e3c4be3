"""Runbook: "install and deploy nginx", and the files that it ships."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from invoke import Context

from .core.console import terminal
from .core.errors import KubeNginxError
from .core.late import late
from .core.results import State, StepResult
from .core.run.flags import FleetFlags, fleet_task, task

with late():
    from .core import localfiles
    from .core.facts import facts as known
    from .core.facts import layout, paths
    from .core.release import render as rendering
    from .core.release import servers
    from .core.rollout import deployment
    from .core.rollout import preflight as check
    from .core.run import opening
    from .core.scripts import files as scripts
    from .core.ssh import fleet

if TYPE_CHECKING:
    from .core.facts.facts import Facts
    from .core.rollout.deployment import Releases
    from .core.run.run import Run
    from .core.ssh.node import Node

__all__ = ["conf", "mkdir", "render", "scp", "unit"]

Done = dict[str, StepResult[None]]


@fleet_task()
def mkdir(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """5. Create conf, logs and sbin under the prefix, and the service's user."""
    with opening.run(c, "mkdir", **flags) as r:
        return r.step("mkdir", lambda node: _mkdir(r, node), finish=True)


def _mkdir(r: Run, node: Node) -> StepResult[None]:
    facts, proxy = node.survey(r.settings.proxy), r.settings.proxy
    check.refuse(check.in_the_way(facts))
    wanted = {
        path: known.Folder(owner, "755") for path, owner in layout.folders(proxy, facts.user_id).items()
    }
    if dict(facts.directories) == wanted:
        return StepResult(State.OK, proxy.prefix)
    r.lock(node)
    node.do(scripts.Mkdir(proxy))
    return StepResult(State.CHANGED, proxy.prefix)


@fleet_task()
def scp(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """6. Ship the binary that fits each node's architecture as sbin/kube-nginx."""
    with opening.run(c, "scp", **flags) as r:
        releases = deployment.Releases(r.settings, needed=bool(r.fleet))
        return r.step("scp", lambda node: _scp(r, node, releases), finish=True)


def _scp(r: Run, node: Node, releases: Releases) -> StepResult[None]:
    facts = node.survey(r.settings.proxy)
    check.refuse(check.in_the_way(facts))
    release = releases.for_node(facts)
    path = paths.binary_path(r.settings.proxy)
    r.lock(node)
    changed = node.ship(release.contents[layout.BINARY], path, "0755", facts)
    return StepResult(State.CHANGED if changed else State.OK, f"{path} {release.version}")


@fleet_task()
def conf(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """7. Render and ship conf/kube-nginx.conf."""
    with opening.run(c, "conf", **flags) as r:
        return r.step("conf", lambda node: _conf(r, node), finish=True)


def _conf(r: Run, node: Node) -> StepResult[None]:
    settings = r.settings
    facts = node.survey(settings.proxy, servers.names(settings.apiservers))
    check.refuse(check.unresolved(settings, facts))
    check.refuse(check.in_the_way(facts))
    text = rendering.conf(settings, facts.addresses)
    return _ship_text(r, node, facts, paths.conf_path(settings.proxy), text)


@fleet_task()
def unit(c: Context, **flags: Unpack[FleetFlags]) -> Done:
    """8. Render and ship the systemd unit."""
    with opening.run(c, "unit", **flags) as r:
        return r.step("unit", lambda node: _unit(r, node), finish=True)


def _unit(r: Run, node: Node) -> StepResult[None]:
    facts = node.survey(r.settings.proxy)
    check.refuse(check.masked(facts))
    check.refuse(check.in_the_way(facts))
    return _ship_text(r, node, facts, paths.UNIT_PATH, rendering.unit(r.settings))


def _ship_text(r: Run, node: Node, facts: Facts, path: str, text: str) -> StepResult[None]:
    r.lock(node)
    changed = node.ship(text.encode(), path, "0644", facts)
    return StepResult(State.CHANGED if changed else State.OK, path)


@task(help={"to": "Write kube-nginx.conf and the units into this folder."})
def render(c: Context, to: str = "") -> dict[str, str]:
    """Show the configuration and the units, or write them to a folder; no connection."""
    with opening.reporting("render"):
        settings = fleet.settings_of(c)
        files = rendering.files(settings)
        for name, text in files.items():
            if to:
                _write(Path(to) / name, text)
            terminal.write(f"{to}/{name}" if to else f"# {name}\n{text}")
    return files


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        localfiles.write_atomic(path, text.encode(), 0o644)
    except OSError as error:
        raise KubeNginxError(f"cannot write {path}: {error.strerror}") from None
