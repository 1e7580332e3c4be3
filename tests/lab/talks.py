"""kubectl's sessions through a node's own proxy: a watch, logs, a command in a pod; and kube-nginx-watch."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from tasks.core.facts.paths import WATCH_UNIT
from tests.faults.conftest import until
from tests.lab import kubelet, kubernetes
from tests.lab.keys import certificate
from tests.lab.nodes import Node
from tests.lab.servers import kubectl
from tests.lab.watches import peers

KINDS = {
    "watch": ["get", "configmaps", "--watch", "--output=name"],
    "logs": ["logs", "--follow", "talker"],
    "exec": ["exec", "talker", "--", "talk"],
}


@dataclass
class Session:
    """A kubectl on the node, and the apiserver that it is on."""

    kind: str
    process: subprocess.Popen[bytes]
    output: Path
    apiserver: str

    @property
    def lines(self) -> list[str]:
        """What it printed, and what it complained of."""
        return self.output.read_text(errors="replace").splitlines()

    @property
    def ended(self) -> bool:
        """Whether it has."""
        return self.process.poll() is not None

    def end(self) -> None:
        """Ends it, unless it has ended."""
        if not self.ended:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@contextmanager
def hosted_pod(node: Node) -> Iterator[None]:
    """A pod on the node, whose kubelet is a stand-in."""
    certificate(node.folder, node.name, IPv4Address(node.address))
    files = f"--certificate={node.folder}/tls.crt", f"--key={node.folder}/tls.key"
    script = str(Path(kubelet.__file__))
    command = [sys.executable, "-I", script, f"--address={node.address}", *files]
    inside = ["setpriv", "--pdeathsig", "KILL", "--", "ip", "netns", "exec", node.netns, *command]
    with subprocess.Popen(inside, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == b"ready\n"
            for thing in objects(node):
                path = node.folder / "object.json"
                path.write_text(json.dumps(thing))
                kubectl(node, "create", "--filename", str(path), "--validate=false")
            yield
        finally:
            process.kill()


def objects(node: Node) -> list[dict[str, Any]]:
    """What the apiservers have to know of it: in a cluster kubelet, scheduler and controllers would tell."""
    account = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": "default"}}
    status = {
        "addresses": [{"type": "InternalIP", "address": node.address}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": kubelet.PORT}},
    }
    host = {"kind": "Node", "apiVersion": "v1", "metadata": {"name": node.name}, "status": status}
    spec = {
        "nodeName": node.name,
        "automountServiceAccountToken": False,
        "containers": [{"name": "talker", "image": "talker"}],
    }
    pod = {"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "talker"}, "spec": spec}
    return [account, host, pod]


@contextmanager
def unwatched(node: Node) -> Iterator[None]:
    """No kube-nginx-watch at work there."""
    was_active = node.enter(f"systemctl is-active {WATCH_UNIT} || true") == "active\n"
    node.enter(f"systemctl stop {WATCH_UNIT} 2>/dev/null || true")
    try:
        yield
    finally:
        if was_active:
            node.enter(f"systemctl start {WATCH_UNIT}")


@contextmanager
def watched(node: Node) -> Iterator[None]:
    """The kube-nginx-watch that was deployed there at work again."""
    node.enter(f"systemctl start {WATCH_UNIT}")
    try:
        yield
    finally:
        node.enter(f"systemctl stop {WATCH_UNIT}")


def opened(node: Node, kind: str, output: Path, stack: ExitStack) -> Session:
    """A session that has begun."""
    before = Counter(peers(node))
    program = [str(kubernetes.folder() / "kubectl"), f"--kubeconfig={node.kubeconfig}"]
    with output.open("wb") as file:
        process = subprocess.Popen(
            ["ip", "netns", "exec", node.netns, *program, *KINDS[kind]],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env={"PATH": os.environ["PATH"], "HOME": str(output.parent)},
            start_new_session=True,
        )
    session = Session(kind, process, output, "")
    stack.callback(session.end)
    until(lambda: session.lines or session.ended)
    assert not session.ended, session.lines
    if kind == "watch":
        (session.apiserver,) = Counter(peers(node)) - before
    else:
        session.apiserver = session.lines[0].split()[1]
    return session
