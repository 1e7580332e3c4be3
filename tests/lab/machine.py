"""The machine that carries the lab: what it must be, and the Debian packages it needs."""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.lab import cgroups
from tests.lab.progress import Progress

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
TOOLS = {
    "mmdebstrap": "mmdebstrap",
    "systemd-nspawn": "systemd-container",
    "ip": "iproute2",
    "nft": "nftables",
    "ssh": "openssh-client",
}
CAP_SYS_ADMIN = 1 << 21
# A node needs seven, and all of the machine's users who are root share them: 128 are 18 nodes.
INOTIFY = Path("/proc/sys/fs/inotify/max_user_instances")
INOTIFY_LEAST = 1024


class LabError(Exception):
    """The lab cannot do what was asked; the message is for people."""


def run(
    argv: Sequence[str],
    *,
    check: bool = True,
    timeout: float | None = 60,
    stdin: str | None = None,
    env: dict[str, str] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run a command on this machine and capture its output as text.

    timeout is in seconds. env is added to the environment.
    Raises LabError if the command is missing, takes too long or, with check, fails.
    """
    source = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        result = subprocess.run(
            argv,
            check=False,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            env=os.environ | (env or {}),
            **source,
        )
    except FileNotFoundError as error:
        raise LabError(f"no such command: {argv[0]}") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"{' '.join(argv)}: no end after {timeout:g} s") from error
    if check and result.returncode:
        raise LabError(f"{' '.join(argv)}: {last_words(result.stderr or result.stdout)}")
    done: subprocess.CompletedProcess[str] = result
    return done


def last_words(output: str, lines: int = 5) -> str:
    """Give the last non-empty lines of output, or a dash."""
    return "\n".join([line for line in output.splitlines() if line.strip()][-lines:]) or "-"


def missing_packages() -> list[str]:
    """Name the Debian packages that the lab needs and this machine lacks."""
    missing = [package for tool, package in TOOLS.items() if not shutil.which(tool)]
    return missing if KEYRING.exists() else [*missing, "debian-archive-keyring"]


def why_not() -> str | None:
    """Say why a lab cannot run on this machine, or None if it can.

    Packages that `Lab.up` would install by itself are no reason.
    """
    if sys.platform != "linux":
        return f"a lab needs Linux (this is {sys.platform}): its hosts are systemd in namespaces"
    if os.geteuid() != 0:
        return "a lab needs root for its namespaces: sudo fab lab.up" + _install_hint()
    if not _effective_capabilities() & CAP_SYS_ADMIN:
        return "a lab needs CAP_SYS_ADMIN: this container is not privileged"
    if not cgroups.hierarchies():
        return "a lab needs a writable systemd cgroup hierarchy below /sys/fs/cgroup"
    if missing_packages() and not shutil.which("apt-get"):
        return "a lab needs Debian's tools and this machine has no apt-get" + _install_hint()
    return None


def prepare(progress: Progress) -> None:
    """Make sure that a lab can run here, installing missing packages.

    It allows root more inotify instances, until the next boot: without, units hang on a busy machine.
    Raises LabError with the reason, or with apt-get's own last words.
    """
    reason = why_not()
    if reason:
        raise LabError(reason)
    missing = missing_packages()
    if missing:
        with progress.step(f"installing {', '.join(missing)}"):
            _install(missing)
    with suppress(OSError):  # a container may not: then few labs fit beside each other
        if int(INOTIFY.read_text()) < INOTIFY_LEAST:
            INOTIFY.write_text(f"{INOTIFY_LEAST}\n")


def _install(packages: list[str]) -> None:
    command = ["apt-get", "install", "--yes", "--no-install-recommends", *packages]
    env = {"DEBIAN_FRONTEND": "noninteractive"}
    if run(command, check=False, timeout=None, env=env).returncode:
        run(["apt-get", "update"], timeout=None, env=env)
        run(command, timeout=None, env=env)


def _install_hint() -> str:
    missing = missing_packages()
    return f"; it lacks packages: apt-get install {' '.join(missing)}" if missing else ""


def _effective_capabilities() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("CapEff:")[1].split()[0], 16)
