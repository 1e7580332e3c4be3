"""The house as docs/architecture.md draws it: which package may know which, how large its rooms may be."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import invoke
import pytest

from tasks import checks, compile, install, recaps, rollout, service, setup

ROOT = Path(__file__).parent.parent
CORE = ROOT / "tasks" / "core"
MAY_KNOW = {
    "errors": "",
    "folding": "",
    "late": "",
    "results": "errors",
    "localfiles": "errors",
    "answer": "",
    "gate": "errors",
    "templates": "",
    "transport": "",
    "config": "errors localfiles",
    "shell": "errors gate templates",
    "console": "errors folding results",
    "shards": "config console errors localfiles results",
    "sources": "errors",
    "cluster": "config errors results sources",
    "setup": "config console errors localfiles sources",
    "facts": "answer config errors results",
    "release": "config errors facts templates",
    "watch": "config errors facts results",
    "users": "answer config facts release results",
    "scripts": "answer config errors facts localfiles release shell templates users",
    "trust": "config errors results",
    "nginx": "answer config errors facts localfiles results scripts shell templates trust",
    "openssh": "config errors localfiles shell transport",
    "login": "config errors gate localfiles openssh transport",
    "ssh": "config errors facts gate localfiles login openssh scripts shards shell transport",
    "run": "config console errors late localfiles openssh results scripts shell ssh",
    "probes": "config errors facts late localfiles release results scripts shell ssh transport",
    "check": (
        "cluster config console errors facts folding probes release results run scripts shell ssh trust "
        "users watch"
    ),
    "traffic": "config console errors facts probes release results scripts ssh",
    "drill": "config console errors facts probes release results run scripts ssh traffic",
    "rollout": "config console errors facts folding nginx probes release results run scripts shell ssh watch",
}
"""Of each package or module of core, those that it may import; none may import a task."""

FILES = sorted((ROOT / "tasks").rglob("*.py"))


def imported(file: Path) -> Iterator[tuple[str, ...]]:
    """The parts of each place inside tasks/ that a module imports: ("core", "ssh", "node")."""
    here = file.relative_to(ROOT / "tasks").parent.parts
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            above = here[: len(here) - node.level + 1]
            module = (*above, *(node.module or "").split(".")) if node.module else above
            yield from ((*module, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not (node.module or "").startswith(("tasks", "kube_nginx")), "the package has two names"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_it_imports_what_it_may(file: Path) -> None:
    inside = file.relative_to(ROOT / "tasks").parts
    places = list(imported(file))
    if inside[0] != "core" or inside == ("core", "__init__.py"):
        return
    own = inside[1].removesuffix(".py")
    known = {place[1] for place in places if place[0] == "core"}
    assert [place for place in places if place[0] != "core"] == [], "core knows no task"
    assert known - {own} <= {*MAY_KNOW[own].split()}


def test_the_arrows_run_one_way() -> None:
    order = list(MAY_KNOW)
    for package, known in MAY_KNOW.items():
        assert all(order.index(other) < order.index(package) for other in known.split())


@pytest.mark.parametrize("folder", sorted({file.parent for file in FILES}), ids=lambda folder: folder.name)
def test_a_package_is_small_and_says_what_it_is_for(folder: Path) -> None:
    files = sorted(folder.glob("*.py"))
    assert len(files) <= 9
    assert [file.name for file in files if len(file.read_text().splitlines()) > 250] == []
    doc = ast.get_docstring(ast.parse((folder / "__init__.py").read_text())) or ""
    if folder.parent == CORE:
        first, blank, second = doc.splitlines()
        assert (first[-1], blank, second.startswith("It ")) == (".", "", True)


@pytest.mark.parametrize(
    "file", [setup, compile, install, service, rollout, checks, recaps], ids=lambda file: file.__name__
)
def test_every_task_is_exported(file: ModuleType) -> None:
    tasks = {name for name, value in vars(file).items() if isinstance(value, invoke.Task)}
    assert tasks - {*file.__all__} == set()
