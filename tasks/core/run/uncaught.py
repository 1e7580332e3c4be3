"""What Fabric and Invoke raise before any task has begun, in a line and not as a traceback."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from traceback import walk_tb
from types import TracebackType

import fabric.main
import invoke

from ..console import terminal
from ..errors import reason
from ..late import late
from . import process

with late():
    from .. import localfiles
    from ..config import address, model
    from ..openssh import files
    from ..ssh import options

_TRACED = {
    invoke.Task.__call__.__code__,  # whoever wrote the task has to know where
    invoke.Program.load_collection.__code__,  # likewise whoever wrote the fabfile
}
_READ_BY_FABRIC = {
    "connecttimeout": ("[0-9]{1,9}", "a number of seconds, such as 10,"),
    "forwardagent": ("yes|no", "yes or no"),
    "port": ("[0-9]{1,5}", "a number from 1 to 65535"),
}
"""What Fabric itself reads of ssh_config before a task of ours begins, under -H."""


def watch() -> None:
    """Where `fab` runs, which lists tasks and makes connections by itself; elsewhere this does nothing."""
    if getattr(fabric.main.program, "core", None):
        process.begin()
        process.collect_rarely()
        process.keep_compiled()
        terminal.end_when_full()
        sys.excepthook = _in_a_line


def _in_a_line(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    traced = {frame.f_code for frame, _ in walk_tb(trace)} & _TRACED
    if traced or not isinstance(error, Exception):
        sys.__excepthook__(kind, error, trace)
        return
    terminal.tell("\n".join(_problems()) or f"fab: {_text(error)}")
    sys.exit(2)


def _problems() -> Iterator[str]:
    """What -H or ssh_config has that Fabric cannot read, and does not name."""
    for word in str(options.flag("hosts") or "").split(","):
        try:
            word and address.parse_node(word)
        except ValueError as error:
            yield f"-H {word}: {error}"
    named = options.flag("ssh-config")
    for file in [model.expanded(named)] if named else [files.OWN, files.SYSTEM]:
        with suppress(OSError):
            for line in files.lines_of(file, localfiles.read_bounded(file).decode(errors="replace")):
                pattern, words = _READ_BY_FABRIC.get(line.keyword, ("", ""))
                if pattern and not re.fullmatch(pattern, line.value.strip('"')):
                    yield f"{line}: {line.word} {line.value}: must be {words} for fab -H"


def _text(error: Exception) -> str:
    if isinstance(error, EOFError):
        return "there is no terminal to ask on"
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {reason(error)}"
