"""Sessions: what the node's script counts, whose they are, how even that is, how it is drawn."""

from __future__ import annotations

import os
import subprocess
from io import StringIO
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from tasks.core.config.address import Endpoint
from tasks.core.config.model import Proxy
from tasks.core.facts.paths import UNIT
from tasks.core.facts.sockets import as_kernel
from tasks.core.scripts.survey import Peers
from tasks.core.shell.command import CommandResult, with_defaults
from tasks.core.traffic import chart
from tasks.core.traffic.sessions import Sessions, assigned, at, together

from .scripts import functions

A, B, C = APISERVERS = [Endpoint("10.0.0.1", 6443), Endpoint("fd00::2", 6443), Endpoint("api-3", 6443)]
ADDRESSES = {"api-3": ("10.0.0.3", "fd00::3")}
SOMEBODY = Endpoint("192.0.2.9", 443)
TABLE = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
ESTABLISHED, SYN_SENT, FIN_WAIT2, CLOSE_WAIT, LISTEN = "01", "02", "05", "08", "0A"
LISTENER = Endpoint("127.0.0.1", 8443)
SLICE = f"/system.slice/{UNIT}"


def seen(*counts: int, others: int = 0) -> Sessions:
    return Sessions.of(
        dict(zip(APISERVERS, counts, strict=True)), dict.fromkeys([SOMEBODY], others) if others else {}
    )


class Proc:
    """A /proc with processes and sockets, for the script to read, and what systemd says of the unit."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.inode = 1000
        self.tables: dict[str, list[str]] = {"tcp": [], "tcp6": []}
        (root / "net").mkdir(parents=True)
        (root / "systemctl").write_text(f"#!/bin/sh\ncat {root}/group\n")
        (root / "systemctl").chmod(0o755)
        self.control_group(SLICE)
        self.process(1, "/init.scope")

    def control_group(self, path: str) -> None:
        """What systemd calls the unit's; "" if it does not run."""
        (self.root / "group").write_text(f"ControlGroup={path}\n")

    def process(self, pid: int, cgroup: str) -> None:
        (self.root / f"{pid}" / "fd").mkdir(parents=True, exist_ok=True)
        (self.root / f"{pid}" / "cgroup").write_text(f"1:name=systemd:{cgroup}\n0::{cgroup}\n")

    def socket(self, pid: int, local: Endpoint, remote: Endpoint, state: str = ESTABLISHED) -> None:
        self.inode += 1
        if pid:
            fd = self.root / f"{pid}" / "fd"
            (fd / str(self.inode)).symlink_to(f"socket:[{self.inode}]")
        inode = self.inode if pid else 0
        table = self.tables["tcp6" if ":" in local.host else "tcp"]
        line = f"{as_kernel(local)} {as_kernel(remote)} {state} 00000000:00000000 00:00000000 00000000"
        table.append(f"{len(table):4}: {line}   997        0 {inode} 1 0000000055 20 4 30 10 -1\n")

    def counted(self, ports: str = "20FB") -> dict[Endpoint, int]:
        """What the script says of it."""
        for name, lines in self.tables.items():
            (self.root / "net" / name).write_text(TABLE + "".join(lines))
        common = functions("/p", "sessions", unit_path="", ports=ports)
        text = with_defaults(common.replace("/proc/", f"{self.root}/").replace("cut -d/ -f3", self._pid()))
        path = f"{self.root}:{os.environ['PATH']}"
        done = subprocess.run(
            ["sh", "-c", text], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
        )
        assert done.stderr == ""
        return dict(Peers(Proxy()).parse(CommandResult(0, done.stdout)))

    def _pid(self) -> str:
        return f"sed 's,^{self.root}/,,' | cut -d/ -f1"


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    """The service's master and two workers, one of them draining, and a stranger."""
    proc = Proc(tmp_path / "proc")
    for pid in (10, 11, 12):
        proc.process(pid, SLICE)
    proc.process(20, "/system.slice/other.service")
    proc.socket(10, LISTENER, Endpoint("0.0.0.0", 0), LISTEN)
    return proc


def here(port: int, host: str = "10.0.0.9") -> Endpoint:
    return Endpoint(host, port)


def test_sessions_of_all_workers_count_and_clients_do_not(proc: Proc) -> None:
    for number, pid in enumerate((11, 11, 12)):
        proc.socket(pid, LISTENER, Endpoint("127.0.0.1", 50000 + number))
        proc.socket(pid, here(40000 + number), A)
    proc.socket(12, here(41000, "fd00::9"), B)
    assert proc.counted() == {A: 3, B: 1}


def test_what_somebody_else_has_does_not_count(proc: Proc) -> None:
    proc.socket(20, here(40000), A)
    proc.socket(0, here(40001), A, "06")  # TIME_WAIT: nobody's any more
    assert proc.counted() == {}


@pytest.mark.parametrize(
    ("first", "group", "where"),
    [
        ("/init.scope", SLICE, SLICE),
        ("/", SLICE, SLICE),
        # it does not run, and something of it does all the same
        ("/init.scope", "", SLICE),
        ("/", "", SLICE),
        ("/init.scope", f"/own.slice/{UNIT}", f"/own.slice/{UNIT}"),
        # a container that sees where it is: so does its systemd, and says so
        ("/lxc/n1/init.scope", f"/lxc/n1{SLICE}", f"/lxc/n1{SLICE}"),
        ("/lxc/n1", f"/lxc/n1{SLICE}", f"/lxc/n1{SLICE}"),
        ("/lxc/n1/init.scope", "", f"/lxc/n1{SLICE}"),
        (
            r"/machine.slice/n\x2d1.scope/init.scope",
            rf"/machine.slice/n\x2d1.scope{SLICE}",
            rf"/machine.slice/n\x2d1.scope{SLICE}",
        ),
        (r"/machine.slice/n\x2d[1].scope", "", rf"/machine.slice/n\x2d[1].scope{SLICE}"),
    ],
)
def test_which_processes_are_the_units(proc: Proc, first: str, group: str, where: str) -> None:
    proc.process(1, first)
    proc.control_group(group)
    for pid in (10, 11, 12):
        proc.process(pid, where)
    # containers have units of the same name
    for pid, elsewhere in enumerate(
        (f"/machine.slice/c1{where}", f"{where}/sub", where.replace(".", "x")), 30
    ):
        proc.process(pid, elsewhere)
        proc.socket(pid, here(40000 + pid), SOMEBODY)
    proc.socket(11, here(40000), A)
    assert proc.counted() == {A: 1}


@pytest.mark.parametrize(
    ("state", "count"), [(ESTABLISHED, 1), (FIN_WAIT2, 1), (CLOSE_WAIT, 1), (SYN_SENT, 0), ("03", 0)]
)
def test_half_closed_ones_count_and_half_open_ones_do_not(proc: Proc, state: str, count: int) -> None:
    proc.socket(11, here(40000), A, state)
    assert sum(proc.counted().values()) == count


def test_a_listener_that_hosts_toml_does_not_know_is_seen(proc: Proc) -> None:
    other = Endpoint("127.0.0.1", 9443)
    proc.socket(10, other, Endpoint("0.0.0.0", 0), LISTEN)
    proc.socket(11, other, Endpoint("127.0.0.1", 50000))
    proc.socket(11, here(40000), A)
    assert proc.counted() == {A: 1}


def test_a_listener_that_is_gone_is_known_from_hosts_toml(proc: Proc) -> None:
    proc.socket(12, Endpoint("127.0.0.1", 9443), Endpoint("127.0.0.1", 50000))
    assert proc.counted("20FB 24E3") == {}


def test_a_process_that_shares_a_socket_does_not_double_it(proc: Proc) -> None:
    proc.socket(11, here(40000), A)
    (proc.root / "12" / "fd" / "7").symlink_to(f"socket:[{proc.inode}]")
    assert proc.counted() == {A: 1}


def test_an_inode_is_not_taken_for_a_longer_one(proc: Proc) -> None:
    proc.socket(20, here(40000), A)
    shorter = str(proc.inode)[:-1]
    (proc.root / "11" / "fd" / "7").symlink_to(f"socket:[{shorter}]")
    assert proc.counted() == {}


def test_thousands_of_sessions_are_a_few_lines(proc: Proc) -> None:
    for number in range(2000):
        proc.socket(11, here(20000 + number), A if number % 4 else SOMEBODY)
        proc.socket(11, LISTENER, Endpoint("127.0.0.1", 30000 + number))
    assert proc.counted() == {A: 1500, SOMEBODY: 500}


def test_peers_are_apiservers_by_what_the_node_resolves() -> None:
    found = {A: 1, B: 2, Endpoint("10.0.0.3", 6443): 3, Endpoint("fd00::3", 6443): 4, SOMEBODY: 5}
    mine = assigned(found, APISERVERS, ADDRESSES)
    assert mine == Sessions.of({A: 1, B: 2, C: 7}, {SOMEBODY: 5})
    assert mine.total == 15


def test_another_port_is_another_peer() -> None:
    other = Endpoint("10.0.0.1", 443)
    assert assigned({other: 1}, APISERVERS, ADDRESSES).others == {other: 1}


def test_an_address_that_two_names_share_counts_once() -> None:
    twice = assigned({A: 4}, [C, A], {"api-3": ("10.0.0.1",)})
    assert twice.counts == {C: 4, A: 0}


def test_where_an_apiserver_is() -> None:
    assert at(C, ADDRESSES) == (Endpoint("10.0.0.3", 6443), Endpoint("fd00::3", 6443))
    assert at(C, {}) == ()
    assert at(Endpoint("fe80::1%eth0", 6443), {}) == (Endpoint("fe80::1", 6443),)


@pytest.mark.parametrize(
    ("counts", "imbalance"), [((5, 5, 5), 1), ((9, 0, 0), 3), ((4, 2, 0), 2), ((0, 0, 0), None)]
)
def test_imbalance_is_the_most_over_the_mean(counts: tuple[int, ...], imbalance: float | None) -> None:
    assert seen(*counts, others=50).imbalance == imbalance


def test_the_sum_over_nodes_keeps_those_without_sessions() -> None:
    total = together([seen(1, 0, 0), seen(2, 3, 0, others=1)], APISERVERS)
    assert total == Sessions.of({A: 3, B: 3, C: 0}, {SOMEBODY: 1})
    assert together([], APISERVERS).counts == {A: 0, B: 0, C: 0}


def drawn(nodes: dict[str, Sessions], terminal: bool, width: int = 80) -> list[str]:
    stream = StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system=None)
    chart.show(console, nodes, together(nodes.values(), APISERVERS))
    return stream.getvalue().splitlines()


def test_a_pipe_gets_plain_columns() -> None:
    assert drawn({"one": seen(3, 1, 0, others=4), "two": seen(0, 0, 0)}, terminal=False) == [
        "APISERVER                        SESSIONS  SHARE",
        "10.0.0.1:6443                    3         38%",
        "[fd00::2]:6443                   1         12%",
        "api-3:6443                       0         0%",
        "192.0.2.9:443 not in hosts.toml  4         50%",
        "imbalance 2.25 (the most / the mean of 3 apiservers; 1 is even)",
        "NODE  10.0.0.1  fd00::2  api-3  OTHERS",
        "one   3         1        0      4",
        "two   0         0        0      0",
    ]


def test_a_terminal_gets_bars_that_fit() -> None:
    lines = drawn({"one": seen(4000, 2000, 1), "two": seen(0, 0, 0)}, terminal=True)
    assert all(cell_len(line) <= 80 for line in lines)
    assert [line.count("█") for line in lines[1:4]] == [20, 10, 1]  # who has any session has a mark
    assert [line.split()[1:3] for line in lines[1:4]] == [["4000", "67%"], ["2000", "33%"], ["1", "0%"]]


def test_a_terminal_gets_all_of_the_heads() -> None:
    a, b = Endpoint("fd00:a:b::1", 6443), Endpoint("fd00::2", 7443)
    stream = StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    sessions = Sessions.of({a: 3, b: 1}, {})
    chart.show(console, {"[one]": sessions}, sessions)
    *_, head, line = (line.split() for line in stream.getvalue().splitlines())
    assert head == ["NODE", "[fd00:a:b::1]:6443", "[fd00::2]:7443"]
    assert line == ["[one]", "3", "1"]


def test_long_names_leave_room_for_bars() -> None:
    long = Endpoint(f"{'a' * 60}.example", 6443)
    stream = StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system=None)
    sessions = Sessions.of({long: 3, A: 1}, {})
    chart.show(console, {"one": sessions}, sessions)
    lines = stream.getvalue().splitlines()
    assert all(cell_len(line) <= 80 for line in lines)
    assert sum(line.count("█") for line in lines) == 20 + 7


@pytest.mark.parametrize("terminal", [True, False])
def test_without_sessions_there_is_no_imbalance(terminal: bool) -> None:
    assert "no sessions: nothing to compare" in drawn({"one": seen(0, 0, 0)}, terminal)
