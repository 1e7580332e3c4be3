"""kubectl as a client that watches: once, or again and again as client-go's reflector does."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.lab import kubernetes
from tests.lab.nodes import Node

AGAIN = 'while :; do "$@"; sleep 0.8; done'  # a reflector of client-go waits before it lists again
READY = 30.0
AT_ONCE = 8  # that begin: more would keep each other from it on two cores


@dataclass
class Watch:
    """One kubectl: what it printed, and when (seconds of CLOCK_MONOTONIC) and with what status it ended."""

    process: subprocess.Popen[bytes]
    output: Path
    ended: float | None = None
    waiter: threading.Thread = field(init=False)

    def __post_init__(self) -> None:
        self.waiter = threading.Thread(target=self._wait, daemon=True)
        self.waiter.start()

    def _wait(self) -> None:
        self.process.wait()
        self.ended = time.monotonic()

    @property
    def has_listed(self) -> bool:
        """Whether it has begun."""
        return any(line.startswith("configmap/") for line in self.seen)

    @property
    def seen(self) -> list[str]:
        """The names that it has printed, and what it complained of."""
        return self.output.read_text().splitlines()


class Watches:
    """So many `kubectl get configmaps --watch` on a node, for as long as the `with` block runs.

    again: one that ends begins anew. Entering waits until each has listed what there is (at least one
    configmap must be there). Raises RuntimeError, with its own words, if one does not within 30 s.
    """

    def __init__(self, node: Node, count: int = 1, *, again: bool = False) -> None:
        self._count = count
        self._node = node
        kubectl = [str(kubernetes.folder() / "kubectl"), f"--kubeconfig={node.kubeconfig}"]
        watch = [*kubectl, "get", "configmaps", "--watch", "--output=name"]
        loop = ["sh", "-c", AGAIN, "sh"] if again else []
        self._command = ["ip", "netns", "exec", node.netns, *loop, *watch]

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="kube-nginx-watches.")
        self.all: list[Watch] = []
        try:
            for number in range(self._count):
                self.all.append(self._start(Path(self._folder.name) / f"{number}"))
                self._wait_for_all_but(AT_ONCE - 1)
            self._wait_for_all_but(0)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for watch in self.all:
            if watch.ended is None:
                os.killpg(watch.process.pid, signal.SIGKILL)
        for watch in self.all:
            watch.waiter.join()
        self._folder.cleanup()

    @property
    def ended(self) -> list[float]:
        """When those that have ended did, in seconds of CLOCK_MONOTONIC."""
        return sorted(watch.ended for watch in self.all if watch.ended is not None)

    def _start(self, output: Path) -> Watch:
        # its home, where it caches what it discovers, is the same for all
        environment = {"PATH": os.environ["PATH"], "HOME": self._folder.name}
        with output.open("wb") as file:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=environment,
                start_new_session=True,
            )
        return Watch(process, output)

    def _wait_for_all_but(self, number: int) -> None:
        deadline = time.monotonic() + READY
        while len(waiting := [watch for watch in self.all if not watch.has_listed]) > number:
            for watch in waiting:
                if watch.ended or time.monotonic() > deadline:
                    raise RuntimeError(f"a watch on {self._node.name} lists nothing: {watch.seen[-3:]}")
            time.sleep(0.05)


def peers(node: Node) -> list[str]:
    """The apiserver addresses of all sessions that the node has open to port 6443, one for each session."""
    listed = node.exec(["ss", "-Htn", "state", "established", "( dport = :6443 )"]).stdout
    return [line.split()[3].rpartition(":")[0].strip("[]") for line in listed.splitlines()]
