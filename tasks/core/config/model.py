"""What hosts.toml says, as frozen dataclasses: each key with its default, its check and its meaning.

The defaults are those of profile `recommended`; `PROFILES` has what profile `runbook` sets instead.
`sections` reads them, and docs/settings.md is written from them.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Literal, cast

from . import address, places, rules
from .address import Endpoint, NodeSpec, parse_node, parse_user
from .validation import boolean, choice, integer, key, keys_of, optional, parsed, string

LOCAL = "local"
REMOTE_WORK_DIR = "/opt/k8s/work"  # where an SSH host builds: the runbook's folder

PORT = integer(1, 65535)
HostKeys = Literal["strict", "accept-new"]


def expanded(text: str) -> Path:
    """`text` with ~ replaced where a home is known; unlike Path.expanduser it never raises."""
    return _expanded(text, os.environ.get("HOME") if text.startswith("~") else None)


@lru_cache(maxsize=256)  # each node has the same ten or so
def _expanded(text: str, home: str | None) -> Path:
    return Path(os.path.expanduser(text))


@parsed
def _ssh_host(text: str) -> str:
    parse_node(text)
    return text


def _file(value: object) -> Path | None:
    """A path with ~ expanded; "" for none."""
    return expanded(string(value)) if value != "" else None


def _seconds(low: int, high: int) -> Callable[[object], int]:
    return integer(low, high, " (seconds)")


@dataclass(frozen=True, slots=True)
class Ssh:
    """How to log in. "" and 0 mean "not set": ssh_config decides, else Fabric's settings, else root and 22.

    `config` and `identity` are paths with ~ expanded, relative ones from the folder of hosts.toml;
    they need not exist yet; None: not set, or no ssh_config is to be read.
    """

    user: str = key("", optional(parse_user), "who logs in")
    port: int = key(0, PORT, "of sshd; leave it out rather than write 0")
    identity: Path | None = key(None, _file, "a private key")
    config: Path | None = key(
        cast(Path, lambda: expanded("~/.ssh/config")),
        _file,
        '`""`: none; ProxyJump, ProxyCommand, IdentityFile, UserKnownHostsFile, HostKeyAlias, ... are obeyed',
    )
    gateway: str = key("", optional(_ssh_host), "a jump host for all nodes")
    host_keys: HostKeys = key(
        "strict",
        choice("strict", "accept-new"),
        "or `accept-new`: record unknown keys; not set: StrictHostKeyChecking; changed ones are refused",
    )
    sudo: bool = key(
        False, boolean, "act as root through sudo; a password: `fab --prompt-for-sudo-password TASK`"
    )
    connect_timeout: int = key(10, _seconds(1, 600), "seconds")


@dataclass(frozen=True, slots=True)
class Build:
    """What is compiled, from where, on which hosts."""

    version: str = key("1.30.6", rules.version, f"of nginx; {' '.join(rules.PINS)} are pinned")
    sha256: str = key(
        rules.PINS["1.30.6"], optional(rules.sha256), "of nginx-VERSION.tar.gz; needed if it is not pinned"
    )
    mirrors: tuple[str, ...] = key(
        ("https://nginx.org/download/",),
        rules.mirror,
        "URL prefixes, `file:///folder/`, or `apt:SUITE` (Debian's archive)",
    )
    hosts: tuple[str, ...] = key(
        (LOCAL,), _ssh_host, "this machine, or SSH hosts: one for each architecture of the nodes"
    )
    work_dir: str = key(
        "",
        optional(places.work_dir),
        "`~/.cache/kube-nginx` here, `/opt/k8s/work` on SSH hosts; nobody else may write there",
    )
    static: bool = key(False, boolean, "one binary for all distributions")

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
    """kube-nginx.conf and its unit. Times are nginx's (`3s`); "" leaves a directive out."""

    prefix: str = key("/opt/k8s/kube-nginx", places.prefix, "a folder of its own: `uninstall` removes it")
    listen: tuple[Endpoint, ...] = key(
        (Endpoint("127.0.0.1", 8443),), parsed(address.listener), "where kubelet and kube-proxy connect"
    )
    balance: str = key(
        "random two least_conn",
        rules.balance,
        '`"round robin"`, `least_conn`, `"hash $VARIABLE [consistent]"`, `random [two]`',
    )
    max_fails: int = key(2, integer(0, 1000), "failed connects until an apiserver is left alone")
    fail_timeout: str = key("2s", rules.whole_seconds, "within which they count, and for how long; no ms")
    connect_timeout: str = key("1s", rules.duration, "what one connect to an apiserver may take")
    proxy_timeout: str = key(
        "10m", optional(rules.duration), "after which a session without a byte is closed"
    )
    worker_processes: int = key(1, integer(1, 512), "nginx's own")
    worker_connections: int = key(
        4096,
        integer(16, 65000, ": each is a file, and the unit allows 65536 (LimitNOFILE)"),
        "two for each session",
    )
    worker_shutdown_timeout: str = key(
        "10s", optional(rules.duration), "what sessions have to end after a reload"
    )
    user: str = key("kube-nginx", optional(rules.account), '`""`: the service runs as root')


@dataclass(frozen=True, slots=True)
class Rollout:
    """How a change travels over the fleet. Counts are of nodes."""

    parallel: int = key(32, integer(1, 1000), "nodes that are worked on at a time")
    canary: int = key(
        1, rules.canary, "nodes that are activated before all others: one of them must work; 0: none"
    )
    batch: int | str = key(
        "25%",
        rules.batch,
        "nodes at a time after those: a number, or a share, rounded up; first installs go together",
    )
    pause: int = key(0, _seconds(0, 86400), "seconds between batches")
    max_failures: int = key(
        0,
        rules.max_failures,
        "when more nodes than this, or all canaries, have failed, no further batch begins",
    )
    timeout: int = key(20, _seconds(5, 600), "seconds a node has to show that what was activated works")
    settle: int = key(
        3, _seconds(0, 60), "seconds a new process must live to count as working; less than timeout"
    )
    keep: int = key(
        3,
        integer(2, 50, ": the one that runs, and one to go back to"),
        "releases that stay on a node, 2 or more",
    )


@dataclass(frozen=True, slots=True)
class Check:
    """How `fab check` looks. Files are paths with ~ expanded; None: not looked at."""

    ca: Path | None = key(None, _file, "certificates (PEM) against which those of apiservers must verify")
    kubeconfig: Path | None = key(None, _file, "for kubectl here: the cluster beside which hosts.toml is put")
    timeout: int = key(3, _seconds(1, 60), "seconds that one try of `check` or `status` may take, all of it")


@dataclass(frozen=True, slots=True)
class Watch:
    """kube-nginx-watch, which has nginx pass by an apiserver that no longer answers."""

    enabled: bool = key(True, boolean, "a service beside nginx, where the node can do it")
    metrics: str = key(
        "", optional(places.metrics), "a file for node_exporter, `/var/lib/node_exporter/kube-nginx.prom`"
    )


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
    watch: Watch = field(default_factory=Watch)
    check: Check = field(default_factory=Check)
    given: frozenset[str] = frozenset()

    def sets_ssh(self, key: str) -> bool:
        """Whether the file says what ssh.`key` is; what it leaves out, Fabric's settings may say."""
        return f"ssh.{key}" in self.given or getattr(self.ssh, key) != getattr(Ssh(), key)


SECTIONS: dict[str, type] = {
    table.__name__.lower(): table for table in (Ssh, Build, Proxy, Watch, Rollout, Check)
}
PROFILES: dict[str, dict[str, Build | Proxy | Watch]] = {
    "recommended": {},
    "runbook": {
        "build": Build(
            version="1.15.3",
            sha256=rules.PINS["1.15.3"],
            mirrors=("http://nginx.org/download/",),
            work_dir=REMOTE_WORK_DIR,
        ),
        "proxy": Proxy(
            balance="hash $remote_addr consistent",
            max_fails=3,
            fail_timeout="30s",
            proxy_timeout="",
            worker_connections=1024,
            worker_shutdown_timeout="",
            user="",
        ),
        "watch": Watch(enabled=False),
    },
}
"""What a profile sets instead of the defaults."""

KEYS = (
    *("profile", "nodes", "apiservers", *SECTIONS),
    *(f"{name}.{key}" for name, cls in SECTIONS.items() for key in keys_of(cls)),
)
"""Every key that hosts.toml may have, dotted."""
