"""What a file of shell settings assigns to variables: read statement by statement, never executed. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_WORD = r"""(?!\#) (?: [^\s;&|()<>'"`\\] | \\. | '[^']*' | "(?: [^"\\] | \\. )*" | `[^`]*` )++"""
_STATEMENT = re.compile(
    rf"""
    (?P<blank> [\s;&|]+ | \\\n | \#[^\n]* | (?: \{{ | do | else | then ) (?=\s) )
  | (?P<declared> (?: declare | export | local | readonly | typeset )
        (?P<options> (?: [^\S\n]+ -\w+ )* ) [^\S\n]+ (?= (?P<array> \w* ) ) )
  | (?P<name> [A-Za-z_]\w* ) (?P<part> \[[^\]\n]*\] \+? | \+ )? =
        (?P<value> (?: \( (?: \s | \\\n | \#[^\n]* | {_WORD} )*+ \) | (?: {_WORD} )? ) (?= [\s;&|)] | \Z ) )?
  | [^\n]*? <<-? [^\S\n]* ["'\\]? (?P<mark> \w+ ) ["']? [^\n]* \n (?: .*? \n )?? \t* (?P=mark) (?= \n | \Z )
  | (?: (?<!\S) \#[^\n]* | '[^']*' | "(?: [^"\\] | \\. )*" | \\. | [^'"\\\n;&|] )++
  | .
    """,
    re.X | re.S,
)
"""A blank, the declaration of variables, an assignment, a here-document, another command, an odd sign."""

_ARRAY_WORD = re.compile(rf"\s | \\\n | \#[^\n]* | (?P<word> {_WORD} )", re.X | re.S)
_REFERENCE = re.compile(r"\$(?:([A-Za-z_]\w*)|\{([A-Za-z_]\w*)(\[[@*]\])?\})")
_PLAIN = re.compile(r"[A-Za-z0-9_./:%@, -]*")
_FOR_A_SHELL = re.compile(r"[$`\\*?{}~]|^\[[^\]]*\]\+?=")


@dataclass(frozen=True, slots=True)
class Assignment:
    """`NAME=value` or `NAME=(value ...)`, and the line where it begins, from 1 on.

    `words` are those that ${NAME[@]} without quotes would give. `shell`: only a shell knows them, since
    there is $, `command`, {a,b}, a pattern, a key of an array, or a quote or bracket that is not closed.
    """

    name: str
    line: int
    words: tuple[str, ...]
    shell: bool


def assignments(text: str) -> list[Assignment]:
    """All assignments in `text`; $NAME, ${NAME} and ${NAME[@]} are replaced by what they are above."""
    text = text.replace("\r\n", "\n")
    found: list[Assignment] = []
    keyed: set[str] = set()
    known: dict[str, str | None] = {}  # what may stand for $NAME; for an array, NAME[@]
    for statement in _STATEMENT.finditer(text):
        if "A" in (statement["options"] or ""):
            keyed.add(statement["array"])
        if name := statement["name"]:
            value = statement["value"]
            words, shell = _read(_rest_of_line(text, statement) if value is None else value, known)
            shell = shell or value is None or bool(statement["part"]) or name in keyed
            found.append(Assignment(name, text.count("\n", 0, statement.start()) + 1, words, shell))
            plain = None if shell or not _PLAIN.fullmatch(" ".join(words)) else " ".join(words)
            first = None if (value or "").startswith("(") and len(words) != 1 else plain
            for key, value in ((name, first), (f"{name}[@]", plain)):
                known[key] = value if known.get(key, value) == value else None
    return found


def _rest_of_line(text: str, statement: re.Match[str]) -> str:
    return text[statement.end() :].partition("\n")[0]


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
