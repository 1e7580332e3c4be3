"""A network of real sshds, some of them behind others, and a place from which `ssh` and `fab` go there.

    control --- node
       |
    bastion --- inner --- deep

Each is a network namespace, and each line a cable: nobody has a route beyond his own cables. All of it is
in namespaces of one process, which ends with this one, and then nothing is left. `control` has an /etc
of its own, in which /srv is root's home: nothing of this machine's own ~/.ssh and /etc/ssh is read.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.conftest import ROOT, Ran
from tests.forks import Server
from tests.lab import roots
from tests.lab.machine import LabError, last_words
from tests.lab.progress import Progress
from tests.ssh import log

HOSTS = ("here", "bastion", "node", "inner", "deep")
"""Where there is an sshd; `here` is control's own loopback."""
LINKS = ("control", "bastion"), ("control", "node"), ("bastion", "inner"), ("inner", "deep")
PORTS = 22, 2222
SUITE = "bookworm"
SHELL = "/usr/bin:/bin:/usr/sbin:/sbin"
SOON = 10.0  # seconds

# Of what has several names, both address families, or one, and of what only a jump host can resolve.
NAMES = {
    "control": """\
198.18.1.2 bastion bastion.example
198.18.2.2 node node.example node.example. four.example
2001:2:0:1::2 bastion6.example
2001:2:0:2::2 node.example node.example. six.example
""",
    "bastion": "198.18.3.2 inner inner.example node\n2001:2:0:3::2 inner6.example\n",
    "inner": "198.18.4.2 deep deep.example\n",
    "deep": "198.18.4.2 deep deep.example\n",
}
LOCAL = "127.0.0.1 localhost\n::1 localhost\n"
SYSTEM_CONFIG = """\
Include /etc/ssh/ssh_config.d/*.conf
Host *
    SendEnv LANG LC_*
    HashKnownHosts yes
    GSSAPIAuthentication yes
"""
SYSTEM_MORE = "Host system\n    HostName node.example\n    User gate\n"
SSHD_CONFIG = """\
{more}
{ports}
{keys}
AuthorizedKeysFile /etc/lab/authorized_keys
TrustedUserCAKeys /etc/lab/ca.pub
StrictModes no
PasswordAuthentication no
KbdInteractiveAuthentication no
UsePAM no
UseDNS no
PrintMotd no
PidFile /etc/lab/pid
LogLevel VERBOSE
"""

# One shell, whose end is the end of all. $1 is the state's folder, $2 the root of all hosts.
WORLD = r"""set -e
read -r pid _ < /proc/self/stat
mount -t tmpfs tmpfs /run
mkdir -p /run/netns /run/etc /run/work /run/hosts
mount -t overlay -o "lowerdir=/etc,upperdir=/run/etc,workdir=/run/work" overlay /etc
mount --bind "$1/srv" /srv
rm -rf /etc/ssh /etc/resolv.conf /etc/hosts
cp -r "$1/etc/." /etc
for name in {hosts}; do
    mkdir -p "/run/hosts/$name/upper" "/run/hosts/$name/work" "/run/hosts/$name/root"
    root=/run/hosts/$name/root
    mount -t overlay -o "lowerdir=$2,upperdir=$root/../upper,workdir=$root/../work" overlay "$root"
    mount --bind "$1/$name" "$root/etc/lab"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mkdir -p "$root/run/sshd"
    echo 'gate:x:2000:2000::/:/bin/sh' >> "$root/etc/passwd"
    echo "$name" > "$root/etc/hostname"
done
{links}
ip link set lo up
echo "$pid"
trap '' CHLD
exec cat
"""
LINK = """\
ip -n {near} link add {far} type veth peer name eth0 netns {far}
ip -n {near} link set {far} up
ip -n {far} link set eth0 up
ip -n {near} address add 198.18.{n}.1/24 dev {far}
ip -n {far} address add 198.18.{n}.2/24 dev eth0
ip -n {near} address add 2001:2:0:{n}::1/64 dev {far} nodad
ip -n {far} address add 2001:2:0:{n}::2/64 dev eth0 nodad
"""
# More addresses: control has a second one on the cable to node, inner answers for many.
EXTRA = """\
ip address add 198.18.2.3/24 dev node
ip address add 2001:2:0:2::3/64 dev node nodad preferred_lft 0
ip address add fe80::1/64 dev node nodad
ip -n node address add fe80::2/64 dev eth0 nodad
ip -n inner route add local 198.18.3.128/25 dev lo
"""


@dataclass
class World:
    """The network, while it is up; `state` is its folder, of which `srv` is /srv of control."""

    state: Path
    init: int
    fab_server: Server

    @property
    def srv(self) -> Path:
        """What is /srv in control."""
        return self.state / "srv"

    @property
    def etc(self) -> Path:
        """What control's /etc was begun with; later changes are not seen."""
        return self.state / "etc"

    def run(
        self, argv: Sequence[str], env: Mapping[str, str], *, stdin: str = "", timeout: float = 60
    ) -> Ran:
        """Runs a command in control, in /srv. Raises subprocess.TimeoutExpired."""
        with subprocess.Popen(
            ["nsenter", "-t", str(self.init), "-m", "-n", "--wd=/srv", "--", *argv],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=dict(env),
            text=True,
            errors="replace",
            start_new_session=True,
        ) as process:
            try:
                out, err = process.communicate(stdin, timeout)
            except BaseException:
                os.killpg(process.pid, signal.SIGKILL)  # its jump hosts are reached by children
                raise
        return Ran(process.returncode, out, err)

    def fab(self, *arguments: str, env: Mapping[str, str], stdin: str = "") -> Ran:
        """Runs `fab` in control; no output of it may ever hold a traceback."""
        ran = Ran(*self.fab_server.run([*arguments], stdin, ROOT, dict(env), timeout=60))
        assert "Traceback" not in ran.text, ran.text
        return ran

    def inside(self, *argv: str) -> Ran:
        """Runs a command in control among the processes of the network: what it starts ends with it."""
        return self.run(["nsenter", "-t", str(self.init), "-p", "--", *argv], {"PATH": SHELL})

    def start_sshd(self, host: str, more: str = "") -> None:
        """Starts a host's sshd, with `more` lines in its sshd_config, and returns when it listens.

        Raises LabError with what it says.
        """
        folder = self.state / host
        ports = "" if "Port " in more else "".join(f"Port {port}\n" for port in PORTS)
        kinds = (name for name in ("ed25519", "ecdsa", "rsa") if (folder / "host" / name).exists())
        keys = "\n".join(f"HostKey /etc/lab/host/{name}" for name in kinds)
        (folder / "sshd_config").write_text(SSHD_CONFIG.format(more=more, ports=ports, keys=keys))
        enter = ["nsenter", f"--net=/run/netns/{_netns(host)}", "chroot", f"/run/hosts/{host}/root"]
        started = self.inside(*enter, "/usr/sbin/sshd", "-f", "/etc/lab/sshd_config", "-E", "/etc/lab/log")
        if started.status:
            raise LabError(f"sshd of {host}: {last_words(started.text)}")
        until(lambda: self._pid(host) is not None, f"sshd of {host} does not start")

    def stop_sshd(self, host: str) -> None:
        """Ends a host's sshd, and returns when it has gone. Raises LabError."""
        ended = self.inside("kill", str(self._pid(host)))
        if ended.status:
            raise LabError(f"sshd of {host}: {last_words(ended.text)}")
        until(lambda: not (self.state / host / "pid").exists(), f"sshd of {host} does not end")

    def _pid(self, host: str) -> int | None:
        """The process of a host's sshd; sshd writes the file a moment after it has made it."""
        file = self.state / host / "pid"
        return int(file.read_text()) if file.exists() and file.stat().st_size else None

    @contextmanager
    def sshds(self, settings: Mapping[str, str]) -> Iterator[None]:
        """Has the sshds of some hosts run with further settings."""
        for host, more in settings.items():
            self.stop_sshd(host)
            self.start_sshd(host, more)
        try:
            yield
        finally:
            for host in settings:
                self.stop_sshd(host)
                self.start_sshd(host)

    def marks(self) -> dict[str, int]:
        """How much each sshd has logged."""
        return {host: (self.state / host / "log").stat().st_size for host in HOSTS}

    def said(self, marks: Mapping[str, int]) -> dict[str, str]:
        """What each sshd has logged since."""
        texts = {}
        for host, size in marks.items():
            with (self.state / host / "log").open("rb") as file:
                file.seek(size)
                texts[host] = file.read().decode(errors="replace")
        return texts

    def logins(self, marks: Mapping[str, int]) -> list[log.Login]:
        """Who has logged in since, and where; in the order of HOSTS."""
        return [login for host, text in self.said(marks).items() for login in log.logins(host, text)]


def until(condition: Callable[[], bool], what: str) -> None:
    """Waits for a condition. Raises LabError, which says `what`, if it does not come."""
    deadline = time.monotonic() + SOON
    while not condition():
        if time.monotonic() > deadline:
            raise LabError(what)
        time.sleep(0.005)


def _netns(host: str) -> str:
    return "control" if host == "here" else host


def _links() -> str:
    made = "".join(f"ip netns add {host}\nip -n {host} link set lo up\n" for host in HOSTS if host != "here")
    # control is the namespace of the process itself
    made += 'ip netns attach control "$pid"\n'
    made += "".join(
        LINK.format(near=near, far=far, n=number) for number, (near, far) in enumerate(LINKS, start=1)
    )
    return made + EXTRA


def _write_etc(folder: Path) -> None:
    """The /etc of control, as far as ssh looks there."""
    (folder / "ssh" / "ssh_config.d").mkdir(parents=True)
    (folder / "ssh" / "ssh_config").write_text(SYSTEM_CONFIG)
    (folder / "ssh" / "ssh_config.d" / "lab.conf").write_text(SYSTEM_MORE)
    (folder / "passwd").write_text(
        "root:x:0:0:root:/srv:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n"
    )
    (folder / "hosts").write_text(LOCAL + NAMES["control"])
    (folder / "resolv.conf").write_text("")
    (folder / "nsswitch.conf").write_text("passwd: files\ngroup: files\nhosts: files\n")


@contextmanager
def up(state: Path, authorized: str, authority: str, host_keys: Path) -> Iterator[World]:
    """The network, with an sshd on each host that lets in the keys `authorized`; state is an empty folder.

    host_keys: a folder with one of host keys for each host. Raises LabError.
    """
    roots.build([SUITE], Progress())
    _write_etc(state / "etc")
    (state / "srv").mkdir()
    for host in HOSTS:
        shutil.copytree(host_keys / host, state / host / "host")
        (state / host / "authorized_keys").write_text(authorized)
        (state / host / "ca.pub").write_text(authority)
        (state / host / "hosts").write_text(LOCAL + NAMES.get(_netns(host), ""))
        (state / host / "log").touch()
    script = WORLD.format(hosts=" ".join(HOSTS), links=_links())
    unshare = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--"]
    command = [*unshare, "sh", "-c", script, "sh", str(state), str(roots.root(SUITE))]
    with (state / "stderr").open("w") as errors:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        )
    assert process.stdin
    assert process.stdout
    try:
        line = process.stdout.readline().strip()
        if not line:
            raise LabError(f"no network: {last_words((state / 'stderr').read_text())}")
        server = Server(ROOT, ["nsenter", "-t", line, "-m", "-n", f"--wd={ROOT}", "--", "env", "HOME=/srv"])
        world = World(state, int(line), server)
        for host in HOSTS:
            world.start_sshd(host)
        yield world
    finally:
        process.stdin.close()
        process.wait(SOON)
        process.stdout.close()
