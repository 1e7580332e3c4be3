"""One command for a host out of shell text, and the lines in which it answers."""

from __future__ import annotations

from shlex import quote

from . import frame

_PREAMBLE = "set -u; umask 022; LC_ALL=C; PATH=$PATH:/usr/sbin:/sbin; export LC_ALL PATH\n"


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
    """`script` in a process group that ends when our side of the connection does.

    sshd leaves a command running when its channel closes; all that the command can notice is the
    end of its standard input.
    """
    return (
        f"exec 3<&0; setsid sh -c {quote(script)} </dev/null 3<&- & job=$!\n"
        '( cat <&3 >/dev/null; kill -TERM "-$job" ) >/dev/null 2>&1 & watch=$!\n'
        'wait "$job"; status=$?; kill "$watch" 2>/dev/null; exit "$status"'
    )
