"""Where sshd forbids forwarding: what a program on the node meets instead."""

from __future__ import annotations

import re
from collections.abc import Sequence
from email import message_from_string

from ..config.address import Endpoint
from ..scripts.reach import Check, Met
from ..ssh.node import Node
from .forward import FORBIDDEN, meaning
from .probe import Seen, ahead

_TIMED_OUT = 124  # coreutils' timeout
_CURL = {  # where it says no more than by its exit status
    6: ("no address", "does not resolve"),
    7: ("no way", "could not be connected to"),
    28: ("no answer", "did not answer in time"),
    35: ("TLS failed", "did not finish the TLS handshake"),
    52: ("closed", "closed the connection instead of answering"),
    60: ("TLS failed", "did not finish the TLS handshake"),
}
_CERTAIN = (6, 28, 52)  # of those: what stands beside them is of tries before
_OPENSSL = re.compile(r"^([0-9A-F]+:error:|(read|write):errno=).*\n?", re.M)  # what it thinks of a plain end
_NOTHING = (
    f"{FORBIDDEN} (AllowTcpForwarding, PermitOpen), and the node has no curl, openssl or bash to try with"
)


def ask(node: Node, endpoints: Sequence[Endpoint], timeout: int) -> dict[Endpoint, Seen]:
    """What a program on the node meets at each endpoint, `timeout` seconds for each. Raises StepError."""
    met = node.do(Check(tuple(endpoints), timeout))
    return {endpoint: seen(met.get(endpoint)) for endpoint in endpoints}


def seen(met: Met | None) -> Seen:
    """What it says of an endpoint that a program on the node met this there; None: nothing was."""
    if met is None:
        return Seen(None, "forbidden", _NOTHING)
    tool, status, text = met.tool, met.status, met.text
    if answer := re.search(r"^HTTP/\S+ (\d{3}).*\n((?:.*\n)*)", text.replace("\r\n", "\n") + "\n", re.M):
        told = message_from_string(answer[2])
        note = f"{FORBIDDEN}: {tool} on the node asked, and the certificate was not looked at"
        body, date = _OPENSSL.sub("", str(told.get_payload())), str(told.get("Date", ""))
        return Seen(True, text=note, status=int(answer[1]), body=body, clock=ahead(date, met.now), by=tool)
    if tool == "bash" and status == 0:
        text = f"{FORBIDDEN}: bash on the node could connect, and what answers is not known"
        return Seen(None, "open", text, by=tool)
    word, why = _missed(tool, status, text)
    return Seen(False, word, f"{why}; {FORBIDDEN}, so this is what {tool} on the node met", by=tool)


def _missed(tool: str, status: int, text: str) -> tuple[str, str]:
    """Why there was no answer: a word for the table, and more words."""
    if status == _TIMED_OUT:
        return _CURL[28]
    plain = _CURL.get(status) if tool == "curl" else None
    if plain and status in _CERTAIN:
        return plain
    return meaning(text) or plain or ("no way", f"{tool} ended with status {status}")
