"""Fixtures: the compiled program, and a field in namespaces of this worker's own."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.watch.field import Field, compile_watch, nginx


@pytest.fixture(scope="session")
def program() -> Iterator[Path]:
    """The program, as a deploy compiles it, where each user may run it."""
    if not shutil.which("cc"):
        pytest.skip("needs a C compiler")
    with tempfile.TemporaryDirectory(prefix="kube-nginx-watch.") as folder:
        Path(folder).chmod(0o755)
        yield compile_watch(Path(folder, "kube-nginx-watch"), "-static")


@pytest.fixture
def field() -> Iterator[Field]:
    """A node with nginx, and three apiservers."""
    missing = [tool for tool in ("ip", "nft", "tc", "ss", "setpriv") if not shutil.which(tool)]
    if os.geteuid() or missing or not nginx():
        pytest.skip(f"needs root, a kept nginx{''.join(f', {tool}' for tool in missing)}")
    worker = os.environ.get("PYTEST_XDIST_WORKER", "")
    with (
        tempfile.TemporaryDirectory(prefix="kube-nginx-watch.") as folder,
        Field(Path(folder), f"kw{worker}") as made,
    ):
        yield made
