"""The lab as a whole: up, down, and what there is in between."""

import fcntl
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from tests.lab import cgroups, keys, kubernetes, machine, network, roots, servers
from tests.lab.hosts import Host
from tests.lab.machine import LabError
from tests.lab.nodes import Node
from tests.lab.progress import Progress
from tests.lab.servers import APISERVERS, KINDS, Apiserver, Etcd, Server

T = TypeVar("T")
R = TypeVar("R")
STATES = Path("/run/kube-nginx-lab")
# An interface name has 15 characters at most: kn-NAME.
NAME = re.compile(r"[a-z][a-z0-9]{0,11}")
NODES = 3
MOST_NODES = 99
SSH_CONFIG = """\
Host {name}
    HostName {address}
    User root
    Port 22
    IdentityFile {state}/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile {state}/known_hosts
    StrictHostKeyChecking yes
"""


class Lab:
    """Nodes and apiservers on a switch of this machine, all named after the lab.

    name: one to twelve lower-case letters and digits; by default $KUBE_NGINX_LAB, or `lab`.
    nodes: how many; by default as many as the lab has, or three.
    apiservers: `stand-in`, or `real`: kube-apiservers with an etcd; by default as the lab has, or stand-ins.
    packages: Debian's, which nodes that it starts have besides the usual ones.
    Raises LabError for a bad name, number or kind.
    """

    def __init__(
        self,
        name: str | None = None,
        nodes: int | None = None,
        *,
        apiservers: str | None = None,
        packages: tuple[str, ...] = (),
        progress: Progress | None = None,
    ) -> None:
        self.name = name or os.environ.get("KUBE_NGINX_LAB") or "lab"
        if not NAME.fullmatch(self.name):
            raise LabError(f"not a lab name: {self.name!r}: one to twelve of a-z and 0-9")
        self.state = STATES / self.name
        self._count = _valid(nodes)
        if apiservers not in (None, *KINDS):
            raise LabError(f"apiservers are {' or '.join(KINDS)}, not {apiservers}")
        self._kind = apiservers
        self._packages = packages
        self._progress = progress or Progress()

    @property
    def ssh_config(self) -> Path:
        """The ssh_config that knows the nodes; there only while the lab is up."""
        return self.state / "ssh_config"

    @property
    def nodes(self) -> list[Node]:
        """The nodes, lab-node-1 first."""
        return [self._node(number + 1) for number in range(self._count or self._recorded_nodes())]

    @property
    def apiservers(self) -> list[Apiserver]:
        """The apiservers, lab-api-1 first."""
        return [self._server(number + 1) for number in range(APISERVERS)]

    @property
    def etcd(self) -> Etcd:
        """What real apiservers keep their data in."""
        return Etcd(self.name, 1, self.state)

    @property
    def servers(self) -> list[Server]:
        """All that is no node."""
        return [*([self.etcd] if self.is_real else []), *self.apiservers]

    @property
    def is_real(self) -> bool:
        """Tell whether its apiservers are real."""
        return (self._kind or self._recorded("apiservers")) == "real"

    def is_up(self) -> bool:
        """Tell whether every host works."""
        return self.ssh_config.exists() and not self._broken()

    def up(self, nodes: int | None = None) -> None:
        """Start what is not running, mend what is broken, remove nodes beyond the number.

        Returns when every host works: sshd answers, systemd has finished to boot.
        Raises LabError if that cannot be.
        """
        machine.prepare(self._progress)
        self._count = _valid(nodes) or self._count
        with self._locked():
            self._count = self._count or self._recorded_nodes()
            if not (self.state / "id_ed25519").exists():
                self._clear()
            self._kind = self._kind or self._recorded("apiservers") or KINDS[0]
            if self.is_real:
                kubernetes.build(self._progress)
            surplus = self._found() - {host.netns for host in self._hosts()}
            self._prepare()
            broken = self._broken()
            if surplus or broken:
                self.ssh_config.unlink(missing_ok=True)
                self._remove(surplus)
                self._mend(broken)
            self._publish()

    def down(self) -> None:
        """End the lab and remove all of it but the cached roots; from any state.

        Raises LabError if something does not go away.
        """
        reason = machine.why_not()
        if reason:
            raise LabError(reason)
        with self._locked():
            self._clear()
            shutil.rmtree(self.state)
        with suppress(OSError):
            STATES.rmdir()

    @property
    def _switch(self) -> network.Switch:
        return network.Switch(f"kn-{self.name}", network.subnet(self.name))

    def _node(self, number: int) -> Node:
        return Node(self.name, number, self.state, self._packages)

    def _server(self, number: int) -> Apiserver:
        return Apiserver(self.name, number, self.state, servers.real if self.is_real else servers.stand_in)

    def _hosts(self) -> list[Host]:
        return [*self.nodes, *self.servers]

    def _broken(self) -> list[Host]:
        hosts = self._hosts()
        return [
            host
            for host, ready in zip(hosts, _each(lambda host: host.is_ready(), hosts), strict=True)
            if not ready
        ]

    def _recorded(self, what: str) -> str:
        try:
            return (self.state / what).read_text().strip()
        except OSError:
            return ""

    def _recorded_nodes(self) -> int:
        count = self._recorded("nodes")
        return int(count) if count.isdecimal() else NODES

    def _found(self) -> set[str]:
        """Name the namespaces of all hosts that this machine has anything of."""
        prefix = f"kn-{self.name}-"
        found = network.namespaces(prefix) | cgroups.named(prefix)
        return {name for name in found if self._by_netns(name)}

    def _prepare(self) -> None:
        keys.write(self.state / "nodes", f"{self._count}\n".encode())
        keys.write(self.state / "apiservers", f"{self._kind}\n".encode())
        keys.ssh_key(self.state / "id_ed25519")
        lines = [f"{host.address} {host.name}\n" for host in self._hosts()]
        for node in self.nodes:
            kubeconfig = servers.kubeconfig(node) if self.is_real else b""
            node.prepare("127.0.0.1 localhost\n::1 localhost\n" + "".join(lines), kubeconfig)
        known = "".join(f"{node.known_host}\n" for node in self.nodes)
        keys.write(self.state / "known_hosts", known.encode())
        config = "\n".join(
            SSH_CONFIG.format(name=node.name, address=node.address, state=self.state) for node in self.nodes
        )
        keys.write(self.state / "ssh_config.draft", config.encode())

    def _publish(self) -> None:
        draft = (self.state / "ssh_config.draft").read_bytes()
        if not self.ssh_config.exists() or self.ssh_config.read_bytes() != draft:
            keys.write(self.ssh_config, draft)

    def _mend(self, hosts: list[Host]) -> None:
        suites = [host.suite for host in hosts if isinstance(host, Node)]
        roots.build(suites, self._progress, self._packages)
        self._switch.ensure()
        first = [host for host in hosts if isinstance(host, Etcd)]
        _each(self._start, first)
        _each(self._start, [host for host in hosts if host not in first])

    def _start(self, host: Host) -> None:
        about = f" ({host.suite})" if isinstance(host, Node) else ""
        with self._progress.step(f"starting {host.name}{about}"):
            host.start()

    def _clear(self) -> None:
        self.ssh_config.unlink(missing_ok=True)
        self._remove(self._found())
        self._switch.remove()

    def _remove(self, names: set[str]) -> None:
        hosts = [host for host in map(self._by_netns, names) if host]
        if hosts:
            with self._progress.step(f"stopping {', '.join(sorted(h.name for h in hosts))}"):
                _each(lambda host: host.remove(), hosts)

    def _by_netns(self, netns: str) -> Host | None:
        match = re.fullmatch(rf"kn-{self.name}-(node|api|etcd)-(\d\d?)", netns)
        if not match:
            return None
        kinds: dict[str, Callable[[int], Host]] = {"node": self._node, "api": self._server}
        return kinds[match[1]](int(match[2])) if match[1] in kinds else self.etcd

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lab's lock: its state folder, which `down` removes while it holds it."""
        handle = self._lock()
        try:
            yield
        finally:
            os.close(handle)

    def _lock(self) -> int:
        while True:
            self.state.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.state, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with self._progress.step(f"waiting for another command on lab {self.name}"):
                    fcntl.flock(handle, fcntl.LOCK_EX)
            if self.state.exists() and os.path.samestat(os.fstat(handle), self.state.stat()):
                return handle
            os.close(handle)


def _each(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Call function for all items at once; raise the first error once all have ended."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(function, items))


def _valid(nodes: int | None) -> int | None:
    if nodes is not None and not 1 <= nodes <= MOST_NODES:
        raise LabError(f"a lab has 1 to {MOST_NODES} nodes, not {nodes}")
    return nodes
