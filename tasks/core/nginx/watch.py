"""How kube-nginx-watch is compiled, on the same hosts as nginx, out of the C files of templates/watch."""

from __future__ import annotations

import gzip
import tarfile
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from io import BytesIO

from ..scripts.script import Status
from ..shell.command import CommandResult
from ..templates import folder
from .build_commands import BuildScript, Inspected, glibc_of


@cache
def key(arch: str) -> str:
    """The name under which a binary is kept: what it is made of, and its architecture."""
    digest = sha256()
    for name, content in sorted(folder("watch").items()):
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return f"kube-nginx-watch-{digest.hexdigest()[:8]}-{arch}"


@cache
def _sources() -> str:
    packed = BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        for name, content in sorted(folder("watch").items()):
            item = tarfile.TarInfo(name)
            item.size = len(content)
            archive.addfile(item, BytesIO(content))
    return b64encode(gzip.compress(packed.getvalue())).decode()


class MakeWatchStatus(Status):
    """How templates/make_watch.sh ends."""

    FAILED = (
        65,
        "kube-nginx-watch does not compile there",
        "it needs the kernel headers of Linux 4.6 and glibc 2.25, or newer ones: build on another host "
        "(build.hosts); or do without: [watch] enabled = false",
    )


@dataclass(frozen=True)
class MakeWatch(BuildScript[None]):
    """Compiles it, statically where the host can."""

    files = ("make_watch",)
    statuses = (MakeWatchStatus,)
    tail = 20
    work: str
    arch: str

    def variables(self) -> dict[str, object]:
        return {"place": f"{self.work}/binaries/{key(self.arch)}", "sources": _sources()}


@dataclass(frozen=True)
class InspectWatch(BuildScript[Inspected]):
    """Runs it, and reads its ELF header."""

    files = ("inspect_watch",)
    seconds_allowed = 90
    binary: str

    def parse(self, result: CommandResult) -> Inspected:
        told: Mapping[str, str] = result.values
        return Inspected(
            version=told.get("version", ""),
            arguments=(),
            libraries=(),
            glibc=glibc_of(result.stdout),
            arch=told.get("arch", ""),
            sha256=told.get("sum", ""),
        )
