"""What every host does with a command, and this machine as a host for builds."""

from __future__ import annotations

import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import invoke

from ..errors import StepError, last_lines, reason
from . import frame
from .bounded import MOST, Bounded, TooMuch
from .command import CommandResult, failure, framed, kill_on_disconnect, last_words
from .delays import Delays

_NO_SHELL = "is it nologin or false? set ssh.user in hosts.toml to a user whose shell runs commands"


def runner_options(
    timeout: float | None, most: int | None, each_line: Callable[[str], None] | None
) -> dict[str, Any]:
    """How every command is run, here and over SSH: silently, without standard input, never raising."""
    options = {"hide": True, "warn": True, "in_stream": False, "timeout": timeout, "most": most}
    return options | ({"hide": "stderr", "out_stream": frame.Lines(each_line)} if each_line else {})


def ended_as(result: Any) -> CommandResult:
    """Invoke's result as ours: what stood in the frame, or all if there is none."""
    return CommandResult(result.return_code, frame.own(result.stdout), frame.own(result.stderr))


def not_begun(user: str, status: int, said: str, sudo: bool) -> StepError:
    """Why a command ended before it began: `said` is all that was written instead."""
    lines = [line for line in said.splitlines() if not line.startswith("kn.")]
    refused = next((line for line in lines if line.startswith(("sudo:", "Sorry, user "))), "")
    if sudo and refused:
        return StepError(
            f"sudo refused: {refused.partition(' to execute ')[0]}",
            status=status,
            hint=f"let {user} use sudo without a password, or fab --prompt-for-sudo-password",
        )
    by_sudo = sudo and frame.CALLS in said
    what = "sudo" if by_sudo else f"the login shell of {user}"
    return StepError(
        f"{what} ran nothing, and ended with status {status}",
        status=status,
        tail=last_lines("\n".join(lines)),
        hint="" if by_sudo else _NO_SHELL,
    )


def too_late(script: str, error: invoke.exceptions.CommandTimedOut, tail: int) -> StepError:
    """A command that did not end in time."""
    words = last_words(ended_as(error.result), tail)
    return StepError(f"did not end within {error.timeout:g} s", command=script, tail=words)


def too_much(script: str, error: invoke.exceptions.ThreadException, tail: int) -> StepError:
    """A command whose output could not be read on; as a rule because it was too much."""
    cause = error.exceptions[0].value  # its own text is a traceback
    if isinstance(cause, TooMuch):
        return StepError(str(cause), command=script, tail=last_lines(cause.last, tail))
    return StepError(f"the connection broke: {reason(cause)}", command=script)


class _Leashed(Bounded, invoke.runners.Local):
    """Runs what `kill_on_disconnect` made of a script; a timeout lets go of the leash.

    Invoke's own kill ends only the outermost shell, and then waits for as long as any of its
    children holds its output open.
    """

    def kill(self) -> None:
        self.close_proc_stdin()


class Local:
    """This machine, for builds; it never becomes root by itself."""

    label = "local"

    def __init__(self) -> None:
        self.delays = Delays()

    def sh(
        self,
        script: str,
        *,
        root: bool = True,
        timeout: float | None = 90,
        most: int | None = MOST,
        each_line: Callable[[str], None] | None = None,
        check: bool = True,
        tail: int = 5,
    ) -> CommandResult:
        """Runs a POSIX sh script here. Raises StepError as `Node.sh` does."""
        if platform.system() != "Linux":
            raise StepError(
                f"this machine runs {platform.system()}, the nodes run Linux",
                hint='name a Linux host that you reach over SSH: build.hosts = ["build-1"]',
            )
        kwargs = runner_options(timeout, most, each_line)
        try:
            command = framed(kill_on_disconnect(f"set -u\n{script}"))
            result: Any = _Leashed(invoke.Context()).run(command, shell="/bin/sh", **kwargs)
        except invoke.exceptions.CommandTimedOut as error:
            raise too_late(script, error, tail) from None
        except invoke.exceptions.ThreadException as error:
            raise too_much(script, error, tail) from None
        ended = ended_as(result)
        if check and ended.status:
            raise failure(script, ended, tail)
        return ended

    def fetch(self, path: str) -> bytes:
        """A file's content."""
        return Path(path).read_bytes()
