"""A connection that a node's sshd makes, and why one could not be made, whoever tried: in one table."""

from __future__ import annotations

import logging
import re
from itertools import count
from threading import Lock, local
from weakref import WeakKeyDictionary

import paramiko

from ..config.address import REACHED_AT, Endpoint

FORBIDDEN = "sshd there forbids forwarding"

# what sshd, curl, openssl and bash write: a part of it, then what it means in a word or two, and in more
_SAID = (
    ("Connection refused", "refused", "refused the connection"),
    ("No route to host", "no route", "cannot be reached: no route to host"),
    ("Network is unreachable", "no route", "cannot be reached: network is unreachable"),
    ("Operation not permitted", "no route", "cannot be reached: a firewall of the node forbids it"),
    ("Permission denied", "no route", "cannot be reached: a firewall or route of the node forbids it"),
    # sshd, where the kernel does not even begin to connect
    ("open failed", "no route", "cannot be reached: the node has no route to it, or forbids it itself"),
    ("Connection timed out", "no answer", "did not answer in time"),
    ("not known", "no address", "does not resolve"),
    ("failure in name resolution", "no address", "does not resolve"),
    ("No address associated", "no address", "does not resolve"),
    ("Could not resolve host", "no address", "does not resolve"),
    ("wrong version number", "not TLS", "answered, but not in TLS"),
    ("packet length too long", "not TLS", "answered, but not in TLS"),
    ("record layer failure", "not TLS", "answered, but not in TLS"),
    ("unexpected eof", "closed", "accepted the connection and closed it before TLS"),
    ("SSL_ERROR_SYSCALL", "closed", "accepted the connection and closed it before TLS"),
    ("Connection reset by peer", "closed", "accepted the connection and closed it before TLS"),
    ("errno=104", "closed", "accepted the connection and closed it before TLS"),
)
_PROHIBITED, _FAILED = "Administratively prohibited", "Connect failed"
_BEGUN = re.compile(r"\[chan (\d+)\] Max packet in")
_REFUSED = re.compile(r"Secsh channel (\d+) open FAILED: (.*): (.*)", re.S)


def meaning(said: str) -> tuple[str, str] | None:
    """What a program's words about a connection mean: in a word or two, and in more; None: not known."""
    return next(((word, text) for part, word, text in _SAID if part in said), None)


class Unreached(Exception):  # noqa: N818 - it tells, and is caught where it is told
    """What kept an endpoint from answering, in words; `ok` is None where sshd forbids trying.

    `word` is the same in a word or two.
    """

    def __init__(self, ok: bool | None, text: str, word: str) -> None:
        super().__init__(text)
        self.ok = ok
        self.text = text
        self.word = word


def forwarded(transport: paramiko.Transport, endpoint: Endpoint, timeout: float) -> paramiko.Channel:
    """A connection to `endpoint` that the node's sshd makes (direct-tcpip), so names are resolved there.

    A wildcard address is reached at its loopback address. Raises Unreached for what sshd says, and
    what paramiko raises for everything else: `timeout` seconds have passed, the SSH connection broke.
    """
    address = (REACHED_AT.get(endpoint.host, endpoint.host), endpoint.port)
    log = _log_of(transport)
    log.begin()
    try:
        return transport.open_channel("direct-tcpip", address, ("127.0.0.1", 0), timeout=timeout)
    except paramiko.SSHException as error:
        said, kind = log.end(error)
        if not kind:
            raise
    if kind == _PROHIBITED:
        raise Unreached(None, FORBIDDEN, "forbidden")
    if kind == _FAILED:
        word, text = meaning(said) or ("no way", f"could not be connected to: {_printable(said) or kind}")
        raise Unreached(False, text, word)
    raise Unreached(False, f"sshd there did not connect: {kind}", "no way")


def _printable(said: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in said)[:80]


class _Log(logging.Filter):
    """What sshd says of each channel that it does not open.

    Of that paramiko raises only the number, and that of one channel for all which fail at the same time;
    its log has all of it. A channel's first line there is written by the thread that opens it.
    """

    def __init__(self, outer: logging.Logger) -> None:
        super().__init__()
        self._outer = outer
        self._here = local()
        self._said: dict[str, tuple[str, str]] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Reads along; lets pass what would be logged without this."""
        text = record.getMessage()
        if begun := _BEGUN.match(text):
            self._here.channel = begun[1]
        elif refused := _REFUSED.match(text):
            self._said[refused[1]] = (refused[2], refused[3])
        return self._outer.isEnabledFor(record.levelno)

    def begin(self) -> None:
        """This thread opens a channel now."""
        self._here.channel = ""

    def end(self, error: paramiko.SSHException) -> tuple[str, str]:
        """What sshd said of this thread's channel, in words of its own, and as the protocol has it, or ""."""
        if not self._here.channel:  # a paramiko that logs otherwise
            return "", getattr(error, "text", "")
        return self._said.pop(self._here.channel, ("", ""))


_LOGS: WeakKeyDictionary[paramiko.Transport, _Log] = WeakKeyDictionary()
_LOCK = Lock()
_NUMBERS = count()


def _log_of(transport: paramiko.Transport) -> _Log:
    with _LOCK:
        if transport not in _LOGS:
            outer = logging.getLogger(transport.get_log_channel())
            _LOGS[transport] = _Log(outer)
            own = outer.getChild(str(next(_NUMBERS)))
            own.setLevel(logging.DEBUG)
            own.addFilter(_LOGS[transport])
            transport.set_log_channel(own.name)
        return _LOGS[transport]
