"""The wheel of this checkout, and an installation of it apart, as other people have it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "tasks", "templates", "tests")


def build(folder: Path) -> Path:
    """The wheel, built from a copy: nothing is written into the checkout, nor taken from an old build."""
    source = folder / "source"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif (ROOT / name).exists():
            shutil.copy(ROOT / name, source)
    pip("wheel", "--no-deps", *isolation(), "--wheel-dir", str(folder), str(source))
    (built,) = folder.glob("*.whl")
    return built


def install(wheel: Path, folder: Path) -> Path:
    """A folder for PYTHONPATH, with the wheel in it and nothing that it needs."""
    pip("install", "--no-deps", "--quiet", "--target", str(folder), str(wheel))
    return folder


def isolation() -> list[str]:
    """pip's flag to build with the setuptools that is here, if it is new enough."""
    try:
        new_enough = int(version("setuptools").split(".")[0]) >= 77
    except PackageNotFoundError:
        return []
    return ["--no-build-isolation"] if new_enough else []


def pip(*arguments: str) -> None:
    """Runs pip, or skips the test where there is none."""
    done = subprocess.run(
        [sys.executable, "-m", "pip", *arguments, "--disable-pip-version-check"],
        capture_output=True,
        text=True,
        check=False,
    )
    if "No module named pip" in done.stderr or "distribution found for setuptools" in done.stderr:
        pytest.skip("needs pip and setuptools >= 77, or a package index")
    assert done.returncode == 0, done.stdout + done.stderr
