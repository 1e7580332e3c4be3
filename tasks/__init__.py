"""Fabric tasks that install nginx as a layer-4 proxy in front of kube-apiserver on every node."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

from invoke import Collection

from . import checks, compile, install, rollout, service, setup
from .checks import *  # noqa: F403 - what is a task is in each file's __all__
from .compile import *  # noqa: F403
from .core.run import uncaught
from .core.run.opening import TaskFailed
from .core.ssh.fleet import Connections
from .install import *  # noqa: F403
from .rollout import *  # noqa: F403
from .service import *  # noqa: F403
from .setup import *  # noqa: F403

_FILES = (setup, compile, install, service, rollout, checks)  # in the order of the runbook

__all__ = ["Connections", "TaskFailed", "ns", *(name for file in _FILES for name in file.__all__)]  # noqa: PLE0604

ns = Collection("kube-nginx", *(getattr(file, name) for file in _FILES for name in file.__all__))
uncaught.watch()


def __getattr__(name: str) -> str:
    """`__version__`, from the installed package's metadata; a bare checkout has none."""
    if name != "__version__":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return version("kube-nginx")
    except PackageNotFoundError:
        return "0+checkout"
