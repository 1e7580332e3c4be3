"""Why a connection cannot be made, on real hosts: each reason, by each means that `fab check` has."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from tasks.core.config.address import Endpoint
from tasks.core.probes import fallback
from tasks.core.scripts.reach import Check
from tasks.core.shell.command import CommandResult, with_defaults
from tests.conftest import run_fab
from tests.lab import faults
from tests.lab.faults import faulty
from tests.lab.lab import Lab
from tests.lab.nodes import Node
from tests.lab.servers import Apiserver
from tests.test_fallback import ALWAYS, word_of

pytestmark = pytest.mark.lab

SECONDS = 8  # longer than the kernel takes to find out that nobody has an address in its own network
CLOSES = """
import socket, sys
listener = socket.create_server((sys.argv[1], 7777))
print("listens", flush=True)
while True:
    listener.accept()[0].close()
"""
WORDS = {
    "refused": "refused",
    "host off": "no route",
    "unreachable": "no route",
    "no network": "no route",
    "dropped": "no answer",
    "no name": "no address",
    "closes": "closed",
    "not TLS": "not TLS",
}
Endpoints = dict[str, Endpoint]


@pytest.fixture
def endpoints(lab: Lab, deployed: Path) -> Iterator[Callable[[Node], Endpoints]]:
    """Those that a node cannot reach, by the reason."""
    api, dropped = lab.apiservers[:2]
    free, unreachable = (str(ip_address(api.address) + n) for n in (30, 31))  # nobody has them
    route = ["ip", "route", "add", "unreachable", f"{unreachable}/32"]
    servers: list[Popen[str]] = []

    def of(node: Node) -> Endpoints:
        node.exec(route)
        command = ["ip", "netns", "exec", node.netns, sys.executable, "-c", CLOSES, node.address]
        server = Popen(command, stdout=PIPE, text=True)
        servers.append(server)
        assert server.stdout is not None
        assert server.stdout.readline() == "listens\n"
        return {
            "refused": Endpoint(api.address, 1),
            "host off": Endpoint(free, 6443),
            "unreachable": Endpoint(unreachable, 6443),
            "no network": Endpoint("2001:2:0:ffff::1", 6443),
            "dropped": Endpoint(dropped.address, 6443),
            "no name": Endpoint("api.invalid", 6443),
            "closes": Endpoint(node.address, 7777),
            "not TLS": Endpoint(node.address, 22),
        }

    with faulty([dropped], Apiserver.cut_off, Apiserver.let_back):
        yield of
    for server in servers:
        server.kill()
        server.wait()
    for node in lab.nodes:
        node.exec(["ip", "route", "del", *route[3:]])


def by_check(node: Node, there: Endpoints, hosts_toml: Callable[..., Path]) -> dict[str, str]:
    """The words of `fab check`; what the watch thinks of it meanwhile is another matter."""
    names = ", ".join(f'"{endpoint}"' for endpoint in there.values())
    old = '"lab-api-1:6443", "lab-api-2:6443", "lab-api-3:6443"'
    hosts = hosts_toml((old, names), ("[build]", f"[check]\ntimeout = {SECONDS}\n\n[build]"))
    ran = run_fab("check", "--json", "--limit", node.name, hosts=hosts)
    cells = ran.json["nodes"][0]["apiservers"]
    words = {why: cells[str(endpoint)]["word"] for why, endpoint in there.items()}
    return {why: word.removesuffix(", ejected") for why, word in words.items()}


def test_by_sshd(lab: Lab, endpoints: Callable[[Node], Endpoints], hosts_toml: Callable[..., Path]) -> None:
    for node in lab.nodes:
        assert by_check(node, endpoints(node), hosts_toml) == WORDS


@pytest.mark.parametrize(("number", "program"), [(0, "bash"), (1, "curl")])
def test_where_sshd_forbids_forwarding(
    lab: Lab,
    endpoints: Callable[[Node], Endpoints],
    hosts_toml: Callable[..., Path],
    number: int,
    program: str,
) -> None:
    node = lab.nodes[number]
    with faults.no_forwarding(node):
        words = by_check(node, endpoints(node), hosts_toml)
    # bash does not speak TLS
    open_ = {"closes": "open", "not TLS": "open"} if program == "bash" else {}
    expected = {why: f"{word} ({program})" for why, word in (WORDS | open_).items()}
    assert words == expected | {"no name": WORDS["no name"]}  # which nobody asks for


def test_by_openssl(lab: Lab, endpoints: Callable[[Node], Endpoints], tmp_path: Path) -> None:
    """No node of the lab has it, so this machine's is used in the network of one."""
    for tool in (*ALWAYS, "openssl"):
        found = shutil.which(tool)
        assert found, tool
        (tmp_path / tool).symlink_to(Path(found).resolve())
    there = endpoints(lab.nodes[0])
    check = Check(tuple(there.values()), SECONDS)
    script = with_defaults(check.text()).replace("PATH=$PATH:/usr/sbin:/sbin", f"PATH={tmp_path}")
    ended = lab.nodes[0].exec(["/bin/sh", "-c", script], timeout=60)
    met = check.parse(CommandResult(0, ended.stdout))
    seen = {endpoint: fallback.result_of(met.get(endpoint)) for endpoint in there.values()}
    assert {why: word_of(seen[endpoint]) for why, endpoint in there.items()} == WORDS
    assert {met.program for met in seen.values()} == {"openssl"}
