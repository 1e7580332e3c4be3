"""What sshd's log says of logins: which sshd was reached, as which user, with which key."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_CONNECTION = re.compile(r"^Connection from (\S+) port (\d+) on (\S+) port (\d+)", re.M)
_ACCEPTED = re.compile(
    r"^Accepted (\S+) for (\S+) from (\S+) port (\d+) ssh2(?:: \S+ (SHA256:\S+)(?: ID (.+?) \(serial)?)?",
    re.M,
)


@dataclass(frozen=True)
class Login:
    """A login that an sshd accepted: `source` and `address` are of the TCP connection."""

    host: str
    user: str
    key: str
    certificate: str
    source: str
    address: str
    port: int


def logins(host: str, text: str) -> Iterator[Login]:
    """The logins that an sshd with LogLevel VERBOSE has logged."""
    reached = {(source, port): (address, int(on)) for source, port, address, on in _CONNECTION.findall(text)}
    for method, user, source, port, key, certificate in _ACCEPTED.findall(text):
        address, on = reached[source, port]
        yield Login(host, user, key or method, certificate, source, address, on)
