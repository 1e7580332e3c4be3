"""What a probe found: one result for all, and one table of the reasons why nothing answered."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum

from ..results import output

_FORBIDDEN = "sshd there forbids forwarding"
_NO_PROGRAM = "and the node has no curl, openssl or bash to try with"
_UNRESOLVED = "not known|failure in name resolution|No address associated|Could not resolve host"
_NO_TLS = "wrong version number|packet length too long|record layer failure"
_CLOSED = "unexpected eof|SSL_ERROR_SYSCALL|Connection reset by peer|errno=104"


class Reason(Enum):
    """Why nothing answered: a word or two, a sentence, and what sshd, curl, openssl and bash write of it.

    That is a pattern; of several that fit a message the first one counts. `{}` is for details.
    """

    REFUSED = "refused", "refused the connection", "Connection refused"
    NO_ROUTE = "no route", "cannot be reached: no route to host", "No route to host"
    NO_NETWORK = "no route", "cannot be reached: network is unreachable", "Network is unreachable"
    FIREWALL = "no route", "cannot be reached: a firewall of the node forbids it", "Operation not permitted"
    DENIED = "no route", "cannot be reached: a firewall or route of the node forbids it", "Permission denied"
    # sshd, where the kernel does not even begin to connect
    KERNEL = "no route", "cannot be reached: the node has no route to it, or forbids it itself", "open failed"
    TIMED_OUT = "no answer", "did not answer in time", "Connection timed out"
    NO_ADDRESS = "no address", "does not resolve", _UNRESOLVED
    NOT_TLS = "not TLS", "answered, but not in TLS{}", _NO_TLS
    CLOSED = "closed", "accepted the connection and closed it before TLS", _CLOSED
    CLOSED_IN_HANDSHAKE = "closed", "closed the connection during the TLS handshake"
    CLOSED_UNANSWERED = "closed", "closed the connection instead of answering"
    SILENT = "no answer", "did not answer within {:g} s"
    HANDSHAKE_UNFINISHED = "TLS failed", "did not finish the TLS handshake"
    HANDSHAKE_FAILED = "TLS failed", "answered in TLS, but the handshake failed: {}"
    TLS_BROKEN = "TLS failed", "broke off TLS: {}"
    NOT_HTTP = "not HTTP", "answered in TLS, but not in HTTP{}"
    CUT_OFF = "not HTTP", "closed the connection in the middle of its answer"
    NOT_READY = "not ready", "was answered with {}"
    NOT_CONNECTED = "no way", "could not be connected to{}"
    NOT_FORWARDED = "no way", "sshd there did not connect: {}"
    PROGRAM_FAILED = "no way", "{} ended with status {}"
    NO_SSH = "no SSH", "could not be tried: the SSH connection broke"
    FORBIDDEN = "forbidden", _FORBIDDEN
    NO_PROGRAM = "forbidden", f"{_FORBIDDEN} (AllowTcpForwarding, PermitOpen), {_NO_PROGRAM}"
    OPEN = "open", f"{_FORBIDDEN}: bash on the node could connect, and what answers is not known"

    def __init__(self, word: str, sentence: str, signs: str = "") -> None:
        self.word = word
        self.sentence = sentence
        self.signs = signs

    @property
    def is_known(self) -> bool:
        """Whether it says that nothing answers; else nobody knows, since sshd forbids trying."""
        return self not in (Reason.FORBIDDEN, Reason.NO_PROGRAM, Reason.OPEN)

    def text(self, *details: object) -> str:
        """The sentence with its details."""
        return self.sentence.format(*(details or ("",)))

    @staticmethod
    def of(message: str) -> Reason | None:
        """What a program's message about a connection means; None: not known."""
        return next((r for r in Reason if r.signs and re.search(r.signs, message)), None)


class Unreached(Exception):  # noqa: N818 - it tells, and is caught where it is told
    """What kept an endpoint from answering; `text` is the reason's sentence with its details."""

    def __init__(self, reason: Reason, *details: object) -> None:
        self.reason = reason
        self.text = reason.text(*details)
        super().__init__(self.text)


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself."""

    subject: str = output("as in RFC 4514")
    issuer: str = output("as in RFC 4514")
    begins: datetime = output("from when on it is valid")
    expires: datetime = output("until when it is valid")
    names: tuple[str, ...] = output("the DNS names and IP addresses that it holds for", ())

    def valid(self, now: datetime) -> bool:
        """Whether it has begun, and not expired."""
        return self.begins <= now <= self.expires

    def holds(self, name: str) -> bool:
        """Whether it holds for a DNS name or an IP address; `*.` stands for one label (RFC 6125, 6.4.3)."""
        _, _, behind = name.partition(".")
        held = {known.lower() for known in self.names}
        return name.lower() in held or (not name[-1:].isdigit() and f"*.{behind}".lower() in held)

    def days(self, now: datetime) -> float:
        """How long it is valid from `now`; less than 0: for how long it has been expired."""
        return (self.expires - now).total_seconds() / 86400


@dataclass(frozen=True, slots=True)
class ProbeResult:
    """What one try met, all of it on one connection.

    `reason` is why nothing answered, None if something did; `text` says it, or what there is to note.
    `seconds` is what it took in all (None: not measured), `connected` until TLS stood (None: it did not).
    `distrust` is why the certificate does not verify, `trusted` whether it was looked at and does. `peer`
    tells who it was from others: the SHA-256 of the certificate; "": not known. `at` is the time, by the
    node's clock, and `clock` by how many seconds the answer's Date is ahead of that. `program` is the one on
    the node that asked; "": none did.
    """

    reason: Reason | None = None
    text: str = ""
    seconds: float | None = None
    connected: float | None = None
    status: int | None = None
    body: str = ""
    certificate: Certificate | None = None
    peer: str = ""
    trusted: bool | None = None
    distrust: str = ""
    clock: float | None = None
    program: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def ok(self) -> bool | None:
        """Whether something answered; None: not known."""
        if self.reason is None:
            return True
        return False if self.reason.is_known else None

    @property
    def tells_nothing(self) -> bool:
        """Whether it answers without saying whether it is ready."""
        return self.status in (401, 403)

    @property
    def ready(self) -> bool:
        """Whether an apiserver answers that it is ready, or that it does not tell."""
        return self.tells_nothing or (self.status == 200 and self.body.strip() == "ok")


def printable(text: str) -> str:
    """What whoever listens there chose, and may not write to a terminal with."""
    return "".join(c if c.isprintable() else "?" for c in text)
