"""The user's files: what is written is there as a whole, and reading ends whatever the file is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tasks.core.errors import UsageError
from tasks.core.localfiles import read_bounded, words_of, write_atomic


@pytest.mark.parametrize("before", [None, b"before"])
def test_a_file_is_written_with_its_mode(tmp_path: Path, before: bytes | None) -> None:
    file = tmp_path / "file"
    if before is not None:
        file.write_bytes(before)
        file.chmod(0o600)
    write_atomic(file, b"content", 0o640)
    assert (file.read_bytes(), file.stat().st_mode & 0o777) == (b"content", 0o640)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "inside").touch()
    with pytest.raises(OSError, match="directory"):
        write_atomic(tmp_path / "file", b"content", 0o644)
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]
    assert [entry.name for entry in (tmp_path / "file").iterdir()] == ["inside"]


@pytest.mark.parametrize(
    ("most", "why"), [(7, ""), (6, "has more than 0 MB")], ids=["as much as may be", "more than that"]
)
def test_a_file_is_read_up_to_its_bound(tmp_path: Path, most: int, why: str) -> None:
    (tmp_path / "file").write_bytes(b"content")
    if not why:
        assert read_bounded(tmp_path / "file", most) == b"content"
        return
    with pytest.raises(OSError, match=why):
        read_bounded(tmp_path / "file", most)


def test_what_has_no_end_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path in (tmp_path / "fifo", Path("/dev/zero")):
        with pytest.raises(OSError, match="is no regular file"):
            read_bounded(path)
    assert read_bounded(Path(os.devnull)) == b""
    assert read_bounded(tmp_path / "fifo", piped=True) == b""


@pytest.mark.parametrize("text", ["a\nb*\n", "a,b*", "a, b*,\n", " a\tb*", "\ufeffa\r\nb*\r\n"])
def test_words_may_be_those_of_a_file(tmp_path: Path, text: str) -> None:
    (tmp_path / "names").write_text(text)
    assert words_of(f"@{tmp_path}/names") == "a,b*"
    assert words_of("a,b*") == "a,b*"


@pytest.mark.parametrize(("name", "why"), [("nowhere", "No such file or directory"), ("", "Is a directory")])
def test_a_file_of_words_must_be_one(tmp_path: Path, name: str, why: str) -> None:
    with pytest.raises(UsageError, match=f"{name}: {why}$"):
        words_of(f"@{tmp_path}/{name}")


def test_a_home_that_nobody_has_is_told() -> None:
    with pytest.raises(UsageError, match=r"^@~no-such-user/names: No such file or directory$"):
        words_of("@~no-such-user/names")
