"""docs/ssh.md: the table, from the cases; that they hold is what the tests beside them show."""

from __future__ import annotations

from tests.ssh.case import Case
from tests.ssh.table import THEMES


def page() -> str:
    """All cases, theme by theme."""
    return "\n".join(_theme(title, cases) for title, cases in THEMES.items())


def _theme(title: str, cases: tuple[Case, ...]) -> str:
    rows = "".join(f"| {_text(case.name)} | {_ssh(case)} | {_fab(case)} |\n" for case in cases)
    return f"## {title}\n\n| case | `ssh` | `fab` |\n| --- | --- | --- |\n{rows}"


def _ssh(case: Case) -> str:
    return f"refuses: {_code(case.ssh)}" if case.ssh else _text(case.logins)


def _fab(case: Case) -> str:
    if case.fab:
        return f"refuses: {_code(case.fab)}"
    return _text(case.instead or "the same")


def _code(text: str) -> str:
    return f"`{_text(text)}`"


def _text(text: str) -> str:
    return text.replace("|", "\\|")
