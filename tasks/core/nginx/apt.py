"""Debian's archive as a mirror: it serves nginx's tarball byte for byte under its own name."""

from __future__ import annotations

import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic

from ..errors import StepError, last_lines

MOST = 64 << 20
"""Bytes that a tarball may have, from whatever mirror; nginx's has 1.2 MB."""
LONGEST = 900.0
"""Seconds that its transfer may take, all of it."""


def refuse_more(done: int, began: float) -> None:
    """Raises StepError: a transfer that `began` then (monotonic) is more than a tarball can be."""
    if done > MOST:
        raise StepError(f"sends more than {MOST >> 20} MB, and nginx's source has 1.2 MB")
    if monotonic() - began > LONGEST:
        raise StepError(f"has sent {done} bytes in {LONGEST:g} s, and is not at its end")


def download(suite: str, version: str, target: Path, progress: Callable[[int, int | None], None]) -> None:
    """Gets nginx_VERSION.orig.tar.gz of a Debian suite, from the mirror that this machine's apt uses.

    apt works in a folder of its own, so nothing on the machine changes. Raises StepError.
    """
    if not shutil.which("apt-get"):
        raise StepError("this machine has no apt-get")
    with tempfile.TemporaryDirectory(prefix="kube-nginx-apt-") as name:
        folder = Path(name)
        options = _private_apt(folder, suite)
        _apt(folder, [*options, "update"], f"suite {suite}")
        source = _source_version(folder, options, version, suite)
        wanted = [*options, "source", "--tar-only", f"nginx={source}"]
        total = _size(_apt(folder, [*wanted, "--print-uris"], f"suite {suite}"))
        tarball = folder / f"nginx_{version}.orig.tar.gz"
        began = monotonic()

        def tick() -> None:
            refuse_more(_bytes_of(tarball), began)
            progress(_bytes_of(tarball), total)

        _watch(folder, [*wanted, "--download-only"], tick)
        if not tarball.exists():
            raise StepError(f"suite {suite} serves no {tarball.name}")
        shutil.move(tarball, target)


def _private_apt(folder: Path, suite: str) -> list[str]:
    for part in ("lists/partial", "cache/archives/partial", "parts"):
        (folder / part).mkdir(parents=True)
    (folder / "sources.list").write_text(f"deb-src {_mirror()} {suite} main\n")
    where = {
        "Dir::Etc::sourcelist": "sources.list",
        "Dir::Etc::sourceparts": "parts",
        "Dir::State::Lists": "lists",
        "Dir::Cache": "cache",
    }
    options = [f"-o{key}={folder / value}" for key, value in where.items()]
    return [*options, "-oAPT::Sandbox::User=root", "-oAcquire::Languages=none", "-qq"]


def _mirror() -> str:
    """The archive that this machine's own apt asks, of its first Debian suite with a main component."""
    rows = subprocess.run(
        ["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL)", "Created-By: Packages"],
        capture_output=True,
        text=True,
        check=False,
    ).stdout.splitlines()
    for row in rows:
        uri, *names = row.split()
        if names == ["Debian", "Debian"]:
            return uri
    raise StepError("this machine's apt knows no Debian archive (apt-get update was never run?)")


def _source_version(folder: Path, options: list[str], version: str, suite: str) -> str:
    """Debian's own version of the source package: the newest of the suite that is nginx `version`."""
    command = ["apt-cache", *options[:-1], "showsrc", "--only-source", "nginx"]
    shown = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout
    versions: list[str] = re.findall(r"(?m)^Version: (\S+)$", shown)
    fitting = [v for v in versions if re.fullmatch(rf"(\d+:)?{re.escape(version)}-[^-]+", v)]
    if not fitting:
        raise StepError(f"suite {suite} has nginx {', '.join(versions) or '(none)'}")
    return fitting[-1]


def _apt(folder: Path, arguments: list[str], what: str) -> str:
    command = ["apt-get", *arguments]
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, check=False, timeout=LONGEST
        )
    except subprocess.TimeoutExpired:
        raise StepError(f"apt-get did not end within {LONGEST:g} s for {what}") from None
    if done.returncode:
        raise StepError(f"apt-get failed for {what}: {last_lines(done.stderr, 2)}")
    return done.stdout


def _watch(folder: Path, arguments: list[str], tick: Callable[[], None]) -> None:
    with subprocess.Popen(
        ["apt-get", *arguments], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        while True:
            try:
                _, errors = process.communicate(timeout=0.2)
                break
            except subprocess.TimeoutExpired:
                with _ending(process):
                    tick()
    tick()
    if process.returncode:
        raise StepError(f"apt-get failed: {last_lines(errors, 2)}")


@contextmanager
def _ending(process: subprocess.Popen[str]) -> Iterator[None]:
    try:
        yield
    except StepError:
        process.terminate()  # apt-get then ends its methods
        raise


def _size(uris: str) -> int | None:
    match = re.search(r"orig\.tar\.gz (\d+)", uris)
    return int(match[1]) if match else None


def _bytes_of(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0
