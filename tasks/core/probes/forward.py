"""A connection that a node's sshd makes (direct-tcpip)."""

from __future__ import annotations

import paramiko
from paramiko.common import CONNECTION_FAILED_CODE

from ..config.address import REACHED_AT, Endpoint
from ..transport import Transport
from .result import Reason, Unreached, printable

_PROHIBITED, _FAILED = 1, 2  # RFC 4254, 5.1


def forwarded(transport: Transport, endpoint: Endpoint, timeout: float) -> paramiko.Channel:
    """A connection to `endpoint` that sshd makes; a name would be resolved there, and all else wait for it.

    A wildcard address is reached at its loopback address. Raises Unreached for what sshd says, and
    what paramiko raises for everything else: `timeout` seconds have passed, the SSH connection broke.
    """
    address = (REACHED_AT.get(endpoint.host, endpoint.host), endpoint.port)
    try:
        return transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=timeout)
    except paramiko.SSHException:
        refusal = transport.refusal()
        if refusal is None:
            raise
    code, message = refusal
    if code == _PROHIBITED:
        raise Unreached(Reason.FORBIDDEN)
    kind = CONNECTION_FAILED_CODE.get(code, str(code))
    if code != _FAILED:
        raise Unreached(Reason.NOT_FORWARDED, kind)
    if reason := Reason.of(message):
        raise Unreached(reason)
    raise Unreached(Reason.NOT_CONNECTED, f": {printable(message)[:80] or kind}")
