"""Ansible with as many forks as hosts, pipelining, and ControlPersist."""

import json
import os
import subprocess
import sys
from pathlib import Path


def run(file: Path, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
    """Run `ansible WORDS` for the hosts of hosts.json, with `more` of its variables; what it ended with."""
    hosts = json.loads(file.read_text())
    folder = file.parent
    inventory = folder / "inventory.ini"
    inventory.write_text("".join(f"{name}\n" for name in hosts))
    settings = {
        "ANSIBLE_FORKS": str(len(hosts)),
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_SSH_USETTY": "0",
        "ANSIBLE_SSH_ARGS": f"-F {folder}/ssh_config -o ControlMaster=auto -o ControlPersist=60s",
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(folder / "cp"),
    }
    command = [sys.executable, "-m", "ansible", *words, "-i", str(inventory)]
    env = {**os.environ, **settings, **more}
    return subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=False)
