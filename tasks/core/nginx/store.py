"""The binaries that were built, each under its version, flags and architecture.

What `verified.json` says is believed because of where it is: in a folder that is ours alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path

from ..config.model import Settings, expanded
from ..errors import KubeNginxError, UsageError
from ..facts.paths import WATCH
from ..localfiles import write_atomic
from . import build_commands, watch
from .private import why_shared

_NGINX = "kube-nginx"


@dataclass(frozen=True, slots=True)
class Binary:
    """A verified binary on this machine. `glibc` is the newest GLIBC symbol it needs, "" if static."""

    path: str
    version: str
    arch: str
    sha256: str
    glibc: str

    def read(self) -> bytes:
        """Its bytes, as they were verified. Raises KubeNginxError: they are others now, OSError."""
        content = Path(self.path).read_bytes()
        if sha256(content).hexdigest() != self.sha256:
            raise KubeNginxError(f"{self.path} is not what was verified: run fab build --force")
        return content

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


def refuse_shared(settings: Settings, place: Path | None = None) -> None:
    """Raises UsageError: others than this user and root could change what is in the work folder."""
    if why := why_shared(place or folder(settings)):
        given = settings.build.work_dir
        key = f'build.work_dir = "{given}"' if given else f"build.work_dir (not set: {folder(settings)})"
        raise UsageError(
            f"{key} is not yours alone: {why}. What is built there runs as root on the nodes; "
            "write a folder that is no link, and that nobody else may write to, nor to one above it, such as "
            "/opt/k8s/work"
        )


def _place(settings: Settings, key: str) -> Path:
    return folder(settings) / "binaries" / key


def find(settings: Settings, arch: str) -> Binary | None:
    """The verified binary for an architecture; None unless it is whole and as it was verified.

    Raises UsageError: others could have changed it.
    """
    return _find(settings, build_commands.key(settings.build, arch), _NGINX)


def find_watch(settings: Settings, arch: str) -> Binary | None:
    """The same of kube-nginx-watch."""
    return _find(settings, watch.key(arch), WATCH)


def _find(settings: Settings, key: str, name: str) -> Binary | None:
    place = _place(settings, key)
    refuse_shared(settings, place)
    try:
        known = json.loads((place / "verified.json").read_text())
        binary = Binary(**known | {"path": str(place / name)})
        binary.read()
    except (OSError, ValueError, TypeError, KubeNginxError):
        return None
    return binary


def kept(settings: Settings) -> Iterator[Binary]:
    """All verified binaries for these settings, whatever their architecture. Raises UsageError as `find`."""
    refuse_shared(settings)
    parent = folder(settings) / "binaries"
    prefix = build_commands.key(settings.build, "")
    for entry in sorted(parent.glob(f"{prefix}*")):
        binary = find(settings, entry.name.removeprefix(prefix))
        if binary:
            yield binary


def keep(settings: Settings, content: bytes, seen: build_commands.Inspected) -> Binary:
    """Writes a verified binary; the note that it is one comes last. Raises UsageError as `find`."""
    key = build_commands.key(settings.build, seen.arch)
    return _keep(_place(settings, key) / _NGINX, settings, content, seen)


def keep_watch(settings: Settings, content: bytes, seen: build_commands.Inspected) -> Binary:
    """The same of kube-nginx-watch."""
    return _keep(_place(settings, watch.key(seen.arch)) / WATCH, settings, content, seen)


def _keep(path: Path, settings: Settings, content: bytes, seen: build_commands.Inspected) -> Binary:
    place = path.parent
    place.mkdir(parents=True, exist_ok=True)
    refuse_shared(settings, place)
    place.parent.chmod(0o700)
    binary = Binary(str(path), seen.version, seen.arch, seen.sha256, seen.glibc)
    if not path.exists() or sha256(path.read_bytes()).hexdigest() != seen.sha256:
        write_atomic(path, content, 0o755)
    write_atomic(place / "verified.json", json.dumps(asdict(binary), indent=2).encode(), 0o644)
    return binary
