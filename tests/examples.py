"""The projects of examples/, copied with a lab's addresses in place of theirs, and run as READMEs say."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path

from tests.conftest import ROOT, Ran, alone
from tests.lab.lab import Lab
from tests.lab.network import BENCHMARK

EXAMPLES = ROOT / "examples"
ADDRESS = re.compile(r"(?<![\d.])\d+\.\d+\.\d+\.\d+(?![\d.])")
APISERVERS = "10.0.0.1", "10.0.0.2", "10.0.0.3"
PLACED = ("hosts.toml", "ssh_config")


def copy(example: str, folder: Path, lab: Lab, nodes: Sequence[str]) -> Path:
    """A copy with the lab's addresses, keys and nginx; `nodes` are the example's own, in the lab's order.

    No address of the example's is left in it: nothing can be sent there.
    """
    project = shutil.copytree(EXAMPLES / example, folder / example)
    addresses = dict(zip(nodes, (node.address for node in lab.nodes), strict=True))
    addresses |= dict(zip(APISERVERS, (server.address for server in lab.apiservers), strict=True))
    for file in (project / name for name in PLACED if (project / name).exists()):
        text = ADDRESS.sub(lambda match: addresses[match[0]], file.read_text())
        assert all(ip_address(found) in BENCHMARK for found in ADDRESS.findall(text))
        file.write_text(text)
    hosts = project / "hosts.toml"
    build = (ROOT / "hosts.toml").read_text().partition("[build]\n")[2]
    text = re.sub(r"(?m)^static = true.*", build, hosts.read_text())
    hosts.write_text(f"{text}\n[rollout]\nsettle = 1\n" if "[rollout]" not in text else text)
    known = "".join(f"{node.known_host}\n" for node in lab.nodes)
    (project / "known_hosts").write_text(known)
    return project


def environment(packages: Path, lab: Lab) -> dict[str, str]:
    """Variables with which `fab` is there, the library is the installed one, and $SSH_KEY is the lab's."""
    return {**usual(), "PYTHONPATH": str(packages), "SSH_KEY": key(lab)}


def usual() -> dict[str, str]:
    """Those without which nothing runs; this Python is the first on the path."""
    return {"HOME": str(Path.home()), "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


def key(lab: Lab) -> str:
    """The private key that the lab's nodes take."""
    return (lab.state / "id_ed25519").read_text()


def lines(example: str) -> str:
    """What a README says to type."""
    text = (EXAMPLES / example / "README.md").read_text()
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.startswith("    "))


def run(script: str, project: Path, env: Mapping[str, str]) -> Ran:
    """Runs lines of shell there until one fails, beside an agent with the lab's key."""
    with alone():
        ran = subprocess.run(
            [str(EXAMPLES / "ci" / "with-key"), "sh", "-ec", script],
            cwd=project,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
    assert "Traceback" not in ran.stdout + ran.stderr, ran.stderr
    return Ran(ran.returncode, ran.stdout, ran.stderr)
