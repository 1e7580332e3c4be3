"""A case of the table: what is there, what `ssh` does with it, and what `fab` has to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

SAME = ""


@dataclass(frozen=True)
class Case:
    """An ssh_config and what is around it, in a home folder, /srv, that holds what is named here only.

    config: /srv/config, given to ssh with -F, and to fab as ssh.config; None: neither is given any;
        "": both are told to read none.
    logins: who logs in where, with which key, host by host: `root@node good`.
    ssh: what `ssh` says if it refuses; "" where it succeeds.
    fab: words of fab's refusal; "" where it does the same as ssh. FILE:3 is OpenSSH's `FILE line 3`, too.
    instead: whom fab logs in nevertheless where ssh refuses, as `logins`.
    fallback: the same where there is no program `ssh` to ask; None: not tried.
    target: what ssh is given, and after it each of `others`; then `logins` are those of all, each once, in
        the order of the alphabet. `nodes` is what hosts.toml has instead, `toml` are more lines of its [ssh].
    route: from which address to which one the last hop's TCP connection goes; "" if that does not matter.
    files: further files, by their path below /srv: <node> and <node.rsa> are host keys, <<good>> is a
        key file; `modes` are what they may be read by.
    known: ~/.ssh/known_hosts; None: all hosts by all their names.
    keys: the key files in ~/.ssh, by their name there and in the keyring.
    agent: keys that an agent holds, in this order, at /srv/agent; SSH_AUTH_SOCK says so if `use_agent`.
    sshd: further lines of a host's sshd_config.
    env: further environment variables.
    types: what is typed where `asks` of fab's flags has a passphrase or a password asked for.
    records: whether ~/.ssh/known_hosts must be the same afterwards.
    """

    name: str
    config: str | None
    logins: str = "root@node good"
    ssh: str = ""
    fab: str = SAME
    instead: str = ""
    fallback: str | None = None
    target: str = "n"
    others: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()
    route: str = ""
    toml: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    modes: Mapping[str, int] = field(default_factory=dict)
    known: str | None = None
    keys: Mapping[str, str] = field(default_factory=lambda: {"id_ed25519": "good"})
    agent: tuple[str, ...] = ()
    use_agent: bool = True
    sshd: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)
    types: str = ""
    asks: str = "--prompt-for-passphrase"
    records: bool = False
