"""Reads ssh_config: what cannot be read, or would be fallen over later, is named with its file and line."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import paramiko

from ..config.address import parse_port
from ..errors import UsageError, reason
from ..localfiles import read_bounded

_KEYWORD = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.+)")


def _fits(pattern: str, words: str) -> Callable[[str], object]:
    def check(text: str) -> None:
        if not re.fullmatch(pattern, text):
            raise ValueError(f"must be {words}")

    return check


_VALUES: Mapping[str, Callable[[str], object]] = {
    "canonicalizemaxdots": _fits("[0-9]{1,9}", "a number"),
    "connecttimeout": _fits("none|([0-9]{1,9}[smhdwSMHDW]?){1,6}", "a number of seconds, such as 10"),
    "port": parse_port,
}
"""By the keyword, what raises ValueError where OpenSSH would refuse the value, too."""
FABRIC: Mapping[str, Callable[[str], object]] = {
    "connecttimeout": _fits("[0-9]{1,9}", "a number of seconds, such as 10, for fab -H"),
    "forwardagent": _fits("yes|no", "yes or no for fab -H"),
}
"""What Fabric itself reads before a task of ours begins, under -H."""


def read(into: paramiko.SSHConfig, file: Path) -> str:
    """Adds what `file` says, and gives its text. Raises UsageError that names the file and the line."""
    number = 0

    def lines() -> Iterator[str]:
        nonlocal number
        for number, line in enumerate(text.split("\n"), 1):  # noqa: B007 - also told where parse() fails
            yield line

    try:
        text = read_bounded(file).decode(errors="replace")
    except OSError as error:
        raise UsageError(f"{file}: {error.strerror}") from None
    if wrong := "\n".join(problems(file, text)):
        raise UsageError(wrong)
    try:
        into.parse(lines())
    except (paramiko.SSHException, ValueError, LookupError) as error:
        raise UsageError(f"{file}:{number}: {reason(error)}") from None
    return text


def problems(file: Path, text: str, values: Mapping[str, Callable[[str], object]] = _VALUES) -> Iterator[str]:
    """The values in `text` that are none of those, as `FILE:LINE: KEYWORD VALUE: why`."""
    for number, line in enumerate(text.split("\n"), 1):
        found = _KEYWORD.match(line.strip())
        check = values.get(found[1].lower()) if found else None
        if found and check:
            value = found[2].strip()
            try:
                check(value.strip('"'))
            except ValueError as error:
                yield f"{file}:{number}: {found[1]} {value}: {error}"


def lookup(config: paramiko.SSHConfig, host: str) -> Mapping[str, Any]:
    """What ssh_config says of a host. Raises UsageError: it cannot be told."""
    try:
        found: Mapping[str, Any] = config.lookup(host)
    except (paramiko.SSHException, ValueError, LookupError) as error:
        raise UsageError(f"ssh_config for {host}: {type(error).__name__}: {reason(error)}") from None
    return found
