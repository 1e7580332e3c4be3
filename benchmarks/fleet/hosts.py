"""The hosts of a run, as contenders are told of them."""

from __future__ import annotations

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path

from rich.console import Console

from tasks.core.config.settings import load
from tasks.core.nginx import store
from tests.lab import machine, roots
from tests.lab.lab import Lab
from tests.lab.machine import LabError
from tests.lab.progress import Progress

SUITE = "bookworm"
ROOT = Path(__file__).parents[2]
LAB = ROOT / "hosts.toml"
FIRST = IPv4Address("127.1.0.1")
SSH_CONFIG = """\
Host {name}
    HostName {address}
    User root
    Port 22
    IdentityFile {folder}/id_ed25519
    IdentitiesOnly yes
    UserKnownHostsFile {folder}/known_hosts
    StrictHostKeyChecking yes

"""
TOML = """\
nodes = {names}
apiservers = ["198.18.0.1:6443", "198.18.0.2:6443", "198.18.0.3:6443"]

[ssh]
config = "{folder}/ssh_config"

[build]
version = "1.26.3"
static = true

[watch]
enabled = false
"""


@dataclass(frozen=True, slots=True)
class Hosts:
    """Hosts by name, each with its address; `prefix` is what a command begins with that is to reach them.

    `folder` has ssh_config, known_hosts, id_ed25519, hosts.toml, and all of that in hosts.json.
    """

    folder: Path
    addresses: Mapping[str, str]
    prefix: tuple[str, ...] = ()

    @property
    def env(self) -> dict[str, str]:
        """The variables of a contender, whose home is empty; binaries that were built are found."""
        own = {"HOME": str(self.folder), "XDG_CACHE_HOME": str(caches()), "PYTHONPATH": str(ROOT)}
        user = {"USER": "root", "LOGNAME": "root", "LANG": "C.UTF-8", "PATH": os.environ["PATH"]}
        return own | user | {"KUBE_NGINX_HOSTS": str(self.folder / "hosts.toml")}

    def fab(self, *words: str) -> str:
        """What a task of ours says that is not measured. Raises LabError, with its last words."""
        command = [*self.prefix, sys.executable, "-m", "fabric", *words]
        ran = subprocess.run(
            command, cwd=self.folder, env=self.env, capture_output=True, text=True, check=False
        )
        if ran.returncode:
            raise LabError(f"fab {' '.join(words)}: {machine.last_words(ran.stdout + ran.stderr, 30)}")
        return ran.stdout

    def write(self, ssh_config: str) -> None:
        """Write what does not depend on keys."""
        (self.folder / "ssh_config").write_text(ssh_config)
        (self.folder / "hosts.json").write_text(json.dumps(self.addresses))
        (self.folder / "fabfile.py").write_text("from tasks import ns\n\n__all__ = ['ns']\n")


def caches() -> Path:
    """Where what is made once is kept (XDG Base Directory Specification)."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


@contextmanager
def light(count: int, delay: float) -> Iterator[Hosts]:
    """So many addresses of one sshd, which answers after so many seconds, for as long as the block runs.

    Raises LabError where that cannot be.
    """
    machine.prepare(progress := Progress(Console(stderr=True)))
    roots.build([SUITE], progress)
    with tempfile.TemporaryDirectory(prefix="kube-nginx-fleet.") as name:
        folder = Path(name)
        addresses = {f"node-{number + 1}": str(FIRST + number) for number in range(count)}
        names = json.dumps([*addresses])
        (folder / "hosts.toml").write_text(TOML.format(names=names, folder=folder))
        # when this process is gone, whatever became of it, so is standard input, and all of the namespace
        apart = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
        script = [sys.executable, "-m", "benchmarks.fleet.light", str(folder), str(roots.root(SUITE))]
        with subprocess.Popen(
            [*apart, *script], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        ) as server:
            try:
                if server.stdout and server.stdout.readline() != b"ready\n":
                    raise LabError("light hosts do not start: see above")
                (folder / "home" / "delay").write_text(f"{delay:g}")
                key = (folder / "host_key.pub").read_text()
                known = "".join(f"{address} {key}" for address in addresses.values())
                (folder / "known_hosts").write_text(known)
                hosts = Hosts(folder, addresses, ("nsenter", f"--net=/proc/{server.pid}/ns/net"))
                hosts.write(
                    "".join(
                        SSH_CONFIG.format(name=name, address=address, folder=folder)
                        for name, address in addresses.items()
                    )
                )
                yield hosts
            finally:
                if server.stdin:
                    server.stdin.close()
                server.wait()


@contextmanager
def real(count: int, name: str) -> Iterator[Hosts]:
    """The nodes of a lab, which is there for this only unless it was up. Raises LabError.

    Those that it starts have a python3, which Ansible's modules are made of; no other lab's have one.
    """
    lab = Lab(name, packages=("python3",), progress=Progress(Console(stderr=True)))
    was_up = lab.ssh_config.exists()
    with tempfile.TemporaryDirectory(prefix="kube-nginx-fleet.") as temporary:
        folder = Path(temporary)
        try:
            lab.up(count)
            hosts = Hosts(folder, {node.name: node.address for node in lab.nodes})
            for file in ("id_ed25519", "known_hosts"):
                shutil.copy(lab.state / file, folder)
            hosts.write(lab.ssh_config.read_text())
            text = re.sub(r"nodes = \[.*?\]", f"nodes = {json.dumps([*hosts.addresses])}", LAB.read_text())
            text = text.replace("/run/kube-nginx-lab/lab/", f"{folder}/")
            (folder / "hosts.toml").write_text(text)
            hosts.fab("build", "render", "--to", str(folder))
            shutil.copy(_binary(folder / "hosts.toml"), folder / "kube-nginx")
            with tarfile.open(folder / "files.tar", "w") as tar:
                for file in ("kube-nginx", "kube-nginx.conf", "kube-nginx.service"):
                    tar.add(folder / file, file)
            yield hosts
        finally:
            if not was_up:
                lab.down()


def _binary(toml: Path) -> str:
    binary = store.find(load(toml), platform.machine())
    if binary is None:
        raise LabError("no binary has been built")
    return binary.path
