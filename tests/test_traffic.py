"""connections and drill on real hosts: what they see is there, and what they do is undone in any case."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tasks.core.scripts.lock import LOCK
from tests.conftest import Ran, run_fab, run_fab_on_terminal, under_way
from tests.lab import talks
from tests.lab.lab import Lab
from tests.lab.nodes import Node
from tests.test_resolving import hosts

pytestmark = pytest.mark.lab

Toml = Callable[..., Path]
APISERVERS = ("lab-api-1:6443", "lab-api-2:6443", "lab-api-3:6443")
HOLD = """
import socket, sys
held = [socket.create_connection(("127.0.0.1", 8443)) for _ in range(int(sys.argv[1]))]
for one in held:
    one.sendall(b"x")
    one.recv(1)
print("ready", flush=True)
sys.stdin.read()
"""
RULES = {
    "lab-node-1": "iptables -S; iptables -t nat -S; ip6tables -S",
    "lab-node-3": "nft list ruleset",
}
SOMEBODYS = {
    "lab-node-1": (
        "iptables -N THEIRS; iptables -A THEIRS -s 192.0.2.1 -j ACCEPT; iptables -A OUTPUT -j THEIRS",
        "iptables -D OUTPUT -j THEIRS; iptables -F THEIRS; iptables -X THEIRS",
    ),
    "lab-node-3": (
        "nft add table inet theirs; nft add chain inet theirs out "
        "'{ type filter hook output priority 0; }'; nft add rule inet theirs out ip daddr 192.0.2.1 accept",
        "nft delete table inet theirs",
    ),
}
HEAL = {
    "lab-node-1": "; ".join(
        f"iptables -D {base} -j {ours}; iptables -F {ours}; iptables -X {ours}"
        for base, ours in (("INPUT", "KUBE-NGINX-DRILL-IN"), ("OUTPUT", "KUBE-NGINX-DRILL-OUT"))
    ),
    "lab-node-3": "nft delete table inet kube-nginx-drill",
}
UNITS = "systemctl list-units --all --no-legend --plain 'kube-nginx-drill*'"
CUT = "nft list table inet kube-nginx-drill || iptables -w -C OUTPUT -j KUBE-NGINX-DRILL-OUT"
SESSIONS = "sshd.*: [r]oot@"  # what sshd calls the processes of a login


def state(node: Node) -> str:
    """All firewall rules, and the drill's units."""
    return node.enter(f"{RULES[node.name]}; {UNITS}")


def is_cut(node: Node) -> bool:
    """Whether the drill's rules are there."""
    return node.enter(f"{{ {CUT}; }} >/dev/null 2>&1 && echo yes || echo no") == "yes\n"


def is_over(node: Node) -> bool:
    """Whether no script of a drill is at work there."""
    return node.enter(f"flock -n {LOCK}/drill true && echo yes || echo no") == "yes\n"


def eventually(true: Callable[[], bool], seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def held(node: Node, count: int) -> Iterator[None]:
    """Sessions through the node's proxy, that stay open."""
    command = ["ip", "netns", "exec", node.netns, sys.executable, "-I", "-c", HOLD, str(count)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline() == "ready\n"
            yield
        finally:
            process.stdin.close()


def by_ss(node: Node) -> dict[str, int]:
    """The kernel's own list of connections to apiservers, in the words of ss."""
    lines = node.enter("ss -Htn state established dport = :6443").splitlines()
    peers = [line.split()[-1] for line in lines]
    return {f"lab-api-{n}:6443": sum(p.endswith(f".{200 + n}:6443") for p in peers) for n in (1, 2, 3)}


def nodes_of(ran: Ran) -> dict[str, Any]:
    return {node["node"]: node for node in ran.json["nodes"]}


@pytest.fixture(params=[0, 2], ids=["iptables", "nft"])
def node(request: pytest.FixtureRequest, lab: Lab, deployed: Path) -> Iterator[Node]:
    """A node without the watch where somebody else has firewall rules, which must be the same afterwards."""
    node = lab.nodes[request.param]
    add, remove = SOMEBODYS[node.name]
    node.enter(add)
    before = state(node)
    assert "192.0.2.1" in before
    with talks.unwatched(node):
        yield node
    after = state(node)
    node.enter(remove)
    assert after == before


@contextmanager
def drilling(node: Node, settings: Path, seconds: int, *more: str) -> Iterator[subprocess.Popen[str]]:
    """A drill that has cut the node off."""
    words = ["drill", "--apiserver", "lab-api-2", "--limit", node.name, "--seconds", str(seconds), *more]
    with under_way(settings, *words) as process:
        # the script looks at its rules once more before it ends, and lets go of its lock
        eventually(lambda: is_cut(node) and is_over(node))
        yield process


def test_connections_are_those_that_the_kernel_has(lab: Lab, deployed: Path) -> None:
    first, second, third = lab.nodes
    with held(first, 300), held(third, 7):
        ran = run_fab("connections", "--json", hosts=deployed)
        assert ran.status == 0, ran.err
        nodes = nodes_of(ran)
        for node in (first, second, third):
            assert nodes[node.name]["sessions"] == by_ss(node)
        assert (nodes[first.name]["total"], nodes[third.name]["total"]) == (300, 7)
    document = ran.json
    assert document["total"] == 307
    assert sum(document["sessions"].values()) == 307
    assert document["imbalance"] == round(3 * max(document["sessions"].values()) / 307, 3)
    assert document["others"] == {}


def test_connections_of_workers_that_drain_count(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[1]
    with held(node, 5):
        assert run_fab("reload", "--limit", node.name, hosts=deployed).status == 0
        ran = run_fab("connections", "--limit", node.name, hosts=deployed)
        assert by_ss(node).keys() == set(APISERVERS)
        assert sum(by_ss(node).values()) == 5
    assert f"connections {node.name} ok" in ran.out
    assert "5 sessions" in ran.out


def test_apiservers_that_hosts_toml_has_lost_have_rows_of_their_own(
    lab: Lab, deployed: Path, hosts_toml: Toml
) -> None:
    node = lab.nodes[0]
    fewer = hosts_toml((', "lab-api-3:6443"]', "]"))
    with held(node, 9):
        ran = run_fab("connections", "--limit", node.name, hosts=fewer)
        lost = by_ss(node)["lab-api-3:6443"]
    assert lost > 0
    assert ran.status == 0
    row = next(line for line in ran.out.splitlines() if "not in hosts.toml" in line)
    assert row.split()[0] == f"{lab.apiservers[2].address}:6443"
    assert row.split()[-2] == str(lost)


def test_a_node_without_the_service_says_so(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[1]
    node.enter("systemctl stop kube-nginx")
    try:
        ran = run_fab("connections", "--json", hosts=deployed)
    finally:
        node.enter("systemctl start kube-nginx")
    assert ran.status == 1
    nodes = nodes_of(ran)
    assert nodes[node.name]["error"]["message"] == "inactive (dead)"
    assert nodes["lab-node-1"]["ok"]
    assert "lab-node-2: connections: inactive (dead)" in ran.err


def test_a_drill_measures_and_leaves_nothing(node: Node, deployed: Path) -> None:
    words = ("drill", "--apiserver", "lab-api-2", "--limit", node.name, "--seconds", "8", "--json")
    ran = run_fab(*words, hosts=deployed)
    assert ran.status == 0, ran.err
    (one,) = ran.json["nodes"]
    seen = one["drill"]
    assert (seen["apiserver"], seen["failed"], seen["ended_by"]) == ("lab-api-2:6443", 0, "drill")
    assert seen["tool"] == ("iptables" if node.number == 1 else "nft")
    assert seen["baseline"]["requests"] > 10
    assert seen["requests"] > 50
    assert seen["slowest_ms"] >= 1000  # connect_timeout: some met the dead one
    assert seen["slow"] > 0 or seen["slow_from_ms"] > 1000  # on a busy machine that is nothing special
    assert (seen["recovered_after"] or 0) < 20
    fates = [session["fate"] for session in seen["sessions"]]
    assert seen["sessions_on_it"] == 0  # the node's own
    assert 0 < fates.count("hung") < 6
    assert fates.count("unharmed") == 6 - fates.count("hung")
    assert "HTTP/2 ping" in seen["means"]
    assert seen["as_before"]
    assert "last slow or failed" in ran.err


# a TLS hello, and what comes back of it within two seconds
HELLO = """
import socket, ssl, sys
try:
    with socket.create_connection((sys.argv[1], 6443), 2) as connection:
        print("connected", flush=True)
        ssl._create_unverified_context().wrap_socket(connection)
        print("answered")
except OSError as error:
    print(type(error).__name__)
"""


def hello(node: Node, address: str) -> list[str]:
    command = ["ip", "netns", "exec", node.netns, sys.executable, "-I", "-c", HELLO, address]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def test_one_that_hangs_accepts_connections_and_answers_nothing(lab: Lab, node: Node, deployed: Path) -> None:
    hung, other = lab.apiservers[1], lab.apiservers[0]
    with drilling(node, deployed, 12, "--hang", "--json") as process:
        assert hello(node, hung.address) == ["connected", "TimeoutError"]
        assert hello(node, other.address) == ["connected", "answered"]
        assert hello(lab.nodes[1], hung.address) == ["connected", "answered"]  # nobody else notices
        out, err = process.communicate(timeout=90)
    assert process.returncode == 0, err
    assert hello(node, hung.address) == ["connected", "answered"]
    (one,) = json.loads(out)["nodes"]
    seen = one["drill"]
    assert (seen["fault"], seen["watch"], seen["ended_by"]) == ("hang", None, "drill")
    fates = [session["fate"] for session in seen["sessions"]]
    assert 0 < fates.count("hung") < 6
    assert seen["gap"] >= seen["seconds"]
    assert "no kube-nginx-watch runs there, which would close silent sessions" in err


def test_the_watch_closes_the_sessions_on_one_that_hangs(lab: Lab, node: Node, deployed: Path) -> None:
    words = ("drill", "--apiserver", "lab-api-2", "--limit", node.name, "--seconds", "15", "--hang", "--json")
    with talks.watched(node):
        ran = run_fab(*words, hosts=deployed)
    seen = ran.json["nodes"][0]["drill"]
    assert ran.status == 0, ran.err
    assert seen["watch"]["status"].startswith(f"ejected {lab.apiservers[1].address}:6443 for ")
    assert 0 < seen["watch"]["ejected_after"] < seen["seconds"]
    fates = [session["fate"] for session in seen["sessions"]]
    assert fates.count("ended") > 0
    assert "hung" not in fates
    assert seen["gap"] < seen["seconds"]
    assert seen["failed_late"] == 0


def test_a_leftover_of_an_earlier_drill_goes_first(lab: Lab, behind: Path) -> None:
    node = lab.nodes[2]
    node.enter("nft add table inet kube-nginx-drill")
    words = ("drill", "--apiserver", "lab-api-1", "--limit", node.name, "--seconds", "5", "--yes")
    ran = run_fab(*words, hosts=behind)
    assert ran.status == 0, ran.err
    assert "an earlier drill had left its rules there; they were removed first" in ran.out
    assert not is_cut(node)


def test_ctrl_c_undoes_it_at_once(node: Node, deployed: Path) -> None:
    began = time.monotonic()
    with drilling(node, deployed, 120) as process:
        eventually(lambda: not node.enter("pgrep -f '[K]UBE-NGINX-DRILL-IN' || true"))  # nothing is under way
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
    # on a busy machine the moment may be too short to see it, or to tell what was measured
    told = "then it was interrupted" in out
    assert told or "were not seen to be gone" in err or "interrupted; healed" in err
    eventually(lambda: not is_cut(node))
    assert time.monotonic() - began < 60


@pytest.mark.parametrize("fault", [(), ("--hang",)], ids=["cut", "hang"])
def test_a_drill_that_is_killed_is_undone_by_the_node(
    node: Node, deployed: Path, fault: tuple[str, ...]
) -> None:
    with drilling(node, deployed, 5, *fault) as process:
        process.kill()
        process.wait(10)
    assert is_cut(node)
    eventually(lambda: not is_cut(node), 20)
    eventually(lambda: node.enter(UNITS) == "")


def test_rules_that_somebody_else_removed_are_told(node: Node, deployed: Path) -> None:
    with drilling(node, deployed, 5, "--json") as process:
        node.enter(HEAL[node.name])
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    (one,) = json.loads(out)["nodes"]
    assert one["drill"]["ended_by"] == "other"
    assert "the rules were gone already when we came to remove them" in err


def test_ctrl_c_before_the_cut_is_told_as_that(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[2]
    node.enter("nft add table inet kube-nginx-drill")
    with drilling(node, deployed, 60) as process:
        eventually(lambda: not is_cut(node))
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130, err
    assert "they were removed first" in out
    assert "interrupted; nothing was cut" in err
    assert not is_cut(node)


@pytest.mark.parametrize("fault", [(), ("--hang",)], ids=["cut", "hang"])
def test_when_the_connection_breaks_it_is_undone_through_a_new_one(
    node: Node, deployed: Path, fault: tuple[str, ...]
) -> None:
    with drilling(node, deployed, 120, *fault) as process:
        node.enter(f"pkill -f '{SESSIONS}'")
        _, err = process.communicate(timeout=60)
        assert process.returncode == 1
    assert "connection broke" in err
    assert "the rules are gone" in err or "nothing is left of it" in err  # it may break in the cut itself
    assert "Traceback" not in err
    assert not is_cut(node)


def test_somebody_elses_lock_keeps_it_away(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[2]
    with drilling(node, deployed, 120) as process:
        second = run_fab("drill", "--apiserver", "lab-api-1", "--limit", node.name, hosts=deployed)
        assert second.status == 1
        assert "locked by" in second.err
        assert "or give --wait SECONDS" in second.err
        assert is_cut(node)
        process.send_signal(signal.SIGINT)
        words = ("drill", "--apiserver", "lab-api-1", "--limit", node.name, "--seconds", "5", "--wait", "60")
        third = run_fab(*words, hosts=deployed)
        assert third.status == 0, third.err
        process.communicate(timeout=60)
    assert not is_cut(node)


def test_the_last_way_is_not_cut(lab: Lab, deployed: Path) -> None:
    others = [lab.apiservers[0], lab.apiservers[2]]
    words = ("drill", "--apiserver", "lab-api-2", "--limit", "lab-node-3")
    for other in others:
        other.stop()
    try:
        ran = run_fab(*words, hosts=deployed)
    finally:
        for other in others:
            other.start()
    assert ran.status == 1
    assert "nothing was cut: lab-api-2:6443 is the last way of this node" in ran.err
    assert not is_cut(lab.nodes[2])


def test_what_is_dead_already_is_not_cut(lab: Lab, deployed: Path) -> None:
    server = lab.apiservers[1]
    server.stop()
    try:
        ran = run_fab("drill", "--apiserver", "lab-api-2", "--limit", "lab-node-3", hosts=deployed)
    finally:
        server.start()
    assert ran.status == 1
    assert "lab-api-2:6443 is dead for this node already: it refused the connection" in ran.err


def test_a_node_without_a_firewall_tool_says_what_to_install(lab: Lab, deployed: Path) -> None:
    ran = run_fab("drill", "--apiserver", "lab-api-2", "--limit", "lab-node-2", hosts=deployed)
    assert ran.status == 1
    assert "no firewall tool that works" in ran.err
    assert "install nftables" in ran.err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--apiserver", "lab-api-9"], "not one of lab-api-1:6443, lab-api-2:6443, lab-api-3:6443"),
        ([], "--apiserver names the one that is to die"),
        (["--apiserver", "lab-api-1", "--limit", "lab-node-*"], "names 3"),
        (["--apiserver", "lab-api-1", "--seconds", "4"], "from 5 to 300"),
        (["--apiserver", "lab-api-1", "--wait", "long"], "must be a number of seconds"),
        (["--apiserver", "lab-api-1", "--seconds", "soon"], "must be a number of seconds"),
    ],
)
def test_wrong_flags(deployed: Path, words: list[str], why: str) -> None:
    ran = run_fab("drill", *words, hosts=deployed)
    assert ran.status == 2
    assert why in ran.err


@pytest.fixture
def behind(deployed: Path, hosts_toml: Toml) -> Path:
    """The fleet behind a gateway, where nobody knows which network a node is in."""
    return hosts_toml(("[ssh]", '[ssh]\ngateway = "lab-node-2"'))


def test_outside_of_test_networks_nothing_is_done_unasked(lab: Lab, behind: Path) -> None:
    ran = run_fab("drill", "--apiserver", "lab-api-2", "--limit", "lab-node-3", hosts=behind)
    assert ran.status == 2
    assert "drill cuts lab-node-3" in ran.err
    assert "say --yes" in ran.err
    assert not is_cut(lab.nodes[2])


def test_an_apiserver_in_another_network_is_not_cut_unasked(lab: Lab, deployed: Path) -> None:
    node = lab.nodes[2]
    with hosts(node, "$a 127.0.0.9 lab-api-2"):
        ran = run_fab("drill", "--apiserver", "lab-api-2", "--limit", node.name, hosts=deployed)
    assert ran.status == 2
    assert "say --yes" in ran.err
    assert not is_cut(node)


def test_an_answer_that_is_not_yes_ends_it(lab: Lab, behind: Path) -> None:
    words = ["drill", "--apiserver", "lab-api-2", "--limit", "lab-node-3"]
    ran = run_fab_on_terminal(words, "y", behind, question="Type yes")
    assert ran.status == 2
    assert (
        "This cuts lab-node-3, and all that uses its host network, off from lab-api-2:6443 for 20 s."
        in ran.out
    )
    assert "nothing was done" in ran.out
    assert not is_cut(lab.nodes[2])


def test_a_proxy_that_does_not_help_fails(lab: Lab, deployed: Path, hosts_toml: Toml) -> None:
    """It waits longer for a dead apiserver than its clients wait for it."""
    node = lab.nodes[2]
    proxy = '[proxy]\nconnect_timeout = "30s"\nbalance = "round robin"\n'
    patient = hosts_toml(("[build]", f"{proxy}\n[build]"))
    assert run_fab("deploy", "--limit", node.name, hosts=patient).status == 0
    words = ("drill", "--apiserver", "lab-api-2", "--limit", node.name, "--seconds", "10", "--json")
    try:
        with talks.unwatched(node):
            ran = run_fab(*words, hosts=patient)
    finally:
        back = run_fab("deploy", "--limit", node.name, hosts=deployed)
    assert back.status == 0, back.err
    assert ran.status == 1
    (one,) = ran.json["nodes"]
    assert one["drill"]["failed"] > 0
    assert one["error"]["message"].endswith("requests failed: did not answer within 5 s")
    assert "failed though another apiserver lived" in one["drill"]["means"]
    assert not is_cut(node)
