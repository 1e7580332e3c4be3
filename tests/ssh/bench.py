"""Runs a case: a fresh home folder, then `ssh`; a fresh home folder again, then `fab status`."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.conftest import Ran
from tests.ssh import world
from tests.ssh.case import Case
from tests.ssh.keyring import PASSPHRASE, TOUCH, Keyring, make
from tests.ssh.log import Login
from tests.ssh.world import HOSTS, World, until

NAMES = {
    "bastion": "bastion,bastion.example,198.18.1.2,2001:2:0:1::2,bastion6.example",
    "node": "node,node.example,198.18.2.2,2001:2:0:2::2,four.example,six.example",
    "inner": "inner,inner.example,198.18.3.*,2001:2:0:3::2,inner6.example",
    "deep": "deep,deep.example,198.18.4.2,2001:2:0:4::2",
    "here": "localhost,127.0.0.1,::1",
}
WITHOUT_SSH = "/srv/nossh"
"""A PATH on which there is no ssh."""
KEPT = "keys", "bin", "nossh"
"""What stays in /srv from case to case."""
ASKS = {"SSH_ASKPASS": "/srv/bin/askpass", "SSH_ASKPASS_REQUIRE": "force"}
ASKPASS = "#!/bin/sh\ncat /srv/passphrase\n"
# In the place of nc: a TCP connection on stdin and stdout.
RELAY = """\
#!/usr/bin/python3
import os, select, socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as there:
    while True:
        ready = select.select([0, there], [], [])[0]
        if 0 in ready:
            if not (data := os.read(0, 65536)):
                break
            there.sendall(data)
        if there in ready:
            if not (data := there.recv(65536)):
                break
            os.write(1, data)
"""
# In the place of nc -F: connects, and hands the socket over.
PASS_SOCKET = """\
#!/usr/bin/python3
import socket, sys
there = socket.create_connection((sys.argv[1], int(sys.argv[2])))
socket.send_fds(socket.socket(fileno=1), [b"\\0"], [there.fileno()])
"""


@dataclass(frozen=True)
class Seen:
    """What a program did: the logins that sshds saw, its end, and the known_hosts that it left."""

    logins: tuple[Login, ...]
    ran: Ran
    known: tuple[str, ...]


@dataclass(frozen=True)
class Bench:
    """The network and the keys."""

    world: World
    keyring: Keyring
    _done: dict[str, Seen] = field(default_factory=dict)

    def in_words(self, login: Login) -> str:
        """A login as cases write it."""
        port = "" if login.port == 22 else f":{login.port}"
        key = self.keyring.names.get(login.key, login.key)
        return f"{login.user}@{login.host}{port} {key}{' certificate' if login.certificate else ''}"

    def ssh(self, case: Case) -> Seen:
        """What `ssh TARGET` does; asked once."""
        if case.name not in self._done:
            self._done[case.name] = self._ssh(case)
        return self._done[case.name]

    def _ssh(self, case: Case) -> Seen:
        options = [] if case.config is None else ["-F", "/srv/config" if case.config else "none"]
        batch = [] if case.types else ["-o", "BatchMode=yes"]
        with self.home(case) as env:
            env.update(ASKS if case.types else {})
            marks = self.world.marks()
            for target in (case.target, *case.others):
                ran = self.world.run(["ssh", "-T", *options, *batch, target], env)
            return self._seen(marks, ran)

    def fab(self, case: Case, path: str = "") -> Seen:
        """What `fab status` does."""
        flags = [case.asks] if case.types else []
        with self.home(case) as env:
            env["KUBE_NGINX_HOSTS"] = str(self.world.srv / "hosts.toml")
            if path:
                env["PATH"] = path
            marks = self.world.marks()
            ran = self.world.fab(*flags, "status", env=env, stdin=f"{case.types}\n" if case.types else "")
            return self._seen(marks, ran)

    def _seen(self, marks: dict[str, int], ran: Ran) -> Seen:
        file = self.world.srv / ".ssh" / "known_hosts"
        lines = sorted(file.read_text().splitlines()) if file.exists() else ()
        return Seen(tuple(self.world.logins(marks)), ran, tuple(lines))

    @contextmanager
    def home(self, case: Case) -> Iterator[dict[str, str]]:
        """A home folder as the case wants it; the environment in which a program has it."""
        srv = self.world.srv
        for entry in srv.iterdir():
            if entry.name not in KEPT:
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
        (srv / ".ssh").mkdir(mode=0o700)
        known = self.all_known() if case.known is None else self._filled(case.known)
        passphrase = f"{case.types or PASSPHRASE}\n"
        files = {".ssh/known_hosts": known, **case.files, "passphrase": passphrase}
        if case.config is not None:
            files["config"] = case.config
        for name, text in files.items():
            (srv / name).parent.mkdir(parents=True, exist_ok=True)
            (srv / name).write_text(self._filled(text))
            (srv / name).chmod(0o600)
        for name, key in case.keys.items():
            shutil.copy(self.keyring.folder / key, srv / ".ssh" / name)
        for name, mode in case.modes.items():
            (srv / name).chmod(mode)
        self.hosts_toml(case.nodes or (case.target, *case.others), case)
        env = {"HOME": "/srv", "PATH": world.SHELL, "LANG": "C.UTF-8", "USER": "root", "LOGNAME": "root"}
        with self._agent(case.agent) as socket:
            if socket and case.use_agent:
                env["SSH_AUTH_SOCK"] = socket
            yield env | dict(case.env)

    def hosts_toml(self, nodes: Sequence[str], case: Case) -> None:
        """Writes the hosts.toml of the home folder."""
        config = "" if case.config is None else f'config = "{case.config and "/srv/config"}"\n'
        text = f'nodes = {json.dumps(nodes)}\napiservers = ["198.18.2.2:6443"]\n\n[ssh]\n{config}{case.toml}'
        (self.world.srv / "hosts.toml").write_text(text)

    @contextmanager
    def _agent(self, keys: Sequence[str]) -> Iterator[str]:
        """An agent that holds keys, or no agent."""
        if not keys:
            yield ""
            return
        if keys == (TOUCH,):
            with self.keyring.security_key.agent(self.world.srv / "agent"):
                yield "/srv/agent"
            return
        started = self.world.inside("ssh-agent", "-s", "-a", "/srv/agent")
        pid = started.out.split("SSH_AGENT_PID=")[1].split(";")[0]
        try:
            env = {"PATH": world.SHELL, "SSH_AUTH_SOCK": "/srv/agent", **ASKS}
            for key in keys:
                added = self.world.run(["ssh-add", "-q", f"/srv/keys/{key}"], env)
                assert added.status == 0, added.text
            yield "/srv/agent"
        finally:
            self.world.inside("kill", pid)
            until(lambda: not (self.world.srv / "agent").exists(), "the agent does not end")

    def all_known(self) -> str:
        """A known_hosts with the ed25519 keys of all hosts, by all their names, on all ports."""
        return "".join(
            f"{name} {self.keyring.known_host(host)}\n[{name.replace(',', ']:2222,[')}]:2222 "
            f"{self.keyring.known_host(host)}\n"
            for host, name in NAMES.items()
        )

    def _filled(self, text: str) -> str:
        """The text with the keys that it names: <HOST>, <HOST.KIND>, and whole files, <<NAME>>."""
        authority = " ".join((self.keyring.host_keys / "host-ca.pub").read_text().split()[:2])
        text = text.replace("<host-ca>", authority)
        for kind in ("ecdsa", "rsa"):
            text = text.replace(f"<node.{kind}>", self.keyring.known_host("node", kind))
        text = re.sub("<<(.+)>>", lambda found: (self.keyring.folder / found[1]).read_text(), text)
        for host in HOSTS:
            text = text.replace(f"<{host}>", self.keyring.known_host(host))
        return text


@contextmanager
def bench(folder: Path) -> Iterator[Bench]:
    """The network and the keys, in a folder of their own. Raises LabError."""
    state = Path(tempfile.mkdtemp(dir=folder))
    state.chmod(0o755)
    keyring = make(state / "drafts", state / "host-keys", HOSTS)
    authority = (state / "host-keys" / "ca.pub").read_text()
    try:
        with world.up(state / "world", keyring.authorized(), authority, state / "host-keys") as network:
            shutil.copytree(keyring.folder, network.srv / "keys")
            _programs(network.srv)
            yield Bench(network, keyring)
    finally:
        shutil.rmtree(state)


def _programs(srv: Path) -> None:
    """What cases run: programs of the table's own, and a folder of programs without ssh."""
    (srv / "bin").mkdir()
    (srv / "nossh").mkdir()
    for name, text in {"askpass": ASKPASS, "relay": RELAY, "pass-socket": PASS_SOCKET}.items():
        (srv / "bin" / name).write_text(text)
        (srv / "bin" / name).chmod(0o755)
    for name in ("sh", "cat", "id", "hostname", "getent", "test"):
        (srv / "nossh" / name).symlink_to(f"/usr/bin/{name}")
