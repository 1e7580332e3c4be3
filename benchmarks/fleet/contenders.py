"""Who is measured: ours, and others at the same work, each a script of benchmarks/contenders."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.fleet.hosts import Hosts, caches

SCRIPTS = Path(__file__).parents[1] / "contenders"
VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"
Answered = Callable[[str, Hosts], set[str]]


@dataclass(frozen=True, slots=True)
class Contender:
    """One of them: its name, its command but for what it is given, and which hosts answered, by its output.

    `package` is what a Python of its own is made with; "" for one that has what ours needs. `anew`:
    before it, the service is removed from the hosts.
    """

    name: str
    words: tuple[str, ...]
    answered: Answered
    package: str = ""
    anew: bool = False

    def command(self, hosts: Hosts) -> list[str]:
        """For these hosts."""
        program, *more = self.words
        if program == "python":
            program = str(self._python) if self.package else sys.executable
        return [word.format(hosts=hosts.folder / "hosts.json") for word in (program, *more)]

    def prepare(self) -> str:
        """Makes its Python, unless it is there; the version of the package. Raises CalledProcessError."""
        if not self.package:
            return ""
        ready = self._python.parents[1] / "ready"
        if not ready.exists():
            _call(sys.executable, "-m", "venv", "--clear", str(ready.parent))
            _call(
                str(self._python), "-m", "pip", "install", "-q", "--disable-pip-version-check", self.package
            )
            ready.touch()
        return _call(str(self._python), "-c", VERSION, self.package)

    @property
    def _python(self) -> Path:
        return caches() / "kube-nginx-bench" / self.package / "bin" / "python"


def _call(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _said(out: str, hosts: Hosts) -> set[str]:
    return set(re.findall(r"^answered (\S+)$", out, re.M))


def _script(name: str, script: str, *words: str, package: str = "", anew: bool = False) -> Contender:
    program = "sh" if script.endswith(".sh") else "python"
    return Contender(name, (program, str(SCRIPTS / script), "{hosts}", *words), _said, package, anew)


def _ours(task: str, word: str, name: str = "", anew: bool = False) -> Contender:
    """A task of ours; a line of a node that is as it should be, or one of all, has the word."""

    def answered(out: str, hosts: Hosts) -> set[str]:
        count = len(hosts.addresses)
        if re.search(f"^(?:{count} nodes .*|{task}: {count} ){word}", out, re.M):
            return {*hosts.addresses}
        lines = (re.split(r"[\s,;]+", line) for line in out.splitlines())
        return {name for line in lines if word in line for name in line} & hosts.addresses.keys()

    return Contender(name or f"fab {task}", ("python", "-m", "fabric", task), answered, anew=anew)


LIGHT = (
    _ours("status", "answers"),
    _ours("deploy", "unchanged"),
    _script("Fabric with ssh_config", "plain_fabric.py", "ssh_config"),
    _script("Fabric", "plain_fabric.py"),
    _script("paramiko", "bare_paramiko.py"),
    _script("asyncssh", "asyncssh_client.py", package="asyncssh"),
    _script("OpenSSH", "openssh.sh"),
    _script("Ansible", "ansible_raw.py", package="ansible-core"),
    _script("pyinfra", "pyinfra_exec.py", package="pyinfra"),
)
REAL = (
    _script("first Fabric", "fabric_deploy.py", anew=True),
    _script("Fabric", "fabric_deploy.py"),
    _script("first Ansible", "ansible_playbook.py", package="ansible-core", anew=True),
    _script("Ansible", "ansible_playbook.py", "unchanged", package="ansible-core"),
    _ours("deploy", "installed", "first fab deploy", anew=True),
    _ours("deploy", "unchanged"),
    _ours("status", "answers"),
)
