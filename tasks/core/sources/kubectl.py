"""A cluster as `kubectl get` tells it: its nodes, and where its kube-apiservers listen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from ..errors import UsageError
from . import programs

SECONDS = 60
_ROLE = "node-role.kubernetes.io/"
_ZONES = ("topology.kubernetes.io/zone", "failure-domain.beta.kubernetes.io/zone")
_SYSTEMS = ("kubernetes.io/os", "beta.kubernetes.io/os")
_SLICES = ("endpointslices", "--selector=kubernetes.io/service-name=kubernetes")
_ENDPOINTS = ("endpoints", "--field-selector=metadata.name=kubernetes")
"""The two ways to tell the addresses of default/kubernetes; before Kubernetes 1.19 there is the second."""

_LOGGED = re.compile(r"^[EIW]\d{4} .*\n", re.M)
"""What kubectl's library writes to its log, each try anew."""
_WHICH = "which cluster it asks: --kubeconfig FILE, --context NAME, else $KUBECONFIG, else ~/.kube/config"


@dataclass(frozen=True, slots=True)
class Machine:
    """A node of the cluster. `addresses` are its InternalIP, then others by which it is reached."""

    name: str
    addresses: tuple[str, ...]
    internal: bool
    roles: tuple[str, ...]
    zone: str
    system: str

    @property
    def controls(self) -> bool:
        """Whether it is of the control plane, as far as its roles say."""
        return not {"control-plane", "controlplane", "master"}.isdisjoint(self.roles)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a kube-apiserver listens, as it said itself."""

    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Cluster:
    """What kubectl told; `source` is where the addresses of kube-apiservers come from.

    `unread` is why they are not known, though the machines are.
    """

    machines: tuple[Machine, ...]
    servers: tuple[Server, ...] = ()
    source: str = ""
    unread: str = ""


class Kubectl:
    """kubectl with a kubeconfig and a context; "": its own. Raises UsageError: it is not installed."""

    def __init__(self, kubeconfig: str = "", context: str = "") -> None:
        if not (program := programs.find("kubectl")):
            raise UsageError(
                "--from kubectl: kubectl is not installed here, or not in PATH; "
                "give --nodes and --apiservers, or another --from"
            )
        flags = {"--kubeconfig": kubeconfig, "--context": context}
        self._command = [program, *(f"{flag}={value}" for flag, value in flags.items() if value)]

    def cluster(self) -> Cluster:
        """Its nodes and apiservers. Raises UsageError: kubectl tells no nodes, or what makes no sense."""
        machines = tuple(map(_machine, self._items("nodes")))
        if not all(machine.name for machine in machines):
            raise UsageError("kubectl get nodes: wrote a node without a name; is that kubectl's own output?")
        try:
            return Cluster(machines, *self._servers())
        except UsageError as error:  # they may be given
            return Cluster(machines, unread=str(error))

    def _servers(self) -> tuple[tuple[Server, ...], str]:
        """Those of default/kubernetes, and what names them."""
        with suppress(UsageError):  # it knows none, or one may not see them
            if found := _of_slices(self._items(*_SLICES, "--namespace=default")):
                return found, "EndpointSlices"
        return _of_endpoints(self._items(*_ENDPOINTS, "--namespace=default")), "Endpoints"

    def _items(self, *what: str) -> Sequence[Any]:
        command = [*self._command, "get", *what, "--output=json", f"--request-timeout={SECONDS // 2}s"]
        said = f"kubectl get {what[0]}"
        ended = programs.run(command, SECONDS)
        if ended.status:
            own = replace(ended, err=_LOGGED.sub("", ended.err) or ended.err)
            raise UsageError(f"{said}: {own.why}\n{_WHICH}")
        try:
            items = _at(json.loads(ended.out), "items")
        except (ValueError, RecursionError):
            raise UsageError(f"{said}: wrote no JSON, but {ended.out[:60]!r}") from None
        if not isinstance(items, list):
            raise UsageError(f"{said}: wrote no list of objects, but {ended.out[:60]!r}")
        return items


def _machine(item: object) -> Machine:
    name = _text(_at(item, "metadata", "name"))
    labels = _at(item, "metadata", "labels")
    found = [
        (_text(_at(address, "type")), _text(_at(address, "address")))
        for address in _list(_at(item, "status", "addresses"))
    ]
    internal = [address for kind, address in found if kind == "InternalIP"]
    external = [address for kind, address in found if kind == "ExternalIP"]
    return Machine(
        name,
        (*internal, *external) or (name,),
        bool(internal),
        tuple(key.removeprefix(_ROLE) for key in _keys(labels) if key.startswith(_ROLE)),
        next(filter(None, (_text(_at(labels, key)) for key in _ZONES)), ""),
        next(filter(None, (_text(_at(labels, key)) for key in _SYSTEMS)), "linux"),
    )


def _of_slices(items: Sequence[object]) -> tuple[Server, ...]:
    found: dict[Server, None] = {}
    for item in items:
        for endpoint in _list(_at(item, "endpoints")):
            if _at(endpoint, "conditions", "ready") is not False:
                found |= dict.fromkeys(_servers(_at(endpoint, "addresses"), _at(item, "ports")))
    return tuple(found)


def _of_endpoints(items: Sequence[object]) -> tuple[Server, ...]:
    found: dict[Server, None] = {}
    for item in items:
        for subset in _list(_at(item, "subsets")):
            addresses = [_at(address, "ip") for address in _list(_at(subset, "addresses"))]
            found |= dict.fromkeys(_servers(addresses, _at(subset, "ports")))
    return tuple(found)


def _servers(addresses: object, ports: object) -> Iterator[Server]:
    for address in map(_text, _list(addresses)):
        for port in (_at(port, "port") for port in _list(ports)):
            if address and isinstance(port, int):
                yield Server(address, port)


def _at(item: object, *keys: str) -> object:
    """What is there in a document; None where it is not as it should be."""
    for key in keys:
        item = item.get(key) if isinstance(item, dict) else None
    return item


def _list(given: object) -> list[Any]:
    return given if isinstance(given, list) else []


def _keys(given: object) -> list[str]:
    return [*map(str, given)] if isinstance(given, dict) else []


def _text(given: object) -> str:
    return given if isinstance(given, str) else ""
