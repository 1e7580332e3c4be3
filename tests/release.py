"""`python -m tests.release v0.1.0` writes the text of a release, if tag, version and changelog are of one."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parent.parent


def notes(tag: str, project: str, changelog: str) -> str:
    """The section of CHANGELOG.md for a tag; `project` is pyproject.toml. Raises ValueError."""
    version = tomllib.loads(project)["project"]["version"]
    if tag != f"v{version}":
        raise ValueError(f"the tag is {tag}, and pyproject.toml has version {version}: v{version} is its tag")
    sections = re.split(r"(?m)^## ", changelog)
    found = [
        section
        for section in sections
        if re.match(rf"\[{re.escape(version)}\] - \d{{4}}-\d\d-\d\d\n", section)
    ]
    if len(found) != 1:
        raise ValueError(
            f"CHANGELOG.md has {len(found) or 'no'} sections ## [{version}] - YYYY-MM-DD: "
            "call [Unreleased] so, and begin a new [Unreleased]"
        )
    _, _, text = found[0].partition("\n")
    if not re.search(r"(?m)^- ", text):
        raise ValueError(f"the section [{version}] of CHANGELOG.md names nothing")
    return text.strip() + "\n"


def main(arguments: list[str]) -> int:
    """The exit status: 1 if something does not fit, which is told on stderr."""
    if len(arguments) != 1:
        print("usage: python -m tests.release TAG", file=sys.stderr)
        return 2
    try:
        project, changelog = ((ROOT / name).read_text() for name in ("pyproject.toml", "CHANGELOG.md"))
        print(notes(arguments[0], project, changelog), end="")
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
