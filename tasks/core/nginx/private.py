"""Whether a folder of this machine is ours alone, as sshd_config(5) means it: StrictModes."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path

_LINKS = 40  # as many as Linux follows


def why_shared(folder: Path) -> str:
    """Why others than this user and root could change what is in an absolute folder; "" if none could.

    It is no link. It and those above it, behind links too, belong to us or to root, and others may write to
    none. Unlike for StrictModes, one above may be sticky, as /tmp is: there nobody else can rename or remove
    what is ours. What does not exist yet is passed over.
    """
    if folder.is_symlink():
        return f"it is a link to {folder.resolve()}"
    return _why(folder, folder, _LINKS)


def _why(path: Path, folder: Path, links: int) -> str:
    for part in reversed((path, *path.parents)):
        try:
            seen = part.lstat()
            target = part.parent / os.readlink(part) if stat.S_ISLNK(seen.st_mode) else None
        except OSError:
            return ""  # nothing is there, or whoever uses it meets the error
        if seen.st_uid not in (0, os.geteuid()):
            return f"{part} belongs to {_name(seen.st_uid)}"
        if not (target or stat.S_ISDIR(seen.st_mode)):
            return f"{part} is no folder"
        if target:
            if why := _why(target, folder, links - 1) if links else f"{part} is a link without end":
                return why
        elif _others_write(seen) and (part == folder or not seen.st_mode & stat.S_ISVTX):
            return f"others may write to {part} (mode {stat.S_IMODE(seen.st_mode):o})"
    return ""


def _others_write(seen: os.stat_result) -> bool:
    return bool(seen.st_mode & stat.S_IWOTH or (seen.st_mode & stat.S_IWGRP and not _only_ours(seen.st_gid)))


def _only_ours(gid: int) -> bool:
    """Whether a group is the one that many distributions make for each user, and that has nobody else."""
    try:
        group, user = grp.getgrgid(gid), pwd.getpwuid(os.geteuid())
    except KeyError:
        return False
    return (group.gr_gid, group.gr_name) == (user.pw_gid, user.pw_name) and {*group.gr_mem} <= {user.pw_name}


def _name(uid: int) -> str:
    try:
        return f"{pwd.getpwuid(uid).pw_name}, who could change it"
    except KeyError:
        return f"uid {uid}, who could change it"
