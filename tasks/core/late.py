"""Modules that are read when something in them is used first: `fab --list` uses none."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from threading import RLock
from types import ModuleType
from typing import Any

_reading = RLock()  # one for all: modules read each other


class _Late(ModuleType):
    """A module that has not been read, or not to its end; other threads wait for that."""

    def __getattribute__(self, name: str) -> Any:
        spec = ModuleType.__getattribute__(self, "__spec__")
        if name == "__spec__":
            return spec  # `import` asks for it, and drops what is raised then, Ctrl-C too
        with _reading:
            if isinstance(loader := spec.loader, _Loader):  # otherwise it uses itself while it is read
                spec.loader = self.__loader__ = loader.usual
                try:
                    loader.usual.exec_module(self)
                except BaseException:
                    spec.loader = loader  # the next use reads it again
                    raise
                ModuleType.__setattr__(self, "__class__", ModuleType)
        return ModuleType.__getattribute__(self, name)


class _Loader(Loader):
    """Has the `usual` loader read a module late. Unlike LazyLoader, any thread may be the first."""

    def __init__(self, usual: Loader) -> None:
        self.usual = usual

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self.usual.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__class__ = _Late


class _Finder(MetaPathFinder):
    """Finds the modules of a package, and has Python read them late; packages are read at once."""

    def __init__(self, package: str) -> None:
        self._inside = f"{package}."

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith(self._inside) else None
        if spec and spec.loader and spec.submodule_search_locations is None:
            spec.loader = _Loader(spec.loader)
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
