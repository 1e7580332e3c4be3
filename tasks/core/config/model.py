"""What hosts.toml says, as frozen dataclasses.

Their defaults are those of profile `recommended`; profile `runbook` starts from `RUNBOOK_BUILD` and
`RUNBOOK_PROXY` instead. `settings` reads and checks them.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from .address import Endpoint, NodeSpec
from .rules import PINS

LOCAL = "local"
REMOTE_WORK_DIR = "/opt/k8s/work"
"""Where an SSH host builds: the runbook's folder."""

HostKeys = Literal["strict", "accept-new"]


def expanded(text: str) -> Path:
    """`text` with ~ replaced where a home is known; unlike Path.expanduser it never raises."""
    return Path(os.path.expanduser(text))


@dataclass(frozen=True, slots=True)
class Ssh:
    """How to log in. "" and 0 mean "not set": ssh_config decides, else Fabric's settings, else root and 22.

    `config` and `identity` are paths with ~ expanded, relative ones from the folder of hosts.toml;
    they need not exist yet. `config` is None if no ssh_config is to be read (`config = ""`).
    `connect_timeout` is in seconds.
    """

    user: str = ""
    port: int = 0
    identity: str = ""
    config: Path | None = field(default_factory=lambda: expanded("~/.ssh/config"))
    gateway: str = ""
    host_keys: HostKeys = "strict"
    sudo: bool = False
    connect_timeout: int = 10


@dataclass(frozen=True, slots=True)
class Build:
    """What is compiled, from where, on which hosts (`local`, or SSH hosts in a node's notation).

    `sha256` is that of nginx-`version`.tar.gz. `mirrors` are URLs that end in / or apt:SUITE.
    """

    version: str = "1.30.6"
    sha256: str = PINS["1.30.6"]
    mirrors: tuple[str, ...] = ("https://nginx.org/download/",)
    hosts: tuple[str, ...] = (LOCAL,)
    work_dir: str = ""
    static: bool = False

    def work_dir_for(self, host: str) -> str:
        """The absolute folder in which `host`, one of `hosts`, builds.

        Unless `work_dir` is set: on this machine the user's cache folder (XDG Base Directory
        Specification), elsewhere the runbook's /opt/k8s/work.
        """
        if self.work_dir or host != LOCAL:
            return self.work_dir or REMOTE_WORK_DIR
        cache = os.environ.get("XDG_CACHE_HOME", "")
        return str((Path(cache) if os.path.isabs(cache) else expanded("~/.cache")) / "kube-nginx")


@dataclass(frozen=True, slots=True)
class Proxy:
    """kube-nginx.conf and its unit. Times are nginx's (`3s`); "" leaves a directive out.

    `user` is the unprivileged user and group of the whole unit; "" runs it as root.
    """

    prefix: str = "/opt/k8s/kube-nginx"
    listen: tuple[Endpoint, ...] = (Endpoint("127.0.0.1", 8443),)
    balance: str = "random two least_conn"
    max_fails: int = 2
    fail_timeout: str = "2s"
    connect_timeout: str = "1s"
    proxy_timeout: str = "10m"
    worker_processes: int = 1
    worker_connections: int = 4096
    worker_shutdown_timeout: str = "10s"
    user: str = "kube-nginx"


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a change travels over the fleet. Counts are of nodes, times in seconds.

    `parallel`: how many nodes are worked on at a time.
    `canary`: how many are activated before all others; 0: none.
    `batch`: how many are activated at a time after that: a number, or a percentage ("25%") of all that
    are to be activated, rounded up.
    `pause`: the wait between batches.
    `max_failures`: when more nodes than this have failed in activation, no further batch starts.
    `timeout`: what a node has to show that what was activated works.
    `settle`: what a newly started process must live before it counts as working; less than `timeout`.
    `keep`: how many releases stay on a node; at least 2, so that there is one to go back to.
    """

    parallel: int = 32
    canary: int = 1
    batch: int | str = "25%"
    pause: int = 0
    max_failures: int = 0
    timeout: int = 20
    settle: int = 3
    keep: int = 3


@dataclass(frozen=True, slots=True)
class Check:
    """How `fab check` looks. `timeout` is what one try may take, in seconds.

    `ca` is a file of certificates in PEM, with ~ expanded, a relative one from the folder of hosts.toml;
    those of apiservers must verify against it. None: not looked at.
    """

    ca: Path | None = None
    timeout: int = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """hosts.toml, checked. `path` is the file as it was given, `given` the keys of its tables, dotted."""

    path: Path | None
    profile: str
    nodes: tuple[NodeSpec, ...]
    apiservers: tuple[Endpoint, ...]
    ssh: Ssh = field(default_factory=Ssh)
    build: Build = field(default_factory=Build)
    proxy: Proxy = field(default_factory=Proxy)
    rollout: Rollout = field(default_factory=Rollout)
    check: Check = field(default_factory=Check)
    given: frozenset[str] = frozenset()

    def sets_ssh(self, key: str) -> bool:
        """Whether the file says what ssh.`key` is; what it leaves out, Fabric's settings may say."""
        return f"ssh.{key}" in self.given or getattr(self.ssh, key) != getattr(Ssh(), key)


RUNBOOK_BUILD = Build(
    version="1.15.3",
    sha256=PINS["1.15.3"],
    mirrors=("http://nginx.org/download/",),
    work_dir=REMOTE_WORK_DIR,
)
RUNBOOK_PROXY = Proxy(
    balance="hash $remote_addr consistent",
    max_fails=3,
    fail_timeout="30s",
    proxy_timeout="",
    worker_connections=1024,
    worker_shutdown_timeout="",
    user="",
)
