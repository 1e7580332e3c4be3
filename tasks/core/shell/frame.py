"""What tells a script's own output from that of a login shell around it, and its text for any such shell."""

from __future__ import annotations

import re
from collections.abc import Callable

BEGINS, ENDS = "kn.begins", "kn.ends"
CALLS = "kn.calls"
SUDO = f"echo {CALLS}; env LC_ALL=C sudo"
"""sudo, called by whatever login shell, which says right before that it does."""

# csh knows no line end in quotes: each line is a word of its own. IFS is blank, tab and line end
_TOGETHER = 'kn=; for l; do kn=$kn$l${IFS#??}; done; set --; eval "$kn"'
_SPECIAL = re.compile(r"[\\'!]+")  # within quotes: to fish, to all, and to csh


def shell(script: str) -> str:
    """`script` as one command for whatever login shell the user has there: sh, csh or fish."""
    return " ".join(["sh -c", *map(_word, (_TOGETHER, "sh", *script.split("\n")))])


def _word(text: str) -> str:
    """`text` quoted; what is special even in quotes stands outside of them, after a backslash."""
    outside = _SPECIAL.sub(lambda found: "'" + "".join(f"\\{c}" for c in found[0]) + "'", text)
    return f"'{outside}'"


def framed(script: str) -> str:
    """`script` with a mark before what it writes to each stream, and one after it."""
    begin, end = f"printf '\\n%s\\n' {BEGINS}", f"echo {ENDS}"
    return f"{begin}; {begin} >&2; trap '{end}; {end} >&2' EXIT\n{script}"


def own(text: str) -> str:
    """What is between the marks; of one that is not there, everything on its side."""
    _, begun, rest = f"\n{text}".partition(f"\n{BEGINS}\n")
    found = rest if begun else text
    within, ended, _ = found.rpartition(f"{ENDS}\n")
    return within if ended else found


def note(seen: dict[str, float], text: str, now: float) -> None:
    """Notes `now` for each mark that is in `text`, and was not `seen` before."""
    for mark, line in ((CALLS, f"{CALLS}\n"), (BEGINS, f"\n{BEGINS}\n")):
        if line in text:
            seen.setdefault(mark, now)


class Lines:
    """A file-like object that hands the whole lines between the marks to a function."""

    def __init__(self, each: Callable[[str], None]) -> None:
        self._each = each
        self._rest = ""
        self._begun = self._ended = False

    def write(self, text: str) -> None:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            if not self._begun:
                self._begun = line == BEGINS
            elif line == ENDS:
                self._ended = True
            elif not self._ended:
                self._each(line.removesuffix(ENDS))

    def flush(self) -> None:
        """Lines go out when they are whole."""
