"""The files of templates/: where they are, and shell scripts out of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib.resources import files
from shlex import quote

_TEMPLATES = ".".join([*__package__.split(".")[:-2], "templates"])
"""The sibling of the package that holds this one: `templates`, or `kube_nginx.templates`."""


@cache
def template(name: str) -> str:
    """The text of one of them; each is read once."""
    return files(_TEMPLATES).joinpath(name).read_text(encoding="utf-8")


@cache
def folder(name: str) -> dict[str, bytes]:
    """The files of one of its folders, by name."""
    there = files(_TEMPLATES).joinpath(name).iterdir()
    return {file.name: file.read_bytes() for file in there if file.is_file()}


def shell_script(names: Iterable[str], given: Mapping[str, object], title: str = "") -> str:
    """Those of these names, one after the other, behind what they are given as shell variables.

    A tuple is given as words, a bool as 1 or nothing. `title` is the comment by which errors name the script.
    """
    lines = [f"{key}={quote(_given(value))}" for key, value in given.items()]
    return _joined((*([f"# {title}"] if title else []), *lines), tuple(names))


@lru_cache(maxsize=8)  # many nodes are sent one text at the same time
def _joined(lines: tuple[str, ...], names: tuple[str, ...]) -> str:
    return "\n".join([*lines, *(template(f"{name}.sh") for name in names)])


def _given(value: object) -> str:
    if isinstance(value, bool):
        return "1" if value else ""
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)
