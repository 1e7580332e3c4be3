"""What `fab init --from` names, read: a file of a kind that is known by its look, or a cluster."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ..config.address import Endpoint, NodeSpec
from ..config.model import expanded
from ..errors import UsageError
from ..localfiles import read_bounded
from ..sources import documents, ini, programs
from ..sources.assignments import assignments
from ..sources.inventory import Inventory
from ..sources.kubectl import Kubectl
from ..sources.looks import Kind, kind_of, text_of
from .ansible import FromInventory
from .environment import Environment
from .initial import InitialConfig
from .kubernetes import FromCluster

CLUSTER = "kubectl"
"""The source that is no file."""
_MOST, _MOST_SHELL = 16 << 20, 1 << 20
_USUAL = ("hosts.ini", "inventory.ini", "hosts.yaml", "hosts.yml", "inventory.yml", "hosts", "environment.sh")
_SECONDS = 60
_ONLY_READ = {
    "ANSIBLE_INVENTORY_ENABLED": "yaml,ini",  # no program, no cloud: the file is read, not run
    "ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "True",
    "ANSIBLE_NOCOLOR": "1",
}
_READERS = {Kind.INI: ini.read, Kind.YAML: documents.from_yaml, Kind.LIST: documents.from_list}


class Source(Protocol):
    """What a first hosts.toml is taken from."""

    def listen(self) -> Endpoint | None:
        """Where the proxy is to listen; None: nothing is said of it. Raises UsageError."""

    def config(
        self, nodes: tuple[NodeSpec, ...] | None, apiservers: tuple[Endpoint, ...] | None
    ) -> InitialConfig:
        """All that it says; nodes and apiservers that are given count more. Raises UsageError."""


@dataclass(frozen=True, slots=True)
class Flags:
    """Those that belong to one kind of source; None: not given."""

    kubeconfig: str | None = None
    context: str | None = None
    nodes_group: str | None = None
    apiservers_group: str | None = None

    def refuse(self, *names: str) -> None:
        """Raises UsageError: one of these was given, which means nothing here."""
        for name in names:
            if getattr(self, name) is not None:
                what = "an Ansible inventory" if name.endswith("group") else f"--from {CLUSTER}"
                raise UsageError(f"--{name.replace('_', '-')} is for {what}")


def read(given: str, flags: Flags) -> Source:
    """The source that --from names. Raises UsageError: it cannot be read, or is of no kind that is known."""
    if given == CLUSTER:
        flags.refuse("nodes_group", "apiservers_group")
        kubeconfig = str(expanded(flags.kubeconfig)) if flags.kubeconfig else ""
        return FromCluster(Kubectl(kubeconfig, flags.context or "").cluster())
    flags.refuse("kubeconfig", "context")
    path = expanded(given)
    text = text_of(_content(path), path)
    kind = kind_of(text, path)
    if kind is Kind.ENVIRONMENT:
        flags.refuse("nodes_group", "apiservers_group")
        if len(text) > _MOST_SHELL:
            raise UsageError(f"{path}: looks like no inventory, and is too large for {kind.value}: over 1 MB")
        return Environment(path, tuple(assignments(text)))
    inventory, how, asides = _inventory(path, text, kind)
    return FromInventory(
        path,
        inventory,
        f"{path}: {kind.value}, read by {how}",
        tuple(asides),
        flags.nodes_group or "",
        flags.apiservers_group or "",
    )


def _content(path: Path) -> bytes:
    if os.path.isdir(path):
        there = next((path / name for name in _USUAL if os.path.isfile(path / name)), path / _USUAL[0])
        raise UsageError(f"--from {path}: is a folder; name the file in it, such as {there}")
    try:
        return read_bounded(path, _MOST, piped=True)
    except (OSError, ValueError) as error:
        raise UsageError(
            f"--from {path}: cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from None


def _inventory(path: Path, text: str, kind: Kind) -> tuple[Inventory, str, Sequence[str]]:
    """The inventory, what it was read by, and what to say of that."""
    asides: list[str] = []
    program = programs.find("ansible-inventory") if kind is not Kind.LIST and os.path.isfile(path) else ""
    if program:
        try:
            return _listed(program, path), "ansible-inventory", ()
        except UsageError as error:
            asides.append(
                f"the file alone was read, as ansible-inventory cannot: {' '.join(str(error).split())}"
            )
    elif kind is not Kind.LIST:
        beside = [name for name in ("group_vars", "host_vars") if os.path.isdir(path.parent / name)]
        if beside:
            asides.append(
                f"not read, as ansible-inventory is not installed here: {' and '.join(beside)} beside {path}"
            )
    try:
        return _READERS[kind](text), "kube-nginx", asides
    except (UsageError, RecursionError) as error:
        words = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise UsageError("\n".join([f"{path}: {kind.value}: {words}", *asides])) from None


def _listed(program: str, path: Path) -> Inventory:
    argv = [program, "--inventory", os.path.abspath(path), "--list"]
    ended = programs.run(argv, _SECONDS, _ONLY_READ)
    if ended.status:
        raise UsageError(ended.why)
    return documents.from_list(ended.out)
