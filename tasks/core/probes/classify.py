"""What a probe's result means for a person, and for programs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..results import State, output
from .prober import PATH, milliseconds
from .result import Certificate, ProbeResult

CLOCK_WARNING = 5.0  # seconds
EXPIRY_WARNING = 30.0  # days
SLOW = 0.75  # seconds more than usual: less than the second that nginx waits for an apiserver that is gone
STATES = (State.OK, State.WARNING, State.FAILED)

Finding = tuple[State, str, str]
"""State, word and sentence of one thing that is to be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointCheck:
    """What a node meets at one endpoint."""

    state: State = output("`ok`, `warning` or `failed`")
    word: str = output("what fits a table")
    detail: str = output("all that there is to say, in sentences")
    reachable: bool | None = output("whether anything answers; null: not known")
    ready: bool | None = output("whether an apiserver answers that it is ready; null: not known")
    status: int | None = output("the HTTP status of the answer")
    connect_ms: float | None = output("milliseconds until TLS stood", digits=1)
    total_ms: float | None = output("milliseconds until the answer", digits=1)
    certificate: Certificate | None = output("the certificate that it sent")
    trusted: bool | None = output("whether that verifies against [check] ca; null: not looked at")
    clock_seconds: float | None = output("by how many seconds its clock is ahead of the node's", digits=1)
    by: str = output("the program on the node that asked; `ssh`: none did")
    way: bool | None  # whether an apiserver serves there; None: not known
    result: ProbeResult = field(repr=False)


def classify(
    result: ProbeResult, names: Sequence[str] = (), through: bool = False, usual: float = 0.0
) -> EndpointCheck:
    """What it means. `names` are those of the listeners, for which clients need the certificate to hold.

    `through`: it was the proxy that was asked, by that name, and led to an apiserver that was asked itself.
    Of what it finds there, only that is told which keeps clients from being served: the rest is told of that.
    `usual` is within how many seconds a TLS connection stands from that node.
    """
    fine = "ready" if result.status == 200 else "answers"
    fine += _by(result) or f" {milliseconds(result.seconds or 0)} ms"
    found = [*_findings(result, names, through, usual)]
    state = max((state for state, _, _ in found), key=STATES.index, default=State.OK)
    return EndpointCheck(
        state=state,
        word=next((word for s, word, _ in found if s == state != State.OK), fine),
        detail="; ".join(text for _, _, text in found),
        reachable=result.ok,
        ready=None if result.ok and result.tells_nothing else result.ok and result.ready,
        status=result.status,
        connect_ms=result.connected and result.connected * 1000,
        total_ms=result.seconds and result.seconds * 1000,
        certificate=result.certificate,
        trusted=result.trusted,
        clock_seconds=result.clock,
        by=result.program or "ssh",
        way=result.ok and state != State.FAILED,
        result=result,
    )


def worst(checks: Sequence[EndpointCheck]) -> EndpointCheck:
    """The first of those whose state is worst."""
    return max(checks, key=lambda check: STATES.index(check.state))


def _findings(result: ProbeResult, names: Sequence[str], through: bool, usual: float) -> Iterator[Finding]:
    if result.reason:
        state = State.FAILED if result.reason.is_known else State.WARNING
        yield state, result.reason.word + _by(result), result.text
        return
    yield from _certificate(result, through)
    if not result.ready:
        yield State.FAILED, "not ready", f"{PATH} is answered with {result.status}{_why(result.body)}"
    if result.certificate and not result.distrust:
        yield from _names(result.certificate, names)
    if result.seconds and result.connected and result.seconds - usual >= SLOW:
        took, tls = milliseconds(result.seconds), milliseconds(result.connected)
        yield State.WARNING, f"slow {took} ms", f"took {took} ms: {tls} ms until TLS stood, then the answer"
    if result.clock is not None and abs(result.clock) >= CLOCK_WARNING and not through:
        behind = "ahead of" if result.clock > 0 else "behind"
        text = f"its clock is {abs(result.clock):.0f} s {behind} the node's"
        yield State.WARNING, f"clock {result.clock:+.0f} s", text
    if result.text:
        yield State.OK, "", result.text


def _certificate(result: ProbeResult, through: bool) -> Iterator[Finding]:
    certificate, now = result.certificate, result.at
    if result.distrust:
        issuer = f" (issuer {certificate.issuer})" if certificate else ""
        yield State.FAILED, "untrusted", result.distrust + issuer
    if not certificate:
        return
    days, when = certificate.days(now), f"{certificate.expires:%Y-%m-%d}"
    if now < certificate.begins:
        text = f"its certificate is valid from {certificate.begins:%Y-%m-%d %H:%M} UTC only"
        yield State.FAILED, "not yet valid", text
    if days < 0:
        yield State.FAILED, "expired", f"its certificate expired on {when}"
    elif days < EXPIRY_WARNING and not through:
        yield State.WARNING, f"expires {days:.0f} d", f"its certificate expires on {when}, in {days:.0f} days"


def _names(certificate: Certificate, wanted: Sequence[str]) -> Iterator[Finding]:
    if missing := [name for name in wanted if not certificate.holds(name)]:
        held = ", ".join(certificate.names) or "nobody"
        text = f"its certificate holds for {held}, not for {' and '.join(missing)}: kubelet will refuse it"
        yield State.WARNING, "wrong name", text


def _why(body: str) -> str:
    """What readyz's body names as failed, or how it begins."""
    lines = [line.strip() for line in body.splitlines() if line.strip()]
    failed = [line for line in lines if line.startswith("[-]")]
    quoted = "; ".join(failed or lines[:1])
    return f": {quoted[:200]!r}" if quoted else ""


def _by(result: ProbeResult) -> str:
    return f" ({result.program})" if result.program else ""
