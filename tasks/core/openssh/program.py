"""Asks the ssh program what it would use: `ssh -G` (OpenSSH 6.8 and newer)."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryFile
from typing import IO

from ..errors import UsageError
from .alike import Asked
from .files import SYSTEM, absolute_include, lines_of, text_of

SECONDS = 60  # a Match exec that takes longer would hold up ssh as well
_SHOWN = 60  # characters of a line that ssh does not take
_NOISE = re.compile("Pseudo-terminal|.*: terminating,")
_STANDS_FOR_NOTHING = re.compile(r"(?:unknown key |env var )(%.|\$\{\w*\})")


class SshProgram:
    """`ssh`, with the files that it is to read; `user` and `port` hold where those say nothing.

    The files are put together in a temporary one: ssh has no other way to be told of defaults that come
    last, in the `final` pass where it reads files twice. Raises UsageError: a file that cannot be read, or
    no place for the temporary one.
    """

    def __init__(self, program: str, files: Sequence[Path], user: str, port: int, final: bool) -> None:
        self._program = program
        parts = [(str(file), _with_absolute_includes(file)) for file in files]
        parts.append(("ssh_config", f"{'Match final' if final else ''}\nUser {user}\nPort {port}\n"))
        self._file: IO[bytes]
        self._lines: list[str] = []
        self._places: list[str] = []
        for file, text in parts:
            lines = [*text.split("\n"), "Host *"]
            self._lines += lines
            self._places += (f"{file}:{number}" for number in range(1, len(lines) + 1))
        try:
            # on Linux it has no name, so nothing stays behind; elsewhere /dev/stdin can be read once only
            nameless = sys.platform == "linux"
            self._file = TemporaryFile() if nameless else NamedTemporaryFile()  # noqa: SIM115 - as long as this
            self._file.write("\n".join(self._lines).encode())
            self._file.flush()
            self._name = "/dev/stdin" if nameless else str(self._file.name)
        except OSError as error:
            raise UsageError(f"cannot write a temporary file for ssh -G: {error.strerror}") from None

    def values(self, asked: Asked) -> Mapping[str, tuple[str, ...]]:
        """What ssh would use for a host, by keyword. Raises UsageError: what it says is wrong."""
        user = ("-l", asked.user) if asked.user else ()
        port = ("-p", str(asked.port)) if asked.port else ()
        command = [self._program, "-G", "-F", self._name, *user, *port, "--", asked.name]
        try:
            ended = subprocess.run(
                command,
                stdin=self._file,
                capture_output=True,
                timeout=SECONDS,
                check=False,
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
        said = [line.strip() for line in stderr.splitlines() if line.strip() and not _NOISE.match(line)]
        place = re.compile(rf"{re.escape(self._name)}:? line (\d+): ")
        named = [place.sub(lambda at: self._place(int(at[1])), line) for line in said]
        if named == said and (sign := _STANDS_FOR_NOTHING.search(stderr)):  # ssh does not say where
            number = next((n for n, line in enumerate(self._lines, 1) if sign[1] in line), 0)
            return f"{self._place(number)}{sign[1]} stands for nothing; write it out"
        return "\n".join(re.sub(r"^(\S+?):? line (\d+): ", r"\1:\2: ", line) for line in named) or (
            f"ssh -G {asked.name} failed and said nothing"
        )

    def _place(self, number: int) -> str:
        """Where a line of the temporary file comes from, and what stands there."""
        if not 1 <= number <= len(self._lines):
            return "ssh_config: "
        return f"{self._places[number - 1]}: {self._lines[number - 1].strip()[:_SHOWN]}: "


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
