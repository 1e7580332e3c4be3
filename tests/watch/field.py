"""A node with a real nginx and the watch, and three apiservers, each in a network namespace of its own."""

import ipaddress
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.lab import keys

ROOT = Path(__file__).parent.parent.parent
SOURCES = ROOT / "templates" / "watch"
HERE = Path(__file__).parent
NGINX_USER = "nobody"
WATCH_UID = 64242
APISERVERS = ("198.18.0.11", "198.18.0.12", "2001:2::13")
CONF = """\
worker_processes 2;
error_log stderr;
pid {folder}/nginx.pid;
events {{ worker_connections 8192; }}
stream {{
    upstream backend {{
        zone backend 64k;
{servers}
    }}
    server {{
        listen 127.0.0.1:8443 backlog=4096;
        proxy_connect_timeout 1s;
        proxy_timeout 10m;
        proxy_pass backend;
    }}
}}
"""


def compile_watch(to: Path, *flags: str, compiler: str = "cc") -> Path:
    """Compile the program as a deploy does, with more flags; gives its path."""
    sources = sorted(str(path) for path in SOURCES.glob("*.c"))
    command = [compiler, "-std=c11", "-O2", "-Wall", "-Wextra", "-Werror", *flags, "-o", str(to), *sources]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return to


def nginx() -> Path | None:
    """Find an nginx that a build has kept, or this machine's own."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kube-nginx" / "binaries"
    own = shutil.which("nginx")
    return next(iter(sorted(cache.glob("nginx-*/kube-nginx"))), Path(own) if own else None)


def until(condition: Callable[[], object], what: str, seconds: float = 30) -> None:
    """Wait for a condition; it fails with what was waited for."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.02)


def run(*command: str, check: bool = True, stdin: str | None = None) -> str:
    """Run a command to its end, and give what it printed."""
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert not check or done.returncode == 0, f"{command}: {done.stderr}"
    return done.stdout


def name_of(address: str) -> str:
    """Write an apiserver's address as nginx's configuration has it."""
    return f"[{address}]:6443" if ":" in address else f"{address}:6443"


@dataclass(frozen=True)
class Event:
    """What a client has seen: `what` is gap, open, closed, refused, new or failed."""

    at: float
    what: str
    session: int
    server: str = ""
    seconds: float = 0
    begun: float = 0


@dataclass
class Process:
    """A process whose output is in a file."""

    process: subprocess.Popen[bytes]
    log: Path

    @property
    def text(self) -> str:
        """What it printed so far."""
        return self.log.read_text()

    def kill(self, number: int = signal.SIGKILL) -> int:
        """Send a signal that ends it, and give its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=20)


@dataclass
class Field:
    """The namespaces and what runs in them; a context, at whose end all of it is gone."""

    folder: Path
    prefix: str
    stack: ExitStack = field(default_factory=ExitStack)
    apiservers: dict[int, Process] = field(default_factory=dict)
    counter: int = 0

    @property
    def node(self) -> str:
        """The node's namespace."""
        return f"{self.prefix}-node"

    def api(self, number: int) -> str:
        """Name the namespace of apiserver 1, 2 or 3."""
        return f"{self.prefix}-api{number}"

    @cached_property
    def conf(self) -> Path:
        """nginx's configuration, which the watch reads, too."""
        return self.folder / "kube-nginx.conf"

    def __enter__(self) -> Self:
        """Make the namespaces, and start apiservers and nginx."""
        self.folder.chmod(0o755)
        try:
            self._wire()
            for number in (1, 2, 3):
                self.start_apiserver(number)
            self._start_nginx()
        except BaseException:
            self.stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, e: BaseException | None, t: TracebackType | None
    ) -> None:
        """End all of it."""
        self.stack.close()

    def _namespace(self, name: str) -> None:
        if Path("/run/netns", name).exists():
            run("ip", "netns", "delete", name)
        run("ip", "netns", "add", name)
        self.stack.callback(run, "ip", "netns", "delete", name, check=False)
        run("ip", "-n", name, "link", "set", "lo", "up")

    def _wire(self) -> None:
        self._namespace(self.node)
        run("ip", "-n", self.node, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", self.node, "link", "set", "bridge", "up")
        for address in ("198.18.0.1/24", "2001:2::1/64"):
            run(
                "ip",
                "-n",
                self.node,
                "address",
                "add",
                address,
                "dev",
                "bridge",
                *(["nodad"] if ":" in address else []),
            )
        for number, address in enumerate(APISERVERS, 1):
            there, port = self.api(number), f"api{number}"
            self._namespace(there)
            run(
                "ip",
                "-n",
                self.node,
                "link",
                "add",
                port,
                "type",
                "veth",
                "peer",
                "name",
                "eth0",
                "netns",
                there,
            )
            run("ip", "-n", self.node, "link", "set", port, "master", "bridge", "up")
            run("ip", "-n", there, "link", "set", "eth0", "up")
            long = f"{address}/{64 if ':' in address else 24}"
            run(
                "ip",
                "-n",
                there,
                "address",
                "add",
                long,
                "dev",
                "eth0",
                *(["nodad"] if ":" in address else []),
            )

    def start(self, name: str, netns: str, *command: str, env: dict[str, str] | None = None) -> Process:
        """Start a command in a namespace; it ends with the field, if not before."""
        self.counter += 1
        log = self.folder / f"{name}.{self.counter}.log"
        with log.open("wb") as file:
            process = subprocess.Popen(
                ["ip", "netns", "exec", netns, *command],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                env=os.environ | (env or {}),
            )
        started = Process(process, log)
        self.stack.callback(started.kill)
        return started

    def start_apiserver(self, number: int, netns: str = "") -> None:
        """Start an apiserver, in a namespace of its own or another, and wait until it accepts."""
        netns = netns or self.api(number)
        keys.certificate(self.folder, "apiserver", ipaddress.IPv4Address("198.18.0.11"))
        files = str(self.folder / "tls.crt"), str(self.folder / "tls.key")
        script = str(HERE / "apiserver.py")
        started = self.start(f"api{number}", netns, sys.executable, "-I", script, str(number), *files)
        self.apiservers[number] = started
        until(lambda: ":6443" in run("ip", "netns", "exec", netns, "ss", "-ltnH"), "an apiserver listens")

    def write_conf(self, servers: tuple[str, ...] = APISERVERS, more: str = "") -> None:
        """Write nginx's configuration anew, as a deploy does."""
        lines = [f"        server {name_of(a)} max_fails=1 fail_timeout=2s;" for a in servers]
        keys.write(self.conf, CONF.format(folder=self.folder, servers="\n".join([*lines, more])).encode())

    def _start_nginx(self) -> None:
        self.write_conf()
        (self.folder / "logs").mkdir()
        for path in (self.folder, self.folder / "logs"):
            shutil.chown(path, NGINX_USER)
        binary = nginx()
        assert binary
        program = shutil.copy(binary, self.folder / "kube-nginx")
        command = program, "-c", self.conf, "-p", self.folder, "-e", "stderr", "-g", "daemon off;"
        self.nginx = self.start("nginx", self.node, *as_user(NGINX_USER), *map(str, command))
        self.nginx_term = self.stack.callback(lambda: self.nginx.kill(signal.SIGTERM))
        until(lambda: ":8443" in run("ip", "netns", "exec", self.node, "ss", "-ltnH"), "nginx listens")

    def watch(
        self,
        program: Path,
        *more: str,
        env: dict[str, str] | None = None,
        may: str = "net_admin",
        before: tuple[str, ...] = (),
        wait: bool = True,
    ) -> Process:
        """Start the watch as a user of its own with one capability, and wait until it has read its file."""
        command = str(program), "run", "-c", str(self.conf), "-u", NGINX_USER, *more
        nice = "nice", "-n", "-10"  # as the unit has it
        started = self.start(
            "watch", self.node, *before, *nice, *as_user(str(WATCH_UID), may), *command, env=env
        )
        if wait:
            until(lambda: "read " in started.text, "the watch has read its file")
        return started

    @staticmethod
    def with_passwd(passwd: Path) -> tuple[str, ...]:
        """Give the beginning of a command that finds another /etc/passwd."""
        return "sh", "-c", f'mount --bind {passwd} /etc/passwd && exec "$@"', "sh"

    def clients(self, sessions: int, interval: float = 0.1) -> "Clients":
        """Start clients, and wait until each session has an apiserver."""
        script = str(HERE / "clients.py")
        words = sys.executable, "-I", script, str(sessions), str(interval)
        clients = Clients(self.start("clients", self.node, *words))
        until(lambda: len(clients.open) == sessions, f"{sessions} sessions are open", 60)
        return clients

    def refused(self) -> list[str]:
        """List the rules by which the node's kernel refuses connections."""
        text = run("ip", "netns", "exec", self.node, "nft", "list", "ruleset")
        return [line.strip() for line in text.splitlines() if "reject" in line]

    def filters(self) -> list[str]:
        """Name the tables of filters that the node's kernel has."""
        return run("ip", "netns", "exec", self.node, "nft", "list", "tables").splitlines()

    def hang(self, number: int) -> None:
        """Have an apiserver accept, and not answer."""
        self.apiservers[number].process.send_signal(signal.SIGSTOP)

    def resume(self, number: int) -> None:
        """Undo `hang`."""
        self.apiservers[number].process.send_signal(signal.SIGCONT)

    def drop(self, number: int, *ways: str) -> None:
        """Drop packets that reach ("in") or leave ("out") an apiserver; neighbours are still found."""
        chains = "".join(
            f"chain {way} {{ type filter hook {way}put priority 0; policy drop; "
            "meta l4proto icmpv6 accept; }\n"
            for way in ways
        )
        run("ip", "netns", "exec", self.api(number), "nft", "-f", "-", stdin=f"table inet cut {{\n{chains}}}")

    def let_back(self, number: int) -> None:
        """Undo `drop`."""
        run("ip", "netns", "exec", self.api(number), "nft", "delete", "table", "inet", "cut")

    def spoil(self, number: int, delay: float = 0, jitter: float = 0, loss: float = 0) -> Process:
        """Have packets of both ways come late, by so many seconds each, or lost, by a part of 1.

        The end of what this gives, and `mend`, undo it.
        """
        port, near, far = f"api{number}", f"near{number}", f"far{number}"
        run("ip", "-n", self.node, "link", "add", near, "type", "veth", "peer", "name", far)
        # the node's own kernel has no part in what the wire carries
        run("ip", "netns", "exec", self.node, "sysctl", "-qw", f"net.ipv6.conf.{near}.disable_ipv6=1")
        run("ip", "-n", self.node, "link", "set", near, "arp", "off", "up")
        numbers = (str(n) for n in (delay, jitter, loss))
        wire = self.start(
            "wire", self.node, sys.executable, "-I", str(HERE / "wire.py"), near, port, *numbers
        )
        until(lambda: "ready" in wire.text, "the wire is ready")
        run("ip", "netns", "exec", self.node, "sysctl", "-qw", f"net.ipv6.conf.{port}.disable_ipv6=1")
        run("ip", "-n", self.node, "link", "set", far, "master", "bridge", "up")
        run("ip", "-n", self.node, "link", "set", port, "nomaster", "arp", "off", "up")
        return wire

    def mend(self, number: int, wire: Process) -> None:
        """Undo `spoil`."""
        wire.kill()
        run("ip", "-n", self.node, "link", "delete", f"near{number}")
        run("ip", "-n", self.node, "link", "set", f"api{number}", "master", "bridge", "arp", "on")


def as_user(user: str, *capabilities: str) -> list[str]:
    """Give the beginning of a command that runs as somebody with these capabilities and no others."""
    group = "nogroup" if user == NGINX_USER else user
    words = ["setpriv", f"--reuid={user}", f"--regid={group}", "--clear-groups"]
    kept = ",".join(["-all", *(f"+{name}" for name in capabilities)])
    return [
        *words,
        f"--bounding-set={kept}",
        f"--inh-caps={kept}",
        f"--ambient-caps={kept}",
        "--no-new-privs",
    ]


class Clients:
    """What clients see."""

    def __init__(self, process: Process) -> None:
        self.process = process

    @property
    def events(self) -> list[Event]:
        """All that was seen so far."""
        text = self.process.text
        return [
            Event(**json.loads(line)) for line in text[: text.rfind("\n") + 1].splitlines() if line[0] == "{"
        ]

    @property
    def open(self) -> dict[int, str]:
        """The open sessions, and who serves each."""
        open_: dict[int, str] = {}
        for event in self.events:
            if event.what == "open":
                open_[event.session] = event.server
            elif event.what == "closed":
                open_.pop(event.session, None)
        return open_

    def of(self, server: int) -> set[int]:
        """Name the open sessions that one apiserver serves."""
        return {session for session, by in self.open.items() if by == str(server)}

    def since(self, at: float, *whats: str) -> list[Event]:
        """Give the events of some kinds since a moment."""
        return [event for event in self.events if event.at >= at and event.what in whats]


@contextmanager
def notify_socket(folder: Path) -> Iterator[socket.socket]:
    """A socket as systemd has one, to be told of."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        path = folder / "notify"
        listening.bind(str(path))
        path.chmod(0o777)
        listening.settimeout(20)
        yield listening
