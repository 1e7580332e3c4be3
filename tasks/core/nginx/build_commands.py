"""How nginx is compiled (runbook: "download and compile nginx", "verify"): shell text and its answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from shlex import quote, split

from ..answer import text
from ..config.model import Build
from ..scripts.script import A, Changed, Script, Status
from ..shell.command import CommandResult, kill_on_disconnect
from ..shell.output import BULK

# glibc's own pieces; everything else would have to be on every node
_LIBC = re.compile(r"(lib(c|dl|pthread|rt|m)\.so|ld-linux|libc\.musl)")


def flags(build: Build) -> list[str]:
    """The runbook's flags of ./configure, in its order, without --prefix."""
    chosen = ["--with-stream", "--without-http"]
    chosen += [f"--without-http_{m}_module" for m in ("uwsgi", "scgi", "fastcgi")]
    return [*chosen, "--with-ld-opt=-static"] if build.static else chosen


def key(build: Build, arch: str) -> str:
    """The name under which a binary is kept: version, flags, architecture."""
    digest = sha256(" ".join(flags(build)).encode()).hexdigest()[:8]
    return f"nginx-{build.version}-{digest}-{arch}"


def source(build: Build, work: str) -> str:
    """The folder of the unpacked source."""
    return f"{work}/nginx-{build.version}"


def exists(path: str) -> str:
    """Ends with status 0 if there is such a file."""
    return f"[ -e {quote(path)} ]"


class BuildScript(Script[A]):
    """A script that a build host runs, as the user that it is reached as."""

    root = False
    output_limit = BULK
    seconds_allowed = 1800


class WorkFolderStatus(Status):
    """How templates/work_folder.sh ends."""

    SHARED = 73


@dataclass(frozen=True)
class Kept:
    """The sha256 of a file; "" if there is none."""

    sha256: str = text("sum")


@dataclass(frozen=True)
class WorkFolder(BuildScript[Kept]):
    """Sees that the work folder is there and the user's alone, and looks at the file `name` in it.

    What is built there runs as root on the nodes, so nobody else may write to it, or to a folder above it.
    """

    files = ("work_folder",)
    statuses = (WorkFolderStatus,)
    answer = Kept
    seconds_allowed = 90
    work: str
    name: str


@dataclass(frozen=True)
class Unpack(BuildScript[Changed]):
    """Unpacks the tarball beside its place and renames it there when it is whole."""

    files = ("unpack",)
    answer = Changed
    seconds_allowed = 90
    build: Build
    work: str

    def derived(self) -> Mapping[str, object]:
        given = {"version": self.build.version, "sha256": self.build.sha256}
        return {"source": source(self.build, self.work), **given}


class ToolsStatus(Status):
    """How templates/compiler.sh ends."""

    MISSING = 69


@dataclass(frozen=True)
class Tools(BuildScript[Changed]):
    """Sees that a C program can be compiled and linked, and make is there; installs what is missing."""

    files = ("compiler",)
    statuses = (ToolsStatus,)
    answer = Changed
    static: bool


@dataclass(frozen=True)
class Configure(BuildScript[None]):
    """The runbook's ./configure."""

    tail = 20
    build: Build
    work: str

    def text(self) -> str:
        first, second, *rest = flags(self.build)
        line = " ".join([first, second, '"--prefix=$(pwd)/nginx-prefix"', *rest])
        return f"cd {quote(source(self.build, self.work))} && mkdir -p nginx-prefix && ./configure {line}"


@dataclass(frozen=True)
class MakeInstall(BuildScript[None]):
    """make, make install, and a stripped copy under the name by which it is kept.

    `connected`: over SSH, and for no longer than the connection is there.
    """

    files = ("make_install",)
    tail = 20
    build: Build
    work: str
    arch: str
    connected: bool = False

    def variables(self) -> dict[str, object]:
        place = f"{self.work}/binaries/{key(self.build, self.arch)}"
        return {"source": source(self.build, self.work), "place": place}

    def text(self) -> str:
        return kill_on_disconnect(super().text()) if self.connected else super().text()


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a binary says of itself. `glibc` is the newest symbol version it needs, "" for none."""

    version: str
    arguments: tuple[str, ...]
    libraries: tuple[str, ...]
    glibc: str
    arch: str
    sha256: str


@dataclass(frozen=True)
class Inspect(BuildScript[Inspected]):
    """Runs the binary and reads its ELF header."""

    files = ("inspect",)
    seconds_allowed = 90
    binary: str

    def parse(self, result: CommandResult) -> Inspected:
        told, values = result.stdout, result.values
        return Inspected(
            version=_first(r"nginx version: nginx/(\S+)", told),
            arguments=tuple(_words(_first(r"configure arguments: (.*)", told))),
            libraries=tuple(re.findall(r"\(NEEDED\).*\[(.+?)\]", told)),
            glibc=glibc_of(told),
            arch=_first(r"^(\w+)$", values.get("arch", "")),
            sha256=values.get("sum", ""),
        )


def glibc_of(header: str) -> str:
    """The newest symbol version of glibc in an ELF header, as readelf shows it; "" for none."""
    symbols = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_(\d+(?:\.\d+)+)", header)}
    return ".".join(map(str, max(symbols))) if symbols else ""


def _words(text: str) -> list[str]:
    try:
        return split(text)  # nginx quotes an argument with a blank in it
    except ValueError:
        return text.split()


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""


def faults(build: Build, seen: Inspected) -> list[str]:
    """Why a binary is not the one that hosts.toml asks for; empty if it is."""
    found = []
    if seen.version != build.version:
        found.append(f"it is version {seen.version or 'unknown'}, not {build.version}")
    own = {a for a in seen.arguments if not a.startswith("--prefix=")}
    if own != set(flags(build)):
        found.append(f"it was configured with {' '.join(sorted(own))}, not {' '.join(flags(build))}")
    strange = [library for library in seen.libraries if not _LIBC.match(library)]
    if strange:
        found.append(f"it needs more than libc: {', '.join(strange)}")
    return found
