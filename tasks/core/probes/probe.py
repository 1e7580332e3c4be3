"""What one question to an endpoint meets: /readyz over a tunnel, and what the answer means."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from hashlib import sha256
from time import monotonic, time
from typing import Any

import paramiko

from ..config.address import Endpoint
from .certificate import Certificate, Trust, parse
from .tunnel import Tunnel, Unreached

PATH = "/readyz"
CLOCK_WARNING = 5.0  # seconds
EXPIRY_WARNING = 30.0  # days
SLOW = 0.75  # seconds more than usual: less than the second that nginx waits for an apiserver that is gone
SILENT = (401, 403)  # an apiserver that tells strangers nothing

OK, WARNING, FAILED = STATES = ("ok", "warning", "failed")


@dataclass(frozen=True, slots=True)
class Seen:
    """What one try met: all of it on one connection.

    `ok`: an HTTP answer came; None: not known. If none came, `word` and `text` say why. `seconds` is what
    it took in all (None: not measured), `connected` until TLS stood (None: it did not). `distrust` is why
    the certificate does not verify, `trusted` whether it was looked at and does. `peer` tells who it was
    from others: the SHA-256 of the certificate; "": not known. `at` is the time, by the node's clock, and
    `clock` by how many seconds the answer's Date is ahead of that. `by` is the program on the node that
    asked; "": none did.
    """

    ok: bool | None
    word: str = ""
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
    by: str = ""
    at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def ready(self) -> bool:
        """Whether an apiserver answers that it is ready, or that it does not tell."""
        return self.status in SILENT or (self.status == 200 and self.body.strip() == "ok")


@dataclass(frozen=True, slots=True)
class Cell:
    """What `Seen` means. `state` is one of STATES; `word` fits a table, `detail` is a sentence.

    `way`: whether it leads to an apiserver that serves; None: not known. `led`: of the apiservers, those
    to which the proxy led.
    """

    state: str
    word: str
    detail: str
    way: bool | None
    seen: Seen
    led: tuple[Endpoint, ...] = ()


def look(
    transport: paramiko.Transport,
    endpoint: Endpoint,
    timeout: float,
    trust: Trust | None = None,
    clock: float = 0.0,
) -> Seen:
    """Asks `endpoint` from the node whether it is ready; all of it may take `timeout` seconds.

    `trust` verifies certificates; who is not trusted is asked all the same. `clock` is by how many
    seconds the node's clock is ahead of this machine's.
    """
    began = monotonic()
    seen = Seen(None, at=datetime.now(UTC) + timedelta(seconds=clock))
    try:
        with Tunnel(transport, endpoint, timeout) as tunnel:
            seen = _met(seen, tunnel, trust)
            answer = tunnel.get(PATH, timeout, began)
    except Unreached as error:
        took = monotonic() - began
        return replace(seen, ok=error.ok, word=error.word, text=_missed(error, seen), seconds=took)
    return replace(
        seen,
        ok=True,
        seconds=monotonic() - began,
        status=answer.status,
        body=answer.body.decode(errors="replace"),
        clock=ahead(answer.headers.get("Date", ""), time() - answer.seconds / 2 + clock),
    )


def _met(seen: Seen, tunnel: Tunnel, trust: Trust | None) -> Seen:
    """With who answered in TLS."""
    chain = tunnel.chain
    refusal = trust.refusal(chain, seen.at) if trust else None
    return replace(
        seen,
        connected=tunnel.seconds,
        certificate=parse(chain[0]) if chain else None,
        peer=sha256(chain[0]).hexdigest() if chain else "",
        trusted=refusal is None if trust else None,
        distrust=refusal or "",
    )


def _missed(error: Unreached, seen: Seen) -> str:
    if seen.connected is None or error.word != "no answer":
        return error.text
    return f"{error.text}, though TLS stood after {milliseconds(seen.connected)} ms"


def ahead(date: str, now: float) -> float | None:
    """By how many seconds the clock that wrote `date`, cut to whole seconds, is ahead of `now`."""
    try:
        told = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return told + 0.5 - now


def judge(seen: Seen, names: Sequence[str] = (), through: bool = False, usual: float = 0.0) -> Cell:
    """What it means. `names` are the listeners' addresses, for which clients need the certificate to hold.

    `through`: it was the proxy that was asked, by that name. Of what it finds there, only that is told which
    keeps clients from being served: the rest is told of the apiservers themselves. `usual` is within how
    many seconds a TLS connection stands from that node.
    """
    if not seen.ok:
        by = f" ({seen.by})" if seen.by else ""
        return Cell(WARNING if seen.ok is None else FAILED, seen.word + by, seen.text, seen.ok, seen)
    found = list(_findings(seen, names, through, usual))
    state = max((state for state, _, _ in found), key=STATES.index, default=OK)
    word = next((word for s, word, _ in found if s == state and s != OK), _fine(seen))
    detail = "; ".join(text for _, _, text in found)
    return Cell(state, word, detail, state != FAILED, seen)


def _fine(seen: Seen) -> str:
    word = "ready" if seen.status == 200 else "answers"
    if seen.by:
        return f"{word} ({seen.by})"
    return f"{word} {milliseconds(seen.seconds or 0)} ms"


def milliseconds(seconds: float) -> int:
    """In whole milliseconds, 1 at the least."""
    return max(1, round(seconds * 1000))


def _findings(
    seen: Seen, names: Sequence[str], through: bool, usual: float
) -> Iterator[tuple[str, str, str]]:
    """State, word and sentence of each thing that is to be told."""
    certificate = seen.certificate
    issuer = f" (issuer {certificate.issuer})" if certificate else ""
    if seen.distrust:
        yield FAILED, "untrusted", seen.distrust + issuer
    if certificate:
        validity = _validity(certificate, seen.at)
        yield from (found for found in validity if found[0] == FAILED or not through)
    if not seen.ready:
        yield FAILED, "not ready", f"{PATH} is answered with {seen.status}{_reason(seen.body)}"
    if certificate and not seen.distrust:
        yield from _names(certificate, names)
    if seen.seconds and seen.connected and seen.seconds - usual >= SLOW:
        took, tls = milliseconds(seen.seconds), milliseconds(seen.connected)
        yield WARNING, f"slow {took} ms", f"took {took} ms: {tls} ms until TLS stood, then the answer"
    if seen.clock is not None and abs(seen.clock) >= CLOCK_WARNING and not through:
        behind = "ahead of" if seen.clock > 0 else "behind"
        text = f"its clock is {abs(seen.clock):.0f} s {behind} the node's"
        yield WARNING, f"clock {seen.clock:+.0f} s", text
    if seen.text:
        yield OK, "", seen.text


def _validity(certificate: Certificate, now: datetime) -> Iterator[tuple[str, str, str]]:
    days = certificate.days(now)
    when = f"{certificate.expires:%Y-%m-%d}"
    if now < certificate.begins:
        text = f"its certificate is valid from {certificate.begins:%Y-%m-%d %H:%M} UTC only"
        yield FAILED, "not yet valid", text
    if days < 0:
        yield FAILED, "expired", f"its certificate expired on {when}"
    elif days < EXPIRY_WARNING:
        yield WARNING, f"expires {days:.0f} d", f"its certificate expires on {when}, in {days:.0f} days"


def _names(certificate: Certificate, wanted: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    if missing := [name for name in wanted if name not in certificate.names]:
        names = ", ".join(certificate.names) or "nobody"
        text = f"its certificate holds for {names}, not for {' and '.join(missing)}: kubelet will refuse it"
        yield WARNING, "wrong name", text


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
        "total_ms": None if seen.seconds is None else round(seen.seconds * 1000, 1),
        "certificate": certificate
        and {
            "subject": certificate.subject,
            "issuer": certificate.issuer,
            "begins": certificate.begins.isoformat(),
            "expires": certificate.expires.isoformat(),
            "names": list(certificate.names),
        },
        "trusted": seen.trusted,
        "clock_seconds": None if seen.clock is None else round(seen.clock, 1),
        "by": seen.by or "ssh",
    }
