"""The variables of an Ansible inventory: which were taken over, which could not be, and why."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from ..config.model import expanded
from ..config.validation import shown
from ..sources.inventory import Inventory
from .initial import Login, some

_KEY = ("ansible_ssh_private_key_file", "ansible_private_key_file")
_WHY = {
    "ansible_ssh_common_args": "ssh's own options belong into ~/.ssh/config",
    "ansible_ssh_extra_args": "ssh's own options belong into ~/.ssh/config",
    "ansible_ssh_args": "ssh's own options belong into ~/.ssh/config",
    "ansible_password": "for passwords: fab --prompt-for-login-password",
    "ansible_ssh_pass": "for passwords: fab --prompt-for-login-password",
    "ansible_become_password": "for passwords: fab --prompt-for-sudo-password",
    "ansible_become_pass": "for passwords: fab --prompt-for-sudo-password",
    "ansible_sudo_pass": "for passwords: fab --prompt-for-sudo-password",
    "ansible_become_method": "sudo is what is used",
    "ansible_become_user": "root is who acts",
    "ansible_connection": "SSH is what is used",
}
"""Variables of logins that have no place in hosts.toml."""
_AS_HERE = {("ansible_become_method", "sudo"), ("ansible_become_user", "root")} | {
    ("ansible_connection", word) for word in ("ssh", "smart", "paramiko", "paramiko_ssh")
}
_YES = ("true", "yes", "on", "1", "t", "y")
_NO = ("false", "no", "off", "0", "f", "n")


class Variables:
    """Asked for what hosts say, it keeps what was taken over, and what could not be."""

    def __init__(self, inventory: Inventory) -> None:
        self._inventory = inventory
        self._counted: dict[str, None] = {}
        self._known: set[str] = set()
        self._unread: dict[str, dict[str, None]] = {}
        self._notes: list[str] = []

    def value(self, host: str, *names: str) -> str:
        """The first of these that the host has; "" for none, and for what only Ansible knows."""
        there = self._inventory.hosts[host]
        self._known.update(name for name in names if name in there)
        for name in names:
            value = there.get(name)
            if value is None or "{{" in value or "{%" in value:
                if name in there:
                    self._unread.setdefault(name, {})[host] = None
            elif value:
                self._counted[name] = None
                return value
        return ""

    def counted(self) -> str:
        """What was taken over since it was asked last, as words that follow others."""
        names, self._counted = [*self._counted], {}
        return f", by {', '.join(names)}" if names else ""

    def login(self, hosts: Sequence[str], folder: Path) -> Login:
        """The key and sudo, which hosts.toml has once for all nodes; relative paths are tried in `folder`."""
        return Login(self._identity(hosts, folder), self._sudo(hosts))

    def _identity(self, hosts: Sequence[str], folder: Path) -> str:
        keys = {self.value(host, *_KEY) for host in hosts}
        if len(keys) > 1:
            for name in _KEY:
                self._counted.pop(name, None)
            self._notes.append(
                "not taken over: ansible_ssh_private_key_file, as nodes differ in it: "
                "write IdentityFile into ~/.ssh/config"
            )
            return ""
        (key,) = keys or {""}
        if not key or expanded(key).is_absolute():
            return key
        place = next((place for place in (key, folder / key) if os.path.exists(place)), None)
        if place is None:
            self._notes.append(
                f"ansible_ssh_private_key_file is {shown(key)}, and there is no such file here"
            )
        return os.path.abspath(place or key)

    def _sudo(self, hosts: Sequence[str]) -> bool:
        """Whether a node needs it; who logs in as another than root does, unless it is denied."""
        become = {host: self.value(host, "ansible_become", "ansible_sudo").lower() for host in hosts}
        users = {host: self.value(host, "ansible_user", "ansible_ssh_user") for host in hosts}
        told = [host for host in hosts if become[host] in _YES and users[host] != "root"]
        guessed = [host for host in hosts if users[host] not in ("", "root") and become[host] not in _NO]
        if guessed and not told:
            self._notes.append(
                f"ssh.sudo = true, as {users[guessed[0]]} logs in, not root; the inventory does not say so"
            )
        return bool(told or guessed)

    def left_out(self, hosts: Iterable[str]) -> list[str]:
        """What was not taken over of these hosts, a line for each reason."""
        notes = [*self._notes]
        for name, at in self._unread.items():
            notes.append(
                f"not taken over: {name} of {some(at)}: a value of a vault or a template, which Ansible knows"
            )
        found: dict[str, None] = {}
        others: dict[str, None] = {}
        for host in hosts:
            for name, value in self._inventory.hosts[host].items():
                if name in _WHY and (name, value) not in _AS_HERE:
                    found[name] = None
                elif name not in _WHY and name not in self._known:
                    others[name] = None
        notes += [f"not taken over: {name}: {_WHY[name]}" for name in found]
        if others:
            notes.append(f"not taken over, as nothing here needs it: {some(others)}")
        return notes
