"""The unit on real systemd hosts, each of another release of Debian."""

import re
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.lab.lab import Lab
from tests.lab.nodes import Node
from tests.watch.field import until

pytestmark = pytest.mark.lab

UNIT = "kube-nginx-watch.service"


def shown(node: Node, what: str) -> str:
    """Give a property of the unit."""
    return node.enter(f"systemctl show -p {what} --value {UNIT}").strip()


def rules(node: Node) -> list[str]:
    """List the rules by which its kernel refuses connections."""
    found = node.exec(["nft", "list", "ruleset"])
    assert found.returncode == 0, found.stderr
    return [line for line in found.stdout.splitlines() if "reject" in line]


def everywhere(lab: Lab, condition: Callable[[Node], object], what: str) -> None:
    """Wait until something holds on each node."""
    for node in lab.nodes:
        until(lambda: condition(node), f"{node.name}: {what}", 60)  # noqa: B023 - called at once


def at_once(lab: Lab, script: str) -> None:
    """Run shell text on all nodes."""
    threads = [threading.Thread(target=node.enter, args=(script,)) for node in lab.nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@pytest.fixture
def hung(lab: Lab, deployed: Path) -> Iterator[str]:
    """The first apiserver, which accepts and does not answer; all nodes have ejected it."""
    server = lab.apiservers[0]
    address = f"{server.address}:6443"
    everywhere(lab, lambda node: shown(node, "StatusText") == "ok", "all is well")
    server.pause()
    try:
        everywhere(
            lab, lambda node: shown(node, "StatusText").startswith(f"ejected {address} for "), "it is ejected"
        )
        yield address
    finally:
        server.resume()


@pytest.mark.usefixtures("deployed")
def test_how_much_it_may(lab: Lab) -> None:
    for node in lab.nodes:
        text = node.enter(f"systemd-analyze security --no-pager {UNIT} || true")
        exposure = re.search(r"exposure level for \S+: ([\d.]+)", text)
        assert exposure, text
        assert float(exposure[1]) <= 2.0, text
        status = node.enter(f"cat /proc/{shown(node, 'MainPID')}/status")
        uid = re.search(r"(?m)^Uid:\t(\d+)", status)
        assert uid
        assert int(uid[1]) not in {0, int(node.enter("id -u kube-nginx"))}
        assert re.search(r"(?m)^CapEff:\t0000000000001000$", status), status
        assert re.search(r"(?m)^CapBnd:\t0000000000001000$", status), status


def test_it_dies_and_comes_back(lab: Lab, hung: str) -> None:
    everywhere(lab, lambda node: len(rules(node)) == 1, "it has its rule")
    before = {node.name: shown(node, "MainPID") for node in lab.nodes}
    for node in lab.nodes:
        node.send_signal(signal.SIGKILL, {"kube-nginx-watch"[:15]})
    everywhere(lab, lambda node: shown(node, "MainPID") not in {"0", before[node.name]}, "it is there again")
    everywhere(lab, lambda node: shown(node, "StatusText").startswith(f"ejected {hung}"), "it ejects again")
    everywhere(lab, lambda node: len(rules(node)) == 1, "it has its rule")
    at_once(lab, f"systemctl stop {UNIT}")
    assert [rules(node) for node in lab.nodes] == [[]] * len(lab.nodes)
    assert {node.enter("systemctl is-active kube-nginx").strip() for node in lab.nodes} == {"active"}
    at_once(lab, f"systemctl start {UNIT}")


def test_it_goes_and_comes_with_nginx(lab: Lab, hung: str) -> None:
    at_once(lab, "systemctl stop kube-nginx")
    everywhere(lab, lambda node: shown(node, "ActiveState") == "inactive", "it is stopped, too")
    assert [rules(node) for node in lab.nodes] == [[]] * len(lab.nodes)
    at_once(lab, "systemctl start kube-nginx")
    everywhere(
        lab, lambda node: shown(node, "StatusText").startswith(f"ejected {hung}"), "it is started, too"
    )


def test_one_that_cannot_start_is_no_matter_of_nginx(lab: Lab, deployed: Path) -> None:
    program = shown(lab.nodes[0], "ExecStart").split("path=")[1].split(" ")[0]
    at_once(
        lab, f"mv {program} {program}.away; printf '#!/bin/sh\\nexit 1\\n' > {program}; chmod 755 {program}"
    )
    at_once(lab, "systemctl restart --no-block kube-nginx")
    try:
        everywhere(lab, lambda node: int(shown(node, "NRestarts")) >= 2, "systemd tries again")
        assert {node.enter("systemctl is-active kube-nginx").strip() for node in lab.nodes} == {"active"}
    finally:
        at_once(lab, f"mv {program}.away {program}")
    everywhere(lab, lambda node: shown(node, "StatusText") == "ok", "it runs again")
