"""Ansible's own modules bring files and start the service: playbook.yml, without facts.

Given: hosts.json, beside which the files are; `unchanged` where no host may report a change.
"""

import re
import sys
from pathlib import Path

from benchmarks.contenders import ansible_fleet

file = Path(sys.argv[1])
playbook = Path(__file__).with_name("playbook.yml")
ran = ansible_fleet.run(
    file,
    "playbook",
    str(playbook),
    "-e",
    f"files={file.parent}",
    ANSIBLE_PYTHON_INTERPRETER="/usr/bin/python3",  # else each host is asked which it has
    ANSIBLE_NOCOLOR="1",
)
print(ran.stdout)
pattern = r"^(\S+) +: ok=\d+ +changed=(\d+) +unreachable=0 +failed=0 "
for name, changed in re.findall(pattern, ran.stdout, re.M):
    if sys.argv[2:] != ["unchanged"] or changed == "0":
        print("answered", name)
sys.exit(ran.returncode)
