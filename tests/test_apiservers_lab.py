"""`fab check` and `fab status` on the lab where apiservers, or the ways to them, are not alike."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, Popen
from time import monotonic

import pytest

from tests.conftest import Ran, run_fab
from tests.lab.faults import faulty
from tests.lab.lab import Lab
from tests.lab.nodes import Node
from tests.lab.servers import Apiserver
from tests.test_check_lab import LISTENER, NAMES, Toml, begun, healthy, words  # noqa: F401 - fixtures
from tests.tls import Identity, identity

pytestmark = pytest.mark.lab

V6ONLY = """
import socket
listener = socket.socket(socket.AF_INET6)
listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
listener.bind(("::", 8443))
listener.listen()
print("listens", flush=True)
while True:
    listener.accept()[0].close()
"""


@contextmanager
def having(server: Apiserver, who: Identity) -> Iterator[None]:
    """The apiserver has another certificate."""
    files = {server.folder / f"tls.{kind}": pem for kind, pem in (("crt", who.pem), ("key", who.private))}
    kept = {path: path.read_bytes() for path in files}
    try:
        restarted(server, files)
        yield
    finally:
        restarted(server, kept)


def restarted(server: Apiserver, files: dict[Path, bytes]) -> None:
    server.stop()
    for path, content in files.items():
        path.write_bytes(content)
    server.start()


def checked(hosts: Path) -> Ran:
    """A check once nginx has forgiven the restart of an apiserver, so that it leads to all."""
    deadline = monotonic() + 60
    while True:
        ran = run_fab("check", "--json", hosts=hosts)
        if all(set(node["through"]["led_to"]) == set(NAMES) for node in ran.json["nodes"]):
            return ran
        assert monotonic() < deadline, ran.out


def through(ran: Ran) -> list[tuple[str, str, str]]:
    """State, word and detail of each node's proxy."""
    cells = [node["through"] for node in ran.json["nodes"]]
    return [(cell["state"], cell["word"], cell["detail"]) for cell in cells]


def test_all_is_told_of_the_apiserver_that_has_it(
    lab: Lab, deployed: Path, hosts_toml: Toml, tmp_path: Path
) -> None:
    """Through the proxy each connection may lead to another one."""
    ca = tmp_path / "ca.crt"
    ca.write_bytes(b"".join((server.folder / "tls.crt").read_bytes() for server in lab.apiservers))
    hosts = hosts_toml(("[build]", f'[check]\nca = "{ca}"\n\n[build]'))
    with having(lab.apiservers[1], identity("strange", by=identity("another"))):
        ran = checked(hosts)
    assert ran.status == 0
    why = "its certificate does not verify: unable to get local issuer certificate (issuer CN=another)"
    for node in ran.json["nodes"]:
        cells = [node["apiservers"][name] for name in NAMES]
        assert [(cell["word"], cell["trusted"]) for cell in cells][1] == ("untrusted", False)
        assert [cell["detail"] for cell in cells] == ["", why, ""]
        assert [cell["certificate"]["issuer"] for cell in cells] == [
            "CN=lab-api-1",
            "CN=another",
            "CN=lab-api-3",
        ]
    for state, word, detail in through(ran):
        assert state == "warning"
        assert detail == f"an apiserver answers at {word} only; else: {NAMES[1]}: {why}"


def test_a_certificate_of_tomorrow_serves_nobody_today(lab: Lab, deployed: Path) -> None:
    with having(lab.apiservers[1], identity("lab-api-2", days=100, lasts=99)):
        ran = checked(deployed)
    assert ran.status == 0
    assert words(ran, NAMES[1]) == ["not yet valid"] * 3
    assert all("its certificate is valid from " in detail for _, _, detail in through(ran))
    assert {state for state, _, _ in through(ran)} == {"warning"}


def test_a_certificate_that_does_not_hold_for_the_listener(lab: Lab, deployed: Path) -> None:
    with having(lab.apiservers[1], identity("lab-api-2", addresses=["198.18.0.1"])):
        ran = checked(deployed)
    why = "its certificate holds for lab-api-2, 198.18.0.1, not for 127.0.0.1: kubelet will refuse it"
    assert (ran.status, words(ran, NAMES[1])) == (0, ["wrong name"] * 3)
    assert through(ran) == [("warning", "wrong name", f"{NAMES[1]}: {why}")] * 3


def test_an_answer_that_takes_long(lab: Lab, deployed: Path) -> None:
    delay = lab.apiservers[1].folder / "delay"
    delay.write_text("1.5")
    try:
        ran = checked(deployed)
    finally:
        delay.unlink()
    assert ran.status == 0
    for node in ran.json["nodes"]:
        cell = node["apiservers"][NAMES[1]]
        assert cell["total_ms"] > 1500 > cell["connect_ms"]
        word, milliseconds, _ = cell["word"].split()
        assert (cell["state"], word) == ("warning", "slow")
        assert abs(int(milliseconds) - cell["total_ms"]) < 1  # each is rounded by itself
    assert {word.split()[0] for _, word, _ in through(ran)} == {"slow"}


def test_nginx_waits_for_an_apiserver_that_is_gone(lab: Lab, deployed: Path) -> None:
    with faulty([lab.apiservers[1]], Apiserver.cut_off, Apiserver.let_back):
        deadline = monotonic() + 60
        while not (slow := [met for met in through(ran_check(deployed)) if met[1].startswith("slow")]):
            assert monotonic() < deadline
    for state, word, detail in slow:
        assert state == "warning"
        assert detail.startswith(f"lab-api-{detail[8]}:6443: took {word.split()[1]} ms: ")


def ran_check(hosts: Path) -> Ran:
    ran = run_fab("check", "--json", hosts=hosts)
    assert ran.status == 0, ran.err
    return ran


def test_it_says_to_whom_the_proxy_leads(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    """An apiserver that is not in a node's kube-nginx.conf."""
    node = lab.nodes[0].name
    fewer = hosts_toml((', "lab-api-3:6443"', ""))
    assert run_fab("conf", "--limit", node, "reload", "--limit", node, hosts=fewer).status == 0
    try:
        ran = run_fab("check", "--json", "--limit", node, hosts=deployed)
    finally:
        assert run_fab("deploy", "--limit", node, hosts=deployed).status == 0
    ((state, word, detail),) = through(ran)
    assert (state, word.split()[0]) == ("ok", "ready")
    assert detail == f"13 tries led to {NAMES[0]} and {NAMES[1]}, not to {NAMES[2]}"


class TestStatus:
    """What a listener does."""

    def test_the_kernel_accepts_and_no_worker_does(self, lab: Lab, deployed: Path) -> None:
        node = lab.nodes[0]
        workers = node.enter("pgrep -f '^nginx: worker process'").split()
        node.enter(f"kill -STOP {' '.join(workers)}")
        try:
            ran, table = self.status(deployed, node), run_fab("status", hosts=deployed)
        finally:
            node.enter(f"kill -CONT {' '.join(workers)}")
        assert (ran.status, ran.json["nodes"][0]["listeners"]) == (1, {LISTENER: "accepts"})
        why = "no apiserver answers through it: did not answer within 3 s"
        assert f"active, but {LISTENER}: accepts, {why}" in ran.err
        assert f"{LISTENER} accepts" in table.out
        assert table.out.count("  answers") == 2

    def test_no_apiserver_is_up(self, lab: Lab, deployed: Path) -> None:
        with faulty(lab.apiservers, Apiserver.stop, Apiserver.start):
            ran = self.status(deployed, lab.nodes[0])
        assert (ran.status, ran.json["nodes"][0]["listeners"]) == (1, {LISTENER: "accepts"})
        assert "accepted the connection and closed it before TLS" in ran.err
        assert "then fab check --limit lab-node-1" in ran.err

    def test_a_hung_apiserver_is_not_the_nodes_fault(self, lab: Lab, deployed: Path) -> None:
        with faulty([lab.apiservers[0]], Apiserver.pause, Apiserver.resume):
            ran = run_fab("status", "--json", hosts=deployed)
        assert [node["listeners"] for node in ran.json["nodes"]] == [{LISTENER: "answers"}] * 3

    def status(self, hosts: Path, node: Node) -> Ran:
        return run_fab("status", "--json", "--limit", node.name, hosts=hosts)


def test_a_socket_for_ipv6_alone_holds_nothing(lab: Lab, deployed: Path) -> None:
    command = ["ip", "netns", "exec", lab.nodes[0].netns, sys.executable, "-c", V6ONLY]
    with Popen(command, stdout=PIPE, text=True) as foreign:
        try:
            assert foreign.stdout is not None
            assert foreign.stdout.readline() == "listens\n"
            for task in ("status", "check", "preflight", "deploy"):
                ran = run_fab(task, "--json", "--limit", lab.nodes[0].name, hosts=deployed)
                assert (ran.status, "held by" in ran.out) == (0, False), ran.out
        finally:
            foreign.send_signal(signal.SIGKILL)
