"""Ciphers, key exchange and the like: what ssh_config allows, and paramiko has."""

from __future__ import annotations

import paramiko

from ..transport import RFC_8731
from .host import HostConfig

LISTS = {
    "Ciphers": "ciphers",
    "HostKeyAlgorithms": "key_types",
    "KexAlgorithms": "kex",
    "MACs": "digests",
}
"""The keywords, and what paramiko.transport.SecurityOptions calls each."""
_SPOKEN = paramiko.transport.SecurityOptions(paramiko.Transport)


def spoken(keyword: str) -> list[str]:
    """What paramiko has of a list."""
    return [*getattr(_SPOKEN, LISTS[keyword]), *([RFC_8731] if keyword == "KexAlgorithms" else [])]


def allowed(config: HostConfig, keyword: str) -> list[str] | None:
    """What both have, in the order of ssh_config; None where that says nothing."""
    if not (wanted := config.get(keyword)):
        return None
    ours = spoken(keyword)
    return [name for name in dict.fromkeys(wanted.split(",")) if name in ours]


def restrict(transport: paramiko.Transport, config: HostConfig) -> None:
    """Has a transport that has not begun offer what ssh_config allows."""
    options = transport.get_security_options()
    for keyword, name in LISTS.items():
        if names := allowed(config, keyword):
            setattr(options, name, names)
