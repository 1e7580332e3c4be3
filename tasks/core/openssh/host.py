"""What OpenSSH uses for one host: the values of ssh_config(5) that hold for it."""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from getpass import getuser
from hashlib import sha1
from pathlib import Path

from ..config.model import expanded
from ..errors import UsageError

KEYS = tuple(f"~/.ssh/id_{kind}" for kind in ("rsa", "ecdsa", "ecdsa_sk", "ed25519", "ed25519_sk", "dsa"))
"""The private keys that OpenSSH tries where no IdentityFile is set."""
_KNOWN = "~/.ssh/known_hosts ~/.ssh/known_hosts2"
_KNOWN_TO_ALL = "/etc/ssh/ssh_known_hosts /etc/ssh/ssh_known_hosts2"

_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}


@dataclass(frozen=True)
class HostConfig:
    """One host. `name` is what the user calls it; `values` are by keyword, in lower case, in their order.

    `user` and `port` are those that hold, whoever set them.
    """

    name: str
    hostname: str
    user: str
    port: int
    values: Mapping[str, tuple[str, ...]]

    def get(self, keyword: str, default: str = "") -> str:
        """The value of a keyword that has one; `default` where none is set."""
        values = self.values.get(keyword.lower())
        return values[0] if values else default

    def says(self, keyword: str) -> bool:
        """Whether a keyword of yes and no is on."""
        return self.get(keyword).lower() in ("yes", "true")

    def seconds(self, keyword: str) -> int:
        """A time as sshd_config(5), TIME FORMATS, has it: `90`, `1m30s`; 0 where it is none."""
        text = self.get(keyword).lower()
        if not re.fullmatch("([0-9]{1,9}[smhdw]?){1,6}", text):
            return 0
        return sum(int(n) * _UNITS[unit] for n, unit in re.findall("([0-9]+)([smhdw]?)", text))

    def known_hosts(self) -> list[Path]:
        """UserKnownHostsFile, in order; none where it is "none". Raises UsageError, as `fill` does."""
        return self._files("UserKnownHostsFile", _KNOWN)

    def known_hosts_of_all(self) -> list[Path]:
        """GlobalKnownHostsFile, in order."""
        return self._files("GlobalKnownHostsFile", _KNOWN_TO_ALL, fill=False)

    def revoked_keys(self) -> list[Path]:
        """RevokedHostKeys. Raises UsageError, as `fill` does."""
        return self._files("RevokedHostKeys", "none")

    @cached_property
    def identity_files(self) -> tuple[Path, ...]:
        """IdentityFile, each once, in order, there or not. Raises UsageError, as `fill` does."""
        return self._each("IdentityFile", KEYS)

    @cached_property
    def certificate_files(self) -> tuple[Path, ...]:
        """CertificateFile, in order. Raises UsageError, as `fill` does."""
        return self._each("CertificateFile")

    @cached_property
    def identity_agent(self) -> str:
        """The socket of the agent to ask; "" where there is none. Raises UsageError, as `fill` does."""
        value = self.get("IdentityAgent", "SSH_AUTH_SOCK")
        if value == "none":
            return ""
        if value == "SSH_AUTH_SOCK":
            return os.environ.get(value, "")
        if re.fullmatch(r"\$\w+", value):
            return os.environ.get(value[1:], "")
        return str(expanded(self.fill("IdentityAgent", value)))

    def fill(self, keyword: str, text: str, variables: bool = True) -> str:
        """`text` with the tokens of ssh_config(5) filled in, and ${VARIABLES} unless a shell will do it.

        Raises UsageError: one that stands for nothing.
        """

        def value(match: re.Match[str]) -> str:
            token, variable = match.groups()
            found = os.environ.get(variable) if variable else self._tokens.get(token or "")
            if found is None:
                raise UsageError(f"ssh_config: {keyword} {text}: {match[0]} stands for nothing; write it out")
            return found

        if "%" not in text and "$" not in text:
            return text
        return re.sub(r"%(.?)|\$\{(\w*)\}" if variables else "%(.?)()", value, text)

    @cached_property
    def _tokens(self) -> Mapping[str, str]:
        name, alias = socket.gethostname(), self.get("HostKeyAlias")
        mine = {"%": "%", "d": str(expanded("~")), "i": str(os.getuid()), "l": name, "u": getuser()}
        hashed = f"{name}{self.hostname}{self.port}{self.user}{self.get('ProxyJump')}"
        return {
            **mine,
            "C": sha1(hashed.encode(), usedforsecurity=False).hexdigest(),
            "h": self.hostname,
            "j": self.get("ProxyJump").replace("none", ""),
            "k": alias or self.name,
            "L": name.partition(".")[0],
            "n": self.name,
            "p": str(self.port),
            "r": self.user,
        }

    def _each(self, keyword: str, default: tuple[str, ...] = ()) -> tuple[Path, ...]:
        values = (value for value in self.values.get(keyword.lower(), default) if value != "none")
        return tuple(dict.fromkeys(expanded(self.fill(keyword, value)) for value in values))

    def _files(self, keyword: str, default: str, fill: bool = True) -> list[Path]:
        # ssh -G writes names that hold blanks without quotes
        names = re.split(r"\s+(?=[/~$%\"]|none\b)", self.get(keyword, default))
        filled = (self.fill(keyword, name.strip('"')) if fill else name.strip('"') for name in names)
        return [expanded(name) for name in filled if name != "none"]
