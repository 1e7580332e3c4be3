"""Which hosts one answer of `ssh -G` serves: those for which the same lines of ssh_config hold.

A file with a Host block for each of a thousand nodes, which differ in HostName and Port, is asked once.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from .files import Block, Line

_FREE = ("hostname", "port")
_FILLED_IN_LATER = {"certificatefile", "controlpath", "identityfile", "localcommand"}
_FILLED_IN_LATER |= {"host", "match", "proxycommand"}
_READ_HERE = {"host", "match", "hostname", "port"}
_UNDERSTOOD = {"localnetwork", "localuser", "sessiontype", "tagged", "version"}  # the same for all hosts
_UNDERSTOOD |= {"host", "originalhost", "user", "all", "canonical", "final"}
_PATTERN = re.compile("[*?!]")


@dataclass(frozen=True, slots=True)
class Asked:
    """What `ssh -G` is asked for: a host, and the user and port that stand before those of ssh_config."""

    name: str
    user: str | None = None
    port: int | None = None


@dataclass(frozen=True, slots=True)
class Alike:
    """Hosts of one `group` get one answer, but for `hostname` and `port`, which their own lines say.

    `keywords` are those that may be set for them; None: any that a file sets.
    """

    group: Hashable
    keywords: frozenset[str] | None = None
    hostname: str = ""
    port: int | None = None


class Grouping:
    """Tells which hosts are alike, by what stands in the files; whether ssh reads those `read_twice`."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        lines = [line for block in blocks for line in block.lines]
        heads = [head for block in blocks for head in block.heads]
        matches = [head for head in heads if head.keyword == "match"]
        own = any(map(_is_of_one_host, [*lines, *heads])) or any(map(_asks_more, matches))
        self.read_twice = _are_read_twice(blocks)
        self._each_alone = own or self.read_twice  # the second time, Host means what HostName said
        held = {line.keyword for block in blocks if _under_match(block) for line in block.lines}
        self._free = tuple(keyword for keyword in _FREE if keyword not in held)
        self._keywords: dict[tuple[Line, ...], set[str]] = defaultdict(set)
        for block in blocks:
            self._keywords[block.heads] |= {line.keyword for line in block.lines}
        self._blocks = [(block.heads, self._same_part(block), self._own_part(block)) for block in blocks]
        self._literal: dict[str, list[int]] = defaultdict(list)
        self._others: list[int] = []
        for at, block in enumerate(blocks):
            names = _literal_names(block)
            for name in names or ():
                self._literal[name].append(at)
            if names is None:
                self._others.append(at)

    def of(self, asked: Asked) -> Alike:
        """With whom a host shares an answer."""
        if self._each_alone:
            return Alike(asked)
        name = asked.name
        at = sorted({*self._literal.get(name, ()), *self._others})
        held = [self._blocks[i] for i in at if all(_may_hold(head, name) for head in self._blocks[i][0])]
        own: dict[str, str] = {}
        for _, _, values in held:
            own = values | own  # the first counts
        keywords = frozenset(keyword for heads, _, _ in held for keyword in self._keywords[heads])
        if any(keyword in ("hostname", *self._free) for _, (_, lines), _ in held for keyword, _ in lines):
            return Alike(asked, keywords)
        hostname = own.get("hostname", name).replace("%h", name).lower()
        matches = [head for heads, _, _ in held for head in heads if head.keyword == "match"]
        true = tuple(
            fnmatchcase(word, pattern)
            for match in matches
            for pattern in re.split(r'[\s,!="]+', match.value.lower().replace("[", "[[]"))
            for word in (name.lower(), hostname)
        )
        group = (tuple(same for _, same, _ in held if any(same)), true, "port" in own, asked.user, asked.port)
        return Alike(group, keywords, hostname, asked.port or int(own.get("port", 0)) or None)

    def _same_part(self, block: Block) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
        heads = tuple(head.value for head in block.heads if head.keyword == "match")
        return heads, tuple((x.keyword, x.value) for x in block.lines if not self._is_free(x))

    def _own_part(self, block: Block) -> dict[str, str]:
        return {line.keyword: line.words()[0] for line in reversed(block.lines) if self._is_free(line)}

    def _is_free(self, line: Line) -> bool:
        pattern = "[0-9]{1,5}" if line.keyword == "port" else r"([\w.:-]|%h)+"
        return line.keyword in self._free and bool(re.fullmatch(pattern, " ".join(line.words())))


def _are_read_twice(blocks: Sequence[Block]) -> bool:
    """Whether ssh reads the files a second time: Match final, or CanonicalizeHostname."""
    heads = {word.lower().lstrip("!") for block in blocks for head in block.heads for word in head.words()}
    lines = (line for block in blocks for line in block.lines)
    return "final" in heads or any(line.turns_on("canonicalizehostname") for line in lines)


def _is_of_one_host(line: Line) -> bool:
    """Whether a line may say another thing for each host, or is not known through and through."""
    if line.keyword == "include":
        return any(sign in line.value for sign in "$%")
    value = line.value.replace("%h", "") if line.keyword == "hostname" else line.value
    if line.keyword in _READ_HERE and re.search(r"\\|\S#", value):
        return True  # ssh's words are others than those of a shell
    return "%" in value and line.keyword not in _FILLED_IN_LATER


def _asks_more(match: Line) -> bool:
    """Whether a Match line asks for more than names, and what is the same for all hosts."""
    kinds = (word.lower().lstrip("!").partition("=")[0] for word in match.criteria())
    return any(kind not in _UNDERSTOOD for kind in kinds)


def _under_match(block: Block) -> bool:
    return any(head.keyword == "match" for head in block.heads)


def _literal_names(block: Block) -> list[str] | None:
    """The names of a block for hosts that are written out; None where patterns or Match decide."""
    if not block.heads or _under_match(block):
        return None
    names = block.heads[-1].words()
    plain = all(re.fullmatch(r"[\w.:-]+", name) for name in names)
    return names if plain else None


def _may_hold(head: Line, name: str) -> bool:
    """Whether a Host line holds for a name; a Match line is ssh's to decide."""
    if head.keyword == "match":
        return True
    words = head.words()
    if not any(_PATTERN.search(word) for word in words):
        return name in words
    patterns = [word.replace("[", "[[]") for word in words]  # ssh has * and ? alone
    never = any(fnmatchcase(name, word[1:]) for word in patterns if word.startswith("!"))
    return not never and any(fnmatchcase(name, word) for word in patterns if not word.startswith("!"))
