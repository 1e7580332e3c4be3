"""A release: the binary, the configuration and the unit that belong together on a node."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256

from ..config.model import Proxy
from ..facts.facts import Facts
from ..facts.layout import BINARY, CONF, MODES, NAMES, paths
from ..facts.paths import UNIT

__all__ = [
    "BINARY",
    "CONF",
    "MODES",
    "NAMES",
    "UNIT",
    "Release",
    "found",
    "name_of",
    "paths",
    "release",
    "serving",
]


def name_of(sums: Mapping[str, str]) -> str:
    """The name of a release, from the sha256 of its files: the same files, the same name."""
    text = "".join(f"{name} {sums.get(name, '')}\n" for name in NAMES)
    return sha256(text.encode()).hexdigest()[:10]


@dataclass(frozen=True)
class Release:
    """What a node is to run. `version` is nginx's, `glibc` the newest symbol that the binary needs.

    `watch` are the files of kube-nginx-watch, which goes along and is no part of what the release is: none
    where there is to be none.
    """

    version: str
    glibc: str
    contents: Mapping[str, bytes]
    sums: Mapping[str, str]
    watch: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Its folder under <prefix>/releases."""
        return name_of(self.sums)

    @property
    def texts(self) -> dict[str, str]:
        """Its files that are text."""
        return {name: self.contents[name].decode() for name in (CONF, UNIT)}

    @property
    def size(self) -> int:
        """Bytes of all its files."""
        return sum(map(len, [*self.contents.values(), *self.watch.values()]))

    @property
    def watch_sums(self) -> dict[str, str]:
        """The sha256 of each file of the watch."""
        return {name: sum_of(content) for name, content in self.watch.items()}

    @property
    def shipped(self) -> dict[str, tuple[bytes, str]]:
        """Each file that is brought to a node, and its sha256."""
        files, sums = {**self.contents, **self.watch}, {**self.sums, **self.watch_sums}
        return {name: (content, sums[name]) for name, content in files.items()}


@lru_cache(maxsize=64)  # the binaries are the same for all nodes
def sum_of(content: bytes) -> str:
    """The sha256 of a file."""
    return sha256(content).hexdigest()


def release(
    version: str, glibc: str, binary: bytes, conf: str, unit: str, watch: Mapping[str, bytes] | None = None
) -> Release:
    """A release of these files."""
    contents = {BINARY: binary, CONF: conf.encode(), UNIT: unit.encode()}
    sums = {name: sum_of(content) for name, content in contents.items()}
    return Release(version, glibc, contents, sums, watch or {})


def serving(facts: Facts, proxy: Proxy) -> str:
    """The name of the release whose files the running process has loaded; "" if that is not known.

    What is on disk may be something else: an edit that nobody has loaded yet, or nothing.
    """
    where, unit = paths(proxy), facts.files.get(paths(proxy)[UNIT])
    sums = {
        BINARY: facts.process.sha256 if facts.process else "",
        CONF: facts.loaded(where[CONF], "conf"),
        # systemd goes by what it has read last, whenever the process began
        UNIT: unit.sha256 if unit and not facts.unread else facts.loaded(where[UNIT], "unit"),
    }
    return name_of(sums) if all(sums.values()) else ""


def found(facts: Facts, proxy: Proxy) -> dict[str, str]:
    """The sha256 of each file that is in use on a node; one that is missing is not in it."""
    there = {name: facts.files.get(path) for name, path in paths(proxy).items()}
    return {name: file.sha256 for name, file in there.items() if file}
