"""The runbook's environment.sh -> nodes, apiservers, listener and prefix of hosts.toml.

Of its variables those of `_INSTEAD` count; many a real file has more of them than the runbook's own.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from ..config.address import APISERVER_PORT, Endpoint, NodeSpec, parse_endpoint
from ..config.check import shown
from ..config.model import Proxy
from ..config.settings import SettingsError
from ..errors import UsageError
from ..localfiles import read_bounded
from .assignments import Assignment, assignments
from .initial import checked

NODE_IPS, MASTER_IPS = "NODE_IPS", "MASTER_IPS"
KUBE_APISERVER, KUBE_NGINX_DIR = "KUBE_APISERVER", "KUBE_NGINX_DIR"

_NAMES = {
    NODE_IPS: "NODE_NAMES",
    "WORKER_IPS": "WORKER_NAMES",
    "WORK_IPS": "WORK_NAMES",
    MASTER_IPS: "MASTER_NAMES",
}
"""Lists of machines, with the lists of their names; the first that is there names the nodes."""

_INSTEAD = {
    **dict.fromkeys(_NAMES, "write the addresses themselves, or give --nodes and --apiservers"),
    **dict.fromkeys(_NAMES.values(), "write the names themselves, or give --nodes and --apiservers"),
    KUBE_APISERVER: "write the address itself, such as https://127.0.0.1:8443",
    KUBE_NGINX_DIR: "write the path itself, such as /opt/k8s/kube-nginx",
}


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment.sh that was read; a variable is looked at when it is asked for."""

    path: Path
    assignments: tuple[Assignment, ...]

    def nodes(self) -> tuple[NodeSpec, ...]:
        """NODE_IPS, else WORKER_IPS, else MASTER_IPS, with their names. Raises UsageError."""
        source = self._source()
        addresses, names = self._machines(source)
        if not names and (masters := self._masters()):
            names = [masters.get(address, address) for address in addresses]
        return self._named(source, addresses, names)

    def apiservers(self) -> tuple[Endpoint, ...]:
        """MASTER_IPS, else NODE_IPS: in the runbook each runs a kube-apiserver. Raises UsageError."""
        source = NODE_IPS if self.assumed() else MASTER_IPS
        try:
            return checked(str(self.path), apiservers=self._machines(source)[0]).apiservers
        except SettingsError as error:
            text = re.sub(r"\bapiservers(\[\d+\])", rf"{source}\1", str(error))
            raise UsageError(
                f"{text}\napiservers are taken from {source}; --apiservers names others"
            ) from None

    def assumed(self) -> bool:
        """Whether the apiservers have no list of their own. Raises UsageError: nor have the nodes."""
        if self._words(MASTER_IPS):
            return False
        if self._source() != NODE_IPS:
            raise UsageError(
                f"{self.path}: no MASTER_IPS, and {self._source()} are not the apiservers; give --apiservers"
            )
        return True

    def labels(self) -> tuple[str, ...]:
        """MASTER_NAMES, for the entries of MASTER_IPS. Raises UsageError."""
        addresses, names = self._machines(MASTER_IPS)
        return tuple(node.name for node in self._named(MASTER_IPS, addresses, names)) if names else ()

    def _masters(self) -> dict[str, str]:
        """The names of MASTER_IPS as far as they can be read: for nodes they are not needed."""
        try:
            return dict(zip(*self._machines(MASTER_IPS), strict=False))
        except UsageError:
            return {}

    def _named(self, source: str, addresses: list[str], names: list[str]) -> tuple[NodeSpec, ...]:
        named = [{"host": address, "name": name} for address, name in zip(addresses, names, strict=False)]
        try:
            return checked(str(self.path), nodes=named or addresses).nodes
        except SettingsError as error:
            raise UsageError(_in_its_words(str(error), source)) from None

    def prefix(self) -> str:
        """KUBE_NGINX_DIR, else the default. Raises UsageError."""
        words = self._words(KUBE_NGINX_DIR)
        if not words:
            return Proxy().prefix
        given = " ".join(words)
        try:
            return checked(str(self.path), prefix=given.rstrip("/") or "/").proxy.prefix
        except SettingsError as error:
            line = f"line {self._line(KUBE_NGINX_DIR)}: {KUBE_NGINX_DIR}"
            raise UsageError(str(error).replace("proxy.prefix", line)) from None

    def listen(self) -> Endpoint | None:
        """KUBE_APISERVER, the proxy's own address; None if it is not set, or another's. Raises UsageError."""
        given = self._apiserver()
        if not given or self.note():
            return None
        try:
            listener = parse_endpoint(_address(given, "https"))
        except ValueError as error:
            raise self._no_listener(given, error) from None
        return checked(str(self.path), listen=listener).proxy.listen[0]

    def note(self) -> str:
        """What is to be told of a KUBE_APISERVER that is no address of each node, such as a virtual IP."""
        given = self._apiserver()
        if not given or (not self._found(KUBE_APISERVER)[0].shell and self._every_node_has(given)):
            return ""
        return (
            f"KUBE_APISERVER is {shown(given)}, not an address that every node has for itself "
            f"(a virtual IP?): the proxy listens on {Proxy().listen[0]} instead, for kubelet and kube-proxy"
        )

    def _every_node_has(self, given: str) -> bool:
        try:
            host = parse_endpoint(_address(given, "https?"), APISERVER_PORT).host
        except ValueError as error:
            raise self._no_listener(given, error) from None
        if host == "localhost":
            raise self._no_listener(given, ValueError("a name, where an IP address is needed"))
        try:
            return ip_address(host).is_loopback
        except ValueError:
            return False

    def _no_listener(self, given: str, error: ValueError) -> UsageError:
        return UsageError(
            f"{self.path}: line {self._line(KUBE_APISERVER)}: KUBE_APISERVER is {shown(given)}: {error}. "
            "It is taken as the address where the proxy listens on each node, such as "
            "https://127.0.0.1:8443; correct it, or leave --from out and give --nodes and --apiservers"
        )

    def _apiserver(self) -> str:
        """KUBE_APISERVER as it is written; if it is the proxy's own address, its port must be known, too."""
        given = " ".join(self._words(KUBE_APISERVER, shell=True))
        own = re.match(r"(https?://)?(127\.|\[::1\]|localhost\b)", given)
        return " ".join(self._words(KUBE_APISERVER)) if own else given

    def _source(self) -> str:
        """The list that names the nodes. Raises UsageError: there is none."""
        for name in _NAMES:
            if self._words(name):
                return name
        raise UsageError(
            f"{self.path}: no NODE_IPS; looked for a line such as NODE_IPS=(10.0.0.11 10.0.0.12) "
            "(files that it sources are not read); or give --nodes and --apiservers"
        )

    def _machines(self, source: str) -> tuple[list[str], list[str]]:
        """The addresses and the names of a list of machines; there may be no names. Raises UsageError."""
        addresses, names = self._words(source), self._words(_NAMES[source])
        if names and len(names) != len(addresses):
            raise UsageError(
                f"{self.path}: {source} has {len(addresses)} entries and {_NAMES[source]} has {len(names)}: "
                f"each address needs one name; correct the file, or give --nodes and --apiservers"
            )
        return addresses, names

    def _words(self, name: str, shell: bool = False) -> list[str]:
        """The words of a variable's value, as ${NAME[@]} without quotes gives them; [] if it is not set.

        `shell`: what only a shell knows may be in it. Raises UsageError: the value cannot be read.
        """
        found = self._found(name)
        for this in found:
            where = f"{self.path}: line {this.line}: {name}"
            if not this.closed:
                raise UsageError(f"{where}: a quote or bracket is not closed; correct it")
            if this.keyed:
                raise UsageError(
                    f"{where} is an array with keys, as of declare -A: which name is whose is not in {name} "
                    f"alone. Write lists in the same order: {_lists(name)}; or give --nodes and --apiservers"
                )
            if this.shell and not shell:
                raise UsageError(
                    f"{where}: only a shell knows its value, and this file is read, not run; {_INSTEAD[name]}"
                )
            if this.words != found[0].words:
                raise UsageError(
                    f"{where} is not what it is on line {found[0].line}; "
                    f"leave one of them, or {_INSTEAD[name]}"
                )
        return " ".join(found[0].words).split() if found else []

    def _found(self, name: str) -> list[Assignment]:
        return [assignment for assignment in self.assignments if assignment.name == name]

    def _line(self, name: str) -> int:
        return self._found(name)[0].line


def read(path: Path) -> Environment:
    """Reads environment.sh. Raises UsageError: there is none."""
    try:
        # Comments may be in any encoding; what counts is ASCII.
        text = read_bounded(path, 1 << 20, piped=True).decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"--from {path}: cannot be read: {error.strerror}") from None
    return Environment(path, tuple(assignments(text, _INSTEAD)))


def _address(given: str, scheme: str) -> str:
    match = re.fullmatch(rf"(?:{scheme}://)?([^/\s]+)/?", given)
    if match is None:
        raise ValueError("not https://ADDRESS:PORT")
    return match[1]


def _lists(name: str) -> str:
    """How a list of machines and that of their names are written."""
    known = {**_NAMES, **{names: addresses for addresses, names in _NAMES.items()}}
    addresses = name if name in _NAMES else known.get(name, NODE_IPS)
    return f"{addresses}=(10.0.0.11 10.0.0.12) and {_NAMES[addresses]}=(worker-1 worker-2)"


def _in_its_words(problems: str, source: str) -> str:
    """Problems of hosts.toml in the names of environment.sh, whose arrays count from 0, too."""
    text = re.sub(r"\bnodes(\[\d+\])\.name", rf"{_NAMES[source]}\1", problems)
    return re.sub(r"\bnodes(\[\d+\])(\.host)?", rf"{source}\1", text)
