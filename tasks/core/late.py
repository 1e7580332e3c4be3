"""Modules that are read when something in them is used first: `fab --list` uses none."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from threading import RLock
from types import ModuleType

_reading = RLock()


class _Finder(MetaPathFinder):
    """Finds the modules of a package, and has Python read them late; packages are read at once."""

    def __init__(self, package: str) -> None:
        self._inside = f"{package}."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith(self._inside) else None
        if spec and spec.loader and spec.submodule_search_locations is None:
            spec.loader = LazyLoader(spec.loader)
        return spec


@contextmanager
def late(*packages: str) -> Iterator[None]:
    """In this block, `from .core.PACKAGE import MODULE` names a module that is read when it is used first.

    `packages` are others of which that is true, too.
    """
    finders = [_Finder(package) for package in (__package__, *packages)]
    sys.meta_path[:0] = finders
    try:
        yield
    finally:
        for finder in finders:
            sys.meta_path.remove(finder)


def read(names: Mapping[str, object]) -> None:
    """Reads those modules among `names` that nobody has used yet: threads must not be the first."""
    with _reading:
        for value in [*names.values()]:
            if isinstance(value, ModuleType):
                vars(value)  # any attribute has it read
