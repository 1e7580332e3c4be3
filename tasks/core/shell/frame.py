"""How a script comes to sh, past whatever login shell; and what tells its output from that of the shell."""

from __future__ import annotations

from collections.abc import Callable
from shlex import quote

CALLS, READS, BEGINS, ENDS = "kn.calls", "kn.reads", "kn.begins", "kn.ends"
OURS = "kn.script"
"""A word of the command line of each script, by which templates/flock.sh knows it."""
SUDO = f"echo {CALLS}; env LC_ALL=C sudo"
"""sudo, called by whatever login shell, which says right before that it does."""


def command(size: int) -> str:
    """What a login shell, be it csh, is asked for: sh, which reads a script of so many bytes, and runs it.

    Nothing in it means anything to any shell but a pipe and words. What follows the script is its standard
    input; dd, unlike a shell, reads nothing of that. On the host, its name tells whose process it is.
    """
    read = f"dd bs={size} count=1 iflag=fullblock status=none"
    return f"sh -c 'echo {READS}; exec 3<&0; {read} | sh -s {OURS}'"


def sent(script: str) -> bytes:
    """`script` as that sh reads it, for which descriptor 3 is the standard input that is meant."""
    return f"set --; eval {quote(script)} <&3 3<&-\n".encode(errors="surrogateescape")


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
    for mark, line in ((CALLS, f"{CALLS}\n"), (READS, f"{READS}\n"), (BEGINS, f"\n{BEGINS}\n")):
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
