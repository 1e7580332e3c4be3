"""pyinfra's exec, which goes to all hosts at once. Given: hosts.json."""

import json
import re
import subprocess
import sys
from pathlib import Path

file = Path(sys.argv[1])
hosts = json.loads(file.read_text())
folder = file.parent
data = {
    "ssh_user": "root",
    "ssh_key": str(folder / "id_ed25519"),
    "ssh_known_hosts_file": str(folder / "known_hosts"),
    "ssh_strict_host_key_checking": "yes",
}
each = [(name, {**data, "ssh_hostname": address}) for name, address in hosts.items()]
(folder / "inventory.py").write_text(f"nodes = {each!r}\n")
command = [sys.executable, "-m", "pyinfra", "inventory.py", "exec", "--", "survey"]
ran = subprocess.run(
    command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
)
plain = re.sub(r"\x1b\[[0-9;]*m", "", ran.stdout)
for name in dict.fromkeys(re.findall(r"^\s*\[(\S+)\].*kn\.end=", plain, re.M)):
    print("answered", name)
if ran.returncode:
    sys.exit(plain[-2000:])
