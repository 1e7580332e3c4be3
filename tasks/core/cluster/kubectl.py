"""kubectl on this machine, which asks a cluster; it only reads."""

from __future__ import annotations

import json
import subprocess
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from threading import Thread
from typing import Any

from ..config.address import Endpoint
from ..errors import KubeNginxError, last_lines, reason
from . import members
from .members import ClusterNode

SECONDS = 20.0
"""What one question may take, the login of its own included."""
_REQUEST = 10  # seconds that one request to an apiserver may take
_MOST = 256 << 20  # bytes: 5,000 nodes with the images that each has
_SHOWN = 300  # characters of what it complains of
_SLICES = (
    "endpointslices.discovery.k8s.io",
    "--namespace=default",
    "-l=kubernetes.io/service-name=kubernetes",
)


class KubectlError(KubeNginxError):
    """Why kubectl tells nothing, in words; `missing`: it is not installed."""

    def __init__(self, message: str, missing: bool = False) -> None:
        super().__init__(message)
        self.missing = missing


@dataclass(frozen=True, slots=True)
class Members:
    """A cluster's nodes, and where its apiservers are."""

    nodes: tuple[ClusterNode, ...]
    apiservers: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class Kubectl:
    """kubectl with a kubeconfig, None: whatever it uses by itself; `context`: "" is the current one.

    Whatever it is asked raises KubectlError if it is not there, fails, or does not end within SECONDS.
    """

    kubeconfig: Path | None = None
    context: str = ""
    program: str = "kubectl"

    def nodes(self) -> tuple[ClusterNode, ...]:
        """All nodes of the cluster, in its order."""
        return tuple(filter(None, map(members.node, self._items("nodes"))))

    def apiservers(self) -> tuple[Endpoint, ...]:
        """Where the apiservers are that serve: the EndpointSlices of default/kubernetes."""
        return tuple(dict.fromkeys(e for item in self._items(*_SLICES) for e in members.endpoints(item)))

    def members(self) -> Members:
        """All of them."""
        apiservers = self.apiservers()
        return Members(self.nodes(), apiservers)

    def begin(self) -> Future[Members]:
        """The same, beside other work; what is raised is for whoever asks for the result."""
        future = Future[Members]()

        def work() -> None:
            try:
                future.set_result(self.members())
            except BaseException as error:
                future.set_exception(error)

        Thread(target=work, daemon=True).start()
        return future

    def _items(self, *what: str) -> list[Any]:
        asked = f"kubectl get {what[0]}"
        try:
            found = members.mapping(json.loads(self._got(asked, what)))
        except (ValueError, RecursionError):
            raise KubectlError(f"{asked} gave no JSON") from None
        if not isinstance(items := found.get("items"), list):
            raise KubectlError(f"{asked} gave no list")
        return items

    def _got(self, asked: str, what: tuple[str, ...]) -> bytes:
        given = [f"--kubeconfig={self.kubeconfig}"] if self.kubeconfig else []
        given += [f"--context={self.context}"] if self.context else []
        command = [self.program, *given, f"--request-timeout={_REQUEST}s", "get", *what, "--output=json"]
        # files, since what it starts to log in may keep a pipe open
        with TemporaryFile() as out, TemporaryFile() as err:
            try:
                ended = subprocess.run(
                    command, stdin=subprocess.DEVNULL, stdout=out, stderr=err, timeout=SECONDS, check=False
                )
            except subprocess.TimeoutExpired:
                raise KubectlError(f"{asked} did not end within {SECONDS:g} s") from None
            except FileNotFoundError:
                raise KubectlError("there is no kubectl on this machine", missing=True) from None
            except OSError as error:
                raise KubectlError(f"kubectl cannot be run: {reason(error)}") from None
            out.seek(0)
            err.seek(0)
            if ended.returncode:
                said = last_lines(err.read(1 << 16).decode(errors="replace"), 1)
                why = "".join(c if c.isprintable() else "?" for c in said)[:_SHOWN]
                raise KubectlError(f"{asked} failed: {why or f'status {ended.returncode}'}")
            return out.read(_MOST)
