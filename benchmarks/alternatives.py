"""What may stand between clients and apiservers that fall silent: nginx alone, with the watch, HAProxy."""

from __future__ import annotations

import platform
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from benchmarks import proxy
from benchmarks.bench import Bench, connect
from benchmarks.configurations import OURS, settings_of
from tasks.core.config.address import APISERVER_PORT
from tasks.core.nginx import store
from tests.lab.machine import LabError, run

WATCHED, HAPROXY = "recommended + watch", "HAProxy"
ALTERNATIVES = (OURS, WATCHED, HAPROXY)
USER = "nobody"  # whom workers become of an nginx that root starts without systemd
HAPROXY_CFG = """\
global
    maxconn 4096
defaults
    mode tcp
    timeout connect 1s
    timeout client 10m
    timeout server 10m
    timeout check 2s
    option redispatch 1
listen apiservers
    bind 127.0.0.1:{port}
    balance leastconn
    default-server check check-ssl verify none inter 1s fall 2 rise 2 on-marked-down shutdown-sessions
{servers}
"""


@contextmanager
def running(bench: Bench, name: str) -> Iterator[None]:
    """One of ALTERNATIVES on the proxy's address. Raises LabError where its program is not to be had."""
    if name == HAPROXY:
        with _haproxy(bench):
            yield
        return
    with bench.proxy(bench.configuration(OURS)):
        if name != WATCHED:
            yield
            return
        with _watch(bench):
            yield


def haproxy_cfg(servers: Sequence[str]) -> str:
    """A configuration for servers (addresses), each of which it asks for a TLS handshake every second."""
    lines = [f"    server s{number} {one}:{APISERVER_PORT}" for number, one in enumerate(servers, 1)]
    return HAPROXY_CFG.format(port=proxy.PORT, servers="\n".join(lines))


def haproxy_version() -> str:
    """That of this machine's HAProxy; "" if it has none."""
    program = shutil.which("haproxy")
    return run([program, "-v"]).stdout.split()[2].partition("-")[0] if program else ""


@contextmanager
def _haproxy(bench: Bench) -> Iterator[None]:
    program = shutil.which("haproxy")
    if not program:
        raise LabError("HAProxy is missing: apt-get install haproxy")
    file = bench.folder / "haproxy.cfg"
    file.write_text(haproxy_cfg([*bench.servers]))
    with _ended([program, "-db", "-f", str(file)], bench.folder / "haproxy.log"):
        _until_it_listens()
        yield


def _until_it_listens() -> None:
    deadline = time.monotonic() + proxy.LATE
    while True:
        with suppress(ConnectionRefusedError), connect():
            return
        if time.monotonic() > deadline:
            raise LabError("HAProxy does not listen")
        time.sleep(0.05)


@contextmanager
def _watch(bench: Bench) -> Iterator[None]:
    binary = store.find_watch(settings_of(OURS), platform.machine())
    if binary is None:
        raise LabError("kube-nginx-watch is not built; run: fab build")
    program = binary.path
    command = [program, "run", "-c", str(bench.folder / "nginx.conf"), "-u", USER]
    try:
        with _ended(command, bench.folder / "watch.log"):
            yield
    finally:
        run([program, "clean"])


@contextmanager
def _ended(command: Sequence[str], log: Path) -> Iterator[None]:
    """A process that is there while the block runs; it ends with this one, too."""
    with (
        log.open("wb") as output,
        subprocess.Popen(
            ["setpriv", "--pdeathsig", "KILL", "--", *command], stdout=output, stderr=output
        ) as process,
    ):
        try:
            yield
        finally:
            ended = process.poll()
            process.terminate()
    if ended is not None:
        raise LabError(f"{command[0]} ended by itself: {log.read_text()[-500:]}")
