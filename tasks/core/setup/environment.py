"""The runbook's environment.sh -> nodes, apiservers, listener and prefix of hosts.toml.

It looks at the variables of `_LISTS`, KUBE_APISERVER and KUBE_NGINX_DIR; many a real file has more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ..config.address import APISERVER_PORT, Endpoint, NodeSpec, parse_endpoint
from ..config.model import Proxy, Settings
from ..config.settings import SettingsError
from ..config.validation import shown
from ..errors import UsageError
from ..sources.assignments import Assignment
from .initial import InitialConfig, checked

_LISTS = {
    "NODE_IPS": "NODE_NAMES",
    "WORKER_IPS": "WORKER_NAMES",
    "WORK_IPS": "WORK_NAMES",
    "MASTER_IPS": "MASTER_NAMES",
}
"""Lists of machines, with the lists of their names; the first that is there names the nodes."""

_PLAIN = {
    "KUBE_APISERVER": "the address itself, such as https://127.0.0.1:8443",
    "KUBE_NGINX_DIR": "the path itself, such as /opt/k8s/kube-nginx",
    **{
        name: f"two lists in the same order, without keys (declare -A): {ips}=(10.0.0.11 10.0.0.12) and "
        f"{names}=(worker-1 worker-2); or give --nodes and --apiservers"
        for ips, names in _LISTS.items()
        for name in (ips, names)
    },
}
"""What to write for a value that cannot be read."""


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment.sh that was read; a variable is looked at when it is asked for.

    Every method raises UsageError where the file does not say what is asked, or says what cannot be.
    """

    path: Path
    assignments: tuple[Assignment, ...]

    def config(
        self, nodes: tuple[NodeSpec, ...] | None, apiservers: tuple[Endpoint, ...] | None
    ) -> InitialConfig:
        """What the file says, but for what is given."""
        taken: list[str] = []
        if nodes is None:
            nodes, source = self.nodes(), self._source()
            names = f" and {_LISTS[source]}" if self._words(_LISTS[source]) else ""
            taken.append(f"nodes: {len(nodes)}, {source}{names} of {self.path}")
        assumed = False
        labels: tuple[str, ...] = ()
        if apiservers is None:
            apiservers, assumed = self.apiservers(), self.assumed()
            labels = () if assumed else self.labels()
            taken.append(f"apiservers: {len(apiservers)}, {'NODE_IPS' if assumed else 'MASTER_IPS'}")
        listen = self.listen()
        return InitialConfig(
            nodes,
            apiservers,
            (listen,) if listen else Proxy().listen,
            assumed,
            self.prefix(),
            labels,
            tuple(filter(None, [self.note()])),
            tuple(taken),
        )

    def nodes(self) -> tuple[NodeSpec, ...]:
        """NODE_IPS, else WORKER_IPS, else MASTER_IPS, with their names."""
        return self._machines(self._source())

    def apiservers(self) -> tuple[Endpoint, ...]:
        """MASTER_IPS, else NODE_IPS: in the runbook each runs a kube-apiserver."""
        source = "NODE_IPS" if self.assumed() else "MASTER_IPS"
        hint = f"\napiservers are taken from {source}; --apiservers names others"
        renamed = {r"\bapiservers(\[\d+\])": rf"{source}\1", r"\Z": hint}
        return self._checked(renamed, apiservers=self._words(source)).apiservers

    def assumed(self) -> bool:
        """Whether the apiservers have no list of their own."""
        if self._words("MASTER_IPS"):
            return False
        if (source := self._source()) != "NODE_IPS":
            raise UsageError(
                f"{self.path}: no MASTER_IPS, and {source} are not the apiservers; give --apiservers"
            )
        return True

    def labels(self) -> tuple[str, ...]:
        """MASTER_NAMES, for the entries of MASTER_IPS."""
        return tuple(node.name if node.name != node.host else "" for node in self._machines("MASTER_IPS"))

    def prefix(self) -> str:
        """KUBE_NGINX_DIR, else the default."""
        given = " ".join(self._words("KUBE_NGINX_DIR"))
        if not given:
            return Proxy().prefix
        renamed = {r"\bproxy\.prefix\b": self._place("KUBE_NGINX_DIR")}
        return self._checked(renamed, proxy={"prefix": given.rstrip("/") or "/"}).proxy.prefix

    def listen(self) -> Endpoint | None:
        """KUBE_APISERVER, the proxy's own address; None if it is not set, or another's."""
        if self.note() or not self._words("KUBE_APISERVER"):
            return None
        address = _address("https", " ".join(self._words("KUBE_APISERVER")))
        renamed = {
            r"\bproxy\.listen(\[0\])?": self._place("KUBE_APISERVER"),
            r"\Z": "\nIt is taken as the address where the proxy listens on each node, such as "
            "https://127.0.0.1:8443; correct it, or leave --from out and give --nodes and --apiservers",
        }
        return self._checked(renamed, proxy={"listen": [address]}).proxy.listen[0]

    def note(self) -> str:
        """What to say of a KUBE_APISERVER that is no address of each node, such as a virtual IP."""
        given = " ".join(self._words("KUBE_APISERVER", for_a_shell=True))
        if re.match(r"(https?://)?(127\.|\[::1\]|localhost\b)", given):
            self._words("KUBE_APISERVER")  # the proxy's own: its port must be known, too
        shell = any(this.shell for this in self.assignments if this.name == "KUBE_APISERVER")
        if not given or (not shell and not _elsewhere(given)):
            return ""
        return (
            f"KUBE_APISERVER is {shown(given)}, not an address that every node has for itself "
            f"(a virtual IP?): the proxy listens on {Proxy().listen[0]} instead, for kubelet and kube-proxy"
        )

    def _source(self) -> str:
        """The list that names the nodes."""
        for name in _LISTS:
            if self._words(name):
                return name
        raise UsageError(
            f"{self.path}: no NODE_IPS; looked for a line such as NODE_IPS=(10.0.0.11 10.0.0.12) "
            "(files that it sources are not read); or give --nodes and --apiservers"
        )

    def _machines(self, source: str) -> tuple[NodeSpec, ...]:
        """The machines of a list, with their names if it has any."""
        hosts, names = self._words(source), self._words(_LISTS[source])
        if names and len(names) != len(hosts):
            raise UsageError(
                f"{self.path}: {source} has {len(hosts)} entries and {_LISTS[source]} has {len(names)}: "
                f"each address needs one name; correct the file, or give --nodes and --apiservers"
            )
        renamed = {
            r"\bnodes(\[\d+\])\.name": rf"{_LISTS[source]}\1",
            r"\bnodes(\[\d+\])(\.host)?": rf"{source}\1",
        }
        named = [{"host": host, "name": name} for host, name in zip(hosts, names, strict=False)]
        return self._checked(renamed, nodes=named or hosts).nodes

    def _checked(self, renamed: Mapping[str, str], **given: Any) -> Settings:
        """Settings of a part of the file; in a UsageError, what is `renamed` has its name in this file."""
        try:
            return checked(str(self.path), **given)
        except SettingsError as error:
            text = str(error)
        for key, name in renamed.items():
            text = re.sub(key, name, text)
        raise UsageError(text)

    def _words(self, name: str, for_a_shell: bool = False) -> list[str]:
        """The words of a variable's value; [] if it is not set; maybe with what only a shell knows."""
        found = [assignment for assignment in self.assignments if assignment.name == name]
        for this in found:
            where = f"{self.path}: line {this.line}: {name}"
            if (this.shell and not for_a_shell) or not any(one.sure for one in found):
                raise UsageError(
                    f"{where}: only a shell knows its value (or a quote or bracket is not closed), and this "
                    f"file is read, not run; write {_PLAIN[name]}"
                )
            if this.words != found[0].words:
                raise UsageError(
                    f"{where} is not what it is on line {found[0].line}; leave one of them, "
                    f"and write {_PLAIN[name]}"
                )
        return list(found[0].words) if found else []

    def _place(self, name: str) -> str:
        return next(f"line {this.line}: {name}" for this in self.assignments if this.name == name)


def _address(scheme: str, given: str) -> str:
    return re.sub(rf"^(?:{scheme}://)?([^/]*)/?\Z", r"\1", given)


def _elsewhere(given: str) -> bool:
    """Whether it is an address, but not one that every node has for itself."""
    try:
        host = parse_endpoint(_address("https?", given), APISERVER_PORT).host
    except ValueError:
        return False
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"
