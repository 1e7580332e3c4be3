"""What a walk acts on: one node of a lab, its apiservers, the hosts.toml that the walk writes, and `fab`."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from signal import SIGKILL

from tests.conftest import ROOT, Ran, forks
from tests.lab.lab import Lab
from tests.lab.nodes import Node

UNIT = "kube-nginx.service"
PREFIXES = "/opt/k8s/kube-nginx", "/opt/proxies/kube-nginx"
USERS = "kube-nginx", "other", ""
MIRRORS = {"1.26.3": "apt:trixie", "1.22.1": "apt:bookworm"}
HERE = "127.0.0.1:8443"
LISTENERS = {
    "one": [HERE],
    "other": ["127.0.0.1:9443"],
    "two": [HERE, "[::1]:8443"],
    "outside": [HERE, "{node}:8443"],
    "everywhere": ["0.0.0.0:8443"],  # which cannot be bound while 127.0.0.1:8443 is
    "everywhere6": ["[::]:8443"],
    "nowhere": [HERE, "198.51.100.7:8443"],  # no address of the node
}
BAD = ("nowhere",)
TIMEOUT, SETTLE = 8, 1
SERVERS = {
    "1": "lab-api-1:6443",
    "2": "lab-api-2:6443",
    "3": "lab-api-3:6443",
    "refused": "lab-api-1:6444",  # nobody listens there
    "silent": "{silent}:6443",  # no host has that address
}
LIVE = "123"


@dataclass(frozen=True)
class Spec:
    """What hosts.toml says, in the walk's words: names of SERVERS and of LISTENERS, the rest as it is."""

    servers: tuple[str, ...] = ("1", "2", "3")
    listen: str = "one"
    version: str = "1.26.3"
    user: str = "kube-nginx"
    profile: str = "recommended"
    prefix: str = PREFIXES[0]
    max_fails: int = 2

    @property
    def good(self) -> bool:
        """Whether a node can be what it says, as far as its listeners go."""
        return self.listen not in BAD


@dataclass
class World:
    """The node and all around it. `folder` is for the walk's own files."""

    lab: Lab
    node: Node
    folder: Path
    spec: Spec = Spec()
    servers: dict[str, str] = field(default_factory=lambda: dict.fromkeys(LIVE, "up"))
    """Which apiserver is up, paused or stopped."""
    cut: bool = False
    """Whether a `fab` was cut off, and no deploy has ended well since."""

    @property
    def hosts(self) -> Path:
        """The hosts.toml."""
        return self.folder / "hosts.toml"

    def write(self) -> None:
        """Writes hosts.toml as the spec is now."""
        spec = self.spec
        silent = self.node.address.rpartition(".")[0] + ".250"
        servers = [SERVERS[name].format(silent=silent) for name in spec.servers]
        self.hosts.write_text(
            f'profile = "{spec.profile}"\nnodes = ["{self.node.name}"]\n'
            f'apiservers = {_strings(servers)}\n[ssh]\nconfig = "{self.lab.ssh_config}"\n'
            f'[build]\nversion = "{spec.version}"\nmirrors = ["{MIRRORS[spec.version]}"]\nstatic = true\n'
            f'[proxy]\nprefix = "{spec.prefix}"\nuser = "{spec.user}"\nmax_fails = {spec.max_fails}\n'
            f"listen = {_strings(self.listen)}\n[rollout]\nsettle = {SETTLE}\ntimeout = {TIMEOUT}\n"
        )

    @property
    def listen(self) -> list[str]:
        """The listeners that hosts.toml says."""
        return [text.format(node=self.node.address) for text in LISTENERS[self.spec.listen]]

    def living(self, servers: set[str] | tuple[str, ...]) -> set[str]:
        """Which of these apiservers answer."""
        return {name for name in servers if self.servers.get(name) == "up"}

    @property
    def fair(self) -> bool:
        """Whether connections meet an apiserver that answers: `hash` may go to one that hangs, always."""
        spec = self.spec
        hung = any(self.servers.get(name) == "paused" for name in spec.servers)
        return bool(self.living(spec.servers)) and not (hung and spec.profile == "runbook")

    def server(self, name: str, verb: str) -> None:
        """Has an apiserver start, stop, pause or resume, if that is another state than it is in."""
        host = self.lab.apiservers[int(name) - 1]
        state = self.servers[name]
        if verb in ("start", "resume", "up"):
            host.resume()
            host.start()
            self.servers[name] = "up"
        elif verb == "stop" and state != "stopped":
            host.stop()
            self.servers[name] = "stopped"
        elif verb == "pause" and state == "up":
            host.pause()
            self.servers[name] = "paused"

    def begin(self, *arguments: str) -> subprocess.Popen[str]:
        """Starts `fab`, in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "fabric", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env=self._environment,
        )

    @property
    def _environment(self) -> dict[str, str]:
        return {**os.environ, "KUBE_NGINX_HOSTS": str(self.hosts), "COLUMNS": "200"}

    def fab(self, *arguments: str, timeout: float = 400) -> Ran:
        """Runs `fab` to its end."""
        try:
            return Ran(*forks().run([*arguments], "", ROOT, self._environment, timeout))
        except subprocess.TimeoutExpired as late:
            return Ran(-SIGKILL, str(late.output), f"\n(the walk: no end after {timeout:g} s)\n")

    def ended(self, process: subprocess.Popen[str], timeout: float = 400) -> Ran:
        """Waits for the end of a `fab` that was begun."""
        try:
            out, err = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            out, err = process.communicate()
            err += f"\n(the walk: no end after {timeout:g} s)\n"
        return Ran(process.returncode, out, err)


def _strings(texts: list[str]) -> str:
    return "[" + ", ".join(f'"{text}"' for text in texts) + "]"
