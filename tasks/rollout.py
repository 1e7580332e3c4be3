"""The chains over the runbook's sections."""

from __future__ import annotations

import sys

from invoke import Context, task

from .core import commands
from .core.errors import UsageError
from .core.node import Node
from .core.report import Outcome
from .core.run import FLEET_HELP, Run, run
from .core.settings import Settings
from .install import Binaries, conf, mkdir, scp, unit
from .service import daemon_reload, enable, restart, status


@task(help=FLEET_HELP)
def deploy(c: Context, limit: str | None = None, json: bool = False) -> None:
    """5-12. Ship binary, configuration and unit to every node, restart, see that it listens."""
    with run(c, "deploy", limit=limit, json=json) as r:
        binaries = Binaries(r.settings)
        r.step("survey", lambda node: _survey(r.settings, node, binaries))
        mkdir(c)
        scp(c)
        conf(c)
        unit(c)
        daemon_reload(c)
        enable(c)
        restart(c)
        status(c)


def _survey(settings: Settings, node: Node, binaries: Binaries) -> Outcome:
    """Finds what cannot work before anything is written."""
    binary, _ = binaries.for_node(settings, node)
    return Outcome("ok", f"{binary.arch}, nginx {binary.version}")


@task(help=FLEET_HELP | {"yes": "Do not ask."})
def uninstall(c: Context, yes: bool = False, limit: str | None = None, json: bool = False) -> None:
    """Stop and remove the service, its unit and its files."""
    with run(c, "uninstall", limit=limit, json=json) as r:
        if not yes:
            _ask(r)
        r.step("uninstall", lambda node: _uninstall(r.settings, node))


def _ask(r: Run) -> None:
    names = ", ".join(node.label for node in r.fleet)
    if not sys.stdin.isatty():
        raise UsageError(f"uninstall would stop kube-nginx on {names}: say --yes to do it unasked")
    r.console.print(f"This stops kube-nginx and removes it from {names}.", markup=False)
    r.console.print("Type yes to go on: ", end="")
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("nothing was done")


def _uninstall(settings: Settings, node: Node) -> Outcome:
    node.survey(settings.proxy)
    try:
        ended = node.sh(commands.uninstall(settings.proxy))
    finally:
        node.forget()
    if "kn.kept=1" in ended.stdout.split():
        return Outcome("warning", f"{settings.proxy.prefix} holds files that are not ours and stays")
    return Outcome("changed", "removed") if ended.changed else Outcome("ok", "nothing was there")
