"""How nginx is compiled (runbook: "download and compile nginx", "verify"): shell text and its answers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from shlex import quote, split

from ..config.settings import Build

# Ends with status 73 if others than the user and root may change a folder, or one above it: as StrictModes of
# sshd_config(5), but one above may be sticky, as /tmp is, and the user may have a group to himself.
_ALONE = """\
own=$(getent group "$(id -gn)" | cut -d: -f4)
[ "$(id -gn):$own" = "$(id -un):" ] && own=$(id -g) || own=none
alone() {
  uid=$(stat -c %u "$1"); mode=$(stat -c %A "$1"); others=
  [ "$uid" = 0 ] || [ "$uid" = "$(id -u)" ] || others="it belongs to uid $uid"
  case $mode in
    l* | d*[tT]) [ "$1" != "$PWD" ] && [ "$1" != "$work" ] || others="its mode is $mode" ;;
    ????????w*) others="its mode is $mode" ;;
    ?????w*) [ "$(stat -c %g "$1")" = "$own" ] || others="its mode is $mode" ;;
  esac
  [ -z "$others" ] || { echo "others may change $1: $others; what is built there runs as root:" \\
    "name a folder of $(id -un) alone: build.work_dir" >&2; exit 73; }
  [ "$1" = / ] || alone "$(dirname "$1")"
}"""

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


def place(work: str, name: str) -> str:
    """Sees that the work folder is there and the user's alone; prints the sha256 of the file `name` in it.

    What is built there runs as root on the nodes, so nobody else may write to it, or to a folder above it.
    """
    return (
        f"work={quote(work)}\n"
        "# shellcheck disable=SC2174 # it alone\n"
        '[ -e "$work" ] || (umask 022 && mkdir -p -m 700 "$work")\n'
        'cd -P "$work" && [ -w . ] ||\n'
        '  { echo "name a folder that $(id -un) may write to: build.work_dir" >&2; exit 73; }\n'
        f'{_ALONE}\nalone "$work"; alone "$PWD"\n'
        f"[ ! -f {quote(name)} ] || sha256sum < {quote(name)}"
    )


def unpack(build: Build, work: str) -> str:
    """Unpacks the tarball beside its place and renames it there when it is whole."""
    target, mark = quote(source(build, work)), build.sha256
    return (
        f"cd {quote(work)} || exit\n"
        f'[ "$(cat {target}/.unpacked 2>/dev/null)" = {mark} ] && {{ echo kn.changed=0; exit 0; }}\n'
        "fresh=$(mktemp -d ./.unpack.XXXXXX) || exit; trap 'rm -rf \"$fresh\"' EXIT; set -e\n"
        "trap 'exit 129' HUP; trap 'exit 130' INT; trap 'exit 143' TERM\n"
        f'tar -xzf nginx-{build.version}.tar.gz --no-same-owner -C "$fresh"\n'
        f'echo {mark} > "$fresh/nginx-{build.version}/.unpacked"\n'
        f'rm -rf {target}; mv "$fresh/nginx-{build.version}" {target}; echo kn.changed=1'
    )


def tools(build: Build) -> str:
    """Sees that a C program can be compiled and linked, and make is there; installs what is missing."""
    static = "-static" if build.static else ""
    more = {"rpm": " glibc-static", "zypper": " glibc-devel-static"} if static else {}
    rpm, suse = f"gcc make{more.get('rpm', '')}", f"gcc make glibc-devel{more.get('zypper', '')}"
    return (
        "works() {\n"
        '  try=$(mktemp) && echo "int main(void) { return 0; }" |\n'
        f'    cc -x c {static} -o "$try" - 2>/dev/null; status=$?; rm -f "$try"\n'
        '  [ "$status" = 0 ] && command -v make >/dev/null\n}\n'
        "works && { echo kn.changed=0; exit 0; }\n"
        'has() { command -v "$1" >/dev/null; }\n'
        "if has apt-get; then\n"
        '  how="apt-get update -qq && '
        'DEBIAN_FRONTEND=noninteractive apt-get install -y -qq gcc make libc6-dev"\n'
        f'elif has dnf; then how="dnf install -y {rpm}"\n'
        f'elif has yum; then how="yum install -y {rpm}"\n'
        f'elif has zypper; then how="zypper --non-interactive install {suse}"\n'
        'elif has apk; then how="apk add gcc make musl-dev linux-headers"\n'
        'else echo "no C compiler, and no package manager that is known here" >&2; exit 69; fi\n'
        'if [ "$(id -u)" = 0 ]; then sh -c "$how" >&2 </dev/null || exit\n'
        'elif sudo -n true 2>/dev/null; then sudo -n sh -c "$how" >&2 </dev/null || exit\n'
        'else echo "a C compiler or make is missing; as root: $how" >&2; exit 69; fi\n'
        'works || { echo "installed, but a C program still cannot be linked" >&2; exit 69; }\n'
        "echo kn.changed=1"
    )


def configure(build: Build, work: str) -> str:
    """The runbook's ./configure."""
    first, second, *rest = flags(build)
    line = " ".join([first, second, '"--prefix=$(pwd)/nginx-prefix"', *rest])
    return f"cd {quote(source(build, work))} && mkdir -p nginx-prefix && ./configure {line}"


def make_install(build: Build, work: str, arch: str) -> str:
    """make, make install, and a stripped copy under the name by which it is kept."""
    place = f"{work}/binaries/{key(build, arch)}"
    return (
        f"cd {quote(source(build, work))} && "
        'make -j"$(getconf _NPROCESSORS_ONLN)" && make install && '
        f"mkdir -p {quote(place)} && strip -o {quote(place)}/.new nginx-prefix/sbin/nginx && "
        f"mv -f {quote(place)}/.new {quote(place)}/kube-nginx"
    )


def inspect(binary: str) -> str:
    """Runs the binary and reads its ELF header."""
    path = quote(binary)
    return (
        f'{path} -V >/dev/null || exit; {path} -V 2>&1 | sed "s/^/kn./"\n'
        f'echo "kn.sum=$(sha256sum < {path} | cut -c1-64)"; echo "kn.arch=$(uname -m)"\n'
        f"readelf -dV {path} || exit"
    )


@dataclass(frozen=True, slots=True)
class Inspected:
    """What a binary says of itself. `glibc` is the newest symbol version it needs, "" for none."""

    version: str
    arguments: tuple[str, ...]
    libraries: tuple[str, ...]
    glibc: str
    arch: str
    sha256: str


def parse_inspected(text: str) -> Inspected:
    """Reads what `inspect` printed."""
    symbols = {tuple(map(int, v.split("."))) for v in re.findall(r"GLIBC_(\d+(?:\.\d+)+)", text)}
    return Inspected(
        version=_first(r"nginx version: nginx/(\S+)", text),
        arguments=tuple(_words(_first(r"configure arguments: (.*)", text))),
        libraries=tuple(re.findall(r"\(NEEDED\).*\[(.+?)\]", text)),
        glibc=".".join(map(str, max(symbols))) if symbols else "",
        arch=_first(r"(?m)^kn\.arch=(\w+)$", text),
        sha256=_first(r"kn\.sum=(\S+)", text),
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
