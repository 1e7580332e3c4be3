"""Every script's class: its exit statuses are those of its files, it reads what real nodes answered."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tasks.core.scripts.script import Script

from .scripts import every

TEMPLATES = Path(__file__).parent.parent / "templates"
EVERY = {type(script).__name__: script for script in every()}
USUAL = {0, 1, 129, 130, 143}  # well, not well, and what a signal makes of a script


def exits(file: str) -> set[int]:
    """The exit statuses that a file of templates/ chooses itself."""
    text = (TEMPLATES / f"{file}.sh").read_text()
    return {int(status) for status in re.findall(r"\bexit (\d+)", text)} - USUAL


def comment(file: str) -> str:
    """What the file says of itself."""
    return re.match(r"(?:#.*\n)*", (TEMPLATES / f"{file}.sh").read_text())[0]  # type: ignore[index]


@pytest.mark.parametrize("name", EVERY)
def test_a_class_knows_the_exit_statuses_of_its_files(name: str) -> None:
    script = EVERY[name]
    chosen = {status for file in getattr(script, "files", ()) for status in exits(file)}
    known = {int(status) for kind in script.statuses for status in kind}
    assert chosen == known - {126, 127}  # which are the shell's, of lock.sh


@pytest.mark.parametrize("file", sorted(path.stem for path in TEMPLATES.glob("*.sh")))
def test_the_comment_says_them(file: str) -> None:
    first, *_ = comment(file).splitlines() or [""]
    assert first.startswith("# ")
    _, _, ends = comment(file).partition("Ends with ")
    assert exits(file) <= {int(status) for status in re.findall(r"\d+", ends)}


@pytest.mark.parametrize("script", EVERY.values(), ids=EVERY)
def test_what_a_script_is_given_is_in_its_comment(script: Script[Any]) -> None:
    text = " ".join(comment(file) for file in getattr(script, "files", ()))
    if text:
        assert {name for name in script.parameters() if not re.search(rf"\b{name}\b", text)} <= {"unit"}
