"""Asks a cluster by kubectl on this machine, beside other work."""

from __future__ import annotations

from concurrent.futures import Future
from pathlib import Path
from threading import Thread

from ..errors import UsageError
from ..sources import programs
from ..sources.kubectl import Cluster, Kubectl


def is_possible() -> bool:
    """Whether kubectl is installed."""
    return bool(programs.find("kubectl"))


def begin(kubeconfig: Path) -> Future[Cluster]:
    """What the cluster is; asking for the result raises UsageError: what kubectl says against it."""
    future = Future[Cluster]()

    def work() -> None:
        try:
            cluster = Kubectl(str(kubeconfig)).cluster()
            if cluster.unread:
                raise UsageError(cluster.unread)
            future.set_result(cluster)
        except BaseException as error:  # handed over to whoever asks
            future.set_exception(error)

    Thread(target=work, daemon=True).start()
    return future
