"""The user's ssh_config files, line by line: where each keyword stands, and for which hosts."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path

from ..config.model import expanded
from ..errors import UsageError
from ..localfiles import read_bounded

OWN = expanded("~/.ssh/config")
SYSTEM = Path("/etc/ssh/ssh_config")

_LINE = re.compile(r'\s*"?(\w+)"?(?:\s*=\s*|\s+|$)(.*?)\s*')
_SIGNS = re.compile(r"""["'\\#]""")  # without them, words are what blanks part
_AWAY = (FileNotFoundError, NotADirectoryError, PermissionError, IsADirectoryError)
_WITHOUT_VALUE = ("all", "canonical", "final")
_DEEPEST = 16  # levels of Include, as in OpenSSH


@dataclass(frozen=True, slots=True)
class Line:
    """A keyword, in lower case, and what stands behind it; `word` is the keyword as it was written."""

    file: Path
    number: int
    word: str
    value: str
    keyword: str

    def __str__(self) -> str:
        """The line, as OpenSSH names it."""
        return f"{self.file}:{self.number}"

    def words(self) -> list[str]:
        """The value's words; quotes hold blanks together, a # begins a comment."""
        if not _SIGNS.search(self.value):
            return self.value.split()
        try:
            return shlex.split(self.value, comments=True)
        except ValueError:
            return self.value.split()

    def criteria(self) -> Iterator[str]:
        """What a Match line asks about, such as `host` and `!user`, without what it is to be."""
        words = iter(self.words())
        for word in words:
            yield word
            if word.lower().lstrip("!") not in _WITHOUT_VALUE and "=" not in word:
                next(words, "")

    def turns_on(self, keyword: str) -> bool:
        """Whether it sets a keyword of yes and no, and not to no."""
        return self.keyword == keyword and self.value.lower() not in ("no", "false")


@dataclass(frozen=True, slots=True)
class Block:
    """Lines that hold for the hosts for which each of `heads`, the Host and Match lines above, is true."""

    heads: tuple[Line, ...]
    lines: list[Line] = field(default_factory=list)


def blocks(files: Sequence[Path]) -> Iterator[Block]:
    """What stands in `files`, and in those that they include, in order. Raises UsageError: unreadable."""
    for file in files:
        yield from _blocks_of(file, (), in_system=file == SYSTEM)


def text_of(file: Path) -> str:
    """A file's text; "" if it is not there (yet). Raises UsageError: it cannot be read."""
    try:
        text = read_bounded(file).decode(errors="replace")
        if file == OWN and ((held := file.stat()).st_mode & 0o022 or held.st_uid not in (0, os.getuid())):
            raise UsageError(f"{file}: others may write to it, so that ssh refuses it: chmod 600 {file}")
    except OSError as error:
        if isinstance(error, _AWAY if file in (OWN, SYSTEM) else FileNotFoundError):
            return ""
        raise UsageError(f"{file}: {error.strerror}") from None
    return text


def lines_of(file: Path, text: str) -> Iterator[Line]:
    """The lines of a text that are no comment."""
    for number, line in enumerate(text.split("\n"), 1):
        if found := _LINE.fullmatch(line):
            yield Line(file, number, found[1], found[2], found[1].lower())


def _blocks_of(file: Path, above: tuple[Line, ...], in_system: bool, depth: int = 0) -> Iterator[Block]:
    block = Block(above)
    for line in lines_of(file, text_of(file)):
        if line.keyword in ("host", "match"):
            yield block
            block = Block((*above, line))
        else:
            block.lines.append(line)
            if line.keyword == "include" and depth < _DEEPEST:
                yield block
                for included in _included(line, in_system):
                    yield from _blocks_of(included, block.heads, in_system, depth + 1)
                block = Block(block.heads)
    yield block


def _included(line: Line, in_system: bool) -> Iterator[Path]:
    for word in line.words():
        name = absolute_include(os.path.expandvars(word), in_system)
        yield from (path for path in map(Path, sorted(glob(name))) if path.is_file())


def absolute_include(name: str, in_system: bool) -> str:
    """What an Include names, from where ssh looks: ~/.ssh, or /etc/ssh in the system's file."""
    return os.path.join(SYSTEM.parent if in_system else OWN.parent, os.path.expanduser(name))
