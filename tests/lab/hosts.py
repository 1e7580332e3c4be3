"""The lab's hosts: what all have in common, and nodes, which are whole systems."""

import shutil
import signal
import socket
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from subprocess import CalledProcessError, CompletedProcess
from typing import ClassVar

from tests.lab import cgroups, keys, kubernetes, roots
from tests.lab.cgroups import Cgroup
from tests.lab.machine import LabError, last_words, run
from tests.lab.network import Port, Switch, subnet

RUNNING = ("running", "degraded")
BOOT = 60.0
RECOVERY = 10.0
AT_ONCE = 3.0
POLL = 0.05
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROPAGATE = Path("/run/systemd/nspawn/propagate")
KUBERNETES = "/opt/kubernetes"
# In a mount namespace of its own, so that the mount ends with the node, however that ends.
ON_OVERLAY = 'mount -t overlay overlay -o "$1" "$2" && shift 2 && exec "$@"'
LEGACY = ("SYSTEMD_CGROUP_ENABLE_LEGACY_FORCE=1", "systemd.unified_cgroup_hierarchy=0")


@dataclass(frozen=True)
class Host(ABC):
    """What nodes and apiservers have in common; lab is the lab's name, state its folder."""

    lab: str
    number: int
    state: Path

    kind: ClassVar[str]
    first_address: ClassVar[int]

    @property
    def name(self) -> str:
        """The host's name, the same in every lab: lab-node-1."""
        return f"lab-{self.kind}-{self.number}"

    @property
    def netns(self) -> str:
        """The network namespace, as `ip netns` lists it; also the cgroup and machine name."""
        return f"kn-{self.lab}-{self.kind}-{self.number}"

    @property
    def address(self) -> str:
        """The IPv4 address."""
        return str(self._addresses[0])

    @property
    def address6(self) -> str:
        """The IPv6 address."""
        return str(self._addresses[1])

    @property
    def folder(self) -> Path:
        """The host's part of the lab's state."""
        return self.state / "hosts" / self.name

    @property
    def log(self) -> Path:
        """What the host's process printed."""
        return self.folder / "log"

    @property
    def port(self) -> Port:
        """The host's place on the lab's switch."""
        switch = Switch(f"kn-{self.lab}", subnet(self.lab))
        return Port(switch, self.netns, f"{self.kind}-{self.number}", self._addresses)

    def exec(
        self, argv: Sequence[str], *, timeout: float = 30, stdin: str | None = None
    ) -> CompletedProcess[str]:
        """Run a command of this machine, with its files, in the host's network namespace.

        timeout is in seconds. A failed command is no error: see returncode.
        Raises LabError if the command is missing or takes too long.
        """
        command = ["ip", "netns", "exec", self.netns, *argv]
        return run(command, check=False, timeout=timeout, stdin=stdin)

    def is_alive(self) -> bool:
        """Tell whether the host has processes."""
        return bool(self._cgroup.pids())

    def is_ready(self) -> bool:
        """Tell whether the host is on the network and does its work."""
        if not (self.port.is_wired() and self.port.is_plugged() and self.is_alive()):
            return False
        try:
            self._wait(AT_ONCE)
        except LabError:
            return False
        return True

    def start(self) -> None:
        """Start the host and wait until it works; one that works is left alone.

        Raises LabError with the log's last words if it does not.
        """
        if not self.port.is_wired():
            self._kill()
            self.port.wire()
        self.port.plug()
        self.port.let_back()
        if self.is_alive() and self._recovers():
            return
        self._kill()
        self._launch()
        self._wait(BOOT)

    def stop(self) -> None:
        """End the host's processes at once, without any goodbye."""
        self._kill()

    def remove(self) -> None:
        """End the host, and remove all that it had."""
        self._kill()
        self.port.unwire()
        shutil.rmtree(self.folder, ignore_errors=True)

    @abstractmethod
    def _command(self) -> list[str]:
        """Prepare the host's files and say what to run inside its cgroup."""

    @abstractmethod
    def _wait(self, seconds: float) -> None:
        """Wait until the host works; raise LabError if it does not in time."""

    @abstractmethod
    def _recovers(self) -> bool:
        """Tell whether a living host works, or will after the start that is under way."""

    def _launch(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        try:
            self._cgroup.start(self._command(), self.log)
        except (OSError, CalledProcessError) as error:
            raise LabError(f"{self.name}: cannot start: {error}") from error

    def _kill(self) -> None:
        try:
            self._cgroup.kill()
        except TimeoutError as error:
            raise LabError(str(error)) from error

    def _until(self, ready: Callable[[], bool], deadline: float, what: str) -> None:
        while not ready():
            if time.monotonic() > deadline:
                raise LabError(f"{self.name}: {what} in time; its log is {self.log}")
            if not self.is_alive():
                said = self.log.read_text(errors="replace") if self.log.exists() else ""
                raise LabError(f"{self.name} ended by itself: {last_words(said)}")
            time.sleep(POLL)

    @property
    def _addresses(self) -> tuple[IPv4Address, IPv6Address]:
        return subnet(self.lab)[self.first_address + self.number]

    @property
    def _cgroup(self) -> Cgroup:
        return Cgroup(self.netns)


@dataclass(frozen=True)
class Node(Host):
    """A Debian system with systemd as PID 1 and sshd on port 22.

    Its disk is an overlay over the cached root; it lasts from boot to boot, until the node is
    removed or `reset`.
    """

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
        lower = roots.root(self.suite)
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
