"""Debian's archive as a mirror: it serves nginx's tarball byte for byte under its own name."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from ..errors import StepError, last_lines

MOST = 64 << 20
"""Bytes that a tarball may have, from whatever mirror; nginx's has 1.2 MB."""
LONGEST = 900.0
"""Seconds that its transfer may take, all of it."""


def download(suite: str, version: str, target: Path, signature: Path | None = None) -> None:
    """Gets nginx_VERSION.orig.tar.gz of a Debian suite, from the mirror that this machine's apt uses.

    Where the suite has nginx's signature of it, that goes to `signature`. apt works in a folder of its own,
    so nothing on the machine changes. Raises StepError.
    """
    if not shutil.which("apt-get"):
        raise StepError("this machine has no apt-get")
    with tempfile.TemporaryDirectory(prefix="kube-nginx-apt-") as name:
        folder = Path(name)
        options = _private_apt(folder, suite)
        _run(folder, f"suite {suite}", "apt-get", "-qq", *options, "update")
        source = _source_version(folder, options, version, suite)
        tarball = folder / f"nginx_{version}.orig.tar.gz"
        command = ["apt-get", "-qq", *options, "source", "--download-only", "--tar-only", f"nginx={source}"]
        _run(folder, tarball.name, "prlimit", f"--fsize={MOST}", *command)
        if not tarball.exists():
            raise StepError(f"suite {suite} serves no {tarball.name}")
        shutil.move(tarball, target)
        if signature:
            _signature(folder, options, f"nginx={source}", f"{tarball.name}.asc", signature)


def _signature(folder: Path, options: list[str], source: str, name: str, target: Path) -> None:
    """Gets nginx's own signature, which Debian's source package has of some versions."""
    listed = _run(folder, name, "apt-get", "-qq", *options, "source", "--print-uris", source)
    found = re.search(rf"(?m)^'(\S+)' {re.escape(name)} \d+ (\S+)$", listed)
    helper = shutil.which("apt-helper", path=f"{os.environ.get('PATH', '')}:/usr/lib/apt")
    if found and helper:
        try:
            _run(folder, name, helper, "-qq", *options, "download-file", found[1], str(target), found[2])
        except StepError:  # listed, and not served
            target.unlink(missing_ok=True)


def _private_apt(folder: Path, suite: str) -> list[str]:
    for part in ("lists/partial", "cache/archives/partial", "parts"):
        (folder / part).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb-src {_mirror(folder)} {suite} main\n")
    where = {
        "Dir::Etc::sourcelist": "sources.list",
        "Dir::Etc::sourceparts": "parts",
        "Dir::State::Lists": "lists",
        "Dir::Cache": "cache",
    }
    options = [f"-o{key}={folder / value}" for key, value in where.items()]
    return [*options, "-oAPT::Sandbox::User=root", "-oAcquire::Languages=none"]


def _mirror(folder: Path) -> str:
    """The archive that this machine's own apt asks, of its first Debian suite with a main component."""
    targets = ("indextargets", "--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages")
    found = re.search(r"(?m)^Debian Debian (\S+)$", _run(folder, "indextargets", "apt-get", *targets))
    if not found:
        raise StepError("this machine's apt knows no Debian archive (apt-get update was never run?)")
    return found[1]


def _source_version(folder: Path, options: list[str], version: str, suite: str) -> str:
    """Debian's own version of the source package: the newest of the suite that is nginx `version`."""
    shown = _run(folder, f"suite {suite}", "apt-cache", *options, "showsrc", "--only-source", "nginx")
    versions: list[str] = re.findall(r"(?m)^Version: (\S+)$", shown)
    fitting = [v for v in versions if re.fullmatch(rf"(\d+:)?{re.escape(version)}-[^-]+", v)]
    if not fitting:
        raise StepError(f"suite {suite} has nginx {', '.join(versions) or '(none)'}")
    return fitting[-1]


def _run(folder: Path, what: str, *command: str) -> str:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        raise StepError(f"apt did not end within {LONGEST:g} s for {what}") from None
    if done.returncode:
        raise StepError(f"apt failed for {what}: {last_lines(done.stderr, 2) or 'it was killed'}")
    return done.stdout
