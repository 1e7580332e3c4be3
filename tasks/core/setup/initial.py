"""A first hosts.toml: its values checked by the rules of settings, its text, its birth."""

from __future__ import annotations

import json
import os
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from textwrap import fill

from ..config.address import Endpoint, NodeSpec
from ..config.model import Proxy, Settings
from ..config.settings import parse
from ..errors import KubeNginxError

_HEAD = """\
# Which nodes get kube-nginx, and which kube-apiservers it passes connections on to. Written by
# `fab init`, and yours from now on. Only nodes and apiservers are needed; all other keys, with their
# defaults, are in kube-nginx's docs/settings.md. Next: `fab render` shows what will be on the nodes, and
# `fab build deploy` puts it there.

# A node is "HOST", "USER@HOST:PORT", or { host = "...", name = "...", groups = ["..."] }.
"""
_APISERVERS = """
# Where the kube-apiservers listen, with their ports.
"""
_ASSUMED = """\
# These are the addresses of NODE_IPS, since in the runbook each of those machines runs a
# kube-apiserver: please check, and remove those that run none.
"""
_LOGIN = """
# How to log in comes from ~/.ssh/config, else it is root on port 22. To change it:
# [ssh]
# user = "admin"
# sudo = true
"""
_LOGIN_TAKEN = """
# How to log in; what is not said here comes from ~/.ssh/config, else it is root on port 22.
[ssh]
"""
_PROXY = """
# KUBE_APISERVER: where the proxy listens on each node. KUBE_NGINX_DIR: its folder there.
[proxy]
"""


@dataclass(frozen=True, slots=True)
class Login:
    """What [ssh] is to say; `identity` is a private key's path, "": none is named."""

    identity: str = ""
    sudo: bool = False

    def text(self) -> str:
        """The table, or how it would look."""
        identity = f"identity = {quoted(self.identity)}\n" if self.identity else ""
        taken = identity + ("sudo = true\n" if self.sudo else "")
        return _LOGIN_TAKEN + taken if taken else _LOGIN


@dataclass(frozen=True, slots=True)
class InitialConfig:
    """What is known of a new fleet. `assumed`: the apiservers are NODE_IPS, for want of a list of their own.

    `labels` are the names of the apiservers' machines, `notes` what was not taken over; both are comments.
    `taken` says what was taken over from where.
    """

    nodes: tuple[NodeSpec, ...]
    apiservers: tuple[Endpoint, ...]
    listen: tuple[Endpoint, ...] = Proxy().listen
    assumed: bool = False
    prefix: str = Proxy().prefix
    labels: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    taken: tuple[str, ...] = ()
    login: Login = Login()

    def text(self) -> str:
        """The hosts.toml."""
        text = f"{_HEAD}nodes = {_lines(map(_node, self.nodes))}{_APISERVERS}"
        text += _ASSUMED if self.assumed else ""
        text += f"apiservers = {_lines(map(quoted, self.apiservers), self.labels)}{self.login.text()}"
        text += "".join(f"\n{_comment(note)}\n" for note in self.notes)
        default = Proxy()
        proxy = "" if self.prefix == default.prefix else f"prefix = {quoted(self.prefix)}\n"
        if self.listen != default.listen:
            proxy += f"listen = [{', '.join(map(quoted, self.listen))}]\n"
        return f"{text}{_PROXY}{proxy}" if proxy else text

    def all_are_apiservers(self) -> bool:
        """Whether each node is one of the apiservers, too."""
        servers = {server.host for server in self.apiservers}
        return all(node.host.lower() in servers for node in self.nodes)


def checked(source: str, **given: object) -> Settings:
    """Settings of the keys that are given, and stand-ins for nodes and apiservers.

    Raises SettingsError, in which `source` stands for the file.
    """
    return parse({"nodes": ["node"], "apiservers": ["apiserver"], **given}, Path(source))


def create(config: InitialConfig, path: Path) -> Settings:
    """Writes the file, if it is valid and none is there; the settings in it.

    Raises SettingsError, and KubeNginxError: something is there, or it cannot be written.
    """
    refuse_taken(path)
    content = config.text().encode()
    settings = parse(tomllib.loads(content.decode()), path)
    try:
        with path.open("xb") as file:
            try:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            except BaseException:
                path.unlink()
                raise
    except FileExistsError:
        raise _taken(path) from None
    except OSError as error:
        raise KubeNginxError(
            f"{path}: cannot be written: {error.strerror}; --to FILE names another"
        ) from None
    return settings


def refuse_taken(path: Path) -> None:
    """Raises KubeNginxError: something is there, be it a symbolic link to nowhere, or there is no folder."""
    if os.path.isdir(path):
        raise KubeNginxError(f"{path} is a folder; name a file in it: --to {path / 'hosts.toml'}")
    if os.path.lexists(path):
        raise _taken(path)
    if not os.path.isdir(path.parent):
        raise KubeNginxError(f"{path}: there is no folder {path.parent}; make it, or --to FILE names another")


def _taken(path: Path) -> KubeNginxError:
    return KubeNginxError(f"{path} is there and stays as it is; --to FILE writes another")


def _lines(items: Iterable[str], comments: Iterable[str] = ()) -> str:
    pairs = zip_longest(items, comments, fillvalue="")
    return "[\n" + "".join(f"  {item},{comment and f'  # {comment}'}\n" for item, comment in pairs) + "]\n"


def _node(node: NodeSpec) -> str:
    user = f"{node.user}@" if node.user else ""
    host = f"[{node.host}]" if ":" in node.host else node.host
    address = quoted(f"{user}{host}{f':{node.port}' if node.port else ''}")
    if node.name == node.host and not node.groups:
        return address
    name = "" if node.name == node.host else f", name = {quoted(node.name)}"
    groups = f", groups = [{', '.join(map(quoted, node.groups))}]" if node.groups else ""
    return f"{{ host = {address}{name}{groups} }}"


def _comment(note: str) -> str:
    """A note of words that came from a file, and so may be anything."""
    plain = "".join(sign if sign.isprintable() else " " for sign in note)
    return fill(plain, 100, initial_indent="# ", subsequent_indent="# ", break_on_hyphens=False)


def some(names: Iterable[str]) -> str:
    """The first of many names, and how many there are more."""
    known = list(names)
    more = f" and {len(known) - 5} more" if len(known) > 6 else ""
    return ", ".join(known[:5] if more else known) + more


def quoted(value: object) -> str:
    """The text of a value as a TOML string: JSON's escapes are TOML's, too, and DEL needs one besides."""
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\u007f")
