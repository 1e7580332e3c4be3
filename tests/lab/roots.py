"""Root file systems of the nodes: Debian with systemd and sshd, built once and cached.

A root is never written to: each node has an overlay of its own.
"""

import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from tests.lab.machine import KEYRING, run
from tests.lab.progress import Progress

SUITES = ("bullseye", "bookworm", "trixie")
PACKAGES = (
    "systemd",
    "systemd-sysv",
    "dbus",
    "openssh-server",
    "iproute2",
    "procps",
    "sudo",
)
# One of the nodes can be a build host, and has login shells that are unlike sh. Of firewalls, nodes have
# the one, the other, or none.
MORE = {
    "bullseye": ("iptables",),
    "bookworm": ("gcc", "make", "libc6-dev", "curl", "tcsh", "fish"),
    "trixie": ("nftables",),
}
# What is a lab's own comes at boot, in /etc/lab. `$1` is the root.
CUSTOMIZE = r"""set -e
rm -f "$1/etc/hostname" "$1/etc/resolv.conf"
: > "$1/etc/machine-id"
mkdir -p "$1/etc/lab"
ln -sf lab/hosts "$1/etc/hosts"
mkdir -p "$1/root/.kube"
ln -s /etc/lab/kubeconfig "$1/root/.kube/config"
ln -s /etc/lab/kubectl "$1/usr/local/bin/kubectl"
cat > "$1/etc/ssh/sshd_config.d/lab.conf" <<END
AuthorizedKeysFile /etc/lab/authorized_keys
HostKey /etc/lab/ssh_host_ed25519_key
UseDNS no
MaxStartups 100
END
# OpenSSH of Debian 13 shuts out an address that connects often without logging in.
if grep -q trixie "$1/etc/os-release"; then
    echo 'PerSourcePenalties no' >> "$1/etc/ssh/sshd_config.d/lab.conf"
fi
chroot "$1" useradd --create-home --shell /bin/bash --password '*' ops
chroot "$1" useradd --create-home --shell /bin/bash ops-password
echo ops-password:lab | chroot "$1" chpasswd
cat > "$1/etc/sudoers.d/lab" <<END
ops ALL=(ALL:ALL) NOPASSWD: ALL
ops-password ALL=(ALL:ALL) ALL
END
chmod 0440 "$1/etc/sudoers.d/lab"
"""
# In namespaces that end with the build, and with the process that asked for it.
CONFINE = (
    *("setpriv", "--pdeathsig", "KILL", "--"),
    *("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--"),
)


def root(suite: str, more: Sequence[str] = ()) -> Path:
    """Give the folder of a suite's root, built yet or not; `more`: packages besides those of every root."""
    build_commands = repr((PACKAGES, MORE, CUSTOMIZE)).encode()
    own = f"{suite}-{hashlib.sha256(build_commands).hexdigest()[:10]}"
    return cache() / "roots" / "+".join((own, *more))


def cache() -> Path:
    """Give the folder of what labs build once on a machine."""
    caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(caches) / "kube-nginx" / "lab"


def build(suites: Iterable[str], progress: Progress, more: Sequence[str] = ()) -> None:
    """Build the roots that are not in the cache, two at a time.

    Raises LabError with mmdebstrap's last words.
    """
    missing = [suite for suite in dict.fromkeys(suites) if not root(suite, more).is_dir()]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda suite: _build(suite, progress, more), missing))


def _build(suite: str, progress: Progress, more: Sequence[str]) -> None:
    target = root(suite, more)
    draft = target.with_name(f".{suite}.building")
    target.parent.mkdir(parents=True, exist_ok=True)
    what = " with ".join((suite, *more))
    with progress.step(f"building the root of {what}"), locked(target.with_name(f".{suite}.lock")):
        if target.is_dir():
            return
        if draft.exists():
            shutil.rmtree(draft)
        scratch = draft / "tmp"
        scratch.mkdir(parents=True)
        run(
            [*CONFINE, *_command(suite, draft / "root", more)],
            timeout=None,
            env={"TMPDIR": str(scratch)},
        )
        os.sync()
        (draft / "root").rename(target)
        shutil.rmtree(draft)


def _command(suite: str, target: Path, more: Sequence[str]) -> list[str]:
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join((*PACKAGES, *MORE.get(suite, ()), *more))}",
        f"--keyring={KEYRING}",
        f"--customize-hook={CUSTOMIZE}",
        suite,
        str(target),
        *mirror(),
    ]


def mirror() -> list[str]:
    """Find the Debian mirror of this machine's own apt; without one, mmdebstrap knows one."""
    form = "$(ORIGIN) $(COMPONENT) $(CODENAME) $(REPO_URI)"
    result = run(["apt-get", "indextargets", "--format", form], check=False)
    targets = [line.split() for line in result.stdout.splitlines()]
    mirrors = [
        target[3]
        for target in targets
        if target[:2] == ["Debian", "main"] and "-" not in target[2] and "://" in target[3]
    ]
    return mirrors[:1]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Keep others from building the same at the same time: path is a file to hold the lock."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
