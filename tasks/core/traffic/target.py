"""Which apiserver is to die for a node, and whether that may be tried."""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from socket import socket
from types import MappingProxyType

from ..config.address import Endpoint
from ..config.model import Settings
from ..errors import StepError, UsageError
from ..facts.paths import conf_path
from ..probes.classify import classify
from ..probes.prober import Prober
from ..probes.proof import SECONDS, prove_by_ssh
from ..release import servers
from ..release.servers import Addresses, servers_of
from ..results import State
from ..scripts.reach import SshConnection
from ..ssh.node import Node
from . import sessions

_TEST_NETWORKS = tuple(map(ip_network, ("198.18.0.0/15", "2001:2::/48")))


def named(settings: Settings, text: str) -> Endpoint:
    """The apiserver of hosts.toml that `text` means, with or without its port. Raises UsageError."""
    known = ", ".join(map(str, settings.apiservers))
    if not text:
        raise UsageError(f"--apiserver names the one that is to die: {known}")
    found = [a for a in settings.apiservers if text in (str(a), a.host, f"[{a.host}]")]
    if len(found) != 1:
        raise UsageError(f"--apiserver {text}: {'names several' if found else 'not one'} of {known}")
    return found[0]


@dataclass(frozen=True, slots=True)
class Target:
    """`apiserver` as a node has it: its `addresses`, and the `others` of the node's kube-nginx.conf.

    `resolved` is what names resolve to there, `for_tests` whether all is in a test network for certain.
    `on_it` of all `sessions` of the node's own are on it.
    """

    apiserver: Endpoint
    addresses: tuple[Endpoint, ...]
    others: tuple[Endpoint, ...]
    resolved: Addresses
    for_tests: bool
    on_it: int
    sessions: int


def target_on(node: Node, settings: Settings, apiserver: Endpoint) -> Target:
    """Looks whether there is anything to be tried; one survey. Raises StepError."""
    facts, seen = sessions.look(node, settings)
    addresses = sessions.at(apiserver, facts.addresses)
    if not addresses:
        raise StepError(f"{apiserver.host} does not resolve on the node: getent ahosts finds nothing")
    there, _ = servers_of(facts.texts.get(conf_path(settings.proxy), ""))
    others = tuple(s for s in there if not set(sessions.at(s, facts.addresses)) <= set(addresses))
    if len(others) == len(there):
        what = f"{apiserver} is not in the node's kube-nginx.conf"
        raise StepError(what, hint="fab deploy --limit {nodes}")
    for_tests = in_test_network(node, addresses)
    on_it = seen.counts[apiserver]
    return Target(apiserver, addresses, others, facts.addresses, for_tests, on_it, seen.total)


def require_another_way(
    node: Node,
    settings: Settings,
    apiserver: Endpoint,
    others: tuple[Endpoint, ...],
    resolved: Addresses = MappingProxyType({}),
) -> None:
    """Looks whether a node can do without `apiserver`, and has it now; names are `resolved` there to these.

    Raises StepError: none of `others` is ready, or it is dead already, or that cannot be seen.
    """
    endpoints = [apiserver, *others]
    prober = Prober(node, SECONDS, addresses=resolved)
    met = dict(zip(endpoints, prober.by_ssh(endpoints), strict=True))
    if unknown := [f"{endpoint}: {result.text}" for endpoint, result in met.items() if result.ok is None]:
        raise StepError(
            f"{unknown[0]}, and that is how a drill measures",
            hint="AllowTcpForwarding and PermitOpen in the node's sshd_config",
        )
    if not any(met[other].ready for other in others):
        tried = "; ".join(f"{other} {classify(met[other]).detail}" for other in others)
        raise StepError(
            f"nothing was cut: {apiserver} is the last way of this node"
            f" ({tried or 'its kube-nginx.conf names no other apiserver'})"
        )
    if not met[apiserver].ok:
        why = met[apiserver].text
        raise StepError(f"nothing was cut: {apiserver} is dead for this node already: it {why}")
    answering = servers.resolved([endpoint for endpoint, result in met.items() if result.ok], resolved)
    proof = prove_by_ssh(node, settings.proxy.listen, answering)
    if proof.state != State.OK:
        raise StepError(f"nothing was cut: the proxy does not work there now: {proof.text}")


def in_test_network(node: Node, servers: tuple[Endpoint, ...]) -> bool:
    """Whether the SSH connection goes straight to a network that only tests use, and `servers` are in one.

    These are 198.18.0.0/15 (RFC 2544) and 2001:2::/48 (RFC 5180). Behind a gateway nobody knows. Some
    proxies answer names here with such addresses: so the node is asked, too, at which one it was reached.
    Raises StepError.
    """
    sock = node.transport.sock
    here = str(sock.getpeername()[0]) if isinstance(sock, socket) else ""
    if not all(map(is_for_tests, [here, *(server.host for server in servers)])):
        return False
    return is_for_tests(node.do(SshConnection()))


def is_for_tests(address: str) -> bool:
    """Whether an IP address is of a network that only tests use."""
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return False
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in _TEST_NETWORKS)
