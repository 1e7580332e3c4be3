"""Where sshd forbids forwarding: what a program on the node meets instead."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Sequence
from email import message_from_string

from ..config.address import REACHED_AT, Endpoint
from ..scripts.commands import script
from ..shell.command import parse_output
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
    ended = node.sh(command(endpoints, timeout), root=False, timeout=timeout + 30)
    return parse(ended.stdout, endpoints)


def command(endpoints: Sequence[Endpoint], timeout: int) -> str:
    """The script that asks."""
    targets = " ".join(f"{n},{REACHED_AT.get(e.host, e.host)},{e.port}" for n, e in enumerate(endpoints))
    return script("check", targets=targets, seconds=timeout)


def parse(text: str, endpoints: Sequence[Endpoint]) -> dict[Endpoint, Seen]:
    """Reads the script's `kn.KEY=VALUE` lines."""
    values = dict(parse_output(text))
    tool = values.get("tool", "")
    return {e: _seen(tool, values.get(f"cell.{n}", "").split()) for n, e in enumerate(endpoints)}


def _seen(tool: str, fields: Sequence[str]) -> Seen:
    if not tool or len(fields) < 2:
        return Seen(None, "forbidden", _NOTHING)
    status, now = int(fields[0]), float(fields[1])
    text = b64decode("".join(fields[2:])).decode(errors="replace")
    if answer := re.search(r"^HTTP/\S+ (\d{3}).*\n((?:.*\n)*)", text.replace("\r\n", "\n") + "\n", re.M):
        told = message_from_string(answer[2])
        note = f"{FORBIDDEN}: {tool} on the node asked, and the certificate was not looked at"
        body, date = _OPENSSL.sub("", str(told.get_payload())), str(told.get("Date", ""))
        return Seen(True, text=note, status=int(answer[1]), body=body, clock=ahead(date, now), by=tool)
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
