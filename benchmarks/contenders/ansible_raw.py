"""Ansible's module raw. Given: hosts.json."""

import re
import sys
from pathlib import Path

from benchmarks.contenders import ansible_fleet

ran = ansible_fleet.run(Path(sys.argv[1]), "adhoc", "all", "-m", "raw", "-a", "survey")
ran.check_returncode()
for part in re.split(r"^(?=\S+ \| )", ran.stdout, flags=re.M):
    if "kn.end=" in part:
        print("answered", part.split()[0])
