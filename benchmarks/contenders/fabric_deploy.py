"""Fabric's ThreadingGroup brings three files and starts the service: mkdir, put, one compound command a host.

Given: hosts.json, beside which files.tar has the binary, the configuration and the unit.
"""

import json
import sys
from pathlib import Path

from fabric import Config, ThreadingGroup
from paramiko import SSHConfig

PREFIX = "/opt/k8s/kube-nginx"
START = f"""set -e; cd {PREFIX}
id -u kube-nginx >/dev/null 2>&1 || useradd --system --no-create-home --shell /usr/sbin/nologin kube-nginx
tar -x --no-same-owner -f files.tar
rm files.tar
chown kube-nginx: logs
mv kube-nginx sbin/kube-nginx
mv kube-nginx.conf conf/kube-nginx.conf
mv kube-nginx.service /etc/systemd/system/kube-nginx.service
systemctl daemon-reload
systemctl enable -q kube-nginx
systemctl restart kube-nginx
systemctl is-active kube-nginx"""

file = Path(sys.argv[1])
hosts = json.loads(file.read_text())
kwargs = {"key_filename": str(file.parent / "id_ed25519"), "allow_agent": False, "look_for_keys": False}
group = ThreadingGroup(
    *hosts.values(), user="root", config=Config(ssh_config=SSHConfig()), connect_kwargs=kwargs
)
group.run(f"mkdir -p {PREFIX}/conf {PREFIX}/logs {PREFIX}/sbin", hide=True, in_stream=False)
group.put(str(file.parent / "files.tar"), f"{PREFIX}/files.tar")
names = {address: name for name, address in hosts.items()}
for connection, result in group.run(START, hide=True, in_stream=False).items():
    if result.stdout.strip() == "active":
        print("answered", names[connection.original_host])
