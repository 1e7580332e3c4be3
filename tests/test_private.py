"""Folders that others may or may not change, with real owners and modes."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tasks.core.nginx.private import why_shared

SOMEBODY = 12345
Change = Callable[[Path], object]


@contextmanager
def acting_as(uid: int) -> Iterator[None]:
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in a folder, both ours alone."""
    folder = tmp_path / "above" / "work"
    folder.mkdir(parents=True)
    for one in (folder, folder.parent):
        one.chmod(0o755)
    return folder


def mode(number: int) -> Change:
    return lambda path: path.chmod(number)


def owned(uid: int, gid: int = -1) -> Change:
    return lambda path: os.chown(path, uid, gid)


def both(*changes: Change) -> Change:
    return lambda path: [change(path) for change in changes]


@pytest.mark.parametrize(
    ("itself", "above", "why"),
    [
        (mode(0o700), mode(0o700), ""),
        (mode(0o755), mode(0o755), ""),
        (mode(0o775), mode(0o775), ""),  # group root is root's own
        (mode(0o777), mode(0o755), "others may write to WORK (mode 777)"),
        (mode(0o757), mode(0o755), "others may write to WORK (mode 757)"),
        (mode(0o1777), mode(0o755), "others may write to WORK (mode 1777)"),
        (both(owned(0, SOMEBODY), mode(0o775)), mode(0o755), "others may write to WORK (mode 775)"),
        (both(owned(0, SOMEBODY), mode(0o750)), mode(0o755), ""),
        (owned(SOMEBODY), mode(0o755), "WORK belongs to uid 12345"),
        (mode(0o700), mode(0o777), "others may write to ABOVE (mode 777)"),
        (mode(0o700), mode(0o1777), ""),
        (owned(SOMEBODY), mode(0o1777), "WORK belongs to uid 12345"),
        (mode(0o700), owned(SOMEBODY), "ABOVE belongs to uid 12345"),
        (mode(0o700), both(owned(0, SOMEBODY), mode(0o770)), "others may write to ABOVE (mode 770)"),
        (Path.rmdir, mode(0o755), ""),
        (Path.rmdir, mode(0o1777), ""),
        (Path.rmdir, mode(0o777), "others may write to ABOVE (mode 777)"),
        (Path.rmdir, owned(SOMEBODY), "ABOVE belongs to uid 12345"),
    ],
)
def test_who_may_change_a_folder(folder: Path, itself: Change, above: Change, why: str) -> None:
    itself(folder)
    above(folder.parent)
    named = why.replace("WORK", str(folder)).replace("ABOVE", str(folder.parent))
    assert why_shared(folder).startswith(named)
    assert bool(why_shared(folder)) == bool(why)


def test_a_user_trusts_root_and_nobody_else() -> None:
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        with acting_as(SOMEBODY):
            assert why_shared(folder) == ""
        os.chown(folder, SOMEBODY, SOMEBODY)
        with acting_as(SOMEBODY):
            assert why_shared(folder) == ""
        with acting_as(SOMEBODY + 1):
            assert why_shared(folder) == f"{folder} belongs to uid 12345, who could change it"


def test_a_folder_that_is_a_link(folder: Path) -> None:
    link = folder.parent / "link"
    link.symlink_to(folder)
    assert why_shared(link) == f"it is a link to {folder}"


def test_links_above_are_followed_and_looked_at(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to("above")
    assert why_shared(link / "work") == ""
    os.lchown(link, SOMEBODY, SOMEBODY)
    assert why_shared(link / "work") == f"{link} belongs to uid 12345, who could change it"
    os.lchown(link, 0, 0)
    folder.parent.chmod(0o777)
    assert why_shared(link / "work") == f"others may write to {tmp_path}/above (mode 777)"


def test_a_link_on_the_way_of_a_link(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    (tmp_path / "open" / "second").symlink_to(folder.parent)
    (tmp_path / "first").symlink_to(tmp_path / "open" / "second")
    assert why_shared(tmp_path / "first" / "work") == f"others may write to {tmp_path}/open (mode 777)"


def test_links_in_a_circle(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    assert why_shared(tmp_path / "a" / "work").endswith("is a link without end")
