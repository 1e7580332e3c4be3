"""What the user's ssh_config files say of each host: asked of `ssh -G`, or read where there is no ssh."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable, Hashable, Mapping, Sequence
from functools import cache
from pathlib import Path
from shutil import which

from ..shell.pool import fan_out
from .alike import Alike, Asked, Grouping
from .files import blocks
from .host import HostConfig
from .program import SshProgram
from .reader import Reader
from .unsupported import refuse

_PARALLEL = 8  # processes of ssh at a time
_OLD_NAMES = {
    "challengeresponseauthentication": "kbdinteractiveauthentication",
    "dsaauthentication": "pubkeyauthentication",
    "pubkeyacceptedkeytypes": "pubkeyacceptedalgorithms",
    "skeyauthentication": "kbdinteractiveauthentication",
    "tisauthentication": "kbdinteractiveauthentication",
}
_NEEDED = ("hostname", "user", "port")
Values = Mapping[str, tuple[str, ...]]


class SshConfig:
    """`files` in their order; `user` and `port` hold where they say nothing.

    Raises UsageError: a file that cannot be read, or a line that cannot be obeyed, as `FILE:LINE: ...`.
    """

    def __init__(self, files: Sequence[Path], user: str = "root", port: int = 22) -> None:
        held = list(blocks(files))
        self._alike: Callable[[Asked], Alike]
        self._lines = {
            _OLD_NAMES.get(line.keyword, line.keyword): str(line)
            for block in reversed(held)
            for line in reversed(block.lines)
        }
        included = {line.value for block in held for line in block.lines if line.keyword == "include"}
        self._complete = not any("%" in name for name in included)
        self._answers: dict[Hashable, Values] = {}
        program = _program() if any(block.heads or block.lines for block in held) else ""
        self._source: SshProgram | Reader
        if program:
            grouping = Grouping(held)
            self._source = SshProgram(program, files, user, port, grouping.read_twice)
            self._alike = cache(grouping.of)
        else:  # paramiko's reader fills tokens in for one host
            self._source, self._alike = Reader(held, user, port), cache(Alike)

    def prepare(self, hosts: Sequence[Asked]) -> None:
        """Asks for many hosts at once, each answer once. Raises UsageError."""
        first = {self._alike(asked).group: asked for asked in reversed(hosts)}
        missing = [asked for group, asked in first.items() if group not in self._answers]
        for _, answer in fan_out(missing, self.host, _PARALLEL):
            if isinstance(answer, BaseException):
                raise answer

    def host(self, asked: Asked) -> HostConfig:
        """What OpenSSH would use for a host. Raises UsageError, also for what cannot be done here."""
        alike = self._alike(asked)
        if alike.group not in self._answers:
            self._answers[alike.group] = self._meant(self._source.values(asked), alike.keywords)
        values = self._answers[alike.group]
        config = HostConfig(
            name=asked.name,
            hostname=alike.hostname or values["hostname"][0].lower(),
            user=asked.user or values["user"][0],
            port=asked.port or alike.port or int(values["port"][0]),
            values=values,
        )
        refuse(config, self._lines)
        return config

    def _meant(self, values: Values, may_be_set: frozenset[str] | None) -> Values:
        """`values` by the names of today, without what nothing sets: ssh tells its defaults, too."""
        named = {_OLD_NAMES.get(keyword, keyword): value for keyword, value in values.items()}
        if not self._complete:
            return named
        keywords = self._lines if may_be_set is None else {_OLD_NAMES.get(k, k) for k in may_be_set}
        return {key: value for key, value in named.items() if key in _NEEDED or key in keywords}


def _program() -> str:
    """The ssh to ask; "" if there is none, or if it would ask who we are."""
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        return ""
    return which("ssh") or ""
