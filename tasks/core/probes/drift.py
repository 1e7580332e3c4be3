"""What a node has that hosts.toml does not say, and what it runs that it does not have. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..config import servers
from ..config.address import parse_endpoint
from ..config.settings import Endpoint, Settings
from ..remote.commands import conf_path
from ..remote.facts import Facts

_SERVER = re.compile(r"^[ \t]*server[ \t]+([^\s;{}]+)[^;{}]*;", re.M)
_NGINX_PORT = 80  # of a server that is written without one


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference: in a word for a table, and in a sentence."""

    word: str
    text: str


def drift(settings: Settings, facts: Facts) -> tuple[Drift, ...]:
    """All differences; none where nothing is installed, which is told elsewhere."""
    if facts.state == "not installed" and not facts.installed:
        return ()
    return (*_servers(settings, facts), *_version(settings, facts), *_running(settings, facts))


def _servers(settings: Settings, facts: Facts) -> Iterator[Drift]:
    text = facts.texts.get(conf_path(settings.proxy))
    if text is None:
        yield Drift("servers", f"there is no {conf_path(settings.proxy)}")
        return
    words = _SERVER.findall(text)
    written = [server for server in map(_endpoint, words) if server]
    unknown = [n for n in servers.names(settings.apiservers) if not facts.addresses.get(n)]
    if [name for name in unknown if name not in {server.host for server in written}]:
        yield Drift("servers", f"{', '.join(unknown)}: does not resolve there, so servers cannot be compared")
        return
    others = [word for word in words if not _endpoint(word)]
    there = [*map(str, servers.resolved(written, facts.addresses)), *others]
    wanted = [*map(str, servers.resolved(settings.apiservers, facts.addresses))]
    missing = ", ".join(server for server in wanted if server not in there)
    surplus = ", ".join(server for server in there if server not in wanted)
    lacks = f"lacks {missing}" if missing else ""
    has = f"has {surplus}, which hosts.toml does not name" if surplus else ""
    if lacks or has:
        yield Drift("servers", f"its kube-nginx.conf {' and '.join(filter(None, (lacks, has)))}")


def _endpoint(word: str) -> Endpoint | None:
    """None for unix:/path, and for what nginx would refuse."""
    try:
        return parse_endpoint(word, _NGINX_PORT)
    except ValueError:
        return None


def _version(settings: Settings, facts: Facts) -> Iterator[Drift]:
    wanted = settings.build.version
    if not facts.installed:
        yield Drift("version", f"the binary is not there, or tells no version; hosts.toml says {wanted}")
    elif facts.installed != wanted:
        yield Drift("version", f"nginx {facts.installed} is installed, not {wanted}")


def _running(settings: Settings, facts: Facts) -> Iterator[Drift]:
    if facts.replaced:
        yield Drift(
            "binary", f"it runs another binary (nginx {facts.version}) than the one that is installed"
        )
    if facts.active and not facts.took(conf_path(settings.proxy), "conf"):
        yield Drift("conf", "it runs without the changes of the kube-nginx.conf that is there")
