"""paramiko's SSHClient: one command a host, 32 at a time. Given: hosts.json."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko

file = Path(sys.argv[1])
hosts = json.loads(file.read_text())
key = paramiko.Ed25519Key.from_private_key_file(str(file.parent / "id_ed25519"))
known = paramiko.HostKeys(str(file.parent / "known_hosts"))


def ask(name: str) -> None:
    with paramiko.SSHClient() as client:
        for kind, host_key in (known.lookup(hosts[name]) or {}).items():
            client.get_host_keys().add(hosts[name], kind, host_key)
        client.connect(hosts[name], username="root", pkey=key, allow_agent=False, look_for_keys=False)
        _, out, _ = client.exec_command("survey")
        if b"kn.end=" in out.read() and out.channel.recv_exit_status() == 0:
            print(f"answered {name}\n", end="")


with ThreadPoolExecutor(32) as pool:
    list(pool.map(ask, hosts))
