"""The runbook's environment.sh -> nodes, apiservers and the listener of hosts.toml.

Of its variables three count: NODE_IPS, NODE_NAMES and KUBE_APISERVER.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path

from ..errors import UsageError
from .address import Endpoint, NodeSpec, parse_endpoint
from .assignments import Assignment, assignments
from .check import shown
from .draft import checked
from .settings import SettingsError

NODE_IPS, NODE_NAMES, KUBE_APISERVER = "NODE_IPS", "NODE_NAMES", "KUBE_APISERVER"

_INSTEAD = {
    NODE_IPS: "write the addresses themselves, or give --nodes and --apiservers",
    NODE_NAMES: "write the names themselves, or give --nodes",
    KUBE_APISERVER: "write the address itself, such as https://127.0.0.1:8443",
}


@dataclass(frozen=True, slots=True)
class Environment:
    """An environment.sh that was read; a variable is looked at when it is asked for."""

    path: Path
    assignments: tuple[Assignment, ...]

    def nodes(self) -> tuple[NodeSpec, ...]:
        """NODE_IPS, with NODE_NAMES if there are any. Raises UsageError."""
        addresses, names = self._addresses(), self._words(NODE_NAMES)
        if names and len(names) != len(addresses):
            raise UsageError(
                f"{self.path}: NODE_IPS has {len(addresses)} entries and NODE_NAMES has {len(names)}: "
                f"each address needs one name; correct the file, or give --nodes"
            )
        named = [{"host": address, "name": name} for address, name in zip(addresses, names, strict=False)]
        try:
            return checked(str(self.path), nodes=named or addresses).nodes
        except SettingsError as error:
            raise UsageError(_in_its_words(str(error))) from None

    def apiservers(self) -> tuple[Endpoint, ...]:
        """NODE_IPS again: in the runbook each of these machines runs a kube-apiserver. Raises UsageError."""
        addresses = self._addresses()
        try:
            return checked(str(self.path), apiservers=addresses).apiservers
        except SettingsError as error:
            raise UsageError(
                f"{error}\napiservers are taken from NODE_IPS; --apiservers names others"
            ) from None

    def listen(self) -> Endpoint | None:
        """KUBE_APISERVER, the proxy's own address; None if it is not set. Raises UsageError."""
        words = self._words(KUBE_APISERVER)
        if not words:
            return None
        given = " ".join(words)
        try:
            listener = _listener(given)
        except ValueError as error:
            raise UsageError(
                f"{self.path}: line {self._line(KUBE_APISERVER)}: KUBE_APISERVER is {shown(given)}: {error}. "
                "It is taken as the address where the proxy listens on each node, such as "
                "https://127.0.0.1:8443; correct it, or leave --from out and give --nodes and --apiservers"
            ) from None
        return checked(str(self.path), listen=listener).proxy.listen[0]

    def _addresses(self) -> list[str]:
        addresses = self._words(NODE_IPS)
        if not addresses:
            raise UsageError(
                f"{self.path}: no NODE_IPS; looked for a line such as NODE_IPS=(10.0.0.11 10.0.0.12) "
                "(files that it sources are not read); or give --nodes and --apiservers"
            )
        return addresses

    def _words(self, name: str) -> list[str]:
        """The words of the variable's value, as ${NAME[@]} without quotes gives them; [] if it is not set."""
        found = [assignment for assignment in self.assignments if assignment.name == name]
        for this in found:
            where = f"{self.path}: line {this.line}: {name}"
            if not this.closed:
                raise UsageError(f"{where}: a quote or bracket is not closed; correct it")
            if this.shell:
                raise UsageError(
                    f"{where}: only a shell knows its value, and this file is read, not run; {_INSTEAD[name]}"
                )
            if this.words != found[0].words:
                raise UsageError(
                    f"{where} is not what it is on line {found[0].line}; "
                    f"leave one of them, or {_INSTEAD[name]}"
                )
        return " ".join(found[0].words).split() if found else []

    def _line(self, name: str) -> int:
        return next(assignment.line for assignment in self.assignments if assignment.name == name)


def read(path: Path) -> Environment:
    """Reads environment.sh. Raises UsageError: there is none."""
    try:
        # Comments may be in any encoding; what counts is ASCII.
        text = path.read_bytes().decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise UsageError(f"--from {path}: cannot be read: {error.strerror}") from None
    return Environment(path, tuple(assignments(text, _INSTEAD)))


def _listener(given: str) -> Endpoint:
    match = re.fullmatch(r"(?:https://)?([^/\s]+)/?", given)
    if match is None:
        raise ValueError("not https://ADDRESS:PORT")
    listener = parse_endpoint(match[1])
    try:
        own = ip_address(listener.host).is_loopback
    except ValueError:
        raise ValueError("a name, where an IP address is needed") from None
    if not own:
        raise ValueError("not an address that every node has for itself (127.0.0.1)")
    return listener


def _in_its_words(problems: str) -> str:
    """Problems of hosts.toml in the names of environment.sh, whose arrays count from 0, too."""
    text = re.sub(r"\bnodes(\[\d+\])\.name", rf"{NODE_NAMES}\1", problems)
    return re.sub(r"\bnodes(\[\d+\])(\.host)?", rf"{NODE_IPS}\1", text)
