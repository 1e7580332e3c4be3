"""--shard: which part of the fleet a task acts on, and that it is refused or empty before any connection."""

from __future__ import annotations

import inspect
from pathlib import Path

import fabric
import pytest
from invoke import Context

from tasks import ns, status
from tasks.core.config.address import NodeSpec
from tasks.core.errors import UsageError
from tasks.core.shards.selection import Shard, select, shard_of
from tasks.core.ssh.fleet import fleet_of
from tests.conftest import run_fab

NAMES = [f"worker-{number}" for number in range(1000)]


def nodes(names: list[str]) -> list[NodeSpec]:
    return [
        NodeSpec(name, name, None, None, ("even" if int(name[-1]) % 2 == 0 else "odd",)) for name in names
    ]


def part(names: list[str], shard: str, limit: str | None = None) -> list[str]:
    nodes = [NodeSpec(name, name, None, None, (("odd", "even")[name[-1] in "02468"],)) for name in names]
    return [node.name for node in select(nodes, limit, shard)]


class TestParts:
    """Of a fleet."""

    @pytest.mark.parametrize("count", [1, 2, 3, 7, 64])
    def test_each_node_is_in_exactly_one(self, count: int) -> None:
        parts = [part(NAMES, f"{number}/{count}") for number in range(1, count + 1)]
        assert sorted(name for each in parts for name in each) == sorted(NAMES)

    @pytest.mark.parametrize("count", [2, 4, 10])
    def test_they_are_of_about_one_size(self, count: int) -> None:
        """Within a fifth of the mean and four times the root of it, which chance alone may well take."""
        mean = len(NAMES) / count
        for number in range(1, count + 1):
            assert abs(len(part(NAMES, f"{number}/{count}")) - mean) < mean / 5 + 4

    def test_they_keep_the_order_of_the_fleet(self) -> None:
        backwards = NAMES[::-1]
        assert part(backwards, "2/4") == part(NAMES, "2/4")[::-1]

    def test_a_new_node_moves_no_other(self) -> None:
        before = set(part(NAMES, "2/4"))
        assert {*part([*NAMES, *(f"rack-{n}" for n in range(100))], "2/4")} & {*NAMES} == before

    def test_where_a_name_is_stays_so_for_ever(self) -> None:
        """Shards of different releases of this library, or of Python, may run side by side."""
        names = ("a", "worker-1", "fd00::5", "é")
        assert [n for name in names for n in range(1, 100) if Shard(n, 99).holds(name)] == [98, 60, 34, 67]

    def test_of_what_is_limited(self) -> None:
        both = part(NAMES, "1/2", "even")
        assert both == [name for name in part(NAMES, "1/2") if int(name[-1]) % 2 == 0]

    def test_address_user_and_groups_do_not_matter(self) -> None:
        same = [NodeSpec("a", "a", None, None, ()), NodeSpec("a", "10.0.0.1", "ops", 2222, ("rack-a",))]
        assert sorted(len(select(same, None, f"{number}/9")) for number in range(1, 10)) == [0] * 8 + [2]


@pytest.mark.parametrize("text", ["1/1", "4/4", "999999/999999"])
def test_a_shard(text: str) -> None:
    number, count = text.split("/")
    assert shard_of(text) == Shard(int(number), int(count))


WRONG = [
    "",
    "/",
    "1",
    "1/",
    "/4",
    "0/4",
    "5/4",
    "-1/4",
    "1/0",
    "01/4",
    "1 /4",
    "1/4/2",
    "1.0/4",
    "\u0661/4",
    "1/4\n",
    "9" * 5000,
]


@pytest.mark.parametrize("text", WRONG)
def test_no_shard(text: str) -> None:
    with pytest.raises(UsageError, match="part I of N is wanted, with I from 1 to N, such as 1/4") as caught:
        shard_of(text)
    assert len(str(caught.value)) < 200


@pytest.fixture
def hosts(tmp_path: Path) -> Path:
    """Two nodes that nobody can connect to: worker-1, in part 3 of 3, and worker-2, in part 2."""
    (tmp_path / "ssh_config").write_text(f"Host worker-*\n  ProxyCommand touch {tmp_path}/connected\n")
    path = tmp_path / "hosts.toml"
    path.write_text(
        'nodes = ["worker-1", "worker-2"]\napiservers = ["10.0.1.1"]\n'
        '[ssh]\nconfig = "ssh_config"\nconnect_timeout = 1\n'
    )
    return path


def taking(flag: str) -> list[str]:
    return [name for name in ns.tasks if flag in inspect.signature(ns[name].body).parameters]


SHARDED = taking("shard")


def test_every_task_that_goes_to_many_nodes_has_it() -> None:
    assert {*taking("limit")} - {*SHARDED} == {"drill"}


class TestCommandLine:
    """What `fab` says, and its exit status."""

    @pytest.mark.parametrize("task", SHARDED)
    def test_wrong_text(self, hosts: Path, task: str) -> None:
        ran = run_fab(task, "--shard", "0/2", hosts=hosts)
        assert (ran.status, ran.out) == (2, "")
        assert ran.err == "--shard '0/2': part I of N is wanted, with I from 1 to N, such as 1/4\n"
        assert not hosts.with_name("connected").exists()

    @pytest.mark.parametrize("words", [["--shard", "1/2"], ["--limit", "worker-1", "--shard", "1/2"]])
    def test_after_a_host(self, hosts: Path, words: list[str]) -> None:
        ran = run_fab("-H", "worker-1", "status", *words, hosts=hosts)
        assert ran.status == 2
        assert f"{words[0]} narrows the fleet of hosts.toml; -H names the host: give one of them" in ran.err

    @pytest.mark.parametrize("task", SHARDED)
    def test_an_empty_one_is_no_failure(self, hosts: Path, task: str) -> None:
        """Nor does it ask anything, wait for Ctrl-C, or want a binary."""
        hosts.write_text(f'{hosts.read_text()}[build]\nversion = "1.29.99"\nsha256 = "{64 * "0"}"\n')
        words = {"check": ["--watch"], "logs": ["--follow"]}.get(task, [])
        ran = run_fab(task, "--shard", "1/3", *words, hosts=hosts)
        assert (ran.status, ran.out, ran.err) == (0, f"{task}: no node is in shard 1/3: nothing to do\n", "")

    def test_an_empty_one_is_a_document(self, hosts: Path) -> None:
        ran = run_fab("restart", "--json", "--shard", "1/3", hosts=hosts)
        assert ran.status == 0
        keys = {"task": "restart", "ok": True, "shard": "1/3", "nodes": []}
        assert ran.json | keys == ran.json
        assert ran.err == "restart: no node is in shard 1/3: nothing to do\n"

    def test_the_line_to_repeat_names_nodes_and_no_shard(self, hosts: Path) -> None:
        ran = run_fab("restart", "--shard", "2/3", "--batch", "1", hosts=hosts)
        assert ran.status == 1
        assert ran.err.endswith("retry: fab restart --limit worker-2 --batch 1\n")
        assert "worker-1" not in ran.text

    def test_a_document_names_its_shard(self, hosts: Path) -> None:
        ran = run_fab("status", "--shard", "2/3", "--json", hosts=hosts)
        assert (ran.status, ran.json["shard"]) == (1, "2/3")
        assert [node["node"] for node in ran.json["nodes"]] == ["worker-2"]

    def test_a_document_says_of_which_nodes_it_is(self, hosts: Path) -> None:
        """Also of a run that could not begin."""
        limited = run_fab("status", "--limit", "worker-2", "--json", hosts=hosts)
        named = run_fab("-H", "worker-1,worker-2", "status", "--json", hosts=hosts)
        refused = run_fab("status", "--limit", "none", "--shard", "2/3", "--json", hosts=hosts)
        assert (limited.json["limit"], named.json["limit"]) == ("worker-2", "worker-1,worker-2")
        assert (refused.status, refused.json["limit"], refused.json["shard"]) == (2, "none", "2/3")

    def test_help(self) -> None:
        ran = run_fab("--help", "deploy")
        assert "--shard=STRING" in ran.out
        assert "Only part I of N, such as 1/4" in ran.out


class TestPython:
    """A task that is called as a function."""

    @pytest.fixture(autouse=True)
    def _of_these(self, hosts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KUBE_NGINX_HOSTS", str(hosts))

    def test_an_empty_shard(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert status(Context(), shard="1/3") == {}
        assert "no node is in shard 1/3" in capsys.readouterr().out

    def test_a_fleet(self) -> None:
        assert [node.label for node in fleet_of(Context(), shard="3/3")] == ["worker-1"]
        assert [*fleet_of(Context(), "worker-2", "3/3")] == []

    def test_a_connection(self) -> None:
        with pytest.raises(UsageError, match="--shard narrows"):
            fleet_of(fabric.Connection("worker-1"), shard="1/2")
