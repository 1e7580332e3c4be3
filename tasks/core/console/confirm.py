"""What is not done unasked."""

from __future__ import annotations

import sys

from rich.console import Console

from ..errors import UsageError


def ask(console: Console, what: str, unasked: str) -> None:
    """Tells `what` would happen, and goes on when the answer is yes.

    Raises UsageError: it is not; or there is no terminal to ask on, which `unasked` says.
    """
    if not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(unasked)
    console.print(what, markup=False, highlight=False)
    console.print("Type yes to go on: ", end="")
    if sys.stdin.readline().strip().lower() != "yes":
        raise UsageError("nothing was done")
