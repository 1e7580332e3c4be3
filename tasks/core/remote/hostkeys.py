"""Host keys: known_hosts is read, unknown keys are refused or recorded, changed ones always refused.

Fabric accepts any key; OpenSSH's rules are in ssh_config(5), StrictHostKeyChecking.
"""

from __future__ import annotations

from pathlib import Path
from threading import Lock
from typing import Any

import paramiko

from ..config.content import content
from ..config.model import expanded
from ..errors import StepError


def lookup_name(host: str, port: int) -> str:
    """The name under which known_hosts holds `host`, as sshd(8) writes it."""
    return host if port == 22 else f"[{host}]:{port}"


def known_hosts_files(ssh_config: dict[str, Any]) -> list[Path]:
    """The user's files, then the machine's, of one host's ssh_config."""
    user = str(ssh_config.get("userknownhostsfile", "~/.ssh/known_hosts ~/.ssh/known_hosts2"))
    machine = str(ssh_config.get("globalknownhostsfile", "/etc/ssh/ssh_known_hosts"))
    return [expanded(name) for name in f"{user} {machine}".split()]


class KnownHosts:
    """All known_hosts files of a run, each read once."""

    def __init__(self, accept_new: bool) -> None:
        self.accept_new = accept_new
        self._files: dict[Path, paramiko.HostKeys] = {}
        self._lock = Lock()

    def prepare(self, client: paramiko.SSHClient, name: str, ssh_config: dict[str, Any]) -> None:
        """Gives `client` the keys known for `name`, and the policy for those that are not."""
        alias = str(ssh_config.get("hostkeyalias", name))
        files = known_hosts_files(ssh_config)
        mine = client.get_host_keys()
        with self._lock:
            for file in files:
                for kind, key in (self._load(file).lookup(alias) or {}).items():
                    mine.add(name, kind, key)
        policy = _Record(self, alias, files[0]) if self.accept_new else _Refuse(alias, files[0])
        client.set_missing_host_key_policy(policy)

    def record(self, file: Path, name: str, key: paramiko.PKey) -> None:
        """Adds a key to the end of `file`, as ssh does for accept-new."""
        line = f"{name} {key.get_name()} {key.get_base64()}\n"
        with self._lock:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with file.open("a+") as stream:
                stream.seek(0)
                text = stream.read()
                stream.write(line if text.endswith("\n") or not text else "\n" + line)
            self._load(file).add(name, key.get_name(), key)

    def _load(self, file: Path) -> paramiko.HostKeys:
        if file not in self._files:
            keys = paramiko.HostKeys()
            for number, line in enumerate(_lines(file), 1):
                try:
                    entry = paramiko.hostkeys.HostKeyEntry.from_line(line, number)
                except (paramiko.SSHException, paramiko.hostkeys.InvalidHostKey):
                    continue  # as OpenSSH does
                if entry:
                    for name in entry.hostnames:
                        keys.add(name, entry.key.get_name(), entry.key)
            self._files[file] = keys
        return self._files[file]


def _lines(file: Path) -> list[str]:
    try:
        text = content(file).decode(errors="replace")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise StepError(f"cannot read {file}: {error.strerror}") from None
    return [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]


class _Refuse(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    def __init__(self, alias: str, file: Path) -> None:
        self.alias, self.file = alias, file

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:
        raise unknown_key(self.alias, key, self.file)


class _Record(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    def __init__(self, known: KnownHosts, alias: str, file: Path) -> None:
        self.known, self.alias, self.file = known, alias, file

    def missing_host_key(self, client: object, hostname: str, key: paramiko.PKey) -> None:
        self.known.record(self.file, self.alias, key)


def _keyscan(name: str) -> str:
    host, _, port = name.rpartition("]:")
    return f"ssh-keyscan -p {port} {host[1:]}" if host else f"ssh-keyscan {name}"


def unknown_key(name: str, key: paramiko.PKey, file: Path) -> StepError:
    """No key of this host is in known_hosts."""
    return StepError(
        f"the host key of {name} is unknown: {key.get_name()} {key.fingerprint}",
        hint=f"compare it with the host's own (ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub there), then "
        f'{_keyscan(name)} >> {file}; or set ssh.host_keys = "accept-new"',
        unreachable=True,
    )


def changed_key(name: str, seen: paramiko.PKey, known: paramiko.PKey) -> StepError:
    """The host has another key than known_hosts says."""
    return StepError(
        f"the host key of {name} HAS CHANGED: known is {known.get_name()} {known.fingerprint}, "
        f"seen is {seen.get_name()} {seen.fingerprint}",
        hint=f"somebody may be answering in its place; if the host was reinstalled: ssh-keygen -R '{name}'",
        unreachable=True,
    )
