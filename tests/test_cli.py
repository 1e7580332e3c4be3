"""What `fab` says, and with which exit status, before it connects to anything."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import run_fab, run_fab_on_terminal

GOOD = """
nodes = ["worker-1", "worker-2"]
apiservers = ["10.0.1.1"]
[ssh]
config = "ssh_config"
connect_timeout = 1
"""


@pytest.fixture
def good(tmp_path: Path) -> Path:
    (tmp_path / "ssh_config").write_text("Host worker-*\n  ProxyCommand false\n")
    path = tmp_path / "hosts.toml"
    path.write_text(GOOD)
    return path


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["--dry", "restart"], 2, "--dry would still connect"),
        (["restart", "--limit", ""], 2, "--limit '' names no node"),
        (["restart", "--limit", "@nowhere"], 2, "@nowhere: No such file"),
        (["restart", "--limit", "worker-3"], 2, "did you mean worker-"),
        (["-H", "worker-1", "restart", "--limit", "worker-1"], 2, "give one of them"),
        (["logs", "--lines", "abc"], 2, "--lines 'abc': must be a number from 0"),
        (["uninstall"], 2, "say --yes"),
        (["uninstall", "--limit", "worker-2"], 2, "on worker-2: say --yes"),
    ],
)
def test_refused(good: Path, arguments: list[str], status: int, message: str) -> None:
    ran = run_fab(*arguments, hosts=good)
    assert (ran.status, ran.out) == (status, "")
    assert message in ran.err


def test_a_file_of_known_hosts_without_meaning_is_refused(good: Path, tmp_path: Path) -> None:
    (tmp_path / "ssh_config").write_text("Host worker-*\n  UserKnownHostsFile ~/.ssh/%z\n")
    ran = run_fab("status", hosts=good)
    assert (ran.status, ran.out) == (2, "")
    assert "ssh_config:2: UserKnownHostsFile ~/.ssh/%z: %z stands for nothing; write it out" in ran.err


@pytest.fixture
def many(good: Path) -> Path:
    """A fleet of sixty, none of which can be reached."""
    (good.parent / "ssh_config").write_text("Host 127.*\n  Port 1\n")
    names = ", ".join(f'"127.0.1.{number}"' for number in range(1, 61))
    good.write_text(GOOD.replace('"worker-1", "worker-2"', names))
    return good


def test_what_many_nodes_have_alike_is_told_once(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    ran = run_fab("status", hosts=many)
    five = "60 nodes: 127.0.1.1, 127.0.1.2, 127.0.1.3, 127.0.1.4, 127.0.1.5 and 55 more"
    bad = "cannot connect to ...: Connection refused: 60 nodes: 127.0.1."
    *tenths, end, noted, head, row, names, each = ran.out.splitlines()
    assert [line.split(" after ")[0] for line in tenths] == [f"status: {n} of 60" for n in range(6, 60, 6)]
    assert end.startswith("status: 60 of 60 after ")
    assert noted.startswith(f"  failed: {bad}")
    assert (head.split()[0], row.split()[:4]) == ("NODE", ["60", "nodes", "not", "seen"])
    assert (names, each) == (five, "each of them: --all-rows")
    assert f"status: {bad}" in ran.err
    retry = ran.err.splitlines()[-1].removeprefix("retry: fab ").split()
    assert retry[:2] == ["status", "--limit"]
    assert f"status: {bad}" in run_fab(*retry, hosts=many).err


def test_each_row_is_shown_when_it_is_asked_for(many: Path) -> None:
    out = run_fab("status", "--all-rows", hosts=many).out.splitlines()
    assert [line.split()[0] for line in out[-60:]] == [f"127.0.1.{number}" for number in range(1, 61)]


@pytest.mark.parametrize("task", ["deploy", "diff", "preflight", "scp", "build", "verify"])
def test_a_work_folder_of_others_is_refused(
    good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", f"{tmp_path}/cache")
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache").chmod(0o777)
    ran = run_fab(task, hosts=good)
    assert (ran.status, ran.out) == (2, "")
    assert (
        f"build.work_dir (not set: {tmp_path}/cache/kube-nginx) is not yours alone: "
        f"others may write to {tmp_path}/cache (mode 777)"
    ) in " ".join(ran.err.split())


def test_all_mistakes_of_hosts_toml_at_once(good: Path) -> None:
    good.write_text(GOOD + "user = 3\n[proxi]\n[rollout]\nparalel = 3\n")
    ran = run_fab("deploy", hosts=good)
    assert ran.status == 2
    assert "did you mean proxy?" in ran.err
    assert "did you mean rollout.parallel?" in ran.err
    assert "ssh.user" in ran.err


def test_a_refusal_is_a_json_document_too(good: Path) -> None:
    good.write_text("")
    ran = run_fab("status", "--json", hosts=good)
    assert ran.status == 2
    document = json.loads(ran.out)
    assert (document["ok"], document["nodes"]) == (False, [])
    assert "nodes" in document["error"]


def test_nodes_that_cannot_be_reached(good: Path) -> None:
    ran = run_fab("status", "--json", hosts=good)
    assert ran.status == 1
    assert [node["ok"] for node in json.loads(ran.out)["nodes"]] == [False, False]
    assert "retry: fab status --limit worker-1,worker-2" in ran.err


def test_uninstall_takes_nothing_but_yes(good: Path) -> None:
    ran = run_fab_on_terminal(["uninstall"], "no", good, question="Type yes")
    assert ran.status == 2
    assert "nothing was done" in ran.out


def test_render_needs_no_connection(good: Path, tmp_path: Path) -> None:
    ran = run_fab("render", "--to", str(tmp_path / "out"), hosts=good)
    assert ran.status == 0
    assert "server 10.0.1.1:6443 " in (tmp_path / "out" / "kube-nginx.conf").read_text()
    assert "[Service]" in (tmp_path / "out" / "kube-nginx.service").read_text()


def test_the_list_names_the_sections_of_the_runbook() -> None:
    listed = run_fab("--list").out
    for number, task in enumerate(["download", "configure", "make-install", "verify", "mkdir", "scp"], 1):
        assert f" {task} " in listed
        assert f"{number}. " in next(row for row in listed.splitlines() if row.split()[:1] == [task])
