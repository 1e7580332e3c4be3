"""One command for a host: out of shell text and templates/*.sh; and what it gives back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from shlex import quote

from ..errors import StepError, last_lines
from . import frame

TEMPLATES = ".".join([*__package__.split(".")[:-3], "templates"])
"""The sibling of the package that holds this one: `templates`, or `kube_nginx.templates`."""

_PREAMBLE = "set -u; umask 022; LC_ALL=C; PATH=$PATH:/usr/sbin:/sbin; export LC_ALL PATH\n"


@dataclass(frozen=True, slots=True)
class CommandResult:
    """A command that has ended: its exit status and what it wrote."""

    status: int
    stdout: str = ""
    stderr: str = ""

    @property
    def values(self) -> dict[str, str]:
        """Its lines `kn.KEY=VALUE`; of several with one key the last."""
        return dict(parse_output(self.stdout))


def failure(script: str, ended: CommandResult, tail: int) -> StepError:
    """A command that ended with another status than 0, and its last `tail` lines: of stderr, else stdout."""
    return StepError(
        f"ended with status {ended.status}",
        command=script,
        status=ended.status,
        tail=last_words(ended, tail),
    )


def last_words(ended: CommandResult, count: int) -> str:
    """The last lines of stderr, or of stdout if there are none."""
    return last_lines(ended.stderr, count) or last_lines(ended.stdout, count)


def parse_output(text: str) -> list[tuple[str, str]]:
    """The lines `kn.KEY=VALUE` that scripts print, in order; what a login shell printed is left out."""
    # splitlines would also end a line where a name has U+2028, say
    lines = (line[3:].partition("=") for line in text.split("\n") if line.startswith("kn."))
    return [(key, value) for key, _, value in lines]


def as_command(script: str) -> str:
    """`script` as one command for whatever login shell the user has there, framed by nothing."""
    return frame.shell(_PREAMBLE + script)


def framed(script: str, errors: bool = True) -> str:
    """The same, with marks around what it writes: see `frame`."""
    return frame.shell(frame.framed(_PREAMBLE + script, errors))


def detached(script: str) -> str:
    """`script` so that it goes on to its end whatever becomes of the connection, and of sudo."""
    return f"setsid sh -c {quote(script)} </dev/null & wait $!"


def kill_on_disconnect(script: str) -> str:
    """`script` in a process group that ends when our side of the connection does."""
    return from_templates(["on_disconnect"], {"script": script})


def from_templates(names: Iterable[str], given: dict[str, object], title: str = "") -> str:
    """Files of templates/, one after the other, behind what they are given as shell variables.

    A tuple is given as words, a bool as 1 or nothing. `title` is the comment by which errors name the script.
    """
    lines = [f"{key}={quote(_given(value))}" for key, value in given.items()]
    texts = [files(TEMPLATES).joinpath(f"{name}.sh").read_text(encoding="utf-8") for name in names]
    return "\n".join([*([f"# {title}"] if title else []), *lines, *texts])


def _given(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else ""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
