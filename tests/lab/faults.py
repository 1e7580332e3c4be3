"""Faults of a node, each there for as long as a `with` block runs. None needs SSH to go in or out.

The first line of each is what an operator would say. LabError: it cannot be injected, or undone.
"""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from shlex import quote

from tests.lab.hosts import POLL
from tests.lab.machine import LabError, run
from tests.lab.nodes import Node
from tests.lab.servers import Apiserver

Fault = AbstractContextManager[None]

UNIT = "kube-nginx.service"
SSH_PORT = 22
FIRST_EXTRA_PORT = 10001
SOON = 10.0
SSHD = ("sshd", "sshd-session", "sshd-auth")
LISTEN = "0A"

# An own file system for what is in $path, full: what is deleted makes room, as on any disk.
FULL = """\
size=$(($(du -sk "$path" | cut -f1) + 1024))
mount -t tmpfs -o "size=${size}k" full "$shadow"
cp -a "$path" "$shadow/content"
dd if=/dev/zero of="$shadow/fill" bs=4k 2>/dev/null || true
instead=$shadow/content
"""
# What was changed meanwhile stays changed; folders are kept, since services have mounts on some.
EMPTIED = """\
if ! diff -rq --no-dereference "$instead" "$path" >/dev/null; then
  (cd "$path" && find . -depth ! -name .) | while read -r name; do
    [ -e "$instead/$name" ] || [ -L "$instead/$name" ] || rm -rf "${path:?}/$name"
  done
  cp -a --remove-destination "$instead/." "$path/"
fi
"""
# A service has a mount namespace of its own: it gets new mounts with their options, but no later ones.
REMOUNTED = 'mount --bind "$path" "$shadow"; mount -o remount,bind,{option} "$shadow"; instead=$shadow\n'

SQUATTER = """\
use IO::Socket::INET;
my $port = IO::Socket::INET->new(Listen => 128, LocalAddr => "127.0.0.1", LocalPort => shift) or die $@;
close $_ while $_ = $port->accept;
"""
# In place of head and cat: what they read from a pipe has another byte 100001.
FLIP = r"""#!/usr/bin/perl
my ($name) = $0 =~ m,([^/]+)$,;
my ($real) = grep { -x } "/usr/bin/$name", "/bin/$name";
exec $real, @ARGV if -f STDIN or grep { -e } @ARGV;
open my $in, "-|", $real, @ARGV or die;
$| = 1;
my $at = 100_000;
while (my $size = sysread $in, my $chunk, 65536) {
  substr($chunk, $at, 1) ^= "\x01" if 0 <= $at && $at < $size;
  print $chunk or last;
  $at -= $size;
}
close $in;
exit $? >> 8;
"""
LOUD_SHELL = """#!/bin/dash
echo '*** Authorised use only. All that is done here is recorded. ***'
exec /bin/dash "$@"
"""
# The name of a locale is all that programs need to speak by their translations; the rest is C's.
GERMAN = "cp -a /usr/lib/locale/C.[uU]* /usr/lib/locale/de_DE.utf8"
UMASK = "session optional pam_umask.so umask=0077 nousergroups"


def disk_full(node: Node, path: str) -> Fault:
    """The disk is full: no space is left on the device that path, a folder, is on."""
    return _shadowed(node, path, FULL, EMPTIED)


def read_only(node: Node, path: str) -> Fault:
    """The file system that path, a folder, is on is mounted read-only."""
    return _shadowed(node, path, REMOUNTED.format(option="ro"))


def noexec(node: Node, path: str) -> Fault:
    """The file system that path, a folder, is on is mounted noexec."""
    return _shadowed(node, path, REMOUNTED.format(option="noexec"))


@contextmanager
def foreign_listener(node: Node, port: int) -> Iterator[None]:
    """Another service, squatter, listens on 127.0.0.1:port; it closes what it accepts."""
    if _listeners(node, port):
        raise LabError(f"{node.name}: port {port} is taken already")
    start = f"systemd-run --quiet --unit=squatter perl -e {quote(SQUATTER)} {port}"
    with _fault(node, start, _stop("squatter.service")):
        _until(node, lambda: bool(_listeners(node, port)), f"nobody listens on {port}")
        yield


def stray_worker(node: Node, prefix: str) -> Fault:
    """The unit is stopped, and an nginx that somebody started without it holds the port."""
    was_active = node.enter(f"systemctl is-active {UNIT} || true") == "active\n"
    command = f"{prefix}/sbin/kube-nginx -c {prefix}/conf/kube-nginx.conf -p {prefix}"
    start = f"systemctl stop {UNIT} && systemd-run --quiet --unit=stray --service-type=forking {command}"
    # It ran as root: its pid file and its log would be in the way of a service that does not.
    tidy = f'find {prefix}/logs -type f ! -user "$(stat -c %U {prefix}/logs)" -delete'
    again = f"systemctl start {UNIT}" if was_active else ":"
    return _fault(node, start, f"{_stop('stray.service')}; {tidy}; {again}")


def flipped_byte(node: Node) -> Fault:
    """Uploads of more than 100 kB through `head` or `cat` arrive with one byte changed."""
    wrappers = "/usr/local/bin/head", "/usr/local/bin/cat"
    write = " && ".join(_write(path, FLIP, "0755") for path in wrappers)
    return _fault(node, write, f"rm -f {' '.join(wrappers)}")


def max_startups(node: Node, text: str) -> Fault:
    """sshd drops connections beyond its MaxStartups, "2" or "2:50:10" say, while they log in."""
    return _sshd_setting(node, f"MaxStartups {text}", "zz")  # of this one sshd takes the last


def max_sessions(node: Node, count: int) -> Fault:
    """sshd opens at most so many sessions on one connection."""
    return _sshd_setting(node, f"MaxSessions {count}")


@contextmanager
def host_certificate(node: Node, certificate: str) -> Iterator[None]:
    """sshd shows a certificate for its key, too."""
    file = "/etc/ssh/fault-cert.pub"
    with (
        _fault(node, _write(file, certificate, "0644"), f"rm -f {file}"),
        _sshd_setting(node, f"HostCertificate {file}"),
    ):
        yield


@contextmanager
def another_host_key(node: Node, kind: str) -> Iterator[str]:
    """sshd has one more host key, of another kind; the block is given its public half."""
    file = "/etc/ssh/fault_key"
    make = f"ssh-keygen -q -t {kind} -N '' -f {file}"
    with _fault(node, make, f"rm -f {file} {file}.pub"), _sshd_setting(node, f"HostKey {file}"):
        yield node.enter(f"cut -d ' ' -f 1,2 {file}.pub").strip()


@contextmanager
def extra_ports(node: Node, count: int) -> Iterator[list[int]]:
    """sshd can be reached on more ports, too; the block is given them.

    By a relay, so it sees those clients as 127.0.0.1: an sshd of its own accord has 8 ports at most.
    """
    ports = list(range(FIRST_EXTRA_PORT, FIRST_EXTRA_PORT + count))
    listen = " ".join(f"--socket-property=ListenStream={port}" for port in ports)
    relay = f"/lib/systemd/systemd-socket-proxyd 127.0.0.1:{SSH_PORT}"
    start = f"systemd-run --quiet --unit=extra-ports {listen} {relay}"
    with _fault(node, start, _stop("extra-ports.socket extra-ports.service")):
        yield ports


def no_sftp(node: Node) -> Fault:
    """sshd has no subsystem sftp."""
    config = "/etc/ssh/sshd_config"
    return _sshd(node, f"sed -i 's/^Subsystem/#&/' {config}", f"sed -i 's/^#Subsystem/Subsystem/' {config}")


def no_forwarding(node: Node) -> Fault:
    """sshd forbids to forward ports."""
    return _sshd_setting(node, "AllowTcpForwarding no")


def loud_shell(node: Node) -> Fault:
    """Root's login shell is not bash, and prints a banner before each command."""
    shell = "/usr/local/bin/loud-shell"
    change = f"{_write(shell, LOUD_SHELL, '0755')} && usermod --shell {shell} root"
    return _fault(node, change, f"usermod --shell /bin/bash root; rm -f {shell}")


def login_shell(node: Node, shell: str, user: str = "root") -> Fault:
    """Root's login shell is another one."""
    return _fault(node, f"usermod --shell {shell} {user}", f"usermod --shell /bin/bash {user}")


def start_up_file(node: Node, text: str) -> Fault:
    """Root's shell begins each command with this."""
    aside = "/root/.bashrc.aside"
    write = f"mv /root/.bashrc {aside} && {_write('/root/.bashrc', text, '0644')}"
    return _fault(node, write, f"mv {aside} /root/.bashrc")


def new_file(node: Node, path: str, text: str, mode: str = "0644") -> Fault:
    """There is one more file."""
    return _fault(node, _write(path, text, mode), f"rm -f {path}")


def hostname(node: Node, name: str) -> Fault:
    """The node has another name, of which nobody knows the address."""
    return _fault(node, f"hostname {name}", f"hostname {node.name}")


def silent_dns(node: Node, name: str) -> Fault:
    """The node's DNS server is silent, and its /etc/hosts lacks `name`."""
    hosts = "$(readlink -f /etc/hosts)"
    server = "socket(my $s, 2, 2, 0); bind($s, pack_sockaddr_in(53, inet_aton(shift))) or die $!; sleep"
    change = (
        f"grep -v {name} /etc/hosts > /run/hosts && mount --bind /run/hosts {hosts}"
        f" && printf 'nameserver 127.0.0.53\noptions timeout:3 attempts:2\n' > /etc/resolv.conf"
        f" && systemd-run --quiet --unit=silent perl -MSocket -e {quote(server)} 127.0.0.53"
    )
    undo = f"{_stop('silent.service')}; umount -l {hosts}; rm -f /run/hosts /etc/resolv.conf"
    return _fault(node, change, undo)


@contextmanager
def dead_resolver(node: Node) -> Iterator[None]:
    """The node's DNS server is silent, and its /etc/hosts lacks its own name; sshd and sudo ask for names."""
    with _sshd_setting(node, "UseDNS yes"), silent_dns(node, node.name):
        yield


@contextmanager
def umask_and_locale(node: Node) -> Iterator[None]:
    """Who logs in has umask 077 and speaks German."""
    change = f"{GERMAN} && echo {quote(UMASK)} >> /etc/pam.d/sshd"
    undo = f"sed -i '/^{UMASK}$/d' /etc/pam.d/sshd; rm -rf /usr/lib/locale/de_DE.utf8"
    with _fault(node, change, undo), _sshd_setting(node, "SetEnv LANG=de_DE.UTF-8"):
        yield


def no_sudo(node: Node) -> Fault:
    """The user ops may do nothing by sudo."""
    file = "/etc/sudoers.d/zz-fault"
    return _fault(node, _write(file, "ops ALL=(ALL:ALL) NOPASSWD: !ALL\n", "0440"), f"rm -f {file}")


@contextmanager
def hung_sshd(node: Node) -> Iterator[None]:
    """sshd hangs: new connections have no greeting, open ones no answer."""
    try:
        for _ in range(2):  # the listener may have forked while it was looked for
            node.send_signal(signal.SIGSTOP, SSHD)
        yield
    finally:
        node.send_signal(signal.SIGCONT, SSHD)


def masked(node: Node) -> Fault:
    """Somebody has masked the unit; what runs, runs on."""
    unit, aside = f"/etc/systemd/system/{UNIT}", f"/var/lib/{UNIT}.aside"
    mask = f"{{ [ ! -e {unit} ] || mv {unit} {aside}; }} && systemctl mask {UNIT}"
    # `systemctl unmask` would disable it as well
    unmask = f'[ "$(readlink {unit})" != /dev/null ] || rm {unit}; [ ! -e {aside} ] || mv {aside} {unit}'
    return _fault(node, mask, f"{unmask}; systemctl daemon-reload")


def without(node: Node, program: str) -> Fault:
    """The node has no such program."""
    path = f"/usr/bin/{program}"
    return _fault(node, f"mv {path} {path}.aside", f"[ ! -e {path}.aside ] || mv {path}.aside {path}")


def clock(hours: float, folder: Path) -> list[str]:
    """Give what to put before a command of this machine so that its clock is off by so many hours.

    The library for it is compiled into folder, if it is not there. Raises LabError if it cannot be.
    """
    library = folder / "clock.so"
    if not library.exists():
        source = str(Path(__file__).with_name("clock.c"))
        run(["cc", "-shared", "-fPIC", "-O", "-o", str(library), source])
    return ["env", f"LD_PRELOAD={library}", f"CLOCK_OFF={round(hours * 3600)}"]


@contextmanager
def faulty(
    servers: Iterable[Apiserver], inject: Callable[[Apiserver], None], undo: Callable[[Apiserver], None]
) -> Iterator[None]:
    """Something is done to apiservers, and undone."""
    servers = list(servers)
    try:
        for server in servers:
            inject(server)
        yield
    finally:
        for server in servers:
            undo(server)


def stopped(servers: Iterable[Apiserver]) -> Fault:
    """Apiservers have ended: their hosts refuse connections."""
    return faulty(servers, Apiserver.stop, Apiserver.start)


def paused(servers: Iterable[Apiserver]) -> Fault:
    """Apiservers are frozen: they accept connections, and answer nothing."""
    return faulty(servers, Apiserver.pause, Apiserver.resume)


@contextmanager
def _fault(node: Node, change: str, undo: str) -> Iterator[None]:
    try:
        node.enter(change)
        yield
    finally:
        node.enter(undo)


@contextmanager
def _shadowed(node: Node, path: str, mount: str, unmount: str = "") -> Iterator[None]:
    """Have another mount in place of path: mount makes it below $shadow, and names it $instead.

    A service that was started meanwhile is started again afterwards: it holds on to that mount.
    """
    shadow = f"/run/fault-{secrets.token_hex(4)}"
    names = f"set -e; path={quote(path)}; shadow={shadow}\n"
    failed = "trap '[ $? = 0 ] || umount -l \"$shadow\"' EXIT\n"
    before = _running(node)
    node.enter(f'{names}mkdir "$shadow"\n{failed}{mount}mount --bind "$instead" "$path"')
    try:
        yield
    finally:
        done = 'umount -l "$path"\n' + unmount + 'umount -l "$shadow"; rmdir "$shadow"\n'
        node.enter(f'{names}mountpoint -q "$shadow" || exit 0\ninstead=$shadow/content\n{done}')
        if _running(node) != before:
            node.enter(f"systemctl try-restart {UNIT} || true")


def _running(node: Node) -> str:
    return node.enter(f"systemctl show -p InvocationID -p MainPID {UNIT}")


@contextmanager
def _sshd_setting(node: Node, setting: str, order: str = "00") -> Iterator[None]:
    # sshd takes the first value that it finds, and lab.conf has some
    file = f"/etc/ssh/sshd_config.d/{order}-fault-{secrets.token_hex(4)}.conf"
    with _sshd(node, _write(file, f"{setting}\n", "0644"), f"rm -f {file}"):
        yield


@contextmanager
def _sshd(node: Node, change: str, undo: str) -> Iterator[None]:
    try:
        _reload_sshd(node, change)
        yield
    finally:
        _reload_sshd(node, undo)


def _reload_sshd(node: Node, change: str) -> None:
    """Change its files and wait until sshd, which reads them before it listens anew, goes by them."""
    before = _listeners(node, SSH_PORT)
    node.enter(f"{change} && systemctl reload ssh")
    _until(node, lambda: bool(_listeners(node, SSH_PORT) - before), "sshd does not listen anew")


def _listeners(node: Node, port: int) -> set[str]:
    """The inodes of the sockets that listen on a port."""
    tables = (Path(f"/proc/{node.init()}/net/{name}").read_text() for name in ("tcp", "tcp6"))
    rows = [line.split() for table in tables for line in table.splitlines()[1:]]
    return {row[9] for row in rows if row[3] == LISTEN and int(row[1].rpartition(":")[2], 16) == port}


def _until(node: Node, ready: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + SOON
    while not ready():
        if time.monotonic() > deadline:
            raise LabError(f"{node.name}: {what} after {SOON:g} s")
        time.sleep(POLL)


def _stop(units: str) -> str:
    return f"systemctl stop {units} || true; systemctl reset-failed {units} 2>/dev/null || true"


def _write(path: str, content: str, mode: str) -> str:
    return f"printf %s {quote(content)} > {path} && chmod {mode} {path}"
