"""Fabric tasks that install nginx as a layer-4 proxy in front of kube-apiserver on every node."""

from __future__ import annotations

from typing import Any

from invoke import Collection, Task
from invoke.util import Lexicon

from .compile import build, configure, download, make_install, verify
from .install import conf, mkdir, render, scp, unit
from .rollout import deploy, uninstall
from .service import daemon_reload, disable, enable, logs, reload, restart, start, status, stop

__all__ = [
    "build",
    "conf",
    "configure",
    "daemon_reload",
    "deploy",
    "disable",
    "download",
    "enable",
    "logs",
    "make_install",
    "mkdir",
    "ns",
    "reload",
    "render",
    "restart",
    "scp",
    "start",
    "status",
    "stop",
    "uninstall",
    "unit",
    "verify",
]


class _InOrder(str):
    """A task's name that sorts by its place in the runbook, which is how `fab --list` then reads."""

    __slots__ = ("place",)
    place: int

    def __lt__(self, other: str) -> bool:
        return self.place < other.place if isinstance(other, _InOrder) else str(self) < other


def _runbook(*tasks: Task[Any]) -> Collection:
    collection = Collection(*tasks)
    ordered = Lexicon()
    for place, task in enumerate(tasks):
        name = _InOrder(collection.transform(task.name))
        name.place = place
        ordered[name] = task
    collection.tasks = ordered
    return collection


ns = _runbook(
    build,
    deploy,
    download,
    configure,
    make_install,
    verify,
    mkdir,
    scp,
    conf,
    unit,
    daemon_reload,
    enable,
    restart,
    status,
    logs,
    start,
    stop,
    reload,
    disable,
    render,
    uninstall,
)
