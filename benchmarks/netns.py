"""Network namespaces: to work inside one, and what its table of sockets says."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

CLONE_NEWNET = 0x40000000
ESTABLISHED, LISTEN = "01", "0A"


@contextmanager
def inside(name: str) -> Iterator[None]:
    """Have this thread, and the threads and processes that it starts, in a namespace of `ip netns`.

    Unlike `ip netns exec` it leaves /sys alone, where the lab's control groups are. Raises OSError.
    """
    with Path("/proc/thread-self/ns/net").open() as before, Path(f"/run/netns/{name}").open() as there:
        _enter(there.fileno())
        try:
            yield
        finally:
            _enter(before.fileno())


def _enter(handle: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(handle, CLONE_NEWNET):  # os.setns is there only since Python 3.12
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def upstreams(servers: Sequence[str], port: int) -> dict[int, str]:
    """The established connections from here to `servers` (IPv4 addresses): local port -> server."""
    known = {_hexadecimal(server): server for server in servers}
    return {
        int(local[9:], 16): known[remote[:8]]
        for local, remote, state in _table()
        if state == ESTABLISHED and remote[:8] in known and int(remote[9:], 16) == port
    }


def has_listener(port: int) -> bool:
    """Whether anybody listens on the port."""
    return any(state == LISTEN and int(local[9:], 16) == port for local, _, state in _table())


def _table() -> Iterator[tuple[str, str, str]]:
    lines = Path("/proc/thread-self/net/tcp").read_text().splitlines()[1:]
    return ((fields[1], fields[2], fields[3]) for fields in map(str.split, lines))


def _hexadecimal(address: str) -> str:
    return f"{struct.unpack('=I', socket.inet_aton(address))[0]:08X}"
