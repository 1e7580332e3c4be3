"""Whether a node can have the watch, and what it lacks of it: pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from ..config.model import Proxy, Watch
from ..facts.facts import Facts
from ..facts.layout import MODES
from ..facts.paths import watch_paths

_CLOSES_SESSIONS = (4, 5)
"""The kernel that first had SOCK_DESTROY; what its packet filter has to know came before."""


def impossible(facts: Facts, proxy: Proxy) -> str:
    """Why the watch cannot work on a node, as far as can be told from here; "" if it may."""
    kernel = re.match(r"(\d+)\.(\d+)", facts.kernel)
    if kernel and (int(kernel[1]), int(kernel[2])) < _CLOSES_SESSIONS:
        return f"Linux {facts.kernel} closes no sessions of others, which came with 4.5"
    if facts.unit and "PrivateMounts" not in facts.unit:
        return "its systemd is older than 239, which first confines what the watch may do as its unit says"
    return "" if proxy.user else "kube-nginx has no user of its own (proxy.user)"


def wanted(facts: Facts, proxy: Proxy, watch: Watch) -> bool:
    """Whether the node is to have the watch."""
    return watch.enabled and not impossible(facts, proxy)


def reasons(sums: Mapping[str, str], facts: Facts, proxy: Proxy) -> list[str]:
    """What is not as it should be, of a watch with these sha256 `sums`, or where none is to be (no sums)."""
    return [*(_lacks(sums, facts, proxy) if sums else _left(facts, proxy))]


def missing(sums: Mapping[str, str], facts: Facts, proxy: Proxy) -> list[str]:
    """The names of those files that the node does not have."""
    there = {name: facts.files.get(path) for name, path in watch_paths(proxy).items()}
    return [name for name, digest in sums.items() if (file := there[name]) is None or file.sha256 != digest]


def _lacks(sums: Mapping[str, str], facts: Facts, proxy: Proxy) -> Iterator[str]:
    there = {name: facts.files.get(path) for name, path in watch_paths(proxy).items()}
    if not any(there.values()):
        yield "the watch is missing"
        return
    if missing(sums, facts, proxy):
        yield "the watch differs"
        return
    for name, file in there.items():
        if file and not file.has(MODES[name]):
            yield f"{name} has mode {file.mode} and owner {file.owner}, not {MODES[name]} and 0"
    if facts.watch.unread:
        yield "systemd has not read the watch's unit as it is now"
    if not facts.watch.enabled:
        yield "the watch does not start with kube-nginx"
    if facts.active and not facts.watch.active:
        yield f"the watch is {facts.watch.state}"


def _left(facts: Facts, proxy: Proxy) -> Iterator[str]:
    if facts.watch.there or any(path in facts.files for path in watch_paths(proxy).values()):
        yield "the watch is not to be there"
