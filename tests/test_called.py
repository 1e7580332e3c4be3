"""Hints and refusals name tasks as they have to be typed, in whatever fabfile; --json is one document."""

from __future__ import annotations

import json
from pathlib import Path
from shlex import quote

import pytest

from tasks.core.console import command_line as called
from tasks.core.console.summary import Record, Summary
from tasks.core.errors import StepError
from tasks.core.results import State, StepResult
from tests.conftest import ROOT, Ran, run_fab
from tests.test_cli import good

__all__ = ["good"]

IMPORTS = """
from invoke import Collection, task
from tasks import deploy, ns as kube_nginx, restart, status
"""
UPGRADE = """
@task
def upgrade(c, look=False):
    status(c) if look else deploy(c)
"""
BELOW = f"{IMPORTS}{UPGRADE}\nns = Collection(upgrade)\nns.add_collection(kube_nginx, 'kube-nginx')\n"
DEEP = f"{IMPORTS}{UPGRADE}\nns = Collection(upgrade, Collection('a', Collection('b', kube_nginx)))\n"
ALONE = f"{IMPORTS}{UPGRADE}\nns = Collection(upgrade)\n"
TWICE = (
    f"{IMPORTS}\nns = Collection(Collection('one', restart, status), Collection('two', status, deploy))\n"
    "ns.add_task(restart, name='bounce')\n"
)


@pytest.fixture
def folder(good: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project beside whose hosts.toml a test writes a fabfile; nothing has been built for it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("XDG_CACHE_HOME", str(good.parent / "cache"))
    return good.parent


def fab(folder: Path, fabfile: str, *arguments: str) -> Ran:
    (folder / "fabfile.py").write_text(fabfile)
    return run_fab(*arguments, cwd=folder)


@pytest.mark.parametrize(
    ("fabfile", "typed", "said"),
    [
        (BELOW, ["kube-nginx.status"], "retry: fab kube-nginx.status --limit worker-1,worker-2"),
        (DEEP, ["a.b.kube-nginx.status"], "retry: fab a.b.kube-nginx.status --limit worker-1,worker-2"),
        (BELOW, ["upgrade", "--look"], "retry: fab kube-nginx.status --limit worker-1,worker-2"),
        (DEEP, ["upgrade", "--look"], "retry: fab a.b.kube-nginx.status --limit worker-1,worker-2"),
        (ALONE, ["upgrade", "--look"], "retry: fab status --limit worker-1,worker-2"),
        (TWICE, ["two.status"], "retry: fab two.status --limit worker-1,worker-2"),
        (TWICE, ["one.status"], "retry: fab one.status --limit worker-1,worker-2"),
        (TWICE, ["bounce"], "retry: fab bounce --limit worker-1,worker-2"),
        (BELOW, ["-H", "worker-1", "kube-nginx.status"], "retry: fab -H worker-1 kube-nginx.status"),
        (BELOW, ["upgrade"], "run fab kube-nginx.build first"),
        (ALONE, ["upgrade"], "run fab build first"),
        (BELOW, ["--dry", "kube-nginx.restart"], "see fab kube-nginx.diff, fab kube-nginx.render"),
    ],
)
def test_tasks_are_named_as_they_are_typed(folder: Path, fabfile: str, typed: list[str], said: str) -> None:
    ran = fab(folder, fabfile, *typed)
    assert ran.status != 0
    assert said in ran.err
    names = fab(folder, fabfile, "--list", "--list-format=flat").out
    for word in said.split():
        if word.partition(".")[0] in ("a", "kube-nginx", "one", "two"):
            assert f" {word.rstrip(',')}" in names  # it is there


def test_advice_for_a_host_of_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be in no hosts.toml, and then --limit cannot name it."""
    hint = "see why: fab logs --limit {nodes}; then fab start --limit {nodes}; fab diff"
    said = "see why: fab logs --limit a,b; then fab start --limit a,b; fab diff"
    assert called.advice(hint, ["a", "b"]) == said
    monkeypatch.setattr(called, "_hosts", lambda program: "a,b")
    assert called.advice(hint, ["a", "b"]) == "see why: fab -H a,b logs; then fab -H a,b start; fab diff"


def test_where_a_fleet_begins(folder: Path) -> None:
    (folder / "hosts.toml").unlink()
    assert "fab kube-nginx.init writes one" in fab(folder, BELOW, "kube-nginx.status").err
    ran = fab(folder, BELOW, "kube-nginx.init", "--nodes", "a", "--apiservers", "10.0.0.1")
    assert "fab kube-nginx.build kube-nginx.deploy " in ran.out


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("run fab build first", "run fab k.build first"),
        ("fab build deploy puts it there", "fab k.build k.deploy puts it there"),
        ("fab diff shows it, fab deploy --limit deploy", "fab k.diff shows it, fab k.deploy --limit deploy"),
        ("fab --help init; fab lab.up; fabulous deploy", "fab --help k.init; fab lab.up; fabulous deploy"),
        ("fab --prompt-for-sudo-password TASK", "fab --prompt-for-sudo-password TASK"),
        ("fab logs", "fab logs"),  # is not mounted
    ],
)
def test_words(text: str, named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(called, "_names", lambda: {t: f"k.{t}" for t in ("build", "deploy", "diff", "init")})
    assert called.named(text) == named


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (["status", "--json", "--limit", "worker-1", "diff", "--json"], "status, diff would write 2 things"),
        (["status", "diff", "--json"], "give each a command line of its own"),
        (["render", "status", "--json"], "render, status would write 2 things"),
    ],
)
def test_what_would_be_several_documents_is_refused(good: Path, typed: list[str], said: str) -> None:
    ran = run_fab(*typed, hosts=good)
    assert ran.status == 2
    assert said in ran.err
    document = json.loads(ran.out)
    assert (document["ok"], document["nodes"]) == (False, [])
    assert said in document["error"]


def test_a_task_is_no_value_of_json(good: Path) -> None:
    ran = run_fab("status", "--json", "diff", hosts=good)
    assert (ran.status, ran.out) == (1, "")
    assert "'diff' is ambiguous" in ran.err


def test_lines_are_refused_in_a_line(good: Path) -> None:
    ran = run_fab("status", "diff", "--json=lines", hosts=good)
    assert (ran.status, ran.json["nodes"], ran.out.count("\n")) == (2, [], 1)


def test_what_is_one_document_is_not(good: Path, folder: Path) -> None:
    for typed in (["-H", "worker-1", "status", "--json"], ["status", "--json"]):
        assert run_fab(*typed, hosts=good).json["task"] == "status"
    own = f"{IMPORTS}\n@task\ndef hello(c):\n    pass\n\nns = Collection(hello, status)\n"
    assert fab(folder, own, "hello", "status", "--json").json["task"] == "status"


TWICE_TYPED = "ops@127.0.0.1:1,root@127.0.0.1:1"


class TestHosts:
    """Those of -H are one fleet for a task that is typed; another's own task gets one after the other."""

    @pytest.mark.parametrize("task", ["status", "check", "restart"])
    def test_all_are_one_document(self, good: Path, task: str) -> None:
        ran = run_fab("-H", "worker-2,worker-1,worker-2", task, "--json", hosts=good)
        assert ran.status == 1
        assert [node["node"] for node in ran.json["nodes"]] == ["worker-2", "worker-1"]
        assert f"retry: fab -H worker-2,worker-1 {task}\n" in ran.err

    def test_the_second_task_does_not_begin(self, good: Path) -> None:
        ran = run_fab("-H", "worker-1,worker-2", "status", "restart", hosts=good)
        assert (ran.status, ran.err.count("retry:")) == (1, 1)
        assert "retry: fab -H worker-1,worker-2 status\n" in ran.err

    def test_a_task_that_is_called_has_the_host_it_is_given(self, folder: Path) -> None:
        ran = fab(folder, BELOW, "-H", "worker-1,worker-2", "upgrade", "--look")
        assert "retry: fab -H worker-1 kube-nginx.status\n" in ran.err
        assert "worker-2" not in ran.text

    def test_a_task_before_another_has_the_fleet(self, folder: Path) -> None:
        """Fabric gives it no host, and calls it for each task that names it."""
        before = "@task(pre=[kube_nginx['render']])\ndef {name}(c):\n    print(f'{name}: {{c.host}}')\n"
        tasks = "".join(before.format(name=name) for name in ("mine", "other"))
        fabfile = f"{IMPORTS}{tasks}\nns = Collection(mine, other)\nns.add_collection(kube_nginx, 'k')\n"
        ran = fab(folder, fabfile, "-H", "worker-1,worker-2", "mine", "other", "k.render")
        assert ran.status == 0, ran.err
        words = [line.split()[0] for line in ran.out.splitlines() if line.startswith(("mine", "other"))]
        assert words == ["mine:"] * 2 + ["other:"] * 2
        assert ran.out.count("\n    upstream ") == 3

    @pytest.mark.parametrize(
        "hosts", ["ops@127.0.0.1:1", "127.0.0.1:1", "[::1]:1", "worker-1:1", "ops@worker-1", TWICE_TYPED]
    )
    def test_users_and_ports_are_typed_again(self, good: Path, hosts: str) -> None:
        ran = run_fab("-H", hosts, "status", hosts=good)
        assert ran.status == 1
        assert f"retry: fab -H {quote(hosts)} status\n" in ran.err

    def test_advice_has_them_too(self, good: Path) -> None:
        error = StepError("x", hint="see why: fab logs --limit {nodes}")
        records = [Record("worker-1", "status", StepResult(State.FAILED, error=error), 0.0)]
        typed = {"worker-1": "ops@10.0.0.1:2222"}
        summary = Summary("status", ["worker-1"], "fab -H {names} {task}", "", typed, records)
        said = [*summary.failures()]
        assert "hint: see why: fab logs --limit ops@10.0.0.1:2222" in said[-2]
        assert said[-1] == "retry: fab -H ops@10.0.0.1:2222 status"
        (node,) = json.loads(summary.document())["nodes"]
        assert "ops@10.0.0.1:2222" in node["error"]["hint"]

    def test_a_drill_is_for_one(self, good: Path) -> None:
        ran = run_fab("-H", "worker-1,worker-2", "drill", "--apiserver", "10.0.1.1", hosts=good)
        assert ran.status == 2
        assert "a drill is for one node, and -H names 2" in ran.err
