"""The lab's servers, one process each in a network namespace of its own: apiservers and their etcd."""

import http.client
import json
import ssl
import sys
import time
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from tests.lab import keys, kubernetes
from tests.lab.hosts import Host
from tests.lab.machine import run
from tests.lab.nodes import Node

APISERVERS = 3
APISERVER_PORT = 6443
ETCD_PORT = 2379
ETCD_PEERS = 2380
SERVICES = "10.96.0.0/16"
KINDS = ("stand-in", "real")


@dataclass(frozen=True)
class Server(Host):
    """A host that runs one program of this machine's."""

    def cut_off(self) -> None:
        """Drop all packets from and to it: nobody gets an answer, not even a refusal."""
        self.port.cut_off()

    def let_back(self) -> None:
        """Undo `cut_off`."""
        self.port.let_back()

    @abstractmethod
    def argv(self) -> list[str]:
        """Prepare the program's files and give its command."""

    @abstractmethod
    def answers(self) -> bool:
        """Tell whether it says that it is well."""

    def is_ready(self) -> bool:
        """Tell whether it is on the network, works, and is what it is to be."""
        return self._is_current() and not self.port.is_cut_off() and super().is_ready()

    def _command(self) -> list[str]:
        argv = self.argv()
        keys.write(self._record, json.dumps(argv).encode())
        return ["ip", "netns", "exec", self.netns, *argv]

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self._until(self.answers, deadline, f"{self.name} does not answer that it is well")

    def _recovers(self) -> bool:
        return self._is_current() and self.answers()

    def _is_current(self) -> bool:
        """Tell whether what runs was started as what it is to be now."""
        return self._record.exists() and json.loads(self._record.read_text()) == self.argv()

    @property
    def _record(self) -> Path:
        return self.folder / "argv"


@dataclass(frozen=True)
class Apiserver(Server):
    """An apiserver on port 6443; command says what runs as one in its namespace."""

    command: Callable[["Apiserver"], list[str]]

    kind = "api"
    first_address = 200

    def argv(self) -> list[str]:
        """Prepare its files and give its command."""
        return self.command(self)

    def answers(self) -> bool:
        """Tell whether /readyz is ok."""
        context = ssl._create_unverified_context()
        connection = http.client.HTTPSConnection(self.address, APISERVER_PORT, timeout=1, context=context)
        return _is_ok(connection, "/readyz")


@dataclass(frozen=True)
class Etcd(Server):
    """Debian's etcd, which real apiservers share; its data lasts as long as the lab."""

    kind = "etcd"
    first_address = 190

    def argv(self) -> list[str]:
        """Give its command; in memory, since /run is, and so without a wait for a disk."""
        client, peer = (f"http://{self.address}:{port}" for port in (ETCD_PORT, ETCD_PEERS))
        return [
            str(kubernetes.folder() / "etcd"),
            f"--name={self.name}",
            f"--data-dir={self.folder}/data",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster={self.name}={peer}",
            "--logger=zap",
            "--log-level=warn",
        ]

    def answers(self) -> bool:
        """Tell whether /health is ok."""
        return _is_ok(http.client.HTTPConnection(self.address, ETCD_PORT, timeout=1), "/health")


def _is_ok(connection: http.client.HTTPConnection, path: str) -> bool:
    try:
        connection.request("GET", path)
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def stand_in(server: Apiserver) -> list[str]:
    """Give the command of a small TLS server that plays an apiserver, with a certificate of its own."""
    keys.certificate(server.folder, server.name, IPv4Address(server.address))
    script = str(Path(__file__).with_name("apiserver.py"))
    files = f"--certificate={server.folder}/tls.crt", f"--key={server.folder}/tls.key"
    return [sys.executable, "-I", script, f"--name={server.name}", *files]


def real(server: Apiserver) -> list[str]:
    """Give the command of a kube-apiserver, with a certificate of the lab's authority."""
    return kube_apiserver(server.lab, server.state, server.folder, server.name, server.addresses)


def kube_apiserver(lab: str, state: Path, folder: Path, name: str, addresses: Sequence[str]) -> list[str]:
    """Give the command of a kube-apiserver on all addresses of wherever it runs, the first of which is told.

    folder is for its files. Its certificate holds for 127.0.0.1 and ::1, for its own addresses and for
    those of the lab's nodes, of which the lab has recorded how many there are.
    """
    pki = authority(state)
    etcd = Etcd(lab, 1, state)
    count = int((state / "nodes").read_text())
    nodes = [address for number in range(count) for address in Node(lab, number + 1, state).addresses]
    serving = folder / f"serving-{count}"
    holds = dict.fromkeys(["127.0.0.1", "::1", *addresses, *nodes])
    pki.issue(serving, name, addresses=[*holds], names=[name, "kubernetes.default.svc"])
    return [
        str(kubernetes.folder() / "kube-apiserver"),
        f"--etcd-servers=http://{etcd.address}:{ETCD_PORT}",
        "--bind-address=::",
        f"--advertise-address={addresses[0]}",
        f"--secure-port={APISERVER_PORT}",
        f"--tls-cert-file={serving}.crt",
        f"--tls-private-key-file={serving}.key",
        f"--client-ca-file={pki.certificate}",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-signing-key-file={pki.service_accounts}",
        f"--service-account-key-file={pki.service_accounts}",
        f"--service-cluster-ip-range={SERVICES}",
        "--authorization-mode=RBAC",
    ]


def kubeconfig(node: Node) -> bytes:
    """Give what a client on the node needs: its kube-nginx as the server, the authority, a certificate."""
    pki = authority(node.state)
    pki.issue(node.folder / "client", node.name, organization="system:masters")
    return pki.kubeconfig("https://127.0.0.1:8443", node.folder / "client")


def authority(state: Path) -> keys.Authority:
    """Give the lab's certificate authority."""
    return keys.Authority(state / "pki")


def kubectl(node: Node, *arguments: str, timeout: float = 30) -> str:
    """Run kubectl in the node's network, as on the node, and give its output.

    timeout is in seconds. Raises LabError if it fails or takes too long.
    """
    program = str(kubernetes.folder() / "kubectl")
    command = ["ip", "netns", "exec", node.netns, program, f"--kubeconfig={node.kubeconfig}", *arguments]
    return run(command, timeout=timeout).stdout
