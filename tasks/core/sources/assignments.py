"""What a file of shell settings assigns to variables: read word by word, never executed. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

_WORD = r"""(?!\#) (?: [^\s;&|()<>'"`\\] | \\. | '[^']*' | "(?: [^"\\] | \\. )*" | `[^`]*` )++"""
_PART = r"(?: \[ (?: [^\[\]\n] | \[[^\[\]\n]*\] ){0,99} \] )? \+?"
_TOKEN = re.compile(
    rf"""
    \(\( [^\n()=]* \)\)
  | (?P<end> [\n;&|()] [\s;&|()]* )
  | (?P<blank> [^\S\n]+ | \\\n | (?<! [^\s;&|(] ) \#[^\n]*
      | (?: [!{{] | do | elif | else | if | then | until | while | function [^\S\n]+ [\w.:-]+ ) (?=\s) )
  | (?P<declaring> (?: declare | export | local | readonly | typeset ) (?=\s) )
  | (?<! \w ) (?P<name> [A-Za-z_]\w*+ ) (?P<part> {_PART} ) =
        (?P<value> (?: \( (?: \s | \\\n | \#[^\n]* | {_WORD} )*+ \) | (?: {_WORD} )? ) (?= [\s;&|)] | \Z ) )?
  | << (?P<tabs> -? ) [^\S\n]* (?P<mark> (?!\d) (?: '[^'\n]*' | "[^"\n]*" | [^\s;&|()<>'"`] )+ )
  | (?P<command> (?: [^\S\n]+ (?: \#[^\n]* )? | \w++ (?! {_PART} = ) | \$\w*+ | <<< | <(?!<)
      | '[^']*' | "(?: [^"\\] | \\. )*" | `[^`]*` | \\. | [^\w\s;&|()<'"`\\$] )++ )
  | .
    """,
    re.X | re.S,
)
"""A number, the end of a command, what is before one, an assignment, a here-document, a command up to what
looks like an assignment in it, an odd sign."""

_ARRAY_WORD = re.compile(rf"\s | \\\n | \#[^\n]* | (?P<word> {_WORD} )", re.X | re.S)
_REFERENCE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(\[[@*]\])?\})")
_PLAIN = re.compile(r"[A-Za-z0-9_./:%@, -]*")
_FOR_A_SHELL = re.compile(r"[$`\\*?{}~]|^\[[^\]]*\]\+?=")


@dataclass(frozen=True, slots=True)
class Assignment:
    """`NAME=value` or `NAME=(value ...)`, and the line where it begins, from 1 on.

    `words` are those that ${NAME[@]} without quotes would give. `shell`: only a shell knows them, since
    there is $, `command`, {a,b}, a pattern, a key of an array, or a quote or bracket that is not closed.
    `sure`: it stands where a shell takes it for an assignment, not among the words of a command.
    """

    name: str
    line: int
    words: tuple[str, ...]
    shell: bool
    sure: bool = True


def assignments(text: str) -> list[Assignment]:
    """All assignments in `text`; $NAME, ${NAME} and ${NAME[@]} are replaced by what they are above."""
    text = text.replace("\r\n", "\n")
    found: list[Assignment] = []
    keyed: set[str] = set()
    known: dict[str, str | None] = {}  # what may stand for $NAME; for an array, NAME[@]
    sure, declaring, line, counted = True, "", 1, 0
    for token in _tokens(text):
        if token["end"]:
            sure, declaring = True, ""
        elif token["declaring"]:
            declaring = "declare"
        elif declaring and (options := token["command"]):
            declaring += f" {options}"
            if re.search(r"\s-\w*A", declaring):
                keyed.update(declaring.split())
        elif name := token["name"]:
            line, counted = line + text.count("\n", counted, token.start()), token.start()
            value = token["value"]
            words, shell = ((_rest_of_line(text, token),), True) if value is None else _read(value, known)
            associative = name in keyed or bool(re.search(r"\s-\w*A", declaring))
            shell = shell or bool(token["part"]) or associative
            found.append(Assignment(name, line, words, shell, sure))
            if sure:
                _remember(known, found[-1], (value or "").startswith("("))
        elif not token["blank"]:
            sure = False
    return found


def _tokens(text: str) -> Iterator[re.Match[str]]:
    """The tokens of a text, without here-documents."""
    at = 0
    marks: list[str] = []
    without: set[str] = set()  # marks that no line below is
    while token := _TOKEN.match(text, at):
        yield token
        at = token.end()
        if token["mark"]:
            mark = re.sub(r"""['"\\]""", "", token["mark"])
            marks.append((r"^\t*" if token["tabs"] else "^") + re.escape(mark) + "$")
        elif marks and "\n" in (token["end"] or ""):
            at = text.index("\n", token.start()) + 1
            for mark in marks:
                if mark not in without and (end := re.compile(mark, re.M).search(text, at)):
                    at = end.end()
                else:
                    without.add(mark)
            marks = []


def _remember(known: dict[str, str | None], found: Assignment, array: bool) -> None:
    """What a later $NAME is; nothing that has two values, or that only a shell knows."""
    text = " ".join(found.words)
    plain = text if not found.shell and _PLAIN.fullmatch(text) else None
    first = None if array and len(found.words) != 1 else plain
    for key, value in ((found.name, first), (f"{found.name}[@]", plain)):
        known[key] = value if known.get(key, value) == value else None


def _rest_of_line(text: str, token: re.Match[str]) -> str:
    """What follows a token; as far as anybody wants to see it."""
    return text[token.end() : token.end() + 99].partition("\n")[0].strip()


def _read(value: str, known: dict[str, str | None]) -> tuple[tuple[str, ...], bool]:
    """The words of a value, and whether only a shell knows them."""
    raw = [value]
    if value.startswith("("):
        raw = [word["word"] for word in _ARRAY_WORD.finditer(value[1:-1]) if word["word"]]

    def expanded(reference: re.Match[str]) -> str:
        name = f"{reference[2]}[@]" if reference[3] else reference[1] or reference[2]
        this = known.get(name)
        return reference[0] if this is None else this

    words: list[str] = []
    shell = False
    for word in raw:
        joined = word.replace("\\\n", "")
        text = joined if "'" in joined else _REFERENCE.sub(expanded, joined)
        shell = shell or bool(_FOR_A_SHELL.search(text))
        words += re.sub(r"""'([^']*)'|"([^"]*)\"""", r"\1\2", text).split()
    return tuple(words), shell
