"""An Ansible inventory -> a first hosts.toml: kubespray's groups, kubeasz's, or others by name. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..config.address import APISERVER_PORT, Endpoint, NodeSpec, is_address
from ..errors import UsageError
from ..sources.inventory import Inventory
from .initial import InitialConfig, Login, some
from .machines import Machine, alone, apiservers_of, endpoint, labels_of, nodes_of
from .variables import Variables

_NODES = ("kube_node", "kube-node")
_APISERVERS = ("kube_control_plane", "kube-control-plane", "kube_master", "kube-master")


@dataclass(frozen=True, slots=True)
class FromInventory:
    """An inventory that was read from `path`, `how`; `asides` are what to say of that.

    The groups are names, separated by commas; "": the usual ones. Every method raises UsageError: the
    inventory does not say what is asked, or says what cannot be.
    """

    path: Path
    inventory: Inventory
    how: str
    asides: tuple[str, ...] = ()
    nodes_group: str = ""
    apiservers_group: str = ""

    def listen(self) -> Endpoint | None:
        """Nothing in an inventory says where the proxy is to listen."""
        return None

    def config(
        self, nodes: tuple[NodeSpec, ...] | None, apiservers: tuple[Endpoint, ...] | None
    ) -> InitialConfig:
        """What the inventory says, but for what is given."""
        taken, notes = [self.how], [*self.asides]
        login = Login()
        labels: tuple[str, ...] = ()
        variables = Variables(self.inventory)
        hosts: Sequence[str] = ()
        if nodes is None:
            group, hosts = self._hosts(_NODES, self.nodes_group)
            groups = self.inventory.groups_of_hosts()
            machines = [_machine(host, variables, groups[host]) for host in hosts]
            nodes = nodes_of(str(self.path), machines)
            login = variables.login(hosts, self.path.parent)
            taken.append(f"nodes: {len(nodes)}, of group {group}{variables.counted()}")
        if apiservers is None:
            group, servers = self._hosts(_APISERVERS, self.apiservers_group)
            addresses = [_apiserver(host, variables) for host in servers]
            apiservers = apiservers_of(str(self.path), servers, addresses)
            labels = labels_of(servers, apiservers)
            taken.append(f"apiservers: {len(apiservers)}, of group {group}{variables.counted()}")
            notes += [*alone(apiservers), *_own(apiservers)]
            if hosts:
                notes += self._beside(group, servers, hosts)
        notes += variables.left_out(hosts)
        return InitialConfig(
            nodes, apiservers, labels=labels, notes=tuple(notes), taken=tuple(taken), login=login
        )

    def _hosts(self, usual: Sequence[str], named: str) -> tuple[str, tuple[str, ...]]:
        """The groups that are meant, as words, and the hosts in them."""
        groups = self.inventory.groups
        names = named.replace(",", " ").split()
        names = names or [name for name in usual if groups.get(name)][:1]
        names = names or [name for name in usual if name in groups][:1]
        unknown = [name for name in names if name not in groups]
        if unknown or not names:
            there = some(
                f"{name} ({len(hosts)})" for name, hosts in groups.items() if name != "all" and hosts
            )
            raise UsageError(
                f"{self.path}: no group {(unknown or usual)[0]}; its groups, with how many hosts: "
                f"{there or 'none'}; name the right ones: --nodes-group GROUP, --apiservers-group GROUP"
            )
        hosts = tuple(dict.fromkeys(host for name in names for host in groups[name]))
        if not hosts:
            raise UsageError(f"{self.path}: group {names[0]} has no host (are they comments?)")
        return ", ".join(names), hosts

    def _beside(self, group: str, servers: Sequence[str], hosts: Sequence[str]) -> list[str]:
        """Machines that get no kube-nginx, though one may want it there."""
        others = [host for host in servers if host not in hosts]
        if not others:
            return []
        both = f"{self._hosts(_NODES, self.nodes_group)[0]},{group}".replace(", ", ",")
        return [
            f"not among the nodes: {some(others)} of {group}; if their kubelets are to use kube-nginx, too: "
            f"--nodes-group {both}"
        ]


def _machine(host: str, variables: Variables, groups: tuple[str, ...]) -> Machine:
    return Machine(
        variables.value(host, "k8s_nodename") or host,  # kubeasz's, where hosts are addresses
        variables.value(host, "ansible_host", "ansible_ssh_host") or host,
        variables.value(host, "ansible_user", "ansible_ssh_user"),
        variables.value(host, "ansible_port", "ansible_ssh_port"),
        groups,
    )


def _apiserver(host: str, variables: Variables) -> str:
    """Where Kubernetes is to listen (kubespray's ip), which need not be where SSH does."""
    inside = next(filter(is_address, (variables.value(host, key) for key in ("access_ip", "ip"))), "")
    address = inside or variables.value(host, "ansible_host", "ansible_ssh_host") or host
    port = variables.value(host, "kube_apiserver_port", "SECURE_PORT") or APISERVER_PORT
    return endpoint(address, port)


def _own(servers: Sequence[Endpoint]) -> list[str]:
    """What to say of apiservers on loopback."""
    own = [str(server) for server in servers if server.host == "localhost" or server.host.startswith("127.")]
    if not own:
        return []
    return [
        f"{some(own)}: on each node that is the node itself; --apiservers names the addresses that all reach"
    ]
