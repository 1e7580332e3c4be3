"""Fabric tasks that install nginx as a layer-4 proxy in front of kube-apiserver on every node."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from invoke import Collection

from . import checks, compile, install, recaps, rollout, service, setup
from .checks import *  # noqa: F403 - what is a task is in each file's __all__
from .compile import *  # noqa: F403
from .core.late import late
from .core.run import uncaught
from .install import *  # noqa: F403
from .recaps import *  # noqa: F403
from .rollout import *  # noqa: F403
from .service import *  # noqa: F403
from .setup import *  # noqa: F403

with late():
    from .core.run import opening
    from .core.ssh import fleet

if TYPE_CHECKING:
    from .core.run.opening import TaskFailed
    from .core.ssh.fleet import Connections

_FILES = (setup, compile, install, service, rollout, checks, recaps)  # in the order of the runbook

__all__ = ["Connections", "TaskFailed", "ns", *(name for file in _FILES for name in file.__all__)]  # noqa: PLE0604

ns = Collection("kube-nginx", *(getattr(file, name) for file in _FILES for name in file.__all__))
uncaught.watch()


def __getattr__(name: str) -> Any:
    """What is no task, made when it is used first; a bare checkout has no `__version__`."""
    if name in ("Connections", "TaskFailed"):
        return fleet.Connections if name == "Connections" else opening.TaskFailed
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return version("kube-nginx")
    except PackageNotFoundError:
        return "0+checkout"
