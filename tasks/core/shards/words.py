"""A task that takes every word after its name, for which Invoke's parameters, one word each, are too few."""

from __future__ import annotations

import sys
from typing import Any

import invoke
from invoke import Argument


class FilesTask(invoke.Task):  # type: ignore[type-arg]
    """A task `f(c, files, ...)`, whose `files` is the word after its name, or a list of all of them."""

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Those of the function, and a parameter for each word more."""
        files, *others = super().get_arguments(ignore_unknown_help)
        more = [Argument(name=f"files-{n}", positional=True) for n in range(2, _words_after(self.name) + 1)]
        return [files, *more, *others]

    def __call__(self, *args: Any, **flags: Any) -> Any:
        """Calls the function; where there are several words, with a list of them."""
        more = [flags.pop(name) for name in [*flags] if name.startswith("files-")]
        if more:
            flags["files"] = [flags["files"], *more]
        return super().__call__(*args, **flags)


def _words_after(name: str) -> int:
    """How many words of the command line come after the task of this name, its flags left out."""
    for module in ("fabric.main", "invoke.main"):
        core = getattr(getattr(sys.modules.get(module), "program", None), "core", None)
        words = list(core.unparsed) if core else []
        places = [at for at, word in enumerate(words) if word.rpartition(".")[2] == name]
        if places:
            return sum(not word.startswith("-") for word in words[places[0] + 1 :])
    return 0
