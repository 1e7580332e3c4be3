"""A connection that a node's sshd makes (direct-tcpip)."""

from __future__ import annotations

import logging
import re
from threading import Lock, local

import paramiko

from ..config.address import REACHED_AT, Endpoint
from .certificate import printable
from .result import Reason, Unreached

_PROHIBITED, _FAILED = "Administratively prohibited", "Connect failed"
_BEGUN = re.compile(r"\[chan (\d+)\] Max packet in")
_REFUSED = re.compile(r"Secsh channel (\d+) open FAILED: (.*): (.*)", re.S)
_LOCK = Lock()


def forwarded(transport: paramiko.Transport, endpoint: Endpoint, timeout: float) -> paramiko.Channel:
    """A connection to `endpoint` that sshd makes; a name would be resolved there, and all else wait for it.

    A wildcard address is reached at its loopback address. Raises Unreached for what sshd says, and
    what paramiko raises for everything else: `timeout` seconds have passed, the SSH connection broke.
    """
    address = (REACHED_AT.get(endpoint.host, endpoint.host), endpoint.port)
    log = _log_of(transport)
    log.begin()
    try:
        return transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=timeout)
    except paramiko.SSHException as error:
        message, kind = log.end(error)
        if not kind:
            raise
    if kind == _PROHIBITED:
        raise Unreached(Reason.FORBIDDEN)
    if kind != _FAILED:
        raise Unreached(Reason.NOT_FORWARDED, kind)
    if reason := Reason.of(message):
        raise Unreached(reason)
    raise Unreached(Reason.NOT_CONNECTED, f": {printable(message)[:80] or kind}")


class _Log(logging.Filter):
    """What sshd says of each channel that it does not open.

    Of that paramiko raises only the number, and that of one channel for all which fail at the same time;
    its log has all of it. A channel's first line there is written by the thread that opens it.
    """

    def __init__(self, outer: logging.Logger) -> None:
        super().__init__()
        self._outer = outer
        self._here = local()
        self._messages: dict[str, tuple[str, str]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Reads along; lets pass what would be logged without this."""
        text = record.getMessage()
        if begun := _BEGUN.match(text):
            self._here.channel = begun[1]
        elif refused := _REFUSED.match(text):
            self._messages[refused[1]] = (refused[2], refused[3])
        return self._outer.isEnabledFor(record.levelno)

    def begin(self) -> None:
        """This thread opens a channel now."""
        self._here.channel = ""

    def end(self, error: paramiko.SSHException) -> tuple[str, str]:
        """What sshd said of this thread's channel, in words of its own, and as the protocol has it, or ""."""
        if not self._here.channel:  # a paramiko that logs otherwise
            return "", getattr(error, "text", "")
        return self._messages.pop(self._here.channel, ("", ""))


def _log_of(transport: paramiko.Transport) -> _Log:
    """The one that reads along in the transport's log, which becomes a log of its own for it."""
    with _LOCK:
        for log in transport.logger.filters:
            if isinstance(log, _Log):
                return log
        outer = transport.logger
        own = outer.getChild(f"{id(transport):x}")
        own.filters.clear()  # of another transport, which had this number
        own.addFilter(log := _Log(outer))
        own.setLevel(logging.DEBUG)
        transport.set_log_channel(own.name)
        return log
