"""The binaries that were built, each under its version, flags and architecture."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from ..config.model import expanded
from ..config.settings import Settings
from ..errors import KubeNginxError
from . import recipe


@dataclass(frozen=True, slots=True)
class Binary:
    """A verified binary on this machine. `glibc` is the newest GLIBC symbol it needs, "" if static."""

    path: str
    version: str
    arch: str
    sha256: str
    glibc: str

    def read(self) -> bytes:
        """Its bytes."""
        return Path(self.path).read_bytes()

    @property
    def summary(self) -> str:
        """What `verify` prints."""
        needs = f"needs GLIBC_{self.glibc}" if self.glibc else "needs no libc of the node"
        size = Path(self.path).stat().st_size / 1e6
        return f"nginx {self.version} for {self.arch}, {size:.1f} MB, {needs}"


def folder(settings: Settings) -> Path:
    """Where this machine keeps sources and binaries."""
    place = expanded(settings.build.work_dir_for("local"))
    if not place.is_absolute():
        raise KubeNginxError(f"{place}: this user has no home for it: set HOME or build.work_dir")
    return place


def _place(settings: Settings, arch: str) -> Path:
    return folder(settings) / "binaries" / recipe.key(settings.build, arch)


def find(settings: Settings, arch: str) -> Binary | None:
    """The verified binary for an architecture; None unless it is whole and as it was verified."""
    try:
        binary = Binary(**json.loads((_place(settings, arch) / "verified.json").read_text()))
        whole = sha256(binary.read()).hexdigest() == binary.sha256
    except (OSError, ValueError, TypeError):
        return None
    return binary if whole else None


def kept(settings: Settings) -> Iterator[Binary]:
    """All verified binaries for these settings, whatever their architecture."""
    parent = folder(settings) / "binaries"
    prefix = recipe.key(settings.build, "")
    for entry in sorted(parent.glob(f"{prefix}*")):
        binary = find(settings, entry.name.removeprefix(prefix))
        if binary:
            yield binary


def keep(settings: Settings, content: bytes, seen: recipe.Inspected) -> Binary:
    """Writes a verified binary; the note that it is one comes last."""
    place = _place(settings, seen.arch)
    place.mkdir(parents=True, exist_ok=True)
    path = place / "kube-nginx"
    binary = Binary(str(path), seen.version, seen.arch, seen.sha256, seen.glibc)
    if not path.exists() or sha256(path.read_bytes()).hexdigest() != seen.sha256:
        write_whole(path, content, 0o755)
    write_whole(place / "verified.json", json.dumps(asdict(binary), indent=2).encode(), 0o644)
    return binary


def write_whole(path: Path, content: bytes, mode: int) -> None:
    """Writes a file under a temporary name and renames it."""
    fresh = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        fresh.write_bytes(content)
        fresh.chmod(mode)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)
