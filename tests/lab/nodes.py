"""The lab's nodes: whole Debian systems."""

import shutil
import signal
import socket
import time
from collections.abc import Container
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from tests.lab import cgroups, keys, kubernetes, roots
from tests.lab.hosts import Host
from tests.lab.machine import LabError, last_words, run

RUNNING = ("running", "degraded")
RECOVERY = 10.0
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROPAGATE = Path("/run/systemd/nspawn/propagate")
KUBERNETES = "/opt/kubernetes"
# In a mount namespace of its own, so that the mount ends with the node, however that ends.
ON_OVERLAY = 'mount -t overlay overlay -o "$1" "$2" && shift 2 && exec "$@"'
LEGACY = ("SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0")


@dataclass(frozen=True)
class Node(Host):
    """A Debian system with systemd as PID 1 and sshd on port 22.

    Its disk is an overlay over the cached root; it lasts from boot to boot, until the node is
    removed or `reset`. packages: Debian's, besides those that each node has.
    """

    packages: tuple[str, ...] = ()

    kind = "node"
    first_address = 10

    @property
    def suite(self) -> str:
        """The Debian release: bullseye, bookworm or trixie."""
        return roots.SUITES[(self.number - 1) % len(roots.SUITES)]

    @property
    def known_host(self) -> str:
        """The node's line of known_hosts, by name and by addresses."""
        public = keys.ssh_key(self._etc / "ssh_host_ed25519_key")
        return f"{self.name},{self.address},{self.address6} {public}"

    def ssh(
        self, command: str, *, user: str = "root", timeout: float = 60, stdin: str | None = None
    ) -> CompletedProcess[str]:
        """Run a shell command on the node by the ssh client and the lab's ssh_config.

        timeout is in seconds. A failed command is no error: see returncode, 255 is ssh's own.
        Raises LabError if it takes too long.
        """
        return self._ssh(self.state / "ssh_config", command, user, timeout, stdin)

    def enter(self, script: str, *, timeout: float = 60) -> str:
        """Run shell text on the node as root, without SSH, and give its output; timeout is in seconds.

        Raises LabError if it fails or takes too long, or if the node is off.
        """
        init = self.init()
        inside = ["nsenter", f"--target={init}", "--all", "--", "env", "--ignore-environment"]
        return run([*inside, f"PATH={PATH}", "sh", "-c", script], timeout=timeout).stdout

    def init(self) -> int:
        """Give the number that the node's PID 1 has on this machine; raises LabError if it is off."""
        init = self._cgroup.init()
        if init is None:
            raise LabError(f"{self.name} is off")
        return init

    def pids(self, command: str) -> set[int]:
        """List the node's processes that run the command of this (short) name, by this machine's numbers."""
        return self._cgroup.pids(command)

    def send_signal(self, number: signal.Signals, commands: Container[str]) -> None:
        """Send a signal to the node's processes that run one of the commands, by their short names."""
        self._cgroup.send(number, commands)

    def is_ready(self) -> bool:
        """Tell whether the node works and systemd-nspawn is there, without which it lives on."""
        return self._cgroup.runs("systemd-nspawn") and super().is_ready()

    def stop(self) -> None:
        """Cut the power: all processes end at once, the address answers no more, the disk stays."""
        self.port.unplug()
        super().stop()

    def remove(self) -> None:
        """End the node, and remove all that it had, what systemd-nspawn left behind included."""
        super().remove()
        shutil.rmtree(PROPAGATE / self.netns, ignore_errors=True)

    def reset(self) -> None:
        """Cut the power, put in a fresh disk and boot; raises LabError as `start` does."""
        self.stop()
        shutil.rmtree(self._disk)
        self.start()

    def system_state(self) -> str:
        """Give what `systemctl is-system-running` says, or `off` or `unreachable`."""
        if not self.is_alive():
            return "off"
        try:
            return self._systemctl("is-system-running", 5).stdout.strip() or "unreachable"
        except LabError:
            return "unreachable"

    @property
    def kubeconfig(self) -> Path:
        """What kubectl on the node is told, which this machine's kubectl can be told as well."""
        return self._etc / "kubeconfig"

    def prepare(self, hosts: str, kubeconfig: bytes = b"") -> None:
        """Write what the node finds in /etc/lab: hosts is its /etc/hosts; no kubeconfig, no kubectl.

        A node whose own key is lost cannot be reached any more: it is ended.
        """
        if not (self._etc / "ssh_host_ed25519_key").exists():
            self._kill()
        self._etc.mkdir(parents=True, exist_ok=True)
        keys.ssh_key(self._etc / "ssh_host_ed25519_key")
        keys.write(self._etc / "authorized_keys", f"{self._authorized}\n".encode())
        keys.write(self._etc / "hosts", hosts.encode())
        kubectl = self._etc / "kubectl"
        if kubeconfig:
            keys.write(self.kubeconfig, kubeconfig)
            kubectl.unlink(missing_ok=True)
            kubectl.symlink_to(f"{KUBERNETES}/{kubernetes.folder().name}/kubectl")
        else:
            self.kubeconfig.unlink(missing_ok=True)
            kubectl.unlink(missing_ok=True)

    def _command(self) -> list[str]:
        lower = roots.root(self.suite, self.packages)
        disk = self._disk / lower.name
        upper, work, merged = (disk / part for part in ("upper", "work", "merged"))
        for part in (upper, work, merged):
            part.mkdir(parents=True, exist_ok=True)
        return [
            *("unshare", "--mount", "--propagation=slave", "--"),
            *("sh", "-c", ON_OVERLAY, "sh"),
            f"lowerdir={lower},upperdir={upper},workdir={work}",
            str(merged),
            "systemd-nspawn",
            "--quiet",
            "--settings=no",
            f"--directory={merged}",
            f"--network-namespace-path=/run/netns/{self.netns}",
            f"--machine={self.netns}",
            f"--hostname={self.name}",
            f"--bind-ro={self._etc}:/etc/lab",
            f"--bind-ro={kubernetes.cache()}:{KUBERNETES}",
            "--register=no",
            "--keep-unit",
            "--link-journal=no",
            "--resolv-conf=off",
            "--timezone=off",
            "--capability=CAP_NET_ADMIN",  # as root of a real node has, for a firewall of its own
            "--boot",
            *(() if cgroups.is_unified() else LEGACY),
        ]

    def _wait(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        self._until(self._greets, deadline, "sshd does not answer")
        left = max(1.0, deadline - time.monotonic())
        result = self._systemctl("is-system-running --wait", left)
        if result.stdout.strip() not in RUNNING:
            said = result.stdout.strip() or last_words(result.stderr)
            raise LabError(f"{self.name} does not come up: {said}")

    def _recovers(self) -> bool:
        if not self._cgroup.runs("systemd-nspawn"):
            return False
        try:
            self._wait(RECOVERY)
        except LabError:
            return False
        return True

    def _greets(self) -> bool:
        try:
            with socket.create_connection((self.address, 22), timeout=1) as connection:
                return connection.recv(4) == b"SSH-"
        except OSError:
            return False

    def _systemctl(self, arguments: str, seconds: float) -> CompletedProcess[str]:
        draft = self.state / "ssh_config.draft"
        return self._ssh(draft, f"systemctl {arguments}", "root", seconds, None)

    def _ssh(
        self, config: Path, command: str, user: str, timeout: float, stdin: str | None
    ) -> CompletedProcess[str]:
        options = ["-F", str(config), "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
        argv = ["ssh", *options, "-l", user, self.name, command]
        return run(argv, check=False, timeout=timeout, stdin=stdin)

    @property
    def _disk(self) -> Path:
        return self.folder / "disk"

    @property
    def _etc(self) -> Path:
        return self.folder / "etc"

    @property
    def _authorized(self) -> str:
        return keys.ssh_key(self.state / "id_ed25519")
