"""fab recap: what several runs wrote with --json, as one run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pytest
from invoke import Context, Exit

from tasks import TaskFailed, recap
from tasks.core.console.summary import Record, Summary, refusal
from tasks.core.errors import StepError, UsageError
from tasks.core.results import Result, State, StepResult
from tasks.core.shards.recap import Recap, recap_of
from tests.conftest import run_fab

DEAD = StepError(
    "ended with status 1",
    command="systemctl restart kube-nginx.service\nmore",
    status=1,
    tail="bind() failed\nno",
    hint="see why: fab logs --limit {nodes}",
)
AGAIN = "fab {task} --limit {names}"


def done(host: str, result: Result) -> list[Record]:
    """What a deploy says of a node that it has changed."""
    survey: StepResult[object] = StepResult(State.OK, "reload: conf", value={"action": "reload"})
    return [
        Record(host, "survey", survey, 0.25),
        Record(host, "activate", StepResult(State.CHANGED, result=result), 1.5),
    ]


def dead(host: str, result: Result | None = None) -> list[Record]:
    """And of one where that failed."""
    bad: StepResult[object] = StepResult(State.FAILED, DEAD.message, error=DEAD, result=result)
    return [
        Record(host, "survey", StepResult(State.WARNING, "drop-in"), 0.25),
        Record(host, "activate", bad, 2.0),
    ]


RECORDS = {
    "a": done("a", Result.RELOADED),
    "b": dead("b"),
    "c": dead("c", Result.ROLLED_BACK),
    "d": done("d", Result.RELOADED),
    "e": [Record("e", "survey", StepResult(State.OK, "unchanged", result=Result.UNCHANGED), 0.1)],
    "f": [Record("f", "survey", StepResult(State.OK, "reload: conf"), 0.1)],
    "g": dead("g"),
}


def deploy(hosts: Sequence[str], shard: str = "") -> Summary:
    """What is known of a deploy over these nodes, of which f was not started."""
    records = [record for host in hosts for record in RECORDS[host]]
    summary = Summary("deploy", [*hosts], AGAIN, records=records, shard=shard)
    if "f" in hosts:
        summary.stop(["f"], "3 failed, and max_failures is 0")
    return summary


def of(folder: Path, *summaries: Summary) -> Recap:
    """The recap of their documents."""
    files = [folder / f"{number}.json" for number in range(len(summaries))]
    for file, summary in zip(files, summaries, strict=True):
        file.write_text(summary.document())
    return recap_of([*map(str, files)])


class TestMerged:
    """The documents of shards are told as one run would be."""

    def test_for_people(self, tmp_path: Path) -> None:
        whole, parts = deploy("abcdefg"), of(tmp_path, deploy("abc"), deploy("defg"))
        assert [*parts.lines()] == ["deploy: 7 nodes in 2 files", whole.counted()]
        assert [*parts.failures()] == [*whole.failures()]
        assert whole.counted() == "deploy: 2 reloaded, 2 failed, 1 rolled back, 1 unchanged, 1 not started"
        assert "b, c, g: activate: ended with status 1" in "\n".join(parts.failures())
        assert "not started: f: 3 failed, and max_failures is 0" in [*parts.failures()]

    def test_nodes_that_cannot_be_connected_to_are_told_together(self, tmp_path: Path) -> None:
        parts = []
        for hosts in ("abc", "def"):
            records = []
            for host in hosts:
                error = StepError(f"cannot connect to 10.0.0.{ord(host)}:22: No route to host")
                result: StepResult[object] = StepResult(State.FAILED, error.message, error=error)
                records.append(Record(host, "survey", result, 1.0, address=f"10.0.0.{ord(host)}:22"))
            parts.append(Summary("deploy", [*hosts], AGAIN, records=records))
        told = "survey: cannot connect to ...: No route to host: 6 nodes: a, b, c, d, e and 1 more"
        assert told in [*of(tmp_path, *parts).failures()]

    def test_for_programs(self, tmp_path: Path) -> None:
        whole, parts = deploy("abcdefg"), of(tmp_path, deploy("abc"), deploy("defg"))
        assert json.loads(parts.document()) == json.loads(whole.document())

    @pytest.mark.parametrize("hosts", ["abcdefg", "a", ""])
    def test_a_run_that_wrote_lines(self, tmp_path: Path, hosts: str) -> None:
        """One of each node, as it ended, and one of all."""
        document = json.loads(deploy(hosts, "1/1").document())
        nodes = [{"status": "ok", **node} for node in document.pop("nodes")]
        lines = [json.dumps(line) for line in [*reversed(nodes), {**document, "counts": {}}]]
        (tmp_path / "lines").write_text("\n".join(lines) + "\n")
        found = json.loads(recap_of([str(tmp_path / "lines")]).document())
        wanted = json.loads(of(tmp_path, deploy(hosts, "1/1")).document())
        assert found == {**wanted, "nodes": wanted["nodes"][::-1]}

    def test_a_merged_one_may_be_merged_again(self, tmp_path: Path) -> None:
        once = of(tmp_path, deploy("ab"), deploy("cd"))
        (tmp_path / "merged").write_text(once.document())
        (tmp_path / "rest").write_text(deploy("efg").document())
        twice = recap_of([str(tmp_path / "merged"), str(tmp_path / "rest")])
        assert json.loads(twice.document()) == json.loads(deploy("abcdefg").document())

    def test_a_task_that_does_not_say_what_became_of_nodes(self, tmp_path: Path) -> None:
        seen = Record("a", "status", StepResult(State.OK, "active"), 0.1)
        bad = Record("b", "status", StepResult(State.FAILED, "dead", error=StepError("dead")), 0.1)
        parts = of(
            tmp_path,
            Summary("status", ["a"], "", records=[seen]),
            Summary("status", ["b"], "", records=[bad]),
        )
        assert [*parts.lines()] == ["status: 2 nodes in 2 files", "status: 1 ok, 1 failed"]
        assert [*parts.failures()] == [
            "\nstatus: 1 of 2 failed",
            "b: status: dead",
            "retry: fab status --limit b",
        ]

    def test_of_a_node_in_two_the_later_counts(self, tmp_path: Path) -> None:
        bad, good = deploy("ab"), Summary("deploy", ["b"], "", records=done("b", Result.RELOADED))
        both = of(tmp_path, bad, good)
        assert both.ok
        assert [*both.lines()] == [
            "deploy: 2 nodes in 2 files",
            "1 of them in more than one: the later file counts",
            "deploy: 2 reloaded",
        ]
        assert not of(tmp_path, good, bad).ok

    def test_a_failure_that_is_over_is_not_told(self, tmp_path: Path) -> None:
        stopped, retried = deploy("ef"), Summary("deploy", ["f"], "", records=done("f", Result.RELOADED))
        both = json.loads(of(tmp_path, stopped, retried).document())
        assert (both["ok"], "stopped" in both) == (True, False)

    @pytest.mark.parametrize("name", ["ops@10.0.0.1:2222", "fd00::5", "a b", "x"])
    def test_advice_is_told_once_for_all(self, tmp_path: Path, name: str) -> None:
        typed = {name: name}
        parts = of(tmp_path, Summary("deploy", [name], "", typed=typed, records=dead(name)), deploy("bg"))
        text = "\n".join(parts.failures())
        assert text.count("hint: ") == 1
        assert f"{name}, b, g: activate: ended" in text


class TestUnknown:
    """What the documents do not tell is no success."""

    def test_shards_without_a_document(self, tmp_path: Path) -> None:
        parts = of(tmp_path, deploy("ad", "2/3"), deploy("e", "1/2"))
        assert not parts.ok
        assert [*parts.failures()] == [
            f"no file is of shard {shard}: fab deploy --shard {shard} --json"
            for shard in ("2/2", "1/3", "3/3")
        ]
        assert json.loads(parts.document())["error"].count("\n") == 2

    def test_all_shards_and_empty_ones(self, tmp_path: Path) -> None:
        parts = of(tmp_path, deploy("ade", "2/3"), deploy("", "1/3"), deploy("", "3/3"))
        assert parts.ok
        assert [*parts.failures()] == []

    def test_a_run_that_could_not_begin(self, tmp_path: Path) -> None:
        (tmp_path / "no.json").write_text(refusal("deploy", "hosts.toml: not found"))
        (tmp_path / "yes.json").write_text(deploy("a").document())
        parts = recap_of([str(tmp_path / "yes.json"), str(tmp_path / "no.json")])
        assert not parts.ok
        assert [*parts.failures()] == [f"{tmp_path}/no.json: hosts.toml: not found"]

    def test_two_tasks(self, tmp_path: Path) -> None:
        with pytest.raises(
            UsageError, match=r"1\.json is of status, and .*0\.json of deploy: a recap is of one"
        ):
            of(tmp_path, deploy("a"), Summary("status", [], ""))


NODE = {"node": "a", "ok": True, "changed": False, "steps": [], "error": None}
STEP = {"step": "x", "state": "ok", "detail": "", "seconds": 1}


def document(**node: object) -> dict[str, object]:
    """One with a node that is as it should be, but for these."""
    return {"task": "x", "nodes": [{**NODE, **node}]}


WRONG: dict[str, tuple[object, str]] = {
    "a list": ([], "the document is no object"),
    "no task": ({"ok": True, "nodes": []}, "the document has no text `task`"),
    "no nodes": ({"task": "x", "ok": True}, "the document has no list `nodes`"),
    "a node that is none": ({"task": "x", "nodes": [NODE, "b"]}, "nodes[1] is no object"),
    "a node without a name": (document(node=1), "nodes[0] has no text `node`"),
    "a node that is neither": (document(ok=1), "nodes[0] has no boolean `ok`"),
    "a step that is none": (document(steps=[3]), "nodes[0].steps[0] is no object"),
    "a state that is none": (
        document(steps=[{**STEP, "state": "good"}]),
        "nodes[0].steps[0].state is none of ok, changed, warning, failed",
    ),
    "seconds that are none": (
        document(steps=[STEP, {**STEP, "seconds": True}]),
        "nodes[0].steps[1] has no number",
    ),
    "a failure without a cause": (
        document(ok=False),
        "nodes[0].ok is false, which its steps and its result do",
    ),
    "a success that failed": (document(steps=[{**STEP, "state": "failed"}]), "nodes[0].ok is true, which"),
    "a shard that is none": ({"task": "x", "shard": "3/2", "nodes": []}, "--shard '3/2': part I of N is"),
    "an error that is none": (document(error="x"), "nodes[0].error is no object"),
    "an error of nothing": (
        document(error={"step": "x"}, steps=[STEP]),
        "nodes[0].error has no text `message`",
    ),
}
NOT_JSON = {
    "nothing": (b" \n", "is empty: that run has not ended, or had no --json"),
    "no JSON": (b"survey a ok\n{}", "is no JSON (line 1: Expecting value); fab TASK --json writes it"),
    "half of it": (b'{\n "task": "x",\n "no', "is no JSON (line 3: "),
    "lines that end too early": (b'{"node": "a"}\n', "ends before its run did: the last line is of a node"),
    "half a line": (b'{"node": "a"}\n{"node', "is no JSON (line 2: Unterminated string"),
    "no text": (b"\xff\xfe", "is no text in UTF-8"),
    "too deep": (b"[" * 100_000, "has numbers too long, or objects too deep"),
    "too long": (b"9" * 10_000, "has numbers too long, or objects too deep"),
}


class TestFiles:
    """A file that is no document is named, with the reason."""

    @pytest.mark.parametrize("case", WRONG)
    def test_no_document(self, tmp_path: Path, case: str) -> None:
        value, message = WRONG[case]
        (tmp_path / "x").write_text(json.dumps(value))
        with pytest.raises(UsageError) as caught:
            recap_of([str(tmp_path / "x")])
        assert str(caught.value).startswith(f"{tmp_path}/x: {message}")

    @pytest.mark.parametrize("case", NOT_JSON)
    def test_no_json(self, tmp_path: Path, case: str) -> None:
        content, message = NOT_JSON[case]
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(UsageError) as caught:
            recap_of([str(tmp_path / "x")])
        assert str(caught.value).startswith(f"{tmp_path}/x: {message}")

    def test_all_are_named(self, tmp_path: Path) -> None:
        (tmp_path / "empty").touch()
        ran = run_fab("recap", str(tmp_path / "none"), str(tmp_path / "empty"), str(tmp_path))
        assert (ran.status, ran.out) == (2, "")
        assert ran.err.splitlines() == [
            f"{tmp_path}/none: No such file or directory",
            f"{tmp_path}/empty: is empty: that run has not ended, or had no --json",
            f"{tmp_path}: Is a directory",
        ]

    def test_a_pipe(self) -> None:
        """As the shell's <(fab status --json) is one."""
        reading, writing = os.pipe()
        with open(writing, "w") as file:
            file.write(deploy("a").document())
        try:
            assert recap_of([f"/dev/fd/{reading}"]).ok
        finally:
            os.close(reading)


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Of three shards: one failed, one empty, one is well."""
    found = []
    for number, hosts in enumerate(("ab", "", "de"), 1):
        file = tmp_path / f"shard-{number}.json"
        file.write_text(deploy(hosts, f"{number}/3").document())
        found.append(str(file))
    return found


class TestCommandLine:
    """Every word is a file."""

    def test_a_failure(self, files: list[str]) -> None:
        ran = run_fab("recap", *files)
        assert ran.status == 1
        assert ran.out == "deploy: 4 nodes in 3 files\ndeploy: 2 reloaded, 1 failed, 1 unchanged\n"
        assert ran.err.endswith("retry: fab deploy --limit b\n")

    def test_none(self, files: list[str], tmp_path: Path) -> None:
        retried = tmp_path / "retry.json"
        retried.write_text(Summary("deploy", ["b"], "", records=done("b", Result.RELOADED)).document())
        ran = run_fab("recap", *files, str(retried))
        assert (ran.status, ran.err) == (0, "")

    @pytest.mark.parametrize("place", [0, 2, 3])
    def test_one_document(self, files: list[str], place: int) -> None:
        ran = run_fab("recap", *files[:place], "--json", *files[place:])
        assert (ran.status, ran.json["ok"]) == (1, False)
        assert [node["node"] for node in ran.json["nodes"]] == ["a", "b", "d", "e"]
        assert "deploy: 4 nodes in 3 files" in ran.err

    def test_one_document_that_cannot_be(self, tmp_path: Path) -> None:
        ran = run_fab("recap", "--json", str(tmp_path / "none"))
        assert (ran.status, ran.json["ok"], ran.json["nodes"]) == (2, False, [])
        assert "No such file or directory" in ran.json["error"]

    def test_below_another_collection(self, files: list[str], tmp_path: Path) -> None:
        (tmp_path / "fabfile.py").write_text(
            "from invoke import Collection\nfrom tasks import ns as ours\n"
            "ns = Collection()\nns.add_collection(ours, 'kube-nginx')\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        ran = run_fab("kube-nginx.recap", *files, cwd=tmp_path, env=environment)
        assert ran.status == 1
        assert ran.err.endswith("retry: fab kube-nginx.deploy --limit b\n")

    @pytest.mark.parametrize("count", [1, 3])
    def test_under_another_name(self, files: list[str], tmp_path: Path, count: int) -> None:
        (tmp_path / "fabfile.py").write_text(
            "from tasks import ns, recap\nns.add_task(recap, name='merge')\n"
        )
        environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
        for name in ("merge", "recap"):
            ran = run_fab(name, *files[:count], cwd=tmp_path, env=environment)
            nodes = {1: "2 nodes in 1 file", 3: "4 nodes in 3 files"}[count]
            assert (ran.status, ran.out.splitlines()[0]) == (1, f"deploy: {nodes}")

    def test_without_a_file(self) -> None:
        ran = run_fab("recap")
        assert ran.status != 0
        assert "'files'" in ran.err


class TestPython:
    """A list of files; what became of each node is returned, or raised with."""

    def test_a_failure(self, files: list[str]) -> None:
        with pytest.raises(TaskFailed) as caught:
            recap(Context(), files)
        assert {record.host for record in caught.value.records} == {"a", "b", "d", "e"}

    def test_what_is_returned(self, tmp_path: Path) -> None:
        (tmp_path / "x").write_text(deploy("ade").document())
        assert recap(Context(), [str(tmp_path / "x")]) == {"a": "reloaded", "d": "reloaded", "e": "unchanged"}
        assert recap(Context(), str(tmp_path / "x"))["a"] == "reloaded"
        assert recap(Context(), tmp_path / "x") == recap(Context(), [tmp_path / "x"])

    def test_no_file(self) -> None:
        with pytest.raises(Exit, match="names no file: fab recap FILE") as caught:
            recap(Context(), [])
        assert caught.value.code == 2
