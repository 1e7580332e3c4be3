"""What a login is given before it begins: by connect_kwargs, ssh_config, and for all logins of a run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko

from ..config.model import expanded
from ..gate import Gate
from ..openssh.host import KEYS, HostConfig
from .keyfile import Ask, Keyring

_CERTIFICATE = "-cert.pub"
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


class Login:
    """How to log in to one host. `gate` is for its password; an agent may take `seconds` to answer.

    `waited` is for how many seconds the user was waited for. Raises UsageError: a name in ssh_config that
    means nothing.
    """

    def __init__(
        self, config: HostConfig, keyring: Keyring, given: Given, gate: Gate, seconds: float
    ) -> None:
        self.config, self.keyring, self.given, self.gate, self.seconds = config, keyring, given, gate, seconds
        self.waited = 0.0
        self.agent = config.identity_agent if given.agent else ""
        names = [expanded(name) for name in given.keys]
        by_config = config.values.get("identityfile", ())
        self.named = bool(names or by_config)
        ends = not self.named or config.says("IdentitiesOnly") or "none" in by_config
        usual = [expanded(name) for name in KEYS] if given.default_keys and not (self.named and ends) else []
        names += config.identity_files if by_config else [] if names else usual
        self.last = [] if ends else usual
        self.files = [Path(str(name).removesuffix(_CERTIFICATE)) for name in dict.fromkeys(names)]
        of_names = [name for name in names if name.name.endswith(_CERTIFICATE)]
        self.certificates = [*config.certificate_files, *of_names]
        self.methods = [*_methods(config, given)]
        prompts = config.get("NumberOfPasswordPrompts", "3")
        self.prompts = int(prompts) if prompts.isdecimal() and not config.says("BatchMode") else 0

    @property
    def ask(self) -> Ask | None:
        """What asks the user for an answer that the server wants; None: there is nobody."""
        return self.keyring.ask_for_server if self.prompts else None

    def remarks(self) -> list[str]:
        """What of ssh_config keeps keys from being offered."""
        found = []
        if _off(self.config, "PubkeyAuthentication"):
            found.append("PubkeyAuthentication is off in ssh_config: no key is offered")
        if self.config.get("PKCS11Provider", "none") != "none":
            found.append("what PKCS11Provider names is used through an agent only: ssh-add -s")
        return found


def _methods(config: HostConfig, given: Given) -> Iterator[str]:
    """The methods that are open to us, in their order."""
    preferred = config.get("PreferredAuthentications")
    for name in preferred.split(",") if preferred else SPOKEN:
        if name == "publickey" and _off(config, "PubkeyAuthentication"):
            continue
        if name == "password" and (given.password is None or _off(config, "PasswordAuthentication")):
            continue
        if name == "keyboard-interactive" and _off(config, "KbdInteractiveAuthentication"):
            continue
        if name in SPOKEN:
            yield name


def _off(config: HostConfig, keyword: str) -> bool:
    return config.get(keyword, "yes").lower() in ("no", "false")
