"""Modules that are read late, and what `fab --list` reads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Barrier, Thread
from types import ModuleType

import pytest

from tasks.core.late import late
from tests.conftest import ROOT

# A list is made of names, flags and first lines: it needs nothing that connects, draws, renders or fetches.
UNREAD = [
    "tasks.core.config.model",
    "tasks.core.console.report",
    "tasks.core.openssh.files",
    "tasks.core.run.opening",
    "tasks.core.rollout.plan",
    "tasks.core.ssh.fleet",
    "tasks.core.ssh.options",
    "tests.lab.lab",
    "cryptography.x509",
    "http.client",
    "jinja2",
    "rich.console",
    "rich.table",
    "tarfile",
    "tomllib",
    "urllib.request",
]
LIST = """
import json, sys, types
import fabric.main
fabric.main.program.run(["fab", "--list"], exit=False)
print(json.dumps([name for name, module in sys.modules.items() if type(module) is types.ModuleType]))
"""


@pytest.mark.start
@pytest.mark.parametrize("own", [True, False], ids=["the library's ns", "this checkout"])
def test_a_list_reads_what_it_shows_and_no_more(own: bool, tmp_path: Path) -> None:
    if own:
        (tmp_path / "fabfile.py").write_text("from tasks import ns, deploy, status\n")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{LIST}"],
        cwd=tmp_path if own else ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    shown, _, names = done.stdout.strip().rpartition("\n")
    assert "deploy" in shown
    assert "tasks.service" in (there := json.loads(names))
    assert [name for name in UNREAD if name in there] == []


@pytest.fixture
def reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """A package `shelf` with a module `book`, which notes each time that it is read."""
    (tmp_path / "shelf").mkdir()
    (tmp_path / "shelf" / "__init__.py").write_text("")
    (tmp_path / "shelf" / "book.py").write_text(
        "import builtins\nbuiltins.reads.append(__name__)\nfor pages in range(1_000_000): pass\npages = 7\n"
    )
    found: list[str] = []
    monkeypatch.setattr("builtins.reads", found, raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    yield found
    for name in ("shelf", "shelf.book"):
        sys.modules.pop(name, None)


def bring() -> ModuleType:
    with late("shelf"):
        from shelf import book  # type: ignore[import-not-found]  # noqa: PLC0415
    assert isinstance(book, ModuleType)
    return book


def test_a_module_is_read_when_something_in_it_is_used(reads: list[str]) -> None:
    book = bring()
    assert reads == []
    assert (book.pages, book.pages, reads) == (7, 7, ["shelf.book"])


def test_what_is_imported_after_the_block_is_read_at_once(reads: list[str]) -> None:
    finders = list(sys.meta_path)
    bring()
    assert sys.meta_path == finders
    sys.modules.pop("shelf.book")
    __import__("shelf.book")
    assert reads == ["shelf.book"]


def test_threads_read_a_module_once(reads: list[str]) -> None:
    book, found, together = bring(), list[int](), Barrier(16)

    def use() -> None:
        together.wait()
        found.append(book.pages)

    between = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    threads = [Thread(target=use) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(between)
    assert (found, reads) == ([7] * 16, ["shelf.book"])


def test_what_could_not_be_read_is_read_again(reads: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    book = bring()
    with monkeypatch.context() as without:
        without.delattr("builtins.reads")
        with pytest.raises(AttributeError, match="reads"):
            _ = book.pages
    assert (book.pages, reads) == (7, ["shelf.book"])


def test_ctrl_c_is_not_lost_where_an_import_is_the_first_use(
    reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Interrupted(list[str]):
        def append(self, name: str) -> None:
            super().append(name)
            raise KeyboardInterrupt

    bring()
    monkeypatch.setattr("builtins.reads", found := Interrupted())
    with pytest.raises(KeyboardInterrupt):
        from shelf.book import pages  # type: ignore[import-not-found]  # noqa: F401, PLC0415
    assert (found, reads) == (["shelf.book"], [])
