"""Light hosts: loopback addresses of one sshd, whose login shell answers with what a node's survey said once.

As a script it is the first process of namespaces of its own: it makes what it needs in a folder, has sshd
serve 127.1.0.1 and on, and a TLS server the listener's address, until its standard input ends.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from contextlib import suppress
from ipaddress import IPv4Address
from pathlib import Path

from tasks.core.config.settings import load
from tasks.core.errors import KubeNginxError
from tasks.core.facts.facts import Facts
from tasks.core.rollout.deployment import Releases
from tasks.core.scripts.survey import Survey
from tests.answers import ANSWERS, recorded
from tests.lab.keys import certificate

PORT = 8443
LISTENS = " 00000000:0016 00000000:0000 0A "
SSHD = """\
ListenAddress 0.0.0.0:22
HostKey /mnt/host_key
AuthorizedKeysFile /mnt/id_ed25519.pub
PermitRootLogin prohibit-password
StrictModes no
UsePAM no
UseDNS no
MaxStartups 2000
PidFile none
PrintLastLog no
PrintMotd no
LogLevel FATAL
"""
ACCOUNTS = {
    "passwd": "root:x:0:0::/mnt/home:/mnt/answer\nsshd:x:65533:65534::/run/sshd:/bin/false\n",
    "shadow": "root:*:1::::::\nsshd:*:1::::::\n",
}


def main(folder: Path, root: Path) -> None:
    """Run as a script, with a folder that has hosts.toml, and the root of a Debian with sshd."""
    home = folder / "home"
    home.mkdir()
    (home / "delay").write_text("0")
    (home / "answer").write_text(answer(folder / "hosts.toml"))
    source = str(Path(__file__).with_name("answer.c"))
    _call("cc", "-O2", "-static", "-o", f"{folder}/answer", source)
    for key in ("host_key", "id_ed25519"):
        _call("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{folder}/{key}")
    certificate(folder, "listener", IPv4Address("127.0.0.1"))
    (folder / "sshd_config").write_text(SSHD)
    _call("ip", "link", "set", "lo", "up")
    _call("mount", "-t", "tmpfs", "tmpfs", f"{root}/run")
    (root / "run" / "sshd").mkdir(mode=0o755)
    _call("mount", "--bind", str(folder), f"{root}/mnt")
    for name, text in ACCOUNTS.items():
        (folder / name).write_text(text)
        _call("mount", "--bind", f"{folder}/{name}", f"{root}/etc/{name}")
    asyncio.run(_serve(folder, root))


def _call(*command: str) -> None:
    subprocess.run(command, check=True)


def answer(hosts: Path) -> str:
    """What the survey of a node says on which nothing is to be changed, if a binary has been built.

    Without one, it is that of another node, which is as good for `status`.
    """
    text = recorded(ANSWERS / "debian-12" / "survey.txt").stdout
    settings = load(hosts)
    script = Survey(settings.proxy)
    facts: Facts = script.parse(recorded(ANSWERS / "debian-12" / "survey.txt"))
    try:
        release = Releases(settings).for_node(facts)
    except KubeNginxError:
        return text
    for name, kept in facts.kept["current"].items():
        text = text.replace(kept, release.sums[name])
    return text.replace(facts.releases["current"], release.name)


async def _serve(folder: Path, root: Path) -> None:
    """Returns at the end of standard input."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")

    async def shake_hands(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            await reader.read()
        writer.close()

    await asyncio.start_server(shake_hands, "127.0.0.1", PORT, ssl=context, backlog=1024)
    command = ("chroot", root, "/usr/sbin/sshd", "-D", "-e", "-f", "/mnt/sshd_config")
    sshd = await asyncio.create_subprocess_exec(*command)
    while LISTENS not in Path("/proc/net/tcp").read_text():
        if sshd.returncode is not None:
            sys.exit("sshd does not start")
        await asyncio.sleep(0.02)
    print("ready", flush=True)
    await asyncio.to_thread(os.read, 0, 1)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
