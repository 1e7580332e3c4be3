"""Who uses the service on a node, as its processes and their kubeconfigs say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..answer import Lines, answer, one, text
from ..config.address import Endpoint
from ..facts.sockets import from_kernel

_MOST = 300  # characters of what is told of a path or a name


@dataclass(frozen=True, slots=True)
class Kubeconfig:
    """A kubeconfig: its path, and what each `server:` in it says, by the number of its line."""

    path: str
    servers: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class KubeProcess:
    """A kubelet or kube-proxy; a `pid` of 0: it does not run, and its unit names the kubeconfig.

    `contained` is whether it is in a container, where it has files of its own. `sessions` are those with the
    service, `straight` those with apiservers, or with others on their ports.
    """

    name: str
    pid: int = 0
    sessions: int = 0
    straight: Mapping[Endpoint, int] = field(default_factory=dict)
    kubeconfig: Kubeconfig | None = None
    contained: bool = False


def _kube(lines: Lines) -> tuple[KubeProcess, ...]:
    clients, straight = lines.below("client"), Lines(lines.below("straight"))
    found = [
        KubeProcess(
            printable(name),
            int(pid),
            _count(clients.get(pid, "")),
            {from_kernel(peer): int(count) for peer, count in straight.below(pid).items()},
            _kubeconfig(lines, pid),
            pid in lines.below("contained"),
        )
        for pid, name in lines.below("kube").items()
    ]
    idle = [who for who in lines.below("kubeconfig") if not who.isdecimal()]
    return (*found, *(KubeProcess(who, kubeconfig=_kubeconfig(lines, who)) for who in idle))


def _kubeconfig(lines: Lines, who: str) -> Kubeconfig | None:
    path = lines.below("kubeconfig").get(who)
    servers = Lines(lines.below("server")).below(who)
    return None if path is None else Kubeconfig(printable(path), {int(n): s for n, s in servers.items()})


def _others(lines: Lines) -> Mapping[str, int]:
    """Those that are seen, by name, the most first; whatever calls itself by which name."""
    found: Counter[str] = Counter()
    for pid, value in lines.below("client").items():
        if pid not in lines.below("kube"):
            found[printable(value.partition(" ")[2]) or "?"] += _count(value)
    return dict(found.most_common())


def _count(value: str) -> int:
    count = value.partition(" ")[0]
    return int(count) if count else 0


def printable(value: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in value)[:_MOST]


@dataclass(frozen=True, slots=True)
class Users:
    """Who has sessions with the service, `sessions` in all; `others` are no Kubernetes, by name.

    `hostname` is the node's own.
    """

    hostname: str = text("hostname")
    sessions: int = one("clients", int, 0)
    kube: tuple[KubeProcess, ...] = answer(_kube)
    others: Mapping[str, int] = answer(_others)
