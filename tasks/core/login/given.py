"""What connect_kwargs say of a login, and the methods that are open with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import paramiko

from ..openssh.host import HostConfig

SPOKEN = ("publickey", "password", "keyboard-interactive")
"""The methods that there are here, in their order: a password, where one is given, before questions."""


@dataclass(frozen=True)
class Given:
    """What connect_kwargs say of a login, besides ssh_config; `keys` are key_filename, or `ssh -i`."""

    keys: tuple[str, ...] = ()
    pkey: paramiko.PKey | None = None
    password: str | None = field(default=None, repr=False)
    passphrase: str | None = field(default=None, repr=False)
    agent: bool = True
    default_keys: bool = True
    disabled: tuple[str, ...] = ()


def given(kwargs: Mapping[str, Any], keys: tuple[str, ...]) -> Given:
    """What connect_kwargs say; `keys` are the files that were named, its own among them."""
    password = kwargs.get("password")
    return Given(
        keys,
        kwargs.get("pkey"),
        password,
        kwargs.get("passphrase") or password,
        kwargs.get("allow_agent", True),
        kwargs.get("look_for_keys", True),
        tuple((kwargs.get("disabled_algorithms") or {}).get("pubkeys", ())),
    )


def methods(config: HostConfig, given: Given, asks: bool) -> Iterator[str]:
    """The methods that are open to us, in their order; `asks`: whether there is somebody to ask."""
    preferred = config.get("PreferredAuthentications")
    for name in preferred.split(",") if preferred else SPOKEN:
        if name == "publickey" and _off(config, "PubkeyAuthentication"):
            continue
        if name == "password" and (given.password is None or _off(config, "PasswordAuthentication")):
            continue
        if name == "keyboard-interactive" and (
            (given.password is None and not asks) or _off(config, "KbdInteractiveAuthentication")
        ):
            continue
        if name in SPOKEN:
            yield name


def _off(config: HostConfig, keyword: str) -> bool:
    return config.get(keyword, "yes").lower() in ("no", "false")
