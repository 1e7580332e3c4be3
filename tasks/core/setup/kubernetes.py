"""A cluster that kubectl told of -> a first hosts.toml. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from ..config.address import Endpoint, NodeSpec
from ..errors import UsageError
from ..sources.kubectl import Cluster
from ..sources.kubectl import Machine as ClusterNode
from .initial import InitialConfig, some
from .machines import Machine, alone, apiservers_of, endpoint, labels_of, nodes_of

_LOGIN = "how to log in is not known to Kubernetes: it comes from ~/.ssh/config, else it is root on port 22"


@dataclass(frozen=True, slots=True)
class FromCluster:
    """The nodes of a cluster and its kube-apiservers. Every method raises UsageError: it has none."""

    cluster: Cluster

    def listen(self) -> Endpoint | None:
        """Nothing in a cluster says where a proxy is to listen."""
        return None

    def config(
        self, nodes: tuple[NodeSpec, ...] | None, apiservers: tuple[Endpoint, ...] | None
    ) -> InitialConfig:
        """What the cluster says, but for what is given."""
        taken: list[str] = []
        notes: list[str] = []
        labels: tuple[str, ...] = ()
        if nodes is None:
            nodes = self._nodes(taken, notes)
        if apiservers is None:
            apiservers = self._apiservers(taken)
            owners = self._owners(apiservers)
            labels = labels_of(owners, apiservers)
            notes += [*alone(apiservers), *self._strangers(apiservers, owners)]
        return InitialConfig(nodes, apiservers, labels=labels, notes=(*notes, _LOGIN), taken=tuple(taken))

    def _nodes(self, taken: list[str], notes: list[str]) -> tuple[NodeSpec, ...]:
        machines = [machine for machine in self.cluster.machines if machine.system == "linux"]
        if not machines:
            raise UsageError("kubectl get nodes: the cluster has no node that runs Linux; give --nodes")
        nodes = nodes_of("kubectl get nodes", [_machine(machine) for machine in machines])
        groups = Counter(group for node in nodes for group in node.groups)
        taken.append(f"nodes: {len(nodes)}, of kubectl get nodes, by InternalIP")
        if groups:
            counted = some(f"{group} ({count})" for group, count in groups.items())
            taken.append(f"groups: their roles and zones: {counted}")
        if others := [machine for machine in self.cluster.machines if machine.system != "linux"]:
            notes.append(f"not taken: {_named(others)}: {others[0].system}, not Linux")
        if elsewhere := [machine for machine in machines if not machine.internal]:
            notes.append(f"no InternalIP: {_named(elsewhere)}: another address, or the name, is taken")
        return nodes

    def _apiservers(self, taken: list[str]) -> tuple[Endpoint, ...]:
        cluster = self.cluster
        if cluster.unread:
            raise UsageError(f"{cluster.unread}\nor give --apiservers")
        what = f"{cluster.source} of default/kubernetes"
        if not cluster.servers:
            raise UsageError(
                f"kubectl get endpointslices, endpoints: {what} name no address; give --apiservers"
            )
        addresses = [endpoint(server.address, server.port) for server in cluster.servers]
        taken.append(f"apiservers: {len(addresses)}, of the {what}")
        return apiservers_of(what, addresses, addresses)

    def _owners(self, servers: Sequence[Endpoint]) -> list[str]:
        """The node that has the address of each; the address itself where none has it."""
        names = {address: machine.name for machine in self.cluster.machines for address in machine.addresses}
        return [names.get(server.host, server.host) for server in servers]

    def _strangers(self, servers: Sequence[Endpoint], owners: Sequence[str]) -> list[str]:
        """What to say of addresses that may be a load balancer's."""
        controlling = {machine.name for machine in self.cluster.machines if machine.controls}
        known = controlling or {machine.name for machine in self.cluster.machines}
        strange = [str(server) for server, owner in zip(servers, owners, strict=True) if owner not in known]
        if not strange:
            return []
        if controlling:
            whose = f"no address of a node of the control plane ({some(sorted(controlling))})"
        else:
            whose = "no address of a node, and no node has the role control-plane"
        return [
            f"{some(strange)}: {whose}: a load balancer's? Then name the apiservers behind it: --apiservers; "
            "where apiservers run outside of the cluster's nodes, all is well"
        ]


def _machine(node: ClusterNode) -> Machine:
    return Machine(node.name, node.addresses[0], groups=(*node.roles, *filter(None, [node.zone])))


def _named(machines: Sequence[ClusterNode]) -> str:
    return some(machine.name for machine in machines)
