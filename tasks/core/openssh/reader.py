"""Where there is no ssh to ask: paramiko's reader of ssh_config, for what it understands."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

import paramiko

from ..errors import UsageError, reason
from .alike import Asked
from .files import Block

_MATCHES = {"all", "exec", "final", "host", "localuser", "originalhost", "user"}
_TO_THE_END = {"proxycommand", "localcommand", "remotecommand"}
_NAMES = {"host", "match", "userknownhostsfile", "globalknownhostsfile"}
_INSTEAD = "is understood by OpenSSH's ssh only, which is not installed: install it (openssh-client)"


class Reader:
    """paramiko's reader; `user` and `port` hold where ssh_config says nothing.

    Raises UsageError: each line that it would read otherwise than OpenSSH, as `FILE:LINE: ...`.
    """

    def __init__(self, blocks: Sequence[Block], user: str, port: int) -> None:
        if problems := "\n".join(_not_understood(blocks)):
            raise UsageError(problems)
        self._defaults = {"user": user, "port": str(port)}
        self._config = paramiko.SSHConfig()
        at = ""

        def lines() -> Iterator[str]:
            nonlocal at
            for block in blocks:
                for line in (*block.heads[-1:], *block.lines):
                    at = str(line)
                    yield f"{line.keyword} {line.value}"

        try:
            self._config.parse(lines())
        except (paramiko.SSHException, ValueError, LookupError) as error:
            raise UsageError(f"{at}: {reason(error)}") from None

    def values(self, asked: Asked) -> Mapping[str, tuple[str, ...]]:
        """What ssh_config says of a host, by keyword. Raises UsageError: it cannot be looked up."""
        try:
            held = self._config.lookup(asked.name)
        except (paramiko.SSHException, ValueError, LookupError) as error:
            raise UsageError(
                f"ssh_config for {asked.name}: {type(error).__name__}: {reason(error)}"
            ) from None
        given = {"user": asked.user, "port": asked.port and str(asked.port)}
        held = self._defaults | dict(held) | {key: value for key, value in given.items() if value}
        each = {key: value if isinstance(value, list) else [value or "none"] for key, value in held.items()}
        return {key: tuple(values) for key, values in each.items()}


def _not_understood(blocks: Sequence[Block]) -> Iterator[str]:
    lines = {line: None for block in blocks for line in (*block.heads, *block.lines)}
    for line in lines:
        if line.keyword == "match":
            unknown = (word for word in line.criteria() if word.lstrip("!").lower() not in _MATCHES)
            yield from (f"{line}: Match {word} {_INSTEAD}" for word in unknown)
        elif line.keyword == "include" or line.turns_on("canonicalizehostname"):
            yield f"{line}: {line.word} {_INSTEAD}"
        elif line.keyword == "port" and not re.fullmatch('[0-9]+|"[0-9]+"', line.value):
            yield f"{line}: {line.word} {line.value} {_INSTEAD}"
        elif line.keyword not in _TO_THE_END and re.search(r"\s#", line.value):
            yield f"{line}: {line.value}: a comment behind a value {_INSTEAD}"
        elif line.keyword not in _TO_THE_END | _NAMES and '"' in line.value[1:-1]:
            yield f"{line}: {line.value}: several words in quotes {_INSTEAD}"
