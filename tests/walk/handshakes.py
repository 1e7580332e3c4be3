"""Which apiserver answers: TLS handshakes made in a node's network, by nobody's code but Python's."""

from __future__ import annotations

import ctypes
import os
import socket
import ssl
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.nodes import Node

PATIENCE = 2.0
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Met:
    """Who answered through one listener, by the numbers of apiservers; `why` for those that did not."""

    answers: tuple[str, ...]
    why: tuple[str, ...]


def certificates(lab: Lab) -> dict[bytes, str]:
    """The apiservers' certificates, and whose they are."""
    files = {str(host.number): host.folder / "tls.crt" for host in lab.apiservers}
    return {ssl.PEM_cert_to_DER_cert(path.read_text()): name for name, path in files.items()}


def meet(node: Node, known: dict[bytes, str], listeners: Sequence[str], times: int) -> dict[str, Met]:
    """Makes so many handshakes through each listener, all at once."""
    namespace = os.open(Path("/run/netns") / node.netns, os.O_RDONLY)
    try:
        with ThreadPoolExecutor(max(1, len(listeners) * times), initializer=_enter(namespace)) as pool:
            tries = {at: [pool.submit(_handshake, at) for _ in range(times)] for at in listeners}
    finally:
        os.close(namespace)
    met = {}
    for at, futures in tries.items():
        results = [future.result() for future in futures]
        answers = [known.get(seen, "unknown") for seen in results if isinstance(seen, bytes)]
        met[at] = Met(tuple(sorted(answers)), tuple(sorted({x for x in results if isinstance(x, str)})))
    return met


def _enter(namespace: int):  # type: ignore[no-untyped-def]
    def enter() -> None:
        if _libc.setns(namespace, _CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), "setns")

    return enter


def _handshake(at: str) -> bytes | str:
    """The certificate that was shown, or why there is none."""
    host, _, port = at.rpartition(":")
    context = ssl._create_unverified_context()
    try:
        with (
            socket.create_connection((host.strip("[]"), int(port)), timeout=PATIENCE) as plain,
            context.wrap_socket(plain) as tls,
        ):
            return tls.getpeercert(binary_form=True) or "no certificate"
    except OSError as error:
        return str(error)
