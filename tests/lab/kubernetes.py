"""Kubernetes' own programs: Debian's etcd, and kube-apiserver and kubectl from Debian's source package.

They are built once on a machine and cached; the build has a root of its own and leaves nothing else.
"""

import hashlib
import os
import shutil
import subprocess
from collections import deque
from collections.abc import Callable
from pathlib import Path

from tests.lab import roots
from tests.lab.machine import KEYRING, LabError, last_words
from tests.lab.progress import Progress

SUITE = "bookworm"
PACKAGES = ("golang-go", "make", "rsync", "dpkg-dev", "patch", "etcd-server", "ca-certificates")
PROGRAMS = ("etcd", "kube-apiserver", "kubectl")
HOOK = Path(__file__).with_name("kubernetes.sh")
WHAT = "building kube-apiserver and kubectl"


def cache() -> Path:
    """Give the folder that holds all that was ever built, and make it."""
    folder = roots.cache() / "kubernetes"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def folder() -> Path:
    """Give the folder of the programs, whether they are built yet or not."""
    build_commands = repr((SUITE, PACKAGES, PROGRAMS)).encode() + HOOK.read_bytes()
    return cache() / hashlib.sha256(build_commands).hexdigest()[:10]


def build(progress: Progress) -> Path:
    """Build what is not in the cache, some seven minutes on two cores, and give its folder.

    Raises LabError with the last words of what failed.
    """
    target = folder()
    if target.is_dir():
        return target
    draft = target.with_name(f".{target.name}.building")
    with progress.step(WHAT) as show, roots.locked(cache() / ".lock"):
        if target.is_dir():
            return target
        if draft.exists():
            shutil.rmtree(draft)
        (draft / "tmp").mkdir(parents=True)
        _run([*roots.CONFINE, *_command(draft / "root")], draft / "tmp", show)
        os.sync()
        (draft / "root/out").rename(target)
        shutil.rmtree(draft)
    return target


def _command(root: Path) -> list[str]:
    mirrors = roots.mirror()
    if not mirrors:
        raise LabError(f"{WHAT}: this machine's apt knows no Debian archive; apt-get update")
    sources = [f"{kind} {mirror} {SUITE} main" for mirror in mirrors for kind in ("deb", "deb-src")]
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(PACKAGES)}",
        f"--keyring={KEYRING}",
        f'--customize-hook=sh {HOOK} "$1"',
        SUITE,
        str(root),
        *sources,
    ]


def _run(argv: list[str], scratch: Path, show: Callable[[str], None]) -> None:
    """Run the build and show how far it is; go names each package that it has compiled."""
    last: deque[str] = deque(maxlen=20)
    compiled = total = 0
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"TMPDIR": str(scratch)},
    ) as process:
        for line in process.stdout or ():
            kind, _, rest = line.strip().partition(" ")
            last.append(line)
            if kind == "kn.AT":
                show(f"{WHAT}: {rest}")
            elif kind == "kn.OF":
                total = int(rest)
            elif total and not rest:
                compiled += 1
                show(f"{WHAT}: {min(compiled, total)} of {total} packages")
    if process.returncode:
        raise LabError(f"{WHAT} failed: {last_words(''.join(last))}")
