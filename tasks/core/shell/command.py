"""One command for a host: out of shell text and templates/*.sh; and what it gives back."""

from __future__ import annotations

from dataclasses import dataclass
from shlex import quote

from ..errors import StepError, last_lines
from ..templates import shell_script
from . import frame

_PREAMBLE = "set -u; umask 022; LC_ALL=C; PATH=$PATH:/usr/sbin:/sbin; export LC_ALL PATH\n"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A command that has ended: its exit status and what it wrote."""

    status: int
    stdout: str = ""
    stderr: str = ""

    def last_lines(self, count: int) -> str:
        """The last lines of stderr, else of stdout."""
        return last_lines(self.stderr, count) or last_lines(self.stdout, count)

    @property
    def values(self) -> dict[str, str]:
        """Its lines `kn.KEY=VALUE`; of several with one key the last."""
        return dict(parse_output(self.stdout))


def failure(script: str, ended: CommandResult, tail: int) -> StepError:
    """A command that ended with another status than 0, and its last `tail` lines."""
    message = f"ended with status {ended.status}"
    return StepError(message, command=script, status=ended.status, tail=ended.last_lines(tail))


def parse_output(text: str) -> list[tuple[str, str]]:
    """The lines `kn.KEY=VALUE` that scripts print, in order; what a login shell printed is left out."""
    # splitlines would also end a line where a name has U+2028, say
    lines = (line[3:].partition("=") for line in text.split("\n") if line.startswith("kn."))
    return [(key, value) for key, _, value in lines]


def with_defaults(script: str) -> str:
    """`script` as each runs: in the C locale, with the tools of root, making files that all may read."""
    return _PREAMBLE + script


def framed(script: str) -> str:
    """The same, with marks around what it writes: see `frame`."""
    return frame.framed(with_defaults(script))


def detached(script: str) -> str:
    """`script` so that it goes on to its end whatever becomes of the connection, and of sudo."""
    return f"setsid sh -c {quote(script)} </dev/null & wait $!"


def kill_on_disconnect(script: str) -> str:
    """`script` in a process group that ends when our side of the connection does."""
    return shell_script(["on_disconnect"], {"script": script})
