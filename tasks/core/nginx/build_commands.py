"""How nginx is compiled (runbook: "download and compile nginx", "verify"): shell text and its answers."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from shlex import quote, split

from ..config.settings import Build
from ..scripts.script import A, Nothing, Script, Status
from ..shell.bounded import BULK
from ..shell.command import CommandResult, kill_on_disconnect

# glibc's own pieces; everything else would have to be on every node
_LIBC = re.compile(r"(lib(c|dl|pthread|rt|m)\.so|ld-linux|libc\.musl)")


LONG = 1800
"""Seconds that a compiler may take."""


@dataclass(frozen=True)
class BuildScript(Script[A]):
    """A script that a build host runs, as the user that it is reached as."""

    root = False

    @property
    def output_limit(self) -> int:
        """As much as a compiler writes."""
        return BULK


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


class WorkFolderStatus(Status):
    """How templates/work_folder.sh ends."""

    SHARED = 73


@dataclass(frozen=True)
class WorkFolder(BuildScript[str]):
    """Sees that the work folder is there and the user's alone; gives the sha256 of the file `name` in it.

    What is built there runs as root on the nodes, so nobody else may write to it, or to a folder above it.
    """

    files = ("work_folder",)
    statuses = (WorkFolderStatus,)
    work: str
    name: str

    def parse(self, result: CommandResult) -> str:
        """The sum; "" if there is no such file."""
        return result.values.get("sum", "")


@dataclass(frozen=True)
class Unpack(BuildScript[bool]):
    """Unpacks the tarball beside its place and renames it there when it is whole."""

    files = ("unpack",)
    build: Build
    work: str

    def parameters(self) -> Mapping[str, object]:
        """By its sha256 the source is known again."""
        given = {"version": self.build.version, "sha256": self.build.sha256}
        return {**super().parameters(), "source": source(self.build, self.work), **given}

    def parse(self, result: CommandResult) -> bool:
        """Whether it was not there already."""
        return result.values.get("changed") == "1"


class ToolsStatus(Status):
    """How templates/compiler.sh ends."""

    MISSING = 69


@dataclass(frozen=True)
class Tools(BuildScript[bool]):
    """Sees that a C program can be compiled and linked, and make is there; installs what is missing."""

    files = ("compiler",)
    statuses = (ToolsStatus,)
    static: bool
    seconds_allowed = LONG

    def parse(self, result: CommandResult) -> bool:
        """Whether something was installed."""
        return result.values.get("changed") == "1"


@dataclass(frozen=True)
class Configure(BuildScript[None], Nothing):
    """The runbook's ./configure."""

    build: Build
    work: str
    seconds_allowed = LONG
    tail = 20

    def text(self) -> str:
        """A line."""
        first, second, *rest = flags(self.build)
        line = " ".join([first, second, '"--prefix=$(pwd)/nginx-prefix"', *rest])
        return f"cd {quote(source(self.build, self.work))} && mkdir -p nginx-prefix && ./configure {line}"


@dataclass(frozen=True)
class MakeInstall(BuildScript[None], Nothing):
    """make, make install, and a stripped copy under the name by which it is kept."""

    files = ("make_install",)
    build: Build
    work: str
    arch: str
    seconds_allowed = LONG
    tail = 20

    def parameters(self) -> Mapping[str, object]:
        """The two folders."""
        place = f"{self.work}/binaries/{key(self.build, self.arch)}"
        return {"source": source(self.build, self.work), "place": place}


class MakeInstallThere(MakeInstall):
    """The same over SSH, for no longer than we are connected."""

    def text(self) -> str:
        """It ends with the connection."""
        return kill_on_disconnect(super().text())


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
    binary: str

    def parse(self, result: CommandResult) -> Inspected:
        """What it says of itself."""
        text, values = result.stdout, result.values
        symbols = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_(\d+(?:\.\d+)+)", text)}
        return Inspected(
            version=_first(r"nginx version: nginx/(\S+)", text),
            arguments=tuple(_words(_first(r"configure arguments: (.*)", text))),
            libraries=tuple(re.findall(r"\(NEEDED\).*\[(.+?)\]", text)),
            glibc=".".join(map(str, max(symbols))) if symbols else "",
            arch=_first(r"^(\w+)$", values.get("arch", "")),
            sha256=values.get("sum", ""),
        )


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
