"""Where sshd forbids forwarding: what a program on the node meets instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email import message_from_string
from email.utils import parsedate_to_datetime
from math import ceil

from ..config.address import Endpoint
from ..scripts.reach import Check, Met
from ..ssh.node import Node
from .result import ProbeResult, Reason

_TIMED_OUT = 124  # coreutils' timeout
_CURL = {  # where it says no more than by its exit status
    6: Reason.NO_ADDRESS,
    7: Reason.NOT_CONNECTED,
    28: Reason.TIMED_OUT,
    35: Reason.HANDSHAKE_UNFINISHED,
    52: Reason.CLOSED_UNANSWERED,
    60: Reason.HANDSHAKE_UNFINISHED,
}
_CERTAIN = (6, 28, 52)  # of those: what stands beside them is of tries before
_OPENSSL = re.compile(r"^([0-9A-F]+:error:|(read|write):errno=).*\n?", re.M)  # what it thinks of a plain end
_FORBIDDEN = Reason.FORBIDDEN.sentence


def ask(node: Node, endpoints: Sequence[Endpoint], timeout: float) -> dict[Endpoint, ProbeResult]:
    """What a program on the node meets at each endpoint, `timeout` seconds for each. Raises StepError."""
    endpoints = list(dict.fromkeys(endpoints))
    met = node.do(Check(tuple(endpoints), ceil(timeout)))
    return {endpoint: result_of(met.get(endpoint)) for endpoint in endpoints}


def result_of(met: Met | None) -> ProbeResult:
    """What it says of an endpoint that a program on the node met this there; None: nothing was."""
    if met is None:
        return ProbeResult(Reason.NO_PROGRAM, Reason.NO_PROGRAM.sentence)
    tool, status, text = met.tool, met.status, met.text
    if answer := re.search(r"^HTTP/\S+ (\d{3}).*\n((?:.*\n)*)", text.replace("\r\n", "\n") + "\n", re.M):
        parsed = message_from_string(answer[2])
        note = f"{_FORBIDDEN}: {tool} on the node asked, and the certificate was not looked at"
        body = _OPENSSL.sub("", str(parsed.get_payload()))
        clock = ahead(str(parsed.get("Date", "")), met.now)
        return ProbeResult(text=note, status=int(answer[1]), body=body, clock=clock, program=tool)
    if tool == "bash" and status == 0:
        return ProbeResult(Reason.OPEN, Reason.OPEN.sentence, program=tool)
    reason = _reason(tool, status, text)
    details = (tool, status) if reason is Reason.PROGRAM_FAILED else ()
    note = f"{reason.text(*details)}; {_FORBIDDEN}, so this is what {tool} on the node met"
    return ProbeResult(reason, note, program=tool)


def _reason(tool: str, status: int, text: str) -> Reason:
    if status == _TIMED_OUT:
        return Reason.TIMED_OUT
    plain = _CURL.get(status) if tool == "curl" else None
    if plain and status in _CERTAIN:
        return plain
    return Reason.of(text) or plain or Reason.PROGRAM_FAILED


def ahead(date: str, now: float) -> float | None:
    """By how many seconds the clock that wrote `date`, cut to whole seconds, is ahead of `now`."""
    try:
        there = parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError, OverflowError):
        return None
    return there + 0.5 - now
