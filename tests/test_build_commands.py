"""How nginx is compiled: the shell text is run by sh, on a toy with nginx's layout."""

import io
import os
import random
import re
import shutil
import signal
import subprocess
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from shlex import quote
from time import monotonic

import pytest

from tasks.core.config.model import Build
from tasks.core.nginx import build_commands
from tasks.core.nginx.build_commands import (
    Configure,
    Inspect,
    Inspected,
    MakeInstall,
    Tools,
    Unpack,
    WorkFolder,
)
from tasks.core.nginx.watch import MakeWatch, MakeWatchStatus
from tasks.core.shell.command import CommandResult, with_defaults

VERSION = "1.2.3"
NAME = f"nginx-{VERSION}.tar.gz"
TOP = f"nginx-{VERSION}"
WITHOUT = [f"--without-http_{module}_module" for module in ("uwsgi", "scgi", "fastcgi")]
FLAGS = ["--with-stream", "--without-http", *WITHOUT]
STATIC = "--with-ld-opt=-static"

# What ./configure, make and the binary of nginx do, as far as the build_commands depends on it.
CONFIGURE = """#!/bin/sh
printf '%s\\n' "$@" > arguments
mkdir -p objs
printf 'char *flags = "%s"; char *version = "VERSION";\\n' "$*" > objs/about.h
case " $* " in *" --with-ld-opt=-static "*) static=-static ;; esac
for option; do case $option in --prefix=*) prefix=${option#--prefix=} ;; esac; done
cat > Makefile <<END
build:
\tcc -g $static -o objs/nginx nginx.c
install:
\tmkdir -p '$prefix/sbin'
\tcp objs/nginx '$prefix/sbin/nginx'
.PHONY: build install
.DEFAULT_GOAL = build
END
: > objs/Makefile
""".replace("VERSION", VERSION)
SOURCE = """
#include <stdio.h>
#include "objs/about.h"
int main(void) {
  fprintf(stderr, "nginx version: nginx/%s\\nbuilt by gcc 12.2.0\\n", version);
  return fprintf(stderr, "configure arguments: %s\\n", flags) < 0;
}
"""
TOOLS = ("cc", "make", "strip", "readelf")
needs_tools = pytest.mark.skipif(not all(map(shutil.which, TOOLS)), reason=f"needs {', '.join(TOOLS)}")


def tarball(version: str = VERSION, **more: bytes) -> bytes:
    raw = io.BytesIO()
    files = {"configure": CONFIGURE.encode(), "nginx.c": SOURCE.encode(), **more}
    with tarfile.open(fileobj=raw, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"nginx-{version}/{name}")
            info.size, info.mode, info.uid = len(content), 0o755, 12345
            archive.addfile(info, io.BytesIO(content))
    return raw.getvalue()


def build_of(content: bytes, *, static: bool = False) -> Build:
    return replace(Build(), version=VERSION, sha256=sha256(content).hexdigest(), static=static)


def sh(script: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Runs a script as `Host.sh` has it run."""
    return subprocess.run(
        with_defaults(script),
        shell=True,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
        env={**os.environ, **variables},
        timeout=60,
    )


def listing(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def unpacked(*more: str) -> list[str]:
    """The listing of a work folder in which the toy is unpacked."""
    files = (".unpacked", "configure", "nginx.c", *more)
    return sorted([NAME, TOP, *(f"{TOP}/{name}" for name in files)])


@pytest.fixture(params=["work", "with blank", "it's $HOME; `x`"])
def work(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    folder = tmp_path / str(request.param)
    folder.mkdir()
    return folder


def test_the_watch_does_not_compile_on_an_old_host(tmp_path: Path) -> None:
    """With the headers of Linux 3.10, say: what the compiler said is told, and how to do without."""
    (tmp_path / "cc").write_text("#!/bin/sh\necho 'no SOCK_DESTROY' >&2\nexit 1\n")
    (tmp_path / "cc").chmod(0o755)
    make = MakeWatch(str(tmp_path / "work"), "x86_64")
    done = sh(make.text(), PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert (done.returncode, done.stderr) == (65, "no SOCK_DESTROY\n")
    assert "[watch] enabled = false" in MakeWatchStatus(done.returncode).hint
    assert MakeWatchStatus in make.statuses


@pytest.mark.parametrize(("static", "end"), [(False, []), (True, [STATIC])])
def test_the_configure_command_is_the_runbooks(work: Path, static: bool, end: Sequence[str]) -> None:
    build = build_of(b"", static=static)
    source = work / TOP
    source.mkdir()
    (source / "configure").write_text(CONFIGURE)
    (source / "configure").chmod(0o755)
    done = sh(Configure(build, str(work)).text())
    assert (done.returncode, done.stderr) == (0, "")
    assert (source / "arguments").read_text().splitlines() == [
        "--with-stream",
        "--without-http",
        f"--prefix={source}/nginx-prefix",
        "--without-http_uwsgi_module",
        "--without-http_scgi_module",
        "--without-http_fastcgi_module",
        *end,
    ]
    assert (source / "nginx-prefix").is_dir()
    assert build_commands.flags(build) == [*FLAGS, *end]


def test_the_text_of_the_configure_command() -> None:
    assert Configure(build_of(b""), "/opt/k8s/work").text() == (
        "cd /opt/k8s/work/nginx-1.2.3 && mkdir -p nginx-prefix && "
        './configure --with-stream --without-http "--prefix=$(pwd)/nginx-prefix" '
        "--without-http_uwsgi_module --without-http_scgi_module --without-http_fastcgi_module"
    )


def test_the_key_of_a_binary() -> None:
    dynamic = sha256(" ".join(FLAGS).encode()).hexdigest()[:8]
    static = sha256(" ".join([*FLAGS, STATIC]).encode()).hexdigest()[:8]
    assert build_commands.key(build_of(b""), "x86_64") == f"nginx-1.2.3-{dynamic}-x86_64"
    assert build_commands.key(build_of(b"", static=True), "aarch64") == f"nginx-1.2.3-{static}-aarch64"


@pytest.mark.parametrize(
    ("change", "arch", "differs"),
    [
        (lambda b: replace(b, version="1.2.4"), "x86_64", True),
        (lambda b: replace(b, static=True), "x86_64", True),
        (lambda b: b, "aarch64", True),
        (lambda b: replace(b, sha256="0" * 64), "x86_64", False),
        (lambda b: replace(b, mirrors=("apt:trixie",)), "x86_64", False),
        (lambda b: replace(b, hosts=("build-1",)), "x86_64", False),
        (lambda b: replace(b, work_dir="/srv"), "x86_64", False),
    ],
    ids=["version", "static", "arch", "sha256", "mirrors", "hosts", "work_dir"],
)
def test_keys_differ_by_version_flags_and_architecture_only(
    change: Callable[[Build], Build], arch: str, differs: bool
) -> None:
    build = build_of(b"")
    assert (build_commands.key(change(build), arch) != build_commands.key(build, "x86_64")) is differs


def test_place_and_exists(work: Path) -> None:
    folder = work / "a" / "b"
    assert sh(build_commands.exists(str(folder))).returncode == 1
    done = sh(WorkFolder(str(folder), NAME).text())
    assert (done.returncode, done.stdout, listing(work)) == (0, "", ["a", "a/b"])
    (folder / NAME).write_bytes(b"content")
    done = sh(WorkFolder(str(folder), NAME).text())
    assert done.stdout == f"kn.sum={sha256(b'content').hexdigest()}\n"
    assert sh(build_commands.exists(f"{folder}/{NAME}")).returncode == 0


def test_place_makes_a_folder_of_its_own(work: Path) -> None:
    folder = work / "a" / "b"
    assert sh(f"umask 0\n{WorkFolder(str(folder), NAME).text()}").returncode == 0
    assert [path.stat().st_mode & 0o777 for path in (folder, folder.parent)] == [0o700, 0o755]


@pytest.mark.parametrize(
    ("itself", "above", "says"),
    [
        ((0o700, 0), (0o755, 0), ""),
        ((0o755, 0), (0o1777, 0), ""),
        ((0o777, 0), (0o755, 0), "WORK: its mode is drwxrwxrwx"),
        ((0o770, 0), (0o775, 0), ""),  # group root is root's own
        ((0o770, 0, 12345), (0o755, 0), "WORK: its mode is drwxrwx---"),
        ((0o1777, 0), (0o755, 0), "WORK: its mode is drwxrwxrwt"),
        ((0o755, 12345), (0o755, 0), "WORK: it belongs to uid 12345"),
        ((0o755, 0), (0o777, 0), "ABOVE: its mode is drwxrwxrwx"),
        ((0o755, 0), (0o755, 12345), "ABOVE: it belongs to uid 12345"),
        ((0o755, 12345), (0o1777, 0), "WORK: it belongs to uid 12345"),
    ],
)
def test_place_refuses_a_folder_that_others_may_change(
    work: Path, itself: tuple[int, ...], above: tuple[int, ...], says: str
) -> None:
    folder = work / "a" / "b"
    folder.mkdir(parents=True)
    for path, (mode, uid, *gid) in ((folder, itself), (folder.parent, above)):
        os.chown(path, uid, *(gid or [0]))
        path.chmod(mode)
    done = sh(WorkFolder(str(folder), NAME).text())
    assert done.returncode == (73 if says else 0)
    assert says.replace("WORK", str(folder)).replace("ABOVE", str(folder.parent)) in done.stderr


def test_place_looks_at_both_ends_of_a_link(work: Path) -> None:
    (work / "real" / "b").mkdir(parents=True)
    (work / "link").symlink_to("real")
    assert sh(WorkFolder(f"{work}/link/b", NAME).text()).returncode == 0
    (work / "real").chmod(0o777)
    assert f"{work}/real: its mode is drwxrwxrwx" in sh(WorkFolder(f"{work}/link/b", NAME).text()).stderr
    (work / "real").chmod(0o755)
    os.lchown(work / "link", 12345, 12345)
    assert f"{work}/link: it belongs to uid 12345" in sh(WorkFolder(f"{work}/link/b", NAME).text()).stderr
    assert f"{work}/link: its mode is l" in sh(WorkFolder(f"{work}/link", NAME).text()).stderr


def test_unpack_is_idempotent(work: Path) -> None:
    content = tarball()
    build = build_of(content)
    (work / NAME).write_bytes(content)
    first = sh(Unpack(build, str(work)).text())
    assert (first.returncode, first.stdout, first.stderr) == (0, "kn.changed=1\n", "")
    assert listing(work) == unpacked()
    assert (work / TOP / "nginx.c").read_text() == SOURCE
    assert (work / TOP / "configure").stat().st_uid == os.getuid()

    (work / TOP / "objs").mkdir()  # what has been compiled stays
    again = sh(Unpack(build, str(work)).text())
    assert (again.returncode, again.stdout) == (0, "kn.changed=0\n")
    assert (work / TOP / "objs").is_dir()


def test_unpack_replaces_the_source_of_another_tarball(work: Path) -> None:
    for content in (tarball(), tarball(README=b"another\n")):
        (work / NAME).write_bytes(content)
        assert sh(Unpack(build_of(content), str(work)).text()).stdout == "kn.changed=1\n"
    assert (work / TOP / "README").read_text() == "another\n"
    assert listing(work) == unpacked("README")


@pytest.mark.parametrize(
    "content",
    [b"", b"no tarball", tarball()[:-200], tarball("9.9.9")],
    ids=["empty", "no tarball", "cut", "of another version"],
)
@pytest.mark.parametrize("before", [False, True], ids=["first", "over another"])
def test_unpack_of_a_broken_tarball(tmp_path: Path, content: bytes, before: bool) -> None:
    if before:
        good = tarball()
        (tmp_path / NAME).write_bytes(good)
        sh(Unpack(build_of(good), str(tmp_path)).text())
    (tmp_path / NAME).write_bytes(content)
    done = sh(Unpack(build_of(content), str(tmp_path)).text())
    assert done.returncode != 0
    assert done.stdout == ""
    assert listing(tmp_path) == (unpacked() if before else [NAME])


def test_unpack_without_a_tarball(work: Path) -> None:
    done = sh(Unpack(build_of(b""), str(work)).text())
    assert (done.returncode != 0, done.stdout, listing(work)) == (True, "", [])


BIG = tarball(big=random.Random(1).randbytes(1_500_000))


def interrupted(build: Build, work: Path, number: signal.Signals) -> None:
    """Runs unpack on the first half of BIG and ends its process group when a part is on the disk."""
    os.mkfifo(work / NAME)
    job = subprocess.Popen(["sh", "-c", Unpack(build, str(work)).text()], start_new_session=True)
    with (work / NAME).open("wb") as pipe:
        pipe.write(BIG[: len(BIG) // 2])
        pipe.flush()
        deadline = monotonic() + 20
        while not any(file.stat().st_size for file in work.glob(f".unpack.*/{TOP}/big")):
            assert monotonic() < deadline
        os.killpg(job.pid, number)
        assert job.wait(20) != 0
    (work / NAME).unlink()


@pytest.mark.parametrize("before", [False, True], ids=["first", "over another"])
def test_an_interrupted_unpack_is_never_taken_for_good(tmp_path: Path, before: bool) -> None:
    build = build_of(BIG)
    if before:
        other = tarball(README=b"another\n")
        (tmp_path / NAME).write_bytes(other)
        sh(Unpack(build_of(other), str(tmp_path)).text())
        (tmp_path / NAME).unlink()
    interrupted(build, tmp_path, signal.SIGKILL)
    assert (tmp_path / TOP).exists() is before
    assert (tmp_path / TOP / "README").exists() is before  # still the other, whole

    (tmp_path / NAME).write_bytes(BIG)
    assert sh(Unpack(build, str(tmp_path)).text()).stdout == "kn.changed=1\n"
    assert sorted(os.listdir(tmp_path / TOP)) == [".unpacked", "big", "configure", "nginx.c"]
    assert (tmp_path / TOP / "big").stat().st_size == 1_500_000
    assert sh(Unpack(build, str(tmp_path)).text()).stdout == "kn.changed=0\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    interrupted(build_of(BIG), tmp_path, number)
    assert listing(tmp_path) == []


@needs_tools
def test_tools_that_are_there() -> None:
    done = sh(Tools(False).text())
    assert (done.returncode, done.stdout, done.stderr) == (0, "kn.changed=0\n", "")


@pytest.mark.parametrize("static", [False, True])
def test_no_compiler_and_no_package_manager(tmp_path: Path, static: bool) -> None:
    for name in ("mktemp", "rm"):
        (tmp_path / name).symlink_to(str(shutil.which(name)))
    done = subprocess.run(
        ["/bin/sh", "-c", Tools(static).text()],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (69, "")
    assert done.stderr == "no C compiler, and no package manager that is known here\n"


def compiled(work: Path, *, static: bool) -> tuple[Build, Path, Inspected]:
    """The toy, built and inspected by the build_commands."""
    content = tarball()
    build, place = build_of(content, static=static), str(work)
    (work / NAME).write_bytes(content)
    binary = work / "binaries" / build_commands.key(build, "arch") / "kube-nginx"
    scripts = (
        Unpack(build, place),
        Configure(build, place),
        MakeInstall(build, place, "arch"),
        Inspect(str(binary)),
    )
    for script in scripts:
        done = sh(script.text())
        assert done.returncode == 0, done.stderr
    return build, binary, Inspect("").parse(CommandResult(0, done.stdout))


@needs_tools
def test_the_whole_recipe(tmp_path: Path) -> None:
    build, binary, seen = compiled(tmp_path, static=False)
    assert seen.version == VERSION
    prefix = f"--prefix={tmp_path}/{TOP}/nginx-prefix"
    assert seen.arguments == (*FLAGS[:2], prefix, *FLAGS[2:])
    assert seen.arch == os.uname().machine
    assert seen.sha256 == sha256(binary.read_bytes()).hexdigest()
    assert len(seen.libraries) == 1
    assert build_commands.faults(build, seen) == []
    assert listing(binary.parent) == ["kube-nginx"]
    unstripped = tmp_path / TOP / "nginx-prefix" / "sbin" / "nginx"
    assert binary.stat().st_size < unstripped.stat().st_size
    assert build_commands.faults(replace(build, static=True), seen) != []


@needs_tools
def test_the_whole_recipe_static(tmp_path: Path) -> None:
    trial = subprocess.run(
        ["cc", "-static", "-x", "c", "-o", tmp_path / "trial", "-"],
        input=b"int main(void) { return 0; }",
        capture_output=True,
        check=False,
    )
    if trial.returncode:
        pytest.skip("no static libc here")
    build, _, seen = compiled(tmp_path, static=True)
    assert (seen.libraries, seen.glibc) == ((), "")
    assert seen.arguments[-1] == STATIC
    assert build_commands.faults(build, seen) == []


@needs_tools
def test_a_failed_make_leaves_the_kept_binary(tmp_path: Path) -> None:
    build, binary, _ = compiled(tmp_path, static=False)
    before = binary.read_bytes()
    (tmp_path / TOP / "nginx.c").write_text("no C\n")
    done = sh(MakeInstall(build, str(tmp_path), "arch").text())
    assert done.returncode == 2
    assert "nginx.c:1" in done.stderr
    assert (listing(binary.parent), binary.read_bytes()) == (["kube-nginx"], before)


@pytest.mark.parametrize("content", [None, b"\x7fELF", b"#!/bin/sh\necho >&2 nginx version: nginx/1.2.3\n"])
def test_inspect_of_what_is_no_nginx(work: Path, content: bytes | None) -> None:
    file = work / "kube-nginx"
    if content is not None:
        file.write_bytes(content)
        file.chmod(0o755)
    assert sh(Inspect(str(file)).text()).returncode != 0


ABOUT = f"""kn.nginx version: nginx/1.26.3
kn.built by gcc 12.2.0 (Debian 12.2.0-14+deb12u1)\x20
kn.configure arguments: {" ".join(FLAGS[:2])} --prefix=/w/nginx-prefix {" ".join(WITHOUT)}{{more}}
kn.sum={"ab" * 32}
kn.arch=x86_64
"""
DYNAMIC = """
Dynamic section at offset 0xd7c50 contains 30 entries:
  Tag        Type                         Name/Value
 0x0000000000000001 (NEEDED)             Shared library: [libdl.so.2]
 0x0000000000000001 (NEEDED)             Shared library: [libpthread.so.0]
 0x0000000000000001 (NEEDED)             Shared library: [libc.so.6]
 0x0000000000000001 (NEEDED)             Shared library: [ld-linux-x86-64.so.2]
 0x000000000000000e (SONAME)             Library soname: [kube-nginx]
 0x000000000000000c (INIT)               0x7000
 0x000000006ffffffe (VERNEED)            0x5e28
 0x000000006fffffff (VERNEEDNUM)         1
 0x0000000000000000 (NULL)               0x0

Version symbols section '.gnu.version' contains 187 entries:
 Addr: 0x0000000000005c56  Offset: 0x00005c56  Link: 6 (.dynsym)
  000:   0 (*local*)       2 (GLIBC_2.2.5)   3 (GLIBC_2.34)    4 (GLIBC_2.9)
  004:   5 (GLIBC_PRIVATE) 1 (*global*)      2 (GLIBC_2.2.5)   6 (GLIBC_2.3.4)

Version needs section '.gnu.version_r' contains 1 entry:
 Addr: 0x0000000000005e28  Offset: 0x00005e28  Link: 7 (.dynstr)
  000000: Version: 1  File: libc.so.6  Cnt: 3
  0x0010:   Name: GLIBC_2.9  Flags: none  Version: 4
  0x0020:   Name: GLIBC_2.34  Flags: none  Version: 3
  0x0030:   Name: GLIBC_2.2.5  Flags: none  Version: 2
"""
NO_SECTIONS = """
There is no dynamic section in this file.

No version information found in this file.
"""
MUSL = " 0x0000000000000001 (NEEDED)             Shared library: [libc.musl-x86_64.so.1]\n"
ARGUMENTS = (*FLAGS[:2], "--prefix=/w/nginx-prefix", *WITHOUT)
GLIBC_LIBRARIES = ("libdl.so.2", "libpthread.so.0", "libc.so.6", "ld-linux-x86-64.so.2")
SEEN = Inspected("1.26.3", ARGUMENTS, GLIBC_LIBRARIES, "2.34", "x86_64", "ab" * 32)
SEEN_STATIC = replace(SEEN, arguments=(*ARGUMENTS, STATIC), libraries=(), glibc="")


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        (ABOUT.format(more="") + DYNAMIC, SEEN),
        (ABOUT.format(more=f" {STATIC}") + NO_SECTIONS, SEEN_STATIC),
        (ABOUT.format(more="") + MUSL, replace(SEEN, libraries=("libc.musl-x86_64.so.1",), glibc="")),
        ("", Inspected("", (), (), "", "", "")),
    ],
    ids=["dynamic", "static", "musl", "nothing"],
)
def test_what_inspect_prints_is_read(text: str, seen: Inspected) -> None:
    assert Inspect("").parse(CommandResult(0, text)) == seen


WANTED = replace(Build(), version="1.26.3")
STATIC_WANTED = replace(WANTED, static=True)
ALL = " ".join(FLAGS)


@pytest.mark.parametrize(
    ("build", "seen", "faults"),
    [
        (WANTED, SEEN, []),
        (STATIC_WANTED, SEEN_STATIC, []),
        (WANTED, replace(SEEN, arguments=tuple(reversed(ARGUMENTS))), []),
        (WANTED, replace(SEEN, libraries=("libc.musl-aarch64.so.1",)), []),
        (WANTED, replace(SEEN, libraries=("libm.so.6", "librt.so.1", "libc.so.6")), []),
        (WANTED, replace(SEEN, version="1.26.2"), ["it is version 1.26.2, not 1.26.3"]),
        (WANTED, replace(SEEN, version=""), ["it is version unknown, not 1.26.3"]),
        (
            WANTED,
            replace(SEEN, arguments=(*ARGUMENTS, "--with-debug")),
            [f"it was configured with {' '.join(sorted([*FLAGS, '--with-debug']))}, not {ALL}"],
        ),
        (
            WANTED,
            replace(SEEN, arguments=ARGUMENTS[:-1]),
            [f"it was configured with {' '.join(sorted(FLAGS[:-1]))}, not {ALL}"],
        ),
        (WANTED, SEEN_STATIC, [f"it was configured with {' '.join(sorted([*FLAGS, STATIC]))}, not {ALL}"]),
        (STATIC_WANTED, SEEN, [f"it was configured with {' '.join(sorted(FLAGS))}, not {ALL} {STATIC}"]),
        (
            WANTED,
            replace(SEEN, libraries=("libpcre.so.3", "libc.so.6", "libz.so.1", "libcrypt.so.1")),
            ["it needs more than libc: libpcre.so.3, libz.so.1, libcrypt.so.1"],
        ),
        (
            WANTED,
            replace(SEEN, version="1.15.3", libraries=("libpcre.so.3",)),
            ["it is version 1.15.3, not 1.26.3", "it needs more than libc: libpcre.so.3"],
        ),
    ],
)
def test_faults(build: Build, seen: Inspected, faults: Sequence[str]) -> None:
    assert build_commands.faults(build, seen) == faults


def test_a_prefix_with_a_blank_is_no_fault() -> None:
    text = re.sub("--prefix=\\S+", "--prefix=" + quote("/a folder/nginx-prefix"), ABOUT.format(more=""))
    assert build_commands.faults(WANTED, Inspect("").parse(CommandResult(0, text + DYNAMIC))) == []
