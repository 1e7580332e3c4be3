"""Which nodes a limit means, and the pool over them."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fabric
import pytest
from fabric.exceptions import GroupException
from invoke import Config, Context

from tasks.core.config.address import NodeSpec
from tasks.core.errors import UsageError
from tasks.core.shards.selection import select
from tasks.core.shell.pool import fan_out
from tasks.core.ssh.fleet import Connections, Fleet, fleet_of
from tasks.core.ssh.node import Node

NODES = [
    NodeSpec("worker-1", "10.0.0.1", None, None, ("workers", "rack-a")),
    NodeSpec("worker-2", "10.0.0.2", None, None, ("workers", "rack-b")),
    NodeSpec("control-1", "10.0.0.3", None, None, ()),
]


@pytest.mark.parametrize(
    ("limit", "names"),
    [
        (None, "worker-1 worker-2 control-1"),
        ("worker-2", "worker-2"),
        ("10.0.0.3", "control-1"),
        ("workers", "worker-1 worker-2"),
        ("worker-[12]", "worker-1 worker-2"),
        ("control-*,rack-a", "worker-1 control-1"),
        ("worker-2, worker-1", "worker-1 worker-2"),
    ],
)
def test_limit(limit: str | None, names: str) -> None:
    assert [node.name for node in select(NODES, limit)] == names.split()


@pytest.mark.parametrize(
    ("limit", "message"),
    [
        ("worker-9", "--limit worker-9: no node, host or group matches; did you mean worker-"),
        ("zzz", "--limit zzz: no node, host or group matches; known are 10.0.0.1, "),
        ("worker-1,zzz", "--limit zzz: no node"),
        (",", "--limit ',' names no node"),
        ("", "--limit '' names no node"),
    ],
)
def test_a_limit_that_means_nothing(limit: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        select(NODES, limit)
    assert str(caught.value).startswith(message)


def test_no_more_than_parallel_run_at_once_and_all_results_come() -> None:
    full = threading.Barrier(3, timeout=10)  # breaks unless three run at once
    running, most, lock = 0, 0, threading.Lock()

    def work(item: int) -> int:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        full.wait()
        with lock:
            running -= 1
        full.wait()
        if item == 4:
            raise ValueError("four")
        return item * 2

    results = dict(fan_out(range(6), work, 3))
    assert most == 3
    assert {k: v for k, v in results.items() if k != 4} == {0: 0, 1: 2, 2: 4, 3: 6, 5: 10}
    assert isinstance(results[4], ValueError)


class TestGroup:
    """Fleet is Fabric's ThreadingGroup."""

    class Host(fabric.Connection):  # type: ignore[misc]
        """Answers without a network, the last one first."""

        gate: dict[str, threading.Event]

        def run(self, command: str, **_: object) -> str:
            names = list(self.gate)
            later = names[names.index(self.host) + 1 :]
            if later:
                assert self.gate[later[0]].wait(10)
            self.gate[self.host].set()
            if command == "fail" and self.host == "b":
                raise OSError("no")
            return f"{self.host}: {command}"

    def fleet(self) -> Fleet:
        gate = {name: threading.Event() for name in "abc"}
        hosts = []
        for name in gate:
            host = self.Host(name)
            object.__setattr__(host, "gate", gate)
            hosts.append(host)
        fleet: Fleet = Fleet.from_connections(hosts)
        return fleet

    def test_results_keep_the_order_of_the_fleet(self) -> None:
        results = self.fleet().run("uptime")
        assert [(node.host, text) for node, text in results.items()] == [
            ("a", "a: uptime"),
            ("b", "b: uptime"),
            ("c", "c: uptime"),
        ]

    def test_a_failure_is_fabrics_exception(self) -> None:
        with pytest.raises(GroupException) as caught:
            self.fleet().run("fail")
        assert [node.host for node in caught.value.result.failed] == ["b"]
        assert [node.host for node in caught.value.result.succeeded] == ["a", "c"]


@pytest.fixture
def hosts_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "ssh_config").write_text(
        "Host worker-1\n  HostName 10.0.0.1\n  User admin\n  Port 2200\n"
        "Host inner\n  ProxyJump first,jumper@second:2022\n"
    )
    path = tmp_path / "hosts.toml"
    path.write_text(
        'nodes = ["worker-1", "ops@10.0.0.9:2222", "fd00::5", "inner"]\n'
        'apiservers = ["10.0.1.1"]\n[ssh]\nconfig = "ssh_config"\n'
    )
    monkeypatch.setenv("KUBE_NGINX_HOSTS", str(path))
    return path


def test_user_and_port_fall_back_to_ssh_config_then_root(hosts_file: Path) -> None:
    fleet = fleet_of(Context())
    seen = [(node.label, node.user, node.host, node.port) for node in fleet]
    assert seen == [
        ("worker-1", "admin", "10.0.0.1", 2200),
        ("10.0.0.9", "ops", "10.0.0.9", 2222),
        ("fd00::5", "root", "fd00::5", 22),
        ("inner", "root", "inner", 22),
    ]
    second = list(fleet)[3].gateway
    assert (second.user, second.host, second.port) == ("jumper", "second", 2022)
    assert second.gateway.host == "first"


def nodes() -> list[Node]:
    return list(fleet_of(Context()))


def test_connections_are_shared_by_all_tasks_of_a_process(hosts_file: Path) -> None:
    assert nodes() == nodes()
    before = nodes()
    with Connections() as connections:
        within = nodes()
        assert within == nodes()
        assert not {*before} & {*within}
        connections.close()
        assert not {*nodes()} & {*within}
        with Connections():
            assert not {*nodes()} & {*within}
    assert nodes() == before


def test_each_thread_has_its_own(hosts_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two fleets at once; and what another thread closes stays open here."""
    monkeypatch.delenv("KUBE_NGINX_HOSTS")
    other = hosts_file.with_name("other.toml")
    other.write_text('nodes = ["a"]\napiservers = ["10.0.0.9"]\n')
    opened, closed = threading.Barrier(2, timeout=10), threading.Event()

    def fleet(path: Path) -> list[Node]:
        return list(fleet_of(Context(Config(overrides={"kube_nginx": {"hosts_file": str(path)}}))))

    def others() -> list[str]:
        with Connections():
            labels = [node.label for path in (other, hosts_file) for node in fleet(path)]
            opened.wait()
        closed.set()
        return labels

    with ThreadPoolExecutor() as pool, Connections():
        found = pool.submit(others)
        mine = fleet(hosts_file)
        opened.wait()
        assert closed.wait(10)
        assert fleet(hosts_file) == mine
        assert found.result() == ["a", "worker-1", "10.0.0.9", "fd00::5", "inner"]


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        (fabric.Connection("worker-1"), ("worker-1", "admin", "10.0.0.1", 2200)),
        (fabric.Connection("10.0.0.77", user="me", port=2201), ("10.0.0.77", "me", "10.0.0.77", 2201)),
        (fabric.Connection("10.0.0.78"), ("10.0.0.78", "root", "10.0.0.78", 22)),
        (fabric.Connection("me@worker-1:2201"), ("worker-1", "me", "10.0.0.1", 2201)),
        (fabric.Connection("me@10.0.0.9:2222"), ("10.0.0.9", "me", "10.0.0.9", 2222)),
        (fabric.Connection("[fd00::5]:2299"), ("fd00::5", "root", "fd00::5", 2299)),
    ],
)
def test_a_connection_means_exactly_that_host(
    hosts_file: Path, connection: fabric.Connection, expected: tuple[object, ...]
) -> None:
    (node,) = fleet_of(connection)
    assert (node.label, node.user, node.host, node.port) == expected


def test_a_callers_keys_and_gateway_are_taken_over(hosts_file: Path) -> None:
    gateway = fabric.Connection("jump")
    (node,) = fleet_of(fabric.Connection("10.0.0.9", connect_kwargs={"password": "x"}, gateway=gateway))
    assert node.connect_kwargs["password"] == "x"
    assert node.gateway is gateway


def test_nodes_of_one_address_are_still_two(hosts_file: Path) -> None:
    with (hosts_file.parent / "ssh_config").open("a") as file:
        file.write("Host a\n  HostName 10.9.9.9\n  ProxyJump x\nHost b\n  HostName 10.9.9.9\n  ProxyJump y\n")
    hosts_file.write_text(hosts_file.read_text().replace('"inner"', '"a", "b"'))
    a, b = list(fleet_of(Context()))[-2:]
    assert a != b
    assert len({a, b}) == 2


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("NoSuchThing\n", "ssh_config:1: NoSuchThing: "),
        ("Host *\n  port = 65536\n", "ssh_config:2: port = 65536: Bad port"),
        ("# x\n\nHost other\n\tPort\tsshx\n", r"ssh_config:4: Port\tsshx: Bad port"),
        (f"Port {'7' * 5000}\n", "ssh_config:1: Port 7777"),
        ("ConnectTimeout soon\n", "ssh_config:1: ConnectTimeout soon: invalid time value"),
        ("CanonicalizeMaxDots x\n", "ssh_config:1: CanonicalizeMaxDots x: "),
        ("Host *\n  ProxyCommand ssh 'x\n", "ssh_config:2: ProxyCommand ssh 'x: invalid quotes"),
        ("Host *\n  ProxyJump root@a:b:c\n", "ssh_config:2: ProxyJump root@a:b:c: Invalid ProxyJump"),
    ],
)
def test_an_ssh_config_that_cannot_be_read(hosts_file: Path, line: str, message: str) -> None:
    (hosts_file.parent / "ssh_config").write_text(line)
    with pytest.raises(UsageError, match=message):
        fleet_of(Context())


@pytest.mark.parametrize(
    "line", ['Port "2222"', "Port 2222 ", "ConnectTimeout 1m30", "ConnectTimeout none", "ForwardAgent /agent"]
)
def test_an_ssh_config_that_openssh_takes(hosts_file: Path, line: str) -> None:
    (hosts_file.parent / "ssh_config").write_text(f"{line}\n")
    assert len(fleet_of(Context())) > 0


def test_a_connection_and_a_limit_contradict_each_other(hosts_file: Path) -> None:
    with pytest.raises(UsageError):
        fleet_of(fabric.Connection("worker-1"), limit="worker-1")
