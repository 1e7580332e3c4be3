"""What every measurement works with: the lab, the binary, a folder, and ways to break apiservers."""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from benchmarks import configurations
from benchmarks.clients import Address, call, get, tls
from benchmarks.configurations import Configuration
from benchmarks.proxies import PORT, Proxy
from benchmarks.watches import PATH
from tasks.core.config.address import APISERVER_PORT
from tests.lab import kubernetes, servers
from tests.lab.lab import Lab
from tests.lab.machine import LabError, run
from tests.lab.nodes import Node
from tests.lab.servers import Apiserver

PROXY: Address = ("127.0.0.1", PORT)
MENDED = 90.0
# What clients of port 6443 meet; the apiserver keeps its etcd, and so answers as soon as it may again.
TABLE = """\
table inet outage {{
    chain in {{
        type filter hook input priority 0
        iif lo accept
        tcp dport 6443 {verdict}
    }}
}}
"""
VERDICTS = {"refused": "reject with tcp reset", "dropped": "drop"}


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
        return tls(servers.authority(self.lab.state).certificate, self.node.folder / "client")

    @cached_property
    def context2(self) -> ssl.SSLContext:
        """The client's TLS, for HTTP/2."""
        return tls(servers.authority(self.lab.state).certificate, self.node.folder / "client", "h2")

    @property
    def kubectl(self) -> list[str]:
        """The command of kubectl, to the proxy."""
        program = str(kubernetes.folder() / "kubectl")
        return [program, f"--kubeconfig={self.node.kubeconfig}", f"--cache-dir={self.folder}/cache"]

    def configuration(self, name: str) -> Configuration:
        """A configuration, or variant of ours, by its name."""
        return configurations.configuration(name, list(self.servers), self.folder)

    def proxy(self, configuration: Configuration, *, upgradable: bool = False) -> Proxy:
        """A proxy that is to be started."""
        return Proxy(self.binary, self.folder, configuration, upgradable=upgradable)

    def direct(self, server: Apiserver) -> Address:
        """Where an apiserver is without a proxy."""
        return server.address, APISERVER_PORT

    def others(self, server: Apiserver) -> list[Apiserver]:
        """All apiservers but one."""
        return [other for other in self.servers.values() if other != server]

    def named(self, name: str) -> Apiserver:
        """The apiserver that has the name in its certificate."""
        return next(server for server in self.servers.values() if server.name == name)

    async def create(self, server: Apiserver, name: str) -> None:
        """Create a configmap through an apiserver, without a proxy; raises LabError if it does not work."""
        body = f'{{"metadata": {{"name": "{name}"}}}}'
        made = await call(self.direct(server), self.context, f"POST {PATH} HTTP/1.1", body)
        if made.error:
            raise LabError(f"{server.name} does not create configmap {name}: {made.error}")

    async def clear(self) -> None:
        """Remove all configmaps but one of the name `first`."""
        server = next(iter(self.servers.values()))
        await call(self.direct(server), self.context, f"DELETE {PATH} HTTP/1.1")
        await self.create(server, "first")

    async def mend(self) -> None:
        """Bring all apiservers back to health; raises LabError if that does not work."""
        await asyncio.gather(*(asyncio.to_thread(_mend, server) for server in self.servers.values()))
        deadline = time.monotonic() + MENDED
        for server in self.servers.values():
            while (await get(self.direct(server), self.context)).error:
                if time.monotonic() > deadline:
                    raise LabError(f"{server.name} does not recover; its log is {server.log}")
                await asyncio.sleep(0.1)


def close_port(kind: str, those: Sequence[Apiserver]) -> None:
    """Have clients of apiservers `refused`, or their packets `dropped`."""
    text = TABLE.format(verdict=VERDICTS[kind])
    for server in those:
        run(["ip", "netns", "exec", server.netns, "nft", "-f", "-"], stdin=text)


def open_port(those: Sequence[Apiserver]) -> None:
    """Undo `close_port`; fine if it was not."""
    for server in those:
        run(["ip", "netns", "exec", server.netns, "nft", "delete", "table", "inet", "outage"], check=False)


def _mend(server: Apiserver) -> None:
    open_port([server])
    server.resume()
    if server.port.is_cut_off():
        server.let_back()
        server.stop()  # its connections to etcd would come back only after their next retransmission
    if not server.is_alive():
        server.start()


FAULTS: dict[str, Callable[[Apiserver], None]] = {
    "kill": Apiserver.stop,
    "pause": Apiserver.pause,
    "cut": Apiserver.cut_off,
}
"""What becomes of one apiserver: kill -9, SIGSTOP, or a silent cut of its host."""
