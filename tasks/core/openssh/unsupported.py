"""What OpenSSH does and cannot be done here: refused before any connection, by its line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import paramiko

from ..errors import UsageError
from .algorithms import LISTS, allowed, spoken
from .host import HostConfig

_METHODS = {"publickey", "password", "keyboard-interactive"}


def refuse(config: HostConfig, lines: Mapping[str, str]) -> None:
    """Raises UsageError if something holds for a host that cannot be done; `lines` says where it stands."""
    problems = [
        f"{lines.get(keyword.lower(), 'ssh_config')}: {keyword} {config.get(keyword)}: {why}"
        for keyword, why in _problems(config)
    ]
    if problems:
        raise UsageError("\n".join(problems))


def _problems(config: HostConfig) -> Iterator[tuple[str, str]]:
    """The keywords, each with why it cannot be obeyed and what to do."""
    if config.get("KnownHostsCommand", "none") != "none":
        yield "KnownHostsCommand", "is not run here; put the host's key in known_hosts"
    if config.says("ProxyUseFdpass"):
        yield "ProxyUseFdpass", "cannot be done here; let the ProxyCommand forward the bytes, as nc does"
    methods = config.get("PreferredAuthentications")
    if methods and not _METHODS & {*methods.split(",")}:
        yield "PreferredAuthentications", "is not spoken here; add publickey"
    for keyword in LISTS:
        if allowed(config, keyword) == []:
            some = ", ".join(spoken(keyword)[:3])
            yield keyword, f"paramiko {paramiko.__version__} has none of them; add one of {some}"
