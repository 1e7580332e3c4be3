"""`fab check` without a node: the table, who fails, and what is refused."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from io import StringIO
from pathlib import Path
from threading import Event
from typing import cast

import pytest
from rich.console import Console
from rich.text import Text

from tasks.core.check import table
from tasks.core.check.drift import Drift
from tasks.core.check.node_check import UNSEEN, ListenerCheck, NodeCheck, node_check, values_of
from tasks.core.check.watch import Draw, Poller, seconds_of, watch
from tasks.core.config.address import Endpoint
from tasks.core.console.table import table as draw_table
from tasks.core.errors import StepError, UsageError
from tasks.core.facts.facts import Facts
from tasks.core.probes.classify import EndpointCheck, classify
from tasks.core.probes.result import ProbeResult, Reason
from tasks.core.results import State, as_json
from tasks.core.ssh.node import Node
from tasks.core.users.judged import UsersCheck
from tasks.core.watch.seen import WatchSeen, WatchState
from tests.conftest import run_fab
from tests.test_run import Host, eventually

ADDRESS = "fd00:a:b::1"  # rich takes :a: and :b: for emojis
A, B = Endpoint("10.0.0.1", 6443), Endpoint("fd00::2", 7443)
LISTENER = Endpoint("127.0.0.1", 8443)
RUNS = Facts(unit={"LoadState": "loaded", "ActiveState": "active", "SubState": "running"})
ANSWER = ProbeResult(connected=0.003, seconds=0.003, status=200, body="ok")
GOOD = classify(ANSWER)
REFUSED = classify(ProbeResult(Reason.REFUSED, "refused the connection"))
MISSING = replace(REFUSED, detail="kube-nginx is not installed there")
OPEN = classify(ProbeResult(Reason.OPEN, "who knows", program="bash"))
STRANGE = classify(replace(ANSWER, trusted=False, distrust="its certificate does not verify"))
CLOCK = classify(replace(ANSWER, clock=9.0))
USED = UsersCheck(State.OK, "kubelet", (), (), 1, (), {}, "n1")
PAST = UsersCheck(
    State.WARNING, "past", ("kubelet goes to x directly",), ("also curl (1 session)",), 1, (), {}, "n1"
)


def through(check: EndpointCheck) -> ListenerCheck:
    return ListenerCheck(**values_of(check), led_to=())


def row(
    a: EndpointCheck = GOOD,
    b: EndpointCheck = GOOD,
    proxy: EndpointCheck = GOOD,
    facts: Facts = RUNS,
    drift: tuple[Drift, ...] = (),
    remedy: str = "",
    users: UsersCheck = USED,
) -> NodeCheck:
    return node_check(facts, {A: a, B: b}, {LISTENER: through(proxy)}, drift, remedy, users=users)


class TestTheWatchOfANode:
    """What the watch of a node says, beside what was met."""

    def test_one_that_does_not_run_is_a_warning(self) -> None:
        seen = replace(row(), watch=WatchSeen(WatchState.NOT_RUNNING, "failed (failed)"))
        assert (seen.state, table.summary(seen)) == ("warning", "watch not running")
        assert table.notes({"a": seen}) == ["warning: a: watch: failed (failed)"]

    def test_one_that_cannot_be_is_told(self) -> None:
        seen = replace(row(), watch=WatchSeen(WatchState.NOT_POSSIBLE, "not possible here: no rules"))
        assert (seen.state, table.notes({"a": seen})) == (
            "ok",
            ["note: a: watch: not possible here: no rules"],
        )

    @pytest.mark.parametrize("state", [WatchState.OK, WatchState.OFF])
    def test_nothing_else_is(self, state: WatchState) -> None:
        assert table.notes({"a": replace(row(), watch=WatchSeen(state, "not deployed"))}) == []


class TestVerdict:
    """What is bad, and what is so bad that the node cannot work."""

    @pytest.mark.parametrize(
        ("seen", "state"),
        [
            (row(), "ok"),
            (row(a=REFUSED), "warning"),
            (row(a=CLOCK), "warning"),
            (row(proxy=CLOCK), "warning"),
            (row(REFUSED, REFUSED), "warning"),
            (row(OPEN, OPEN, OPEN), "warning"),
            (row(REFUSED, OPEN, OPEN), "warning"),
            (row(REFUSED, REFUSED, OPEN), "failed"),
            (row(proxy=REFUSED), "failed"),
            (row(OPEN, OPEN, REFUSED), "failed"),
            (row(REFUSED, REFUSED, REFUSED), "failed"),
            (row(drift=(Drift("version", "x"),)), "warning"),
            (row(users=PAST), "warning"),
        ],
    )
    def test_state(self, seen: NodeCheck, state: str) -> None:
        assert seen.state == state
        assert (seen.error is not None) == (state == "failed")

    def test_one_of_several_listeners_is_enough_to_fail(self) -> None:
        other = Endpoint("127.0.0.2", 8443)
        seen = node_check(RUNS, {A: GOOD}, {LISTENER: through(GOOD), other: through(REFUSED)})
        assert seen.through is not None
        assert seen.through.word == "refused"
        assert seen.error is not None
        assert seen.error.message == (
            "no ready apiserver answers through 127.0.0.2:8443: refused the connection"
        )

    @pytest.mark.parametrize(
        ("seen", "message", "hint"),
        [
            (
                row(REFUSED, REFUSED, REFUSED),
                "no way to any ready apiserver, neither directly nor through 127.0.0.1:8443",
                "do the apiservers run",
            ),
            (row(REFUSED, REFUSED, OPEN), "no way to any ready apiserver", "do the apiservers run"),
            (row(STRANGE, STRANGE, STRANGE), "no way to any ready apiserver", "is [check] ca in hosts.toml"),
            (row(STRANGE, REFUSED, STRANGE), "no way to any ready apiserver", "do the apiservers run"),
            (
                row(proxy=REFUSED),
                "no ready apiserver answers through 127.0.0.1:8443: refused the connection",
                "see why: fab status --limit {nodes}, fab logs",
            ),
            (
                row(proxy=REFUSED, remedy="fab start --limit {nodes}"),
                "no ready apiserver",
                "fab start --limit {nodes}",
            ),
            (
                row(STRANGE, STRANGE, STRANGE, remedy="fab start --limit {nodes}"),
                "no way to any ready apiserver",
                "fab start --limit {nodes}",
            ),
            (
                row(REFUSED, GOOD, MISSING, Facts(), remedy="fab deploy --limit {nodes}"),
                "through 127.0.0.1:8443: kube-nginx is not installed there; "
                "directly: 1 of 2 apiservers answer",
                "fab deploy --limit {nodes}",
            ),
            (
                row(REFUSED, REFUSED, MISSING, Facts(), remedy="fab deploy --limit {nodes}"),
                "no way to any ready apiserver, neither directly nor through 127.0.0.1:8443",
                "are these the addresses of the apiservers",
            ),
        ],
    )
    def test_failure(self, seen: NodeCheck, message: str, hint: str) -> None:
        assert seen.error is not None
        assert seen.error.message.startswith(message)
        assert seen.error.hint.startswith(hint)


class TestTable:
    """What is shown."""

    def test_columns(self) -> None:
        heads = ["NODE", "10.0.0.1", "[fd00::2]:7443", "THROUGH", "DRIFT", "USERS"]
        assert table.columns([A, B]) == heads

    def test_lines(self) -> None:
        drifted = row(REFUSED, drift=(Drift("servers", "x"), Drift("version", "y")))
        bare = row(proxy=REFUSED, facts=Facts(), users=PAST)
        rows = {"n1": drifted, "n2": bare}
        lines = table.lines(["n1", "n2", "n3"], rows, [A, B])
        assert [list(map(str, line)) for line in lines] == [
            ["n1", "refused", "ready 3 ms", "ready 3 ms", "servers +1", "kubelet"],
            ["n2", "ready 3 ms", "ready 3 ms", "refused", "-", "past"],
            ["n3", "not seen", "-", "-", "-", "-"],
        ]

    def test_colours_go_with_words(self) -> None:
        (line,) = table.lines(["n1"], {"n1": row(REFUSED, CLOCK)}, [A, B])
        told = [(str(cell), str(cell.style)) for cell in line if isinstance(cell, Text)]
        expected = [("refused", "red"), ("clock +9 s", "yellow"), ("ready 3 ms", "green"), ("none", "green")]
        assert told == [*expected, ("kubelet", "green")]

    def test_three_apiservers_and_everything_bad_fit_80_columns(self) -> None:
        apiservers = [Endpoint(f"10.100.20.{n}", 6443) for n in (11, 12, 13)]
        cells = dict.fromkeys(apiservers, replace(CLOCK, word="expires 12 d"))
        drifts = (Drift("servers", "x"), Drift("version", "y"))
        seen = node_check(
            RUNS, cells, {LISTENER: through(replace(CLOCK, word="at try 4"))}, drifts, users=PAST
        )
        console = Console(file=StringIO(), width=80, force_terminal=True, color_system=None)
        lines = table.lines(["worker-10"], {"worker-10": seen}, apiservers)
        draw_table(console, table.columns(apiservers), lines)
        *_, line = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
        words = "worker-10 expires 12 d expires 12 d expires 12 d at try 4 servers +1 past"
        assert " ".join(line.split()) == words

    def test_notes_tell_each_thing_once(self) -> None:
        rows = {
            "n1": row(REFUSED, REFUSED),
            "n2": row(REFUSED, REFUSED),
            "n3": row(CLOCK, drift=(Drift("version", "nginx 1.22.1 is installed"),), users=PAST),
        }
        assert table.notes(rows) == [
            "bad: n1, n2: 10.0.0.1:6443, [fd00::2]:7443: refused the connection",
            "warning: n3: 10.0.0.1:6443: its clock is 9 s ahead of the node's",
            "warning: n3: drift: nginx 1.22.1 is installed",
            "warning: n3: users: kubelet goes to x directly",
            "note: n3: users: also curl (1 session)",
            "hint: fab diff shows what has drifted, fab deploy brings it back",
        ]

    def test_what_nginx_says_of_a_version_is_told_and_changes_no_state(self) -> None:
        rows = {node: row(facts=replace(RUNS, installed="1.26.3")) for node in ("n1", "n2")}
        (line,) = table.notes(rows)
        assert line.startswith("warning: all 2 nodes: version: nginx 1.26.3 has CVE-2026-42533 (")
        assert {check.state for check in rows.values()} == {State.OK}
        assert [advisory.cve for advisory in rows["n1"].advisories] == ["CVE-2026-42533"]
        assert table.notes({"n1": row(facts=replace(RUNS, installed="1.30.6"))}) == []

    def test_of_many_nodes_five_are_named(self) -> None:
        clocks = {f"n{n}": replace(CLOCK, detail=f"its clock is {n} s ahead of the node's") for n in range(9)}
        assert table.notes({node: row(clock) for node, clock in clocks.items()} | {"other": row()}) == [
            "warning: 9 nodes: n0, n1, n2, n3, n4 and 4 more: 10.0.0.1:6443: "
            "its clock is 0 to 8 s ahead of the node's"
        ]

    def test_why_nodes_were_not_seen(self) -> None:
        off = StepError("cannot connect to it: timed out")
        failures = {"n1": off, "n2": StepError("not root"), "n3": StepError(off.message)}
        assert table.unseen(failures, {}) == [
            "bad: n1, n3: cannot connect to it: timed out",
            "bad: n2: not root",
        ]
        failures = {f"n{n}": StepError(f"cannot connect to 10.0.0.{n}:22") for n in range(6)}
        addresses = {f"n{n}": f"10.0.0.{n}:22" for n in range(6)}
        assert table.unseen(failures, addresses) == [
            "bad: cannot connect to ...: 6 nodes: n0, n1, n2, n3, n4 and 1 more"
        ]

    def test_what_all_have_is_told_of_all(self) -> None:
        rows = {"n1": row(REFUSED), "n2": row(REFUSED)}
        assert table.notes(rows) == ["bad: all 2 nodes: 10.0.0.1:6443: refused the connection"]

    @pytest.mark.parametrize(
        ("seen", "way"),
        [
            (row(REFUSED, OPEN), True),
            (row(REFUSED, OPEN, OPEN), None),
            (row(REFUSED, REFUSED, REFUSED), False),
        ],
    )
    def test_document(self, seen: NodeCheck, way: bool | None) -> None:
        document = json.loads(json.dumps(as_json(seen)))
        assert [*document] == [
            *("way", "clock_seconds", "apiservers", "through", "drift"),
            *("watch", "version", "advisories", "users"),
        ]
        listener = document["through"]["listeners"]["127.0.0.1:8443"]
        assert [*document["through"]] == [*listener, "listeners"]
        assert [*listener] == [*document["apiservers"]["10.0.0.1:6443"], "led_to"]
        assert document["way"] is way
        assert document["apiservers"]["10.0.0.1:6443"]["word"] == "refused"
        assert set(document["through"]["listeners"]) == {"127.0.0.1:8443"}
        assert document["drift"] == []

    def test_summary(self) -> None:
        strange = classify(replace(ANSWER, status=403))
        assert table.summary(row()) == "all ready, the proxy too"
        assert table.summary(row(b=strange)) == "all answer, the proxy too"
        assert table.summary(row(REFUSED, strange)) == "10.0.0.1:6443 refused"
        assert table.summary(row(REFUSED, users=PAST)) == "10.0.0.1:6443 refused; users: past"

    def test_a_node_that_was_not_seen_has_the_same_keys(self) -> None:
        unseen = as_json(UNSEEN)
        assert unseen.keys() == as_json(row()).keys()
        assert not any(unseen.values())


class TestWatch:
    """Looking again and again."""

    @pytest.mark.parametrize(
        ("given", "seconds"), [(None, None), (False, None), (True, 2.0), ("0.5", 0.5), (7, 7.0)]
    )
    def test_seconds(self, given: object, seconds: float | None) -> None:
        assert seconds_of(given) == seconds

    @pytest.mark.parametrize("given", ["0", "-1", "often", "3601", "nan", "", "٣", "7" * 5000])
    def test_no_seconds(self, given: str) -> None:
        with pytest.raises(UsageError, match="seconds are wanted"):
            seconds_of(given)

    def test_until_it_is_interrupted(self, capsys: pytest.CaptureFixture[str]) -> None:
        looks = iter("ab")

        def look() -> Draw:
            seen = next(looks, "")
            if not seen:
                raise KeyboardInterrupt
            return lambda console: console.print(seen * 3)

        watch(Console(), 0.1, look)(Console())
        lines = capsys.readouterr().out.splitlines()
        assert [line for line in lines if "until Ctrl-C" not in line] == ["aaa", "", "bbb", "", "bbb"]

    def test_nothing_was_seen_yet(self) -> None:
        def look() -> Draw:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            watch(Console(), 0.1, look)

    def test_a_node_that_does_not_answer_holds_up_nobody(self) -> None:
        asked: list[str] = []
        answers = Event()

        def ask(node: Node) -> str:
            asked.append(node.label)
            if len(asked) == 1:
                assert answers.wait(60)
                raise StepError("cannot connect to it")
            return "ways"

        poller, node = Poller(ask, 0.01), cast(Node, Host("n1"))

        def why() -> str:
            with pytest.raises(StepError) as caught:
                poller.answer(node)
            return caught.value.message

        late = "has not answered within 0.01 s; still trying"
        assert [why(), why(), len(asked)] == [late, late, 1]  # it is asked once, and asked on
        answers.set()
        eventually(lambda: why() == "cannot connect to it")
        seen: list[str] = []

        def again() -> bool:
            """A look that does not wait."""
            with suppress(StepError):
                seen.append(poller.answer(node))
            return bool(seen)

        eventually(again)
        assert seen == ["ways"]

    def test_who_answers_is_waited_for(self) -> None:
        poller = Poller(lambda node: node.label, 60)
        assert [poller.answer(cast(Node, Host("n1"))) for _ in range(3)] == ["n1"] * 3

    def test_addresses_stay_what_they_are(self) -> None:
        looks = iter([f"{ADDRESS} [{ADDRESS}]:6443"])

        def look() -> Draw:
            seen = next(looks, "")
            if not seen:
                raise KeyboardInterrupt
            return lambda console: console.print(seen, markup=False, highlight=False)

        paper = StringIO()
        watch(Console(file=paper, width=80, force_terminal=True, color_system=None), 0.1, look)
        assert f"{ADDRESS} [{ADDRESS}]:6443" in paper.getvalue()


@pytest.mark.parametrize(
    ("flags", "ca", "message"),
    [
        (["--json", "--watch"], "", "--json is one document, and --watch many looks"),
        (["--watch=0"], "", "--watch '0': seconds are wanted"),
        ([], "ca.crt", 'ca.crt": cannot be read: No such file or directory'),
        ([], "hosts.toml", "holds no certificate in PEM"),
    ],
)
def test_refused_before_any_connection(tmp_path: Path, flags: list[str], ca: str, message: str) -> None:
    (tmp_path / "ssh_config").write_text("Host worker-1\n  ProxyCommand touch connected\n")
    hosts = tmp_path / "hosts.toml"
    check = f'[check]\nca = "{ca}"\n' if ca else ""
    hosts.write_text(
        f'nodes = ["worker-1"]\napiservers = ["10.0.0.1"]\n{check}[ssh]\nconfig = "ssh_config"\n'
    )
    ran = run_fab("check", *flags, hosts=hosts)
    assert ran.status == 2
    assert message in ran.err
    if "--json" in flags:
        assert message in ran.json["error"]


def test_a_node_that_cannot_be_reached(tmp_path: Path) -> None:
    (tmp_path / "ssh_config").write_text("Host worker-1\n  ProxyCommand false\n")
    hosts = tmp_path / "hosts.toml"
    hosts.write_text(
        'nodes = ["worker-1"]\napiservers = ["10.0.0.1"]\n[ssh]\nconfig = "ssh_config"\nconnect_timeout = 1\n'
    )
    ran = run_fab("check", hosts=hosts)
    assert ran.status == 1
    assert "worker-1  not seen  -" in ran.out
    assert "retry: fab check --limit worker-1" in ran.err
    (node,) = run_fab("check", "--json", hosts=hosts).json["nodes"]
    assert node["error"]["step"] == "check"
    assert (node["apiservers"], node["through"], node["drift"]) == ({}, None, None)
