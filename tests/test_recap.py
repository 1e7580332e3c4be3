"""fab recap: what several runs wrote with --json, as one run."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
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

    def test_when_the_runs_began(self, tmp_path: Path) -> None:
        """A file that was left by an earlier rollout is seen by its time, whatever the zones are."""
        first, last = "2026-11-28T23:00:00+02:00", "2026-11-28T22:00:00+00:00"
        parts = of(tmp_path, replace(deploy("e"), began=last), replace(deploy("ad"), began=first), deploy(""))
        assert next(parts.lines()) == f"deploy: 3 nodes in 3 files, begun from {first} to {last}"
        assert json.loads(parts.document())["began"] == first
        one = of(tmp_path, replace(deploy("e"), began=last))
        assert next(one.lines()) == f"deploy: 1 node in 1 file, begun {last}"

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

    def test_lines_of_a_run_that_ended_in_an_error(self, tmp_path: Path) -> None:
        """Its last line is a refusal, whose own list of nodes is empty."""
        (node,) = json.loads(deploy("a").document())["nodes"]
        (tmp_path / "lines").write_text(f"{json.dumps(node)}\n{refusal('deploy', 'no room', as_line=True)}\n")
        found = recap_of([str(tmp_path / "lines")])
        assert ([*found.nodes], found.ok) == (["a"], False)

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

    @pytest.mark.parametrize("name", ["ops@10.0.0.1:2222", "fd00::5", "w$x", "x"])
    def test_advice_is_told_once_for_all(self, tmp_path: Path, name: str) -> None:
        typed = {name: name}
        parts = of(tmp_path, Summary("deploy", [name], "", typed=typed, records=dead(name)), deploy("bg"))
        text = "\n".join(parts.failures())
        assert text.count("hint: ") == 1
        assert f"{name}, b, g: activate: ended" in text


class TestRetry:
    """Each node is tried again as its own run would have it."""

    @pytest.mark.parametrize(
        ("template", "line"),
        [
            ("fab {task} --limit {names} --batch 1", "fab deploy --limit b,g --batch 1"),
            ("fab {task} --version 'a b{c}'", "fab deploy --version 'a b{c}'"),
            ("fab -H {names} {task}", "fab -H b,root@g:2222 deploy"),
        ],
    )
    def test_as_the_run_itself_says(self, tmp_path: Path, template: str, line: str) -> None:
        runs = [replace(deploy(hosts), retry=template, typed={"g": "root@g:2222"}) for hosts in ("ab", "eg")]
        if "{names}" in template and "--limit" in template:
            runs = [replace(run, typed={}) for run in runs]
        parts = of(tmp_path, *runs)
        assert [*parts.failures()][-1] == f"retry: {line}"
        (tmp_path / "merged").write_text(parts.document())
        assert [*recap_of([f"{tmp_path}/merged"]).failures()][-1] == f"retry: {line}"
        assert "fab logs --limit {nodes}" not in "\n".join(parts.failures())

    def test_a_line_for_each_way(self, tmp_path: Path) -> None:
        parts = of(tmp_path, deploy("ab"), replace(deploy("g"), retry="fab {task} --limit {names} --force"))
        assert [*parts.failures()][-2:] == [
            "retry: fab deploy --limit b",
            "retry: fab deploy --limit g --force",
        ]

    @pytest.mark.parametrize(
        "template",
        [
            "fab {task} --limit {names}; reboot",
            "fab {task} $(reboot)",
            "fab {task} 'a",
            "fab {task} 'a\nb'",
            "reboot {task}",
            "fab deploy",
            "fab -H {names} {task} {task}",
        ],
    )
    def test_what_is_none(self, tmp_path: Path, template: str) -> None:
        (tmp_path / "x").write_text(replace(deploy("a"), retry=template).document())
        with pytest.raises(UsageError) as caught:
            recap_of([f"{tmp_path}/x"])
        assert f"retry is {template!r}, which is no line to repeat a task" in str(caught.value)


class TestUnknown:
    """What the documents do not tell is no success."""

    def test_shards_without_a_document(self, tmp_path: Path) -> None:
        parts = of(tmp_path, deploy("ad", "2/3"), deploy("e", "1/2"))
        assert not parts.ok
        assert [*parts.failures()] == [
            "no file is of shard 2/2: fab deploy --shard 2/2 --json",
            "no file is of shards 1/3, 3/3: fab deploy --shard 1/3 --json, and so on",
        ]
        assert json.loads(parts.document())["error"].count("\n") == 1

    def test_very_many_shards_are_one_line(self, tmp_path: Path) -> None:
        (told,) = of(tmp_path, deploy("ad", "1/999999")).failures()
        assert told == (
            "no file is of shards 2/999999, 3/999999, 4/999999, 5/999999, 6/999999 and 999,993 more: "
            "fab deploy --shard 2/999999 --json, and so on"
        )

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

    def test_a_run_that_could_not_begin_is_made_good_by_one_of_the_same_nodes(self, tmp_path: Path) -> None:
        ran = {
            "whole": deploy("ad").document(),
            "1": deploy("a", "1/2").document(),
            "2": deploy("d", "2/2").document(),
            "of w": replace(deploy("a"), limit="w").document(),
            "not 2": refusal("deploy", "no", shard="2/2"),
            "not w": refusal("deploy", "no", limit="w"),
            "not w 1": refusal("deploy", "no", shard="1/2", limit="w"),
            "not": refusal("deploy", "no", as_line=True),
            "no such": refusal("deploy", "--shard '3/2': part I of N is wanted", shard="3/2"),
        }
        for name, text in ran.items():
            (tmp_path / name).write_text(text)

        def unknown(*names: str) -> list[str]:
            return [
                line.replace(f"{tmp_path}/", "")
                for line in recap_of([f"{tmp_path}/{n}" for n in names]).unknown
            ]

        assert unknown("1", "not 2", "2") == unknown("not 2", "whole") == unknown("not", "whole") == []
        assert unknown("not w", "of w") == unknown("not w 1", "of w") == unknown("not w", "whole") == []
        assert unknown("no such", "whole") == unknown("1", "whole") == []
        assert unknown("not", "1", "2") == unknown("not 2", "not", "1", "2") == []
        assert unknown("1", "not", "2") == ["not: no"]
        assert unknown("1", "2", "not 2") == ["not 2: no"]
        assert unknown("not 2", "1", "of w")[0] == "not 2: no"
        assert unknown("not", "of w") == ["not: no"]
        assert unknown("whole", "1") == ["no file is of shard 2/2: fab deploy --shard 2/2 --json"]
        assert unknown("of w", "not w 1")[1] == (
            "no file is of shard 2/2: fab deploy --limit w --shard 2/2 --json"
        )
        (tmp_path / "merged").write_text(recap_of([f"{tmp_path}/of w"]).document())
        assert unknown("not", "merged") == ["not: no"]

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
    **{
        f"a node called {name!r}": (document(node=name), f"nodes[0].node is {name!r}, which is no name of a")
        for name in ("", "a b", "a,b", "a\nb", "a\u202eb", "-a", "@a")
    },
    **{
        f"a task called {task!r}": ({"task": task, "nodes": []}, f"task is {task!r}, which is no task")
        for task in ("", "deploy; reboot", "Deploy", "--list", "a\n")
    },
    **{
        f"begun at {text!r}": (
            {"task": "x", "began": text, "nodes": []},
            f"began is {text!r}, which is no time with its zone",
        )
        for text in ("yesterday", "2026-11-28T23:00:00", "2026-11-28")
    },
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
    "two documents": (
        b'{"task": "x", "nodes": []}\n{"task": "x", "nodes": []}\n',
        "line 1 is of no node, and not the last: give each document a file of its own",
    ),
    "lines and a whole document": (
        b'{"node": "a"}\n{"task": "x", "nodes": [{"node": "b"}]}\n',
        "has nodes in lines of their own, and more in its last line: give each document a file of its own",
    ),
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
