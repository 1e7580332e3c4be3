"""OpenSSH's own sshd and ssh-agent on this machine, as normal processes; no command is ever run there."""

from __future__ import annotations

import re
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from getpass import getuser
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import fabric

from tasks.core.config.address import NodeSpec
from tasks.core.config.model import Settings, Ssh
from tasks.core.errors import StepError
from tasks.core.login.keys import fields, string
from tasks.core.ssh.connection import Link
from tasks.core.ssh.options import Options
from tasks.core.ssh.session import Session

PROGRAM = Path("/usr/sbin/sshd")
USER = getuser()
_ACCEPTED = re.compile(
    r"Accepted (\S+) for \S+ from \S+ port \d+ ssh2(?:: (\S+) (?:ID \S+ .*?)?(SHA256:\S+))?"
)


@dataclass(frozen=True)
class Sshd:
    """One that runs; it takes the keys of `authorized`."""

    folder: Path
    port: int

    @property
    def authorized(self) -> Path:
        """Its authorized_keys."""
        return self.folder / "authorized_keys"

    @property
    def authorities(self) -> Path:
        """The keys whose certificates it takes."""
        return self.folder / "authorities"

    def allow(self, *public: Path | str) -> None:
        """Takes these keys, and no others."""
        lines = [key.read_text() if isinstance(key, Path) else f"{key}\n" for key in public]
        self.authorized.write_text("".join(lines))

    def log(self) -> str:
        """What it said so far."""
        return (self.folder / "log").read_text(errors="replace")

    def accepted(self) -> list[tuple[str, str]]:
        """Of each login so far the method, and the kind of key with its fingerprint."""
        return [
            (how, f"{kind} {print_}" if kind else "") for how, kind, print_ in _ACCEPTED.findall(self.log())
        ]


@contextmanager
def sshd(folder: Path, *options: str) -> Iterator[Sshd]:
    """Runs one on 127.0.0.1, with more options of sshd_config(5)."""
    folder.mkdir(exist_ok=True)
    keygen(folder / "host")
    with socket.create_server(("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
    lines = [
        *options,
        f"ListenAddress 127.0.0.1:{port}",
        f"HostKey {folder}/host",
        f"AuthorizedKeysFile {folder}/authorized_keys",
        f"TrustedUserCAKeys {folder}/authorities",
        "StrictModes no",
        "UsePAM no",
        "PidFile none",
        "ForceCommand /bin/true",
        "SetEnv SHLVL=1",  # bash then leaves out ~/.bashrc, which may keep it waiting
    ]
    (folder / "config").write_text("\n".join(lines) + "\n")
    for name in ("authorized_keys", "authorities"):
        (folder / name).touch()
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [PROGRAM, "-D", "-e", "-f", folder / "config"], stderr=log, stdin=subprocess.DEVNULL
        )
    try:
        running = Sshd(folder, port)
        _until(lambda: "Server listening" in running.log(), running.log)
        yield running
    finally:
        process.terminate()
        process.wait()


@contextmanager
def ssh_agent(folder: Path) -> Iterator[Path]:
    """Runs one; its socket."""
    path = folder / "agent"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", path], stdout=subprocess.DEVNULL)
    try:
        _until(path.exists, lambda: "no socket")
        yield path
    finally:
        process.terminate()
        process.wait()


def keygen(path: Path, *options: str, passphrase: str = "") -> Path:
    """Makes a key, ed25519 if nothing else is wanted."""
    kind = () if "-t" in options else ("-t", "ed25519")
    ran("ssh-keygen", "-q", "-f", path, "-N", passphrase, *kind, *options, "-C", path.name)
    return path


def ssh_add(agent: Path, *words: str | Path) -> None:
    """What `ssh-add` does with an agent."""
    ran("ssh-add", "-q", *words, env={"SSH_AUTH_SOCK": str(agent), "PATH": "/usr/bin:/bin"})


def ran(*words: str | Path, **options: Any) -> str:
    """The output of a program that must not fail."""
    done = subprocess.run(
        words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, **options
    )
    assert done.returncode == 0, done.stderr
    return str(done.stdout)


@dataclass(frozen=True)
class Client:
    """Somebody who logs in to an sshd with an ssh_config: by ssh, and by fab."""

    server: Sshd
    folder: Path
    text: str
    user: str = USER

    @property
    def config(self) -> Path:
        """The ssh_config."""
        path = self.folder / "ssh_config"
        known = f"UserKnownHostsFile {self.folder}/known_hosts\nGlobalKnownHostsFile /nonexistent\n"
        default = "" if "IdentityAgent" in self.text else "IdentityAgent none\n"
        where = f"HostName 127.0.0.1\nPort {self.server.port}\nUser {self.user}\n"
        path.write_text(f"{self.text}\n{default}{known}StrictHostKeyChecking accept-new\n{where}")
        return path

    def by_ssh(self) -> list[tuple[str, str]]:
        """How `ssh` got in; [] if it did not."""
        before = len(self.server.accepted())
        words = ("ssh", "-F", str(self.config), "-o", "BatchMode=yes", "node", "true")
        subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=30)
        return self.server.accepted()[before:]

    def link(self, session: Session | None = None, identity: str = "", **kwargs: Any) -> Link:
        """The connection of fab."""
        spec = NodeSpec("node", "node")
        ssh = Ssh(
            config=self.config,
            identity=Path(identity) if identity else None,
            host_keys="accept-new",
            connect_timeout=10,
        )
        settings = Settings(None, "recommended", (spec,), (), ssh=ssh)
        session = session or Session(settings, Options(), fabric.Config())
        return Link(spec, session, connect_kwargs=kwargs)

    def by_fab(self, identity: str = "", **kwargs: Any) -> list[tuple[str, str]]:
        """How fab got in. Raises StepError: it did not."""
        before = len(self.server.accepted())
        link = self.link(identity=identity, **kwargs)
        try:
            link.open()
        finally:
            link.close()
        _until(lambda: len(self.server.accepted()) > before, self.server.log)
        return self.server.accepted()[before:]

    def refused(self, identity: str = "", **kwargs: Any) -> StepError:
        """What is told when fab does not get in."""
        try:
            found = self.by_fab(identity, **kwargs)
        except StepError as error:
            return error
        raise AssertionError(f"it got in: {found}")


Answer = Callable[[bytes], bytes | None]


@contextmanager
def agent_that(answers: Answer, folder: Path) -> Iterator[Path]:
    """An agent that says what `answers` makes of a request; None: it says nothing, until the end."""
    path = folder / "own-agent"
    over = threading.Event()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError), connection:
            while size := connection.recv(4, socket.MSG_WAITALL):
                request = connection.recv(struct.unpack(">I", size)[0], socket.MSG_WAITALL)
                if (answer := answers(request)) is None:
                    over.wait()
                    return
                connection.sendall(string(answer))

    def accept() -> None:
        with suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        threading.Thread(target=accept, daemon=True).start()
        try:
            yield path
        finally:
            over.set()
            listener.shutdown(socket.SHUT_RDWR)


def holding(keys: Sequence[bytes], sign: Callable[[bytes, bytes, int], bytes | None]) -> Answer:
    """An agent of these blobs; `sign` is given blob, data and flags, and may refuse with None."""

    def answer(request: bytes) -> bytes:
        if request[:1] == b"\x0b":
            listed = b"".join(string(blob) + string(b"held") for blob in keys)
            return b"\x0c" + struct.pack(">I", len(keys)) + listed
        if request[:1] == b"\x0d":
            blob, data = fields(request[1:], 2)
            signature = sign(blob, data, int.from_bytes(request[-4:], "big"))
            return b"\x0e" + string(signature) if signature else b"\x05"
        return b"\x05"

    return answer


def _until(holds: Callable[[], bool], said: Callable[[], str]) -> None:
    end = monotonic() + 20
    while not holds():
        assert monotonic() < end, said()
        sleep(0.01)
