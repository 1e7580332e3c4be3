"""Whom a node reaches, seen from the node itself."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass

from ..config.address import REACHED_AT, Endpoint
from ..shell.command import CommandResult
from .script import Script


@dataclass(frozen=True)
class Met:
    """What a program on the node met at an endpoint: its exit status, the node's time then, what it wrote."""

    tool: str
    status: int
    now: float
    text: str


@dataclass(frozen=True)
class Check(Script[Mapping[Endpoint, Met]]):
    """Asks each endpoint for /readyz with curl, openssl or bash, whichever the node has."""

    files = ("check",)
    root = False
    endpoints: tuple[Endpoint, ...]
    seconds: int

    @property
    def time_limit(self) -> float:
        return self.seconds + 30

    def derived(self) -> Mapping[str, object]:
        at = ((number, REACHED_AT.get(e.host, e.host), e.port) for number, e in enumerate(self.endpoints))
        return {"targets": tuple(",".join(map(str, words)) for words in at)}

    def parse(self, result: CommandResult) -> Mapping[Endpoint, Met]:
        values = result.values
        answers = {e: values.get(f"cell.{number}", "").split() for number, e in enumerate(self.endpoints)}
        tool = values.get("tool", "")
        return {e: _met(tool, fields) for e, fields in answers.items() if tool and len(fields) >= 2}


def _met(tool: str, fields: list[str]) -> Met:
    status, now, *text = fields
    return Met(tool, int(status), float(now), b64decode("".join(text)).decode(errors="replace"))


@dataclass(frozen=True)
class SshConnection(Script[str]):
    """At which of its addresses the node was reached; "" if it does not say."""

    root = False
    seconds_allowed = 30

    def text(self) -> str:
        return 'echo "kn.ssh=${SSH_CONNECTION-}"'

    def parse(self, result: CommandResult) -> str:
        words = result.values.get("ssh", "").split()
        return words[2] if len(words) == 4 else ""
