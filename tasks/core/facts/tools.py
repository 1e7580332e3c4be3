"""What a node must have besides a POSIX shell: every program that scripts of ours run there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..errors import StepError

TOOLS: Mapping[str, tuple[str, ...]] = {
    "coreutils": (
        *("base64", "cat", "chmod", "chown", "cut", "date", "dd", "df", "env", "head", "id", "ln"),
        *("ls", "mkdir", "mv", "readlink", "rm", "rmdir", "sha256sum", "sleep", "sort", "stat", "tail"),
        *("timeout", "touch", "tr", "uname", "uniq"),
    ),
    "grep": ("grep",),
    "sed": ("sed",),
    "findutils": ("find",),
    "util-linux": ("findmnt", "flock", "runuser", "setsid"),
    "systemd": ("journalctl", "systemctl"),
    "libc-bin or glibc-common": ("getconf",),
    "passwd or shadow-utils": ("useradd",),
}
"""By the package that has them: in Debian and, where that is another, in RHEL."""

_VITAL = ("coreutils", "grep", "sed")
_OF_USERS = ("runuser", "useradd")


def needed(user: str) -> str:
    """The programs that a node needs, separated by blanks, if the service runs as `user` ("": as root)."""
    every = (tool for tools in TOOLS.values() for tool in tools)
    return " ".join(tool for tool in every if user or tool not in _OF_USERS)


def vital(missing: Iterable[str]) -> list[str]:
    """Of these, the programs without which nothing that a survey says can be believed."""
    return [tool for tool in missing if any(tool in TOOLS[package] for package in _VITAL)]


def lacking(missing: Iterable[str]) -> StepError:
    """That a node lacks these programs, and what to install there."""
    there = tuple(missing)
    packages = [package for package, tools in TOOLS.items() if set(tools) & set(there)]
    return StepError(f"the node lacks {', '.join(there)}", hint=f"install there: {', '.join(packages)}")
