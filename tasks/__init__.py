"""Fabric tasks that install nginx as a layer-4 proxy in front of kube-apiserver on every node."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from invoke import Collection

from .checks import check, connections, drill
from .compile import build, configure, download, make_install, verify
from .core.run import uncaught
from .core.ssh.fleet import Connections
from .install import conf, mkdir, render, scp, unit
from .rollout import deploy, diff, preflight, rollback, uninstall
from .service import daemon_reload, disable, enable, logs, reload, restart, start, status, stop
from .setup import init

__all__ = [
    "Connections",
    "build",
    "check",
    "conf",
    "configure",
    "connections",
    "daemon_reload",
    "deploy",
    "diff",
    "disable",
    "download",
    "drill",
    "enable",
    "init",
    "logs",
    "make_install",
    "mkdir",
    "ns",
    "preflight",
    "reload",
    "render",
    "restart",
    "rollback",
    "scp",
    "start",
    "status",
    "stop",
    "uninstall",
    "unit",
    "verify",
]

ns = Collection(
    "kube-nginx",
    init,
    build,
    deploy,
    diff,
    preflight,
    rollback,
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
    check,
    connections,
    drill,
    logs,
    start,
    stop,
    reload,
    disable,
    render,
    uninstall,
)


uncaught.watch()


def __getattr__(name: str) -> str:
    """`__version__`, from the installed package's metadata; a bare checkout has none."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return version("kube-nginx")
    except PackageNotFoundError:
        return "0+checkout"
