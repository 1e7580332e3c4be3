"""What a file of shell settings assigns to variables: read word by word, never executed. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass

_WORD = r"""(?: [^\s;&|()<>'"`\\] | \\. | '[^']*' | "(?:[^"\\]|\\.)*" | `[^`]*` )+"""
_TOKEN = re.compile(
    rf"""
    (?P<blank> (?: [^\S\n] | \\\n )+ | \#[^\n]* )
  | (?P<here> <<(?P<tabs>-?)[ \t]*["'\\]?(?P<mark>[A-Za-z_]\w*)["']? )
  | (?P<end> \n | [;&|]+ )
  | (?P<open> \( ) | (?P<close> \) )
  | (?P<word> {_WORD} )
  | (?P<odd> <<< | . )
    """,
    re.X | re.S,
)
_PIECE = re.compile(r"""'([^']*)' | "((?:[^"\\]|\\.)*)" | \\(.) | (.)""", re.X | re.S)
_ASSIGNED = re.compile(r"([A-Za-z_]\w*)(\[[^\]]*\])?(\+?)=")
_REFERENCE = re.compile(
    r"""
    \$ (?: (?P<bare> [A-Za-z_]\w* )
      | \{ (?P<name> [A-Za-z_]\w* )
        (?: \[ (?P<index> [0-9]{1,4} ) \]
          | (?P<all> \[[@*]\] ) (?: : (?P<start> [0-9]{1,4} ) (?: : (?P<count> [0-9]{1,4} ) )? )? )? \} )
    """,
    re.X,
)
_PLAIN = re.compile(r"[A-Za-z0-9_./:%@,-]*")
_KEY = re.compile(r"\[[^\]]*\]\+?=")
_DECLARING = {"declare", "export", "local", "readonly", "typeset"}
_BEFORE_COMMANDS = {"!", "{", "do", "elif", "else", "if", "then", "until", "while"}


@dataclass(frozen=True, slots=True)
class Assignment:
    """`NAME=WORD` or `NAME=(WORD ...)`, and the line where it begins, from 1 on.

    `shell`: only a shell knows the value, as it holds $, `command`, {a,b}, a pattern, or is a part of
    an array. `closed`: its quotes and brackets are. `keyed`: it is an array with keys (declare -A).
    """

    name: str
    line: int
    words: tuple[str, ...]
    shell: bool
    closed: bool
    keyed: bool = False


def assignments(text: str, wanted: Collection[str]) -> list[Assignment]:
    """All assignments to the variables `wanted` in `text`, which a POSIX shell or bash would run."""
    text = text.replace("\r\n", "\n")
    return [found for found in _Reader(text).read() if found.name in wanted]


class _Reader:
    """A walk over the text; what it does not understand it passes by, to the end of the line at most."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._marks: list[tuple[str, str]] = []
        self._associative = False  # while `declare -A` is read
        self._keyed: set[str] = set()
        self._known: dict[str, tuple[bool, tuple[str, ...]] | None] = {}  # is it an array? its words

    def read(self) -> Iterator[Assignment]:
        command, declaring = True, False
        while token := self._next():
            raw = token["word"]
            if raw is None:
                command, declaring = command or not token["blank"], declaring and bool(token["blank"])
            elif (command or declaring) and (assigned := _ASSIGNED.match(raw)):
                yield self._assignment(token, assigned, declaring)
            elif raw in _DECLARING and command:
                declaring, self._associative = True, False
            else:
                command = raw in _BEFORE_COMMANDS
                if declaring:
                    self._declare(raw)

    def _declare(self, raw: str) -> None:
        """An option or a bare name behind `declare`."""
        if raw.startswith("-"):
            self._associative = self._associative or "A" in raw
        elif self._associative:
            self._keyed.add(raw)

    def _next(self) -> re.Match[str] | None:
        token = _TOKEN.match(self._text, self._at)
        if token:
            self._at = token.end()
            if token["here"]:
                self._marks.append((token["tabs"], token["mark"]))
            elif token["end"] == "\n" and self._marks:
                self._pass_documents()
        return token

    def _pass_documents(self) -> None:
        """Goes behind the here-documents that begin on this line."""
        for tabs, mark in self._marks:
            indent = r"\t*" if tabs else ""
            end = re.compile(rf"^{indent}{mark}$", re.M).search(self._text, self._at)
            self._at = end.end() if end else self._at
        self._marks = []

    def _assignment(self, token: re.Match[str], assigned: re.Match[str], declaring: bool) -> Assignment:
        line = self._text.count("\n", 0, token.start()) + 1
        value = token["word"][assigned.end() :]
        following = self._text[self._at : self._at + 1]
        if not value and following == "(":
            words, closed, nested = self._array()
        else:
            words, closed, nested = [value], following not in ("'", '"', "`"), following == "("
        array = not value and following == "("
        expanded = [word for raw in words for word in self._expanded(raw)]
        read = [_unquoted(word) for word in (expanded if array else [" ".join(expanded)])]
        shell = nested or any(shell for _, shell in read) or bool(assigned[2] or assigned[3])
        keyed = bool(assigned[2]) or assigned[1] in self._keyed or (declaring and self._associative)
        keyed = keyed or any(_KEY.match(word) for word in words)
        found = Assignment(assigned[1], line, tuple(text for text, _ in read), shell, closed, keyed)
        self._remember(found, array)
        return found

    def _remember(self, found: Assignment, array: bool) -> None:
        """What a later $NAME is; nothing that has two values, or that only a shell knows."""
        plain = found.closed and not found.shell and not found.keyed
        value = (array, found.words) if plain else None
        self._known[found.name] = value if self._known.get(found.name, value) == value else None

    def _expanded(self, raw: str) -> list[str]:
        """The words that `raw` stands for, with variables of which the text above says what they are."""
        if "$" not in raw or "'" in raw or "\\" in raw:
            return [raw]
        if whole := _REFERENCE.fullmatch(raw.removeprefix('"').removesuffix('"')):
            words = self._value(whole)
            if words is None or (raw[0] == '"' and whole["all"] != "[@]" and len(words) != 1):
                return [raw]  # one word with blanks in it, or an empty one
            return words

        def one(match: re.Match[str]) -> str:
            words = self._value(match)
            return words[0] if words and len(words) == 1 else match[0]

        return [_REFERENCE.sub(one, raw)]

    def _value(self, match: re.Match[str]) -> list[str] | None:
        """The words of $X, ${X}, ${X[0]}, ${X[@]} or ${X[@]:0:3}; None if they are not known."""
        known = self._known.get(match["bare"] or match["name"])
        if known is None:
            return None
        array, words = known
        if match["all"]:
            first = int(match["start"] or 0)
            words = words[first : first + int(match["count"])] if match["count"] else words[first:]
        elif array or match["index"]:
            words = words[int(match["index"] or 0) :][:1]
        found = [word for text in words for word in text.split()]
        return found if all(_PLAIN.fullmatch(word) for word in found) else None

    def _array(self) -> tuple[list[str], bool, bool]:
        """The words of an array, whether it is closed, and whether there are brackets in it."""
        words, closed, nested, depth = [], True, False, 0
        while token := self._next():
            depth += bool(token["open"]) - bool(token["close"])
            if token["word"]:
                words.append(token["word"])
            closed = closed and not token["odd"]
            nested = nested or depth > 1
            if depth == 0:
                return words, closed, nested
        return words, False, nested


def _unquoted(raw: str) -> tuple[str, bool]:
    """The text of a word, and whether a shell would put something else in its place."""
    text, shell = "", False
    for single, double, escaped, plain in _PIECE.findall(raw):
        shell = shell or plain in tuple("$`{*?~") or bool(re.search(r"[$`]", re.sub(r"\\.", "", double)))
        text += single + re.sub(r'\\([$`"\\\n])', _kept, double) + _line_joined(escaped) + plain
    return text, shell


def _kept(match: re.Match[str]) -> str:
    return _line_joined(match[1])


def _line_joined(character: str) -> str:
    """What a backslash leaves of the character behind it."""
    return "" if character == "\n" else character
