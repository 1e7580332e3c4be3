"""Asks the ssh program what it would use: `ssh -G` (OpenSSH 6.8 and newer)."""

from __future__ import annotations

import re
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile

from ..errors import UsageError
from .alike import Asked
from .files import SYSTEM, absolute_include, lines_of, text_of

SECONDS = 60  # a Match exec that takes longer would hold up ssh as well
_SHOWN = 60  # characters of a line that ssh does not take
_NOISE = re.compile("Pseudo-terminal|.*: terminating,")


class SshProgram:
    """`ssh`, with the files that it is to read; `user` and `port` hold where those say nothing.

    The files are put together in a temporary one: ssh has no other way to be told of defaults that come
    last. Raises UsageError: a file that cannot be read, or no place for the temporary one.
    """

    def __init__(self, program: str, files: Sequence[Path], user: str, port: int) -> None:
        self._program = program
        self._parts = [(file, _with_absolute_includes(file)) for file in files]
        last = f"User {user}\nPort {port}\n"
        try:
            self._file = NamedTemporaryFile(prefix="kube-nginx-ssh-config-")  # noqa: SIM115 - as long as this
            self._file.write("".join(f"{text}\nHost *\n" for _, text in (*self._parts, ("", last))).encode())
            self._file.flush()
        except OSError as error:
            raise UsageError(f"cannot write a temporary file for ssh -G: {error.strerror}") from None

    def values(self, asked: Asked) -> Mapping[str, tuple[str, ...]]:
        """What ssh would use for a host, by keyword. Raises UsageError: what it says is wrong."""
        user = ("-l", asked.user) if asked.user else ()
        port = ("-p", str(asked.port)) if asked.port else ()
        command = [self._program, "-G", "-F", self._file.name, *user, *port, "--", asked.name]
        try:
            ended = subprocess.run(
                command, stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS, check=False
            )
        except subprocess.TimeoutExpired:
            why = f"did not end within {SECONDS} s; does a Match exec in ssh_config hang?"
            raise UsageError(f"ssh -G {asked.name} {why}") from None
        except OSError as error:
            raise UsageError(f"cannot run {self._program}: {error.strerror}") from None
        if ended.returncode:
            raise UsageError(self._problem(asked, ended.stderr.decode(errors="replace")))
        found: dict[str, list[str]] = defaultdict(list)
        for line in ended.stdout.decode(errors="replace").splitlines():
            keyword, _, value = line.partition(" ")
            found[keyword.lower()].append(value)
        return {keyword: tuple(values) for keyword, values in found.items()}

    def _problem(self, asked: Asked, stderr: str) -> str:
        said = [line.strip() for line in stderr.splitlines() if not _NOISE.match(line)]
        place = re.compile(rf"{re.escape(self._file.name)}:? line (\d+): ")
        named = [place.sub(lambda at: self._place(int(at[1])), line) for line in said if line]
        return "\n".join(re.sub(r"^(\S+?):? line (\d+): ", r"\1:\2: ", line) for line in named) or (
            f"ssh -G {asked.name} failed and said nothing"
        )

    def _place(self, number: int) -> str:
        """Which line of which file is a line of the temporary one, and what stands there."""
        for file, text in self._parts:
            lines = text.split("\n")
            if number <= len(lines):
                return f"{file}:{number}: {lines[number - 1].strip()[:_SHOWN]}: "
            number -= len(lines) + 1
        return "ssh_config: "


def _with_absolute_includes(file: Path) -> str:
    """A file's text, with those names made absolute that mean another folder where it is put now."""
    text = text_of(file)
    if file != SYSTEM:
        return text
    lines = text.split("\n")
    for line in lines_of(file, text):
        if line.keyword == "include":
            names = " ".join(f'"{absolute_include(word, in_system=True)}"' for word in line.words())
            lines[line.number - 1] = f"Include {names}"
    return "\n".join(lines)
