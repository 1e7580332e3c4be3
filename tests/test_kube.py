"""Real kube-apiservers behind kube-nginx, and kubectl as their client."""

from __future__ import annotations

import itertools
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

from tests.conftest import run_fab, toml_of
from tests.faults.conftest import until
from tests.lab import kubernetes, talks
from tests.lab.lab import Lab
from tests.lab.machine import LabError
from tests.lab.nodes import Node
from tests.lab.servers import Apiserver, kube_apiserver, kubectl
from tests.lab.watches import Watches, peers

pytestmark = [pytest.mark.lab, pytest.mark.kube]

SHUTDOWN = 10.0  # seconds: worker_shutdown_timeout's default
WATCHES = 200
KUBECTL_GIVES_UP = 45  # seconds: its HTTP/2 ping; a session of exec has none
MOST = 12
NUMBERS = itertools.count(1)
Toml = Callable[..., Path]


@pytest.fixture(scope="session")
def kube_toml(cluster: Lab, tmp_path_factory: pytest.TempPathFactory) -> Toml:
    """Writes a hosts.toml of the cluster, with `(old, new)` changes."""
    return toml_of(cluster, tmp_path_factory)


@pytest.fixture(scope="session")
def kube_fleet(cluster: Lab, kube_toml: Toml) -> Path:
    """The hosts.toml of the cluster, with kube-nginx on all three nodes and one configmap to list."""
    path = kube_toml()
    ran = run_fab("build", "deploy", hosts=path)
    assert ran.status == 0, ran.out + ran.err
    kubectl(cluster.nodes[0], "create", "configmap", "first")
    return path


@pytest.fixture
def fleet(cluster: Lab, kube_fleet: Path) -> Iterator[Path]:
    """That, as it was: apiservers that a test ended or cut off are back, and so are the files."""
    yield kube_fleet
    cluster.up()
    ran = run_fab("deploy", hosts=kube_fleet)
    assert ran.status == 0, ran.out + ran.err


def create(server: Apiserver, cluster: Lab) -> str:
    """Creates a configmap through one apiserver, and gives the name as a watch prints it."""
    name = f"new-{next(NUMBERS)}"
    address = f"--server=https://{server.address}:6443"
    kubectl(cluster.nodes[0], address, "create", "configmap", name)
    return f"configmap/{name}"


def server_of(cluster: Lab, address: str) -> Apiserver:
    """The apiserver with this address."""
    return next(server for server in cluster.apiservers if server.address == address)


def session(node: Node) -> str:
    """The apiserver of the node's one session."""
    until(lambda: len(peers(node)) == 1)
    return peers(node)[0]


def names(cluster: Lab, *numbers: int) -> str:
    """A line of hosts.toml with so many of the apiservers."""
    return "apiservers = [" + ", ".join(f'"lab-api-{number}:6443"' for number in numbers) + "]"


ALL = 'apiservers = ["lab-api-1:6443", "lab-api-2:6443", "lab-api-3:6443"]'


def test_kubectl_on_a_node(cluster: Lab, fleet: Path) -> None:
    assert cluster.nodes[1].ssh("kubectl get configmaps -o name").stdout == "configmap/first\n"


def test_an_object_is_seen_after_the_apiserver_of_the_session_was_killed(cluster: Lab, fleet: Path) -> None:
    node = cluster.nodes[0]
    with Watches(node, again=True) as watches:
        dead = server_of(cluster, session(node))
        dead.stop()
        time.sleep(1)  # the scenario: one second later
        new = create(next(server for server in cluster.apiservers if server != dead), cluster)
        until(lambda: new in watches.all[0].seen, 20)
    assert dead.address not in peers(node)


def test_check_shows_the_one_that_is_cut_off(cluster: Lab, fleet: Path) -> None:
    cluster.apiservers[1].cut_off()
    ran = run_fab("check", "--json", hosts=fleet)
    assert ran.status == 0, ran.err
    for node in ran.json["nodes"]:
        states = {name: cell["state"] for name, cell in node["apiservers"].items()}
        assert states == {"lab-api-1:6443": "ok", "lab-api-2:6443": "failed", "lab-api-3:6443": "ok"}
    shown = run_fab("check", hosts=fleet)
    assert shown.status == 0
    assert "bad: all 3 nodes: lab-api-2:6443: did not answer within 3 s" in shown.out


def test_check_fails_when_all_are_cut_off(cluster: Lab, fleet: Path) -> None:
    for server in cluster.apiservers:
        server.cut_off()
    assert run_fab("check", hosts=fleet).status == 1


class Ends:
    """Notes when each node's workers are told to end, which is when the time of their sessions begins."""

    def __init__(self, cluster: Lab) -> None:
        self._workers = {node: node.enter(WORKERS).split() for node in cluster.nodes}
        assert all(self._workers.values())
        self.told: dict[Node, float] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> Ends:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            for node, pids in self._workers.items():
                now = time.monotonic()
                if node not in self.told and not set(pids) <= set(node.enter(WORKERS).split()):
                    self.told[node] = now


WORKERS = "grep -alzx 'nginx: worker process' /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3"


def test_an_upgrade_under_two_hundred_watches(cluster: Lab, fleet: Path, kube_toml: Toml) -> None:
    older = kube_toml(('version = "1.26.3"', 'version = "1.22.1"'), ("apt:trixie", "apt:bookworm"))
    assert run_fab("build", "deploy", hosts=older).status == 0
    with ExitStack() as stack:
        shares = [WATCHES // 3 + (number < WATCHES % 3) for number in range(3)]
        watches = {
            node: stack.enter_context(Watches(node, share))
            for node, share in zip(cluster.nodes, shares, strict=True)
        }
        with Ends(cluster) as ends:
            ran = run_fab("deploy", hosts=fleet)
            until(lambda: all(len(w.ended) == len(w.all) for w in watches.values()))
        assert ran.status == 0, ran.err
        assert "deploy: 3 upgraded" in ran.out
        for node, of_node in watches.items():
            due = ends.told[node] + SHUTDOWN - 0.5
            early = [(w.ended - due, w.seen[-1]) for w in of_node.all if w.ended and w.ended < due]
            assert early == []


def test_an_apiserver_is_added_and_another_removed(cluster: Lab, fleet: Path, kube_toml: Toml) -> None:
    two, three = kube_toml((ALL, names(cluster, 1, 2))), kube_toml((ALL, names(cluster, 2, 3)))
    assert run_fab("deploy", hosts=two).status == 0
    gone = cluster.apiservers[0]
    with ExitStack() as stack:
        watches = [stack.enter_context(Watches(node, again=True)) for node in cluster.nodes]
        ran = run_fab("deploy", hosts=three)
        assert ran.status == 0, ran.err
        assert "deploy: 3 reloaded" in ran.out
        until(lambda: not any(gone.address in peers(node) for node in cluster.nodes))
        new = create(cluster.apiservers[2], cluster)
        until(lambda: all(new in watch.all[0].seen for watch in watches))


def test_a_node_that_is_an_apiserver_host(cluster: Lab, fleet: Path, kube_toml: Toml) -> None:
    host = cluster.nodes[1]
    line = f'apiservers = ["lab-api-1:6443", "{host.address}:6443"]'
    path = kube_toml((ALL, line), ("[build]", f'[check]\nca = "{cluster.state}/pki/ca.crt"\n\n[build]'))
    with apiserver_on(host, cluster):
        assert run_fab("deploy", hosts=path).status == 0
        cluster.apiservers[0].stop()
        for node in cluster.nodes:
            assert "configmap/first" in kubectl(node, "get", "configmaps", "-o", "name")
        ran = run_fab("check", "--json", hosts=path)
        assert ran.status == 0, ran.err
        for document in ran.json["nodes"]:
            cell = document["apiservers"][f"{host.address}:6443"]
            assert (cell["status"], cell["state"]) == (401, "ok")
            assert document["apiservers"]["lab-api-1:6443"]["state"] == "failed"
            assert document["through"]["state"] == "ok"


@contextmanager
def apiserver_on(node: Node, cluster: Lab) -> Iterator[None]:
    """A kube-apiserver on the node itself; it answers /readyz to those only whom it knows."""
    folder = cluster.state / "hosted"
    argv = kube_apiserver(cluster.name, cluster.state, folder, node.name, node.addresses)
    inside = ["setpriv", "--pdeathsig", "KILL", "--", "ip", "netns", "exec", node.netns, *argv]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen([*inside, "--anonymous-auth=false"], stdout=log, stderr=log) as process,
    ):
        try:
            ready = ["get", "--raw=/readyz", f"--server=https://{node.address}:6443"]
            until(lambda: answers(node, ready))
            yield
        finally:
            process.kill()


def answers(node: Node, request: list[str]) -> bool:
    """Whether kubectl has a good answer."""
    with suppress(LabError):
        return bool(kubectl(node, *request))
    return False


def test_ipv6(cluster: Lab, fleet: Path, kube_toml: Toml) -> None:
    known = cluster.state / "known_hosts"
    nodes = ", ".join(f'"root@[{node.address6}]"' for node in cluster.nodes)
    servers = ", ".join(f'"[{server.address6}]:6443"' for server in cluster.apiservers)
    path = kube_toml(
        ('nodes = ["lab-node-1", "lab-node-2", "lab-node-3"]', f"nodes = [{nodes}]"),
        (ALL, f"apiservers = [{servers}]"),
        ("[build]", '[proxy]\nlisten = ["127.0.0.1:8443", "[::1]:8443"]\n\n[build]'),
        (f'config = "{cluster.state}/ssh_config"', f'config = "{ssh_config(cluster, known)}"'),
    )
    ran = run_fab("deploy", "check", "status", hosts=path)
    assert ran.status == 0, ran.out + ran.err
    for node in cluster.nodes:
        for server in ("https://127.0.0.1:8443", "https://[::1]:8443"):
            assert "configmap/first" in kubectl(node, f"--server={server}", "get", "configmaps", "-o", "name")
        assert set(peers(node)) <= {server.address6 for server in cluster.apiservers}


def ssh_config(cluster: Lab, known: Path) -> Path:
    """An ssh_config for nodes that are named by their addresses."""
    path = cluster.state / "ssh_config6"
    path.write_text(f"Host *\n    IdentityFile {cluster.state}/id_ed25519\n    UserKnownHostsFile {known}\n")
    return path


def test_sessions_on_one_that_is_stopped_end_and_no_others(cluster: Lab, fleet: Path, tmp_path: Path) -> None:
    node = cluster.nodes[2]
    with ExitStack() as stack:
        stack.enter_context(talks.unwatched(node))  # whose own connections are none of kubectl's
        stack.enter_context(talks.hosted_pod(node))
        sessions: list[talks.Session] = []
        for kind in talks.KINDS:
            for number in range(MOST):
                sessions.append(talks.opened(node, kind, tmp_path / f"{kind}-{number}", stack))
                there = {one.apiserver for one in sessions if one.kind == kind}
                if sessions[0].apiserver in there and len(there) > 1:
                    break
        stack.enter_context(talks.watched(node))
        hung = server_of(cluster, sessions[0].apiserver)
        on_it = [one for one in sessions if one.apiserver == hung.address]
        others = [one for one in sessions if one.apiserver != hung.address]
        assert {one.kind for one in on_it} == {one.kind for one in others} == talks.KINDS.keys()
        stack.callback(hung.resume)
        hung.pause()
        until(lambda: all(one.ended for one in on_it), KUBECTL_GIVES_UP - 15)
        said = [len(one.lines) for one in others]
        new = create(next(server for server in cluster.apiservers if server != hung), cluster)
        until(lambda: all(new in one.lines for one in others if one.kind == "watch"))
        until(lambda: all(len(one.lines) > before for one, before in zip(others, said, strict=True)))
        assert [one.kind for one in others if one.ended] == []
        for one in on_it:
            print(one.kind, one.process.returncode, one.lines[-2:])


def test_the_programs_are_built_once() -> None:
    assert {path.name for path in kubernetes.folder().iterdir()} == set(kubernetes.PROGRAMS)
