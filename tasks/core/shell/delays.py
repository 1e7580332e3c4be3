"""How long a host keeps us waiting before it does what it is asked, and why that is, as a rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from .frame import BEGINS, CALLS

_LONG = 5.0  # seconds
CAUSES = {
    "login": "does sshd there look up this machine's name, with no DNS server that answers? UseDNS no",
    "sudo": "does /etc/hosts there lack the node's own name, with no DNS server that answers?",
    "the login shell": "what do its start-up files there do?",
}


class Delays:
    """Those of one host, each added up until they are shown."""

    def __init__(self) -> None:
        self._waits: dict[str, list[float]] = defaultdict(list)

    def add(self, what: str, seconds: float) -> None:
        """It was waited for `what`: one of login, sudo, the login shell."""
        self._waits[what].append(seconds)

    def add_start(self, seen: Mapping[str, float], ended: float = 0.0) -> None:
        """A command whose marks came after so many seconds; those that did not come until it `ended`."""
        begun = seen.get(BEGINS, ended)
        called = seen.get(CALLS)
        if called is not None:
            self.add("sudo", begun - called)
        self.add("the login shell", begun if called is None else called)

    def long_ones(self) -> str:
        """Those that were long, and what may be the cause; "" if none was. They begin anew."""
        waits, self._waits = self._waits, defaultdict(list)
        return "; ".join(
            f"{what} alone took {sum(each):.0f} s{f', {len(each)} times' if each[1:] else ''}: {CAUSES[what]}"
            for what, each in waits.items()
            if sum(each) > _LONG
        )
