"""Tables of many rows: what differs comes first, and what is alike is one row."""

from __future__ import annotations

from collections.abc import Mapping
from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from tasks.core.config.address import Endpoint
from tasks.core.console.table import Row, table
from tasks.core.traffic import chart
from tasks.core.traffic.sessions import Sessions, together


def shown(rows: list[Row], width: int = 80, terminal: bool = False, all_rows: bool = False) -> list[str]:
    stream = StringIO()
    console = Console(file=stream, width=width, force_terminal=terminal, color_system=None)
    table(console, ("NODE", "STATE", "SINCE"), rows, all_rows)
    return [line.rstrip() for line in stream.getvalue().splitlines()]


def fleet(count: int, others: Mapping[int, tuple[str, str]]) -> list[Row]:
    """Nodes that are active for 2 to 4 days, and some that are not."""
    return [(f"n{at}", *others.get(at, ("active", f"{2 + at % 3} d"))) for at in range(count)]


@pytest.mark.parametrize("terminal", [True, False])
def test_fifty_rows_are_all_there(terminal: bool) -> None:
    assert len(shown(fleet(50, {}), terminal=terminal)) == 51


@pytest.mark.parametrize("terminal", [True, False])
@pytest.mark.parametrize("width", [80, 160])
def test_of_more_those_that_differ_come_first_and_the_others_are_one(width: int, terminal: bool) -> None:
    rows = fleet(1000, {7: ("failed", "-"), 70: ("not seen", "-"), 700: ("failed", "-")})
    assert shown(rows, width, terminal) == [
        "NODE       STATE     SINCE",
        "n7         failed    -",
        "n700       failed    -",
        "n70        not seen  -",
        "997 nodes  active    2 to 4 d",
        "997 nodes: n0, n1, n2, n3, n4 and 992 more",
        "each of them: --all-rows",
    ]


def test_a_size_that_is_far_out_is_a_row_of_its_own() -> None:
    rows: list[Row] = [(f"n{at}", "ready 3 ms" if at % 2 else "ready 5 ms", "") for at in range(60)]
    rows[7] = ("n7", "ready 4900 ms", "")
    assert shown(rows)[1:3] == ["n7        ready 4900 ms", "59 nodes  ready 3 to 5 ms"]


def test_a_node_may_say_what_stands_for_a_size() -> None:
    rows: list[Row] = [(f"n{at}", "\x02 \x01 PID 7: 3 ms", "") for at in range(60)]
    assert shown(rows)[1].startswith("60 nodes")


def test_all_are_shown_where_that_is_asked_for() -> None:
    assert len(shown(fleet(60, {}), all_rows=True)) == 61


def test_what_differs_in_many_rows_is_one_row_for_each_way_too() -> None:
    others = dict.fromkeys(range(100, 160), ("not seen", "-")) | dict.fromkeys((1, 2), ("failed", "-"))
    assert shown(fleet(1000, others))[1:] == [
        "n1         failed    -",
        "n2         failed    -",
        "60 nodes   not seen  -",
        "938 nodes  active    2 to 4 d",
        "60 nodes: n100, n101, n102, n103, n104 and 55 more",
        "938 nodes: n0, n3, n4, n5, n6 and 933 more",
        "each of them: --all-rows",
    ]


def test_of_rows_with_equal_counts_it_is_said_whose_the_names_are() -> None:
    others = dict.fromkeys(range(20), ("not seen", "-")) | dict.fromkeys(range(20, 40), ("failed", "-"))
    others |= dict.fromkeys(range(40, 60), ("failed", "3 d"))
    assert shown(fleet(200, others))[1:] == [
        "20 nodes   not seen  -",
        "20 nodes   failed    -",
        "20 nodes   failed    3 d",
        "140 nodes  active    2 to 4 d",
        "20 nodes, STATE not seen, SINCE -: n0, n1, n2, n3, n4 and 15 more",
        "20 nodes, STATE failed, SINCE -: n20, n21, n22, n23, n24 and 15 more",
        "20 nodes, STATE failed, SINCE 3 d: n40, n41, n42, n43, n44 and 15 more",
        "140 nodes: n60, n61, n62, n63, n64 and 135 more",
        "each of them: --all-rows",
    ]


def test_where_nothing_is_alike_every_row_is_there() -> None:
    lines = shown([(f"n{at}", f"v1.{at}", "-") for at in range(60)])
    assert [line.split()[0] for line in lines] == ["NODE", *(f"n{at}" for at in range(60))]


def test_the_one_row_has_the_colour_of_the_others() -> None:
    stream = StringIO()
    console = Console(file=stream, width=80, force_terminal=True, color_system="standard")
    table(console, ("NODE", "API"), [(f"n{at}", Text(f"ready {at} ms", "green")) for at in range(60)])
    assert "\x1b[32mready 0 to 59 ms" in stream.getvalue()


def test_sessions_are_alike_on_the_same_apiservers() -> None:
    a, b = Endpoint("10.0.0.1", 6443), Endpoint("10.0.0.2", 6443)
    counts = {f"n{at}": {a: 1 + at % 4, b: 2} for at in range(60)} | {"n9": {a: 0, b: 5}}
    seen = {node: Sessions.of(count, {}) for node, count in counts.items()}
    stream = StringIO()
    chart.show(Console(file=stream, width=80), seen, together(seen.values(), [a, b]))
    assert stream.getvalue().splitlines()[-5:] == [
        "NODE      10.0.0.1  10.0.0.2",
        "n9        0         5",
        "59 nodes  1 to 4    2",
        "59 nodes: n0, n1, n2, n3, n4 and 54 more",
        "each of them: --all-rows",
    ]


@pytest.mark.parametrize("terminal", [True, False])
def test_each_apiserver_has_a_row(terminal: bool) -> None:
    apiservers = [Endpoint(f"10.0.0.{at}", 6443) for at in range(60)]
    total = together([Sessions.of(dict.fromkeys(apiservers, 1), {})], apiservers)
    stream = StringIO()
    chart.show(Console(file=stream, width=80, force_terminal=terminal, color_system=None), {}, total)
    lines = [line.split()[0] for line in stream.getvalue().splitlines()[: 1 + len(apiservers)]]
    assert lines == ["APISERVER", *map(str, apiservers)]


@pytest.mark.parametrize(
    ("width", "gives_way", "lines"),
    [
        (17, "", ["NODE  STATE", "n1    active", "      (running)", "n2    no kubelet"]),
        (17, "STATE", ["NODE  STATE", "n1    active", "      (running)", "n2    no", "      kubelet"]),
        (40, "STATE", ["NODE  STATE", "n1    active (running)", "n2    no kubelet"]),
    ],
)
def test_one_column_gives_way_first(width: int, gives_way: str, lines: list[str]) -> None:
    stream = StringIO()
    console = Console(file=stream, width=width, force_terminal=True, color_system=None)
    rows = [("n1", "active (running)"), ("n2", "no kubelet")]
    table(console, ("NODE", "STATE"), rows, gives_way=gives_way)
    assert [line.rstrip() for line in stream.getvalue().splitlines()] == lines
