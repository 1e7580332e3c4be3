"""What one question to an endpoint meets: /readyz over a tunnel, and what the answer means."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from time import monotonic, time
from typing import Any

import paramiko

from ..config.address import Endpoint
from .certificate import Certificate, parse
from .tunnel import Tunnel, Unreached, Untrusted

PATH = "/readyz"
CLOCK_WARNING = 5.0  # seconds
EXPIRY_WARNING = 30.0  # days
SILENT = (401, 403)  # an apiserver that tells strangers nothing
_EXPIRED = 10  # X509_V_ERR_CERT_HAS_EXPIRED, of any certificate up to the CA's

OK, WARNING, FAILED = STATES = ("ok", "warning", "failed")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one try met.

    `ok`: an HTTP answer came; None: not known. If none came, `word` and `text` say why. `seconds` is what
    it took in all, `connected` until TLS stood (None: it did not). `distrust` is why the certificate does
    not verify, `trusted` whether it was looked at and does. `clock` is by how many seconds the answer's
    Date is ahead of the node's clock. `by` is the program on the node that asked; "": none did.
    """

    ok: bool | None
    word: str = ""
    text: str = ""
    seconds: float = 0.0
    connected: float | None = None
    status: int | None = None
    body: str = ""
    certificate: Certificate | None = None
    trusted: bool | None = None
    distrust: str = ""
    clock: float | None = None
    by: str = ""

    @property
    def ready(self) -> bool:
        """Whether an apiserver answers that it is ready, or that it does not tell."""
        return self.status in SILENT or (self.status == 200 and self.body.strip() == "ok")


@dataclass(frozen=True, slots=True)
class Cell:
    """What `Seen` means. `state` is one of STATES; `word` fits a table, `detail` is a sentence.

    `way`: whether it leads to an apiserver that serves; None: not known.
    """

    state: str
    word: str
    detail: str
    way: bool | None
    seen: Seen


def look(
    transport: paramiko.Transport,
    endpoint: Endpoint,
    timeout: float,
    trust: ssl.SSLContext | None = None,
    clock: float = 0.0,
) -> Seen:
    """Asks `endpoint` from the node whether it is ready; each of TLS and HTTP may take `timeout` seconds.

    `trust` verifies certificates; who is not trusted is asked all the same. `clock` is by how many
    seconds the node's clock is ahead of this machine's.
    """
    began = monotonic()
    seen = Seen(None, trusted=None if trust is None else True)
    refusal: Untrusted | None = None
    try:
        try:
            tunnel = Tunnel(transport, endpoint, timeout, trust)
        except Untrusted as error:
            refusal = error
            tunnel = Tunnel(transport, endpoint, timeout)
        with tunnel:
            found = parse(tunnel.certificate)
            seen = replace(seen, connected=tunnel.seconds, certificate=found)
            if refusal:
                seen = replace(seen, trusted=False, distrust=_distrust(refusal, found))
            answer = tunnel.get(PATH, timeout)
    except Unreached as error:
        if seen.connected is None:
            seen = replace(seen, trusted=None)
        took = monotonic() - began
        return replace(seen, ok=error.ok, word=error.word, text=error.text, seconds=took)
    return replace(
        seen,
        ok=True,
        seconds=monotonic() - began,
        status=answer.status,
        body=answer.body.decode(errors="replace"),
        clock=ahead(answer.headers.get("Date", ""), time() - answer.seconds / 2 + clock),
    )


def _distrust(error: Untrusted, found: Certificate | None) -> str:
    """Why; "" for one that has but expired itself, which is told from its own date."""
    if error.code != _EXPIRED or not found:
        return error.text
    return "" if found.days(datetime.now(UTC)) < 0 else f"{error.text}: its CA's, not its own"


def ahead(date: str, now: float) -> float | None:
    """By how many seconds the clock that wrote `date`, cut to whole seconds, is ahead of `now`."""
    try:
        told = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return told + 0.5 - now


def judge(seen: Seen, through: str = "") -> Cell:
    """What it means. `through` is the address of the proxy's listener that was asked, if one was.

    Of what it finds there, only that is told which keeps clients from being served: the rest is told of
    the apiservers themselves.
    """
    if not seen.ok:
        by = f" ({seen.by})" if seen.by else ""
        return Cell(WARNING if seen.ok is None else FAILED, seen.word + by, seen.text, seen.ok, seen)
    found = list(_findings(seen, through))
    state = max((state for state, _, _ in found), key=STATES.index, default=OK)
    word = next((word for s, word, _ in found if s == state and s != OK), _fine(seen))
    detail = "; ".join(text for _, _, text in found)
    return Cell(state, word, detail, state != FAILED, seen)


def _fine(seen: Seen) -> str:
    word = "ready" if seen.status == 200 else "answers"
    if seen.by:
        return f"{word} ({seen.by})"
    return f"{word} {milliseconds(seen.connected or 0)} ms"


def milliseconds(seconds: float) -> int:
    """In whole milliseconds, 1 at the least."""
    return max(1, round(seconds * 1000))


def _findings(seen: Seen, through: str) -> Iterator[tuple[str, str, str]]:
    """State, word and sentence of each thing that is to be told."""
    certificate = seen.certificate
    issuer = f" (issuer {certificate.issuer})" if certificate else ""
    if seen.distrust:
        yield FAILED, "untrusted", seen.distrust + issuer
    if certificate:
        yield from (found for found in _validity(certificate) if found[0] == FAILED or not through)
    if not seen.ready:
        yield FAILED, "not ready", f"{PATH} is answered with {seen.status}{_reason(seen.body)}"
    if certificate and through and seen.trusted and through not in certificate.names:
        names = ", ".join(certificate.names) or "nobody"
        text = f"its certificate holds for {names}, not for {through}: kubelet will refuse it"
        yield WARNING, "wrong name", text
    if seen.clock is not None and abs(seen.clock) >= CLOCK_WARNING and not through:
        behind = "ahead of" if seen.clock > 0 else "behind"
        text = f"its clock is {abs(seen.clock):.0f} s {behind} the node's"
        yield WARNING, f"clock {seen.clock:+.0f} s", text
    if seen.text:
        yield OK, "", seen.text


def _validity(certificate: Certificate) -> Iterator[tuple[str, str, str]]:
    days = certificate.days(datetime.now(UTC))
    when = f"{certificate.expires:%Y-%m-%d}"
    if days < 0:
        yield FAILED, "expired", f"its certificate expired on {when}"
    elif days < EXPIRY_WARNING:
        yield WARNING, f"expires {days:.0f} d", f"its certificate expires on {when}, in {days:.0f} days"


def _reason(body: str) -> str:
    """What readyz's body names as failed, or how it begins."""
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith("[-]")]
    said = "; ".join(failed or lines[:1])
    return f": {said[:200]!r}" if said else ""


def as_json(cell: Cell) -> dict[str, Any]:
    """For programs. Times are in milliseconds, but `clock_seconds`."""
    seen, certificate = cell.seen, cell.seen.certificate
    return {
        "state": cell.state,
        "word": cell.word,
        "detail": cell.detail,
        "reachable": seen.ok,
        "ready": None if seen.ok and seen.status in SILENT else seen.ok and seen.ready,
        "status": seen.status,
        "connect_ms": None if seen.connected is None else round(seen.connected * 1000, 1),
        "total_ms": round(seen.seconds * 1000, 1),
        "certificate": certificate
        and {
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "expires": certificate.expires.isoformat(),
            "names": list(certificate.names),
        },
        "trusted": seen.trusted,
        "clock_seconds": None if seen.clock is None else round(seen.clock, 1),
        "by": seen.by or "ssh",
    }
