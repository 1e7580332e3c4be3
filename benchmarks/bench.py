"""What every measurement works with: the lab, the binary, a folder, and ways to break apiservers."""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import configurations, proxy
from benchmarks.clients import CONFIGMAPS, Address, Stream, call, tls
from tasks.core.config.address import APISERVER_PORT
from tests.lab import servers
from tests.lab.lab import Lab
from tests.lab.machine import LabError, run
from tests.lab.nodes import Node
from tests.lab.servers import Apiserver

PROXY: Address = ("127.0.0.1", proxy.PORT)
MENDED = 90.0
# What clients of port 6443 meet; the apiserver keeps its etcd, and so answers as soon as it may again.
TABLE = """\
table inet outage {{
    chain in {{ type filter hook input priority 0; iif lo accept; tcp dport 6443 {coming}; }}
    chain out {{ type filter hook output priority 0; oif lo accept; tcp sport 6443 {going}; }}
}}
"""
VERDICTS = {
    "refused": ("reject with tcp reset", "accept"),
    "dropped": ("drop", "accept"),
    "unheard": ("accept", "drop"),
    "vanished": ("drop", "drop"),
}
"""For what comes to an apiserver from its clients, and what goes to them."""
FAULTS: dict[str, Callable[[Apiserver], None]] = {
    "kill": Apiserver.stop,
    "pause": Apiserver.pause,
    "cut": Apiserver.cut_off,
}
"""What becomes of one apiserver: kill -9, SIGSTOP, or a silent cut of its host."""


@dataclass(frozen=True)
class Bench:
    """A lab with real apiservers; quick: few repetitions and short waits, to try the script out."""

    lab: Lab
    binary: str
    folder: Path
    quick: bool = False

    @property
    def node(self) -> Node:
        """The node in whose network namespace proxies and clients are."""
        return self.lab.nodes[0]

    @cached_property
    def servers(self) -> dict[str, Apiserver]:
        """The apiservers by their addresses."""
        return {server.address: server for server in self.lab.apiservers}

    @cached_property
    def context(self) -> ssl.SSLContext:
        """The client's TLS, for HTTP/1.1."""
        return self.tls()

    def tls(self, *protocols: str) -> ssl.SSLContext:
        """The client's TLS."""
        return tls(servers.authority(self.lab.state).certificate, self.node.folder / "client", *protocols)

    def configuration(self, name: str, *without: str) -> str:
        """The configuration, or variant of ours, of this name, without some of the apiservers."""
        left = [address for address in self.servers if address not in without]
        return configurations.configuration(name, left, self.folder)

    def proxy(self, text: str) -> proxy.Proxy:
        """A proxy that is to be started."""
        return proxy.Proxy(self.binary, self.folder, text)

    def upstreams(self) -> dict[int, str]:
        """The proxy's sessions: local port -> address of the apiserver."""
        return proxy.upstreams([*self.servers])

    def stream(self, address: Address = PROXY, tick: float = 0.02) -> Stream:
        """GET /readyz every `tick` seconds, each over a connection of its own."""
        return Stream(lambda: call(address, self.context), tick)

    def direct(self, server: Apiserver) -> Address:
        """Where an apiserver is without a proxy."""
        return server.address, APISERVER_PORT

    async def create(self, server: Apiserver, name: str) -> None:
        """Create a configmap through an apiserver, without a proxy; raises LabError if it does not work."""
        body = f'{{"metadata": {{"name": "{name}"}}}}'
        made = await call(self.direct(server), self.context, f"POST {CONFIGMAPS}", body)
        if made.error:
            raise LabError(f"{server.name} does not create configmap {name}: {made.error}")

    async def clear(self) -> None:
        """Remove all configmaps but one of the name `first`."""
        server = next(iter(self.servers.values()))
        await call(self.direct(server), self.context, f"DELETE {CONFIGMAPS}")
        await self.create(server, "first")

    async def mend(self) -> None:
        """Bring all apiservers back to health; raises LabError if that does not work."""
        await asyncio.gather(*(asyncio.to_thread(_mend, server) for server in self.servers.values()))


def _mend(server: Apiserver) -> None:
    server.resume()
    if server.port.is_cut_off():
        server.let_back()
        server.stop()  # its connections to etcd would come back only after their next retransmission
    if not server.is_alive():
        server.start()
    deadline = time.monotonic() + MENDED
    while not server.answers():
        if time.monotonic() > deadline:
            raise LabError(f"{server.name} does not recover; its log is {server.log}")
        time.sleep(0.1)


@contextmanager
def closed_port(kind: str, those: Sequence[Apiserver]) -> Iterator[None]:
    """Clients of apiservers have one of VERDICTS, for as long as the block runs."""
    command = ["nft", "delete", "table", "inet", "outage"]
    coming, going = VERDICTS[kind]
    try:
        for server in those:
            run(
                ["ip", "netns", "exec", server.netns, "nft", "-f", "-"],
                stdin=TABLE.format(coming=coming, going=going),
            )
        yield
    finally:
        for server in those:
            run(["ip", "netns", "exec", server.netns, *command], check=False)


def connect(address: Address = PROXY, timeout: float = 5.0) -> socket.socket:
    """A TCP connection without delays."""
    session = socket.create_connection(address, timeout=timeout)
    session.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return session
