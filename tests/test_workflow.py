"""The release: the text of a tag, and a workflow whose shell steps are run, as far as they go here."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sysconfig
import tarfile
import venv
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.release import notes

ROOT = Path(__file__).parent.parent
WORKFLOW = ROOT / ".github" / "workflows" / "release.yml"
PROJECT = '[project]\nversion = "1.2.3"\n'
CHANGELOG = """# Changelog

## [Unreleased]

## [1.2.3] - 2026-12-01

### Added

- This.

## [1.2.2] - 2026-11-01

- That.
"""


def jobs() -> dict[str, dict[str, Any]]:
    """Those of the workflow, by their names."""
    found: dict[str, dict[str, Any]] = yaml.safe_load(WORKFLOW.read_text())["jobs"]
    return found


def test_the_text_of_a_tag() -> None:
    assert notes("v1.2.3", PROJECT, CHANGELOG) == "### Added\n\n- This.\n"


@pytest.mark.parametrize(
    ("tag", "changelog", "why"),
    [
        ("v1.2.4", CHANGELOG, "pyproject.toml has version 1.2.3: v1.2.3 is its tag"),
        ("1.2.3", CHANGELOG, "pyproject.toml has version 1.2.3: v1.2.3 is its tag"),
        ("v1.2.3", CHANGELOG.replace("1.2.3", "1x2.3"), "no sections ## [1.2.3] - YYYY-MM-DD"),
        ("v1.2.3", CHANGELOG.replace(" - 2026-12-01", ""), "no sections ## [1.2.3] - YYYY-MM-DD"),
        ("v1.2.3", CHANGELOG + CHANGELOG, "has 2 sections"),
        ("v1.2.3", CHANGELOG.replace("- This.", ""), r"section [1.2.3] of CHANGELOG.md names nothing"),
    ],
)
def test_what_is_not_of_one_release(tag: str, changelog: str, why: str) -> None:
    with pytest.raises(ValueError, match=re.escape(why)):
        notes(tag, PROJECT, changelog)


def test_the_version_is_in_one_place() -> None:
    version = re.findall(r'(?m)^version = "(.+)"$', (ROOT / "pyproject.toml").read_text())
    assert len(version) == 1
    code = [*(ROOT / "tasks").rglob("*.py"), ROOT / "fabfile.py"]
    assert not [path for path in code if "__version__ =" in path.read_text()]


def test_nothing_is_published_until_it_is_turned_on() -> None:
    workflow = yaml.safe_load(WORKFLOW.read_text())
    assert workflow[True] == {"push": {"tags": ["v*"]}}  # YAML takes `on` for a truth value
    assert workflow["permissions"] == {"contents": "read"}
    may = {name: job.get("permissions") for name, job in jobs().items()}
    assert may == {"build": None, "pypi": {"id-token": "write"}, "github": {"contents": "write"}}
    for name in ("pypi", "github"):
        assert jobs()[name]["if"] == "vars.RELEASE == 'on'"
    assert jobs()["pypi"]["environment"] == "pypi"
    assert "secrets." not in WORKFLOW.read_text()


def test_no_step_has_what_others_may_name_in_its_shell() -> None:
    """The name of a tag comes by the environment, where it is data."""
    for job in jobs().values():
        assert [step["run"] for step in job["steps"] if "${{" in step.get("run", "")] == []


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """What the tag v9.8.7 would have."""
    copy = tmp_path / "checkout"
    files = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in files.decode().split("\0"):
        if (ROOT / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, copy / name)
    for name, pattern, text in (
        ("pyproject.toml", r'(?m)^version = ".+"$', 'version = "9.8.7"'),
        ("CHANGELOG.md", r"(?m)^## \[Unreleased\]$", "## [Unreleased]\n\n## [9.8.7] - 2026-12-01"),
    ):
        path = copy / name
        path.write_text(re.sub(pattern, text, path.read_text(), count=1))
    return copy


GH = """#!/bin/sh
for last; do :; done
[ "$1 $2 $3" = "release create v9.8.7" ] && [ -s notes.md ] && [ -s "$last" ] && echo "$@"
"""


@pytest.mark.start
def test_each_step_once(checkout: Path, tmp_path: Path) -> None:
    """In an environment of its own, above that of the tests, with a `gh` that looks at what it is given."""
    venv.create(tmp_path / "venv", with_pip=True)
    binaries = tmp_path / "venv" / "bin"
    (site,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (site / "tests.pth").write_text(sysconfig.get_path("purelib"))
    (binaries / "gh").write_text(GH)
    (binaries / "gh").chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "WHEEL")}
    environment = kept | {"PATH": f"{binaries}:{os.environ['PATH']}", "TAG": "v9.8.7", "CI": "true"}
    ran = []
    for job in jobs().values():
        for step in job["steps"]:
            if "run" in step:
                done = subprocess.run(
                    ["bash", "-e", "-c", step["run"]],
                    cwd=checkout,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    capture_output=True,
                    text=True,
                    check=False,
                )
                assert done.returncode == 0, f"{step['name']}: {done.stdout}{done.stderr}"
                ran.append((step["name"], done.stdout))
    assert len(ran) == 6
    assert "skipped" not in ran[-2][1], "the wheel was tested"
    assert ran[-1][1].startswith("release create v9.8.7 --verify-tag ")

    (wheel,) = (checkout / "dist").glob("kube_nginx-9.8.7-*.whl")
    (sdist,) = (checkout / "dist").glob("kube_nginx-9.8.7.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        assert "kube_nginx/tasks/core/trust/mdounin.asc" in archive.namelist()
    with tarfile.open(sdist) as archive:
        assert "kube_nginx-9.8.7/tasks/core/trust/mdounin.asc" in archive.getnames()
    assert (checkout / "notes.md").read_text().startswith("### Added\n")
