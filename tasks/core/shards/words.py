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
        more = [Argument(name=f"files-{n}", positional=True) for n in range(2, self._words_after() + 1)]
        return [files, *more, *others]

    def __call__(self, *args: Any, **flags: Any) -> Any:
        """Calls the function; where there are several words, with a list of them."""
        more = [flags.pop(name) for name in [*flags] if name.startswith("files-")]
        if more:
            flags["files"] = [flags["files"], *more]
        return super().__call__(*args, **flags)

    def _words_after(self) -> int:
        """How many words of the command line come after its name there, which its place may have changed."""
        for module in ("fabric.main", "invoke.main"):
            program: Any = getattr(sys.modules.get(module), "program", None)
            words = list(program.core.unparsed) if hasattr(program, "collection") else []
            for at, word in enumerate(words):
                if word and word in program.collection and program.collection[word] == self:
                    return sum(not word.startswith("-") for word in words[at + 1 :])
        return 0
