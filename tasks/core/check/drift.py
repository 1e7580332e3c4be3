"""What a node has that hosts.toml does not say, and what it runs that it does not have. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ..config.model import Settings
from ..facts.facts import Facts
from ..facts.layout import around, notes, processes, user
from ..facts.paths import UNIT, UNIT_PATH, conf_path
from ..release import render, servers
from ..results import output


@dataclass(frozen=True, slots=True)
class Drift:
    """One difference between a node and hosts.toml."""

    what: str = output("what has drifted, in a word")
    detail: str = output("what is different, in a sentence")
    known: bool = True  # or else it cannot be seen


def drift(settings: Settings, facts: Facts) -> tuple[Drift, ...]:
    """All differences; none where nothing is installed, which is told elsewhere."""
    if facts.state == "not installed" and not facts.installed:
        return ()
    found = (_unit, _servers, _files, _around, _version, _running)
    return tuple(difference for look in found for difference in look(settings, facts))


def _unit(settings: Settings, facts: Facts) -> Iterator[Drift]:
    """The unit as systemd holds it, whatever its file says."""
    if facts.masked:
        yield Drift("masked", "its unit is masked")
    elif UNIT_PATH not in facts.files:
        yield Drift("unit", f"there is no {UNIT_PATH}, so that nothing starts it again")
    for path in facts.drop_ins:
        yield Drift("drop-in", f"{path} changes its unit")
    for note in notes(facts, settings.proxy):
        yield Drift("limits", note)


def _around(settings: Settings, facts: Facts) -> Iterator[Drift]:
    """Folders, permissions, the user; what is told of a missing or masked unit already is not told twice."""
    gone = () if UNIT_PATH in facts.files and not facts.masked else (UNIT,)
    for text in around(facts, settings.proxy, gone):
        yield Drift("modes", text)


def _servers(settings: Settings, facts: Facts) -> Iterator[Drift]:
    text = facts.texts.get(conf_path(settings.proxy))
    if text is None:
        yield Drift("servers", f"there is no {conf_path(settings.proxy)}")
        return
    written, others = servers.servers_of(text)
    unknown = [n for n in servers.names(settings.apiservers) if not facts.addresses.get(n)]
    if [name for name in unknown if name not in {server.host for server in written}]:
        text = f"{', '.join(unknown)}: does not resolve there, so servers cannot be compared"
        yield Drift("servers?", text, known=False)
        return
    there = [*map(str, servers.resolved(written, facts.addresses)), *others]
    wanted = [*map(str, servers.resolved(settings.apiservers, facts.addresses))]
    missing = ", ".join(server for server in wanted if server not in there)
    surplus = ", ".join(server for server in there if server not in wanted)
    lacks = f"lacks {missing}" if missing else ""
    has = f"has {surplus}, which hosts.toml does not name" if surplus else ""
    if lacks or has:
        yield Drift("servers", f"its kube-nginx.conf {' and '.join(filter(None, (lacks, has)))}")


def _files(settings: Settings, facts: Facts) -> Iterator[Drift]:
    """What is different in them apart from the servers."""
    conf, unit = facts.texts.get(conf_path(settings.proxy)), facts.texts.get(UNIT_PATH)
    if conf is not None and _directives(conf) != _directives(render.conf(settings, facts.addresses)):
        yield Drift("conf", "its kube-nginx.conf has other settings than hosts.toml")
    if unit is not None and unit != render.unit(settings):
        yield Drift("unit", "its kube-nginx.service is not the one of hosts.toml")


def _directives(conf: str) -> set[str]:
    """Its lines, without comments and without the addresses of servers."""
    lines = (line.strip() for line in conf.splitlines())
    return {re.sub(r"^server\s+[^\s{]+", "server", line) for line in lines if line and line[0] != "#"}


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
    conf = conf_path(settings.proxy)
    if facts.active and conf in facts.files and not facts.took(conf, "conf"):
        yield Drift("conf", "it is not known to have read the kube-nginx.conf that is there")
    if facts.active and UNIT_PATH in facts.files and not facts.took(UNIT_PATH, "unit"):
        yield Drift("unit", "it was started before its unit was changed")
    for text in (*processes(facts), *user(facts, settings.proxy)):
        yield Drift("processes", text)
