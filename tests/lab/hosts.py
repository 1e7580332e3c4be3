"""What all of the lab's hosts have in common."""

import shutil
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from subprocess import CalledProcessError, CompletedProcess
from typing import ClassVar

from tests.lab.cgroups import Cgroup
from tests.lab.machine import LabError, last_words, run
from tests.lab.network import Port, Switch, subnet

BOOT = 60.0
AT_ONCE = 3.0
POLL = 0.05


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
    def addresses(self) -> tuple[str, str]:
        """Both."""
        return self.address, self.address6

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

    def pause(self) -> None:
        """Have all that it runs stand still: its kernel accepts connections, and nothing answers."""
        self._cgroup.send(signal.SIGSTOP)

    def resume(self) -> None:
        """Undo `pause`."""
        self._cgroup.send(signal.SIGCONT)

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
