"""Reads ssh_config: what cannot be read, or would be fallen over later, is named with its file and line."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import paramiko

from ..config.address import parse_port
from ..config.model import expanded
from ..errors import UsageError, reason
from ..localfiles import read_bounded

OWN = expanded("~/.ssh/config")
SYSTEM = Path("/etc/ssh/ssh_config")

_KEYWORD = re.compile(r"(\w+)(?:\s*=\s*|\s+)(.+)")
_Values = Mapping[str, tuple[str, str]]
_OPENSSH: _Values = {
    "canonicalizemaxdots": ("[0-9]{1,9}", "a number"),
    "connecttimeout": ("none|([0-9]{1,9}[smhdwSMHDW]?){1,6}", "a number of seconds, such as 10"),
}
"""By the keyword, which values OpenSSH takes, too, and how to say so."""
FABRIC: _Values = {
    "connecttimeout": ("[0-9]{1,9}", "a number of seconds, such as 10, for fab -H"),
    "forwardagent": ("yes|no", "yes or no for fab -H"),
}
"""What Fabric itself reads before a task of ours begins, under -H."""


class SshConfig(paramiko.SSHConfig):  # type: ignore[misc]
    """paramiko's, made of several files. `warnings` are for the user.

    Raises UsageError that names the file and the line.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        super().__init__()
        self.warnings: list[str] = []
        for file in files:
            if not (file.is_file() if file in (OWN, SYSTEM) else file.exists()):
                continue
            text = self._read(file)
            if file == files[0] and re.search(r"(?im)^\s*include\b", text):
                self.warnings.append(f"{file}: Include is not followed; name the file in ssh.config")

    def _read(self, file: Path) -> str:
        number = 0

        def lines() -> Iterator[str]:
            nonlocal number
            for number, line in enumerate(text.split("\n"), 1):  # noqa: B007 - also where parse() fails
                yield line

        try:
            text = read_bounded(file).decode(errors="replace")
        except OSError as error:
            raise UsageError(f"{file}: {error.strerror}") from None
        if wrong := "\n".join(problems(file, text, _OPENSSH)):
            raise UsageError(wrong)
        try:
            self.parse(lines())
        except (paramiko.SSHException, ValueError, LookupError) as error:
            raise UsageError(f"{file}:{number}: {reason(error)}") from None
        return text

    def lookup(self, hostname: str) -> Any:
        """What ssh_config says of a host. Raises UsageError: it cannot be looked up."""
        try:
            return super().lookup(hostname)
        except (paramiko.SSHException, ValueError, LookupError) as error:
            raise UsageError(f"ssh_config for {hostname}: {type(error).__name__}: {reason(error)}") from None


def problems(file: Path, text: str, values: _Values) -> Iterator[str]:
    """The values in `text` that none of `values` fits, as `FILE:LINE: KEYWORD VALUE: why`."""
    for number, line in enumerate(text.split("\n"), 1):
        if not (found := _KEYWORD.match(line.strip())):
            continue
        keyword, value = found[1].lower(), found[2].strip()
        pattern, words = values.get(keyword, ("", ""))
        try:
            if keyword == "port":
                parse_port(value.strip('"'))
            elif pattern and not re.fullmatch(pattern, value.strip('"')):
                raise ValueError(f"must be {words}")
        except ValueError as error:
            yield f"{file}:{number}: {found[1]} {value}: {error}"
