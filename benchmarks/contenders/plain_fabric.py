"""Fabric's own ThreadingGroup, one command a host. Given: hosts.json; `ssh_config` if that is to be read."""

import json
import sys
from pathlib import Path

from fabric import Config, ThreadingGroup
from paramiko import SSHConfig

file = Path(sys.argv[1])
hosts = json.loads(file.read_text())
folder = file.parent
patient = dict.fromkeys(("banner_timeout", "auth_timeout", "channel_timeout"), 300)  # since all come at once
kwargs = {"key_filename": str(folder / "id_ed25519"), "allow_agent": False, "look_for_keys": False}
if sys.argv[2:] == ["ssh_config"]:
    config = Config(ssh_config=SSHConfig.from_path(str(folder / "ssh_config")))
    names = {name: name for name in hosts}
    group = ThreadingGroup(*hosts, config=config, connect_kwargs=patient)
else:
    names = {address: name for name, address in hosts.items()}
    config = Config(ssh_config=SSHConfig())
    group = ThreadingGroup(*hosts.values(), user="root", config=config, connect_kwargs={**kwargs, **patient})
for connection, result in group.run("survey", hide=True, in_stream=False).items():
    if "kn.end=" in result.stdout:
        print("answered", names[connection.original_host])
