"""shellcheck finds nothing in any script as it is sent, after what it is given and what it builds on."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from .scripts import every

ROOT = Path(__file__).parent.parent


def scripts() -> Iterator[tuple[str, str]]:
    """All that are sent to nodes and to build hosts, by what they do."""
    for number, script in enumerate(every()):
        yield f"{type(script).__name__}-{number}", script.text()
    yield "build-lab", (ROOT / "tests" / "lab" / "kubernetes.sh").read_text()


SCRIPTS = dict(scripts())


def found(shell: str, text: str) -> str:
    """What shellcheck has to say of a script."""
    program = Path(sys.executable).with_name("shellcheck")
    command = [str(program), f"--shell={shell}", "--format=gcc", "-"]
    done = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def plain(text: str) -> str:
    """A script that is one word of the command that is sent, which goes on without us, by itself."""
    if text.startswith("script="):  # the other is sent without it, too
        return f"script=\n{(ROOT / 'templates' / 'on_disconnect.sh').read_text()}"
    return shlex.split(text)[3] if text.startswith("setsid ") else text


@pytest.mark.parametrize("name", SCRIPTS)
def test_clean(name: str) -> None:
    assert found("sh", plain(SCRIPTS[name])) == ""


def test_every_template_is_sent() -> None:
    for template in sorted((ROOT / "templates").glob("*.sh")):
        assert any(template.read_text() in text for text in map(plain, SCRIPTS.values())), template


def test_the_one_of_ci() -> None:
    assert found("bash", (ROOT / ".ci" / "run").read_text()) == ""


def test_it_would_find_something() -> None:
    assert "SC2086" in found("sh", "rm $1\n")
