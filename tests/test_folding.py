"""What many nodes have alike is told once, and what differs is not lost in it."""

from __future__ import annotations

import pytest

from tasks.core.folding.alike import alike, listed, told


def once(text: str, nodes: int = 6) -> list[tuple[str, list[str]]]:
    """What is told of so many nodes, of which number {n} says `text`."""
    said = ((f"w-{n}.example", f"10.0.0.{n}:22", [text.replace("{n}", str(n))]) for n in range(1, nodes + 1))
    return [(text, nodes) for (text,), nodes in alike(said)]


@pytest.mark.parametrize(
    ("names", "text"),
    [
        ("a", "a"),
        ("abcde", "a, b, c, d, e"),
        ("abcdefg", "7 nodes: a, b, c, d, e and 2 more"),
    ],
)
def test_five_are_named(names: str, text: str) -> None:
    assert listed([*names]) == text


def test_of_few_the_names_come_first_and_of_many_what_they_have() -> None:
    assert told("no", [*"ab"]) == "a, b: no"
    assert told("no\n  it refused k", [*"abcdef"]) == (
        "no: 6 nodes: a, b, c, d, e and 1 more\n  it refused k"
    )


@pytest.mark.parametrize(
    ("text", "merged"),
    [
        ("off", "off"),
        ("cannot connect to 10.0.0.{n}:22: x", "cannot connect to ...: x"),
        ("root@10.0.0.{n}:22 refused", "root@... refused"),
        ("ssh-keygen -R '[10.0.0.{n}]:22'", "ssh-keygen -R '...'"),
        ("as root on w-{n}.", "as root on ...."),
        ("as root on w-{n}.example", "as root on ..."),
        ("{n}.5 MB are free, not 8 MB", "1.5 to 6.5 MB are free, not 8 MB"),
        ("no answer within {n} s", "no answer within 1 to 6 s"),
        ("9{n}% full", "91 to 96% full"),
        ("held by perl (PID {n})", "held by perl (PID ...)"),
        ("kube-nginx[12{n}]: died", "kube-nginx[...]: died"),
        ("2026/11/28 10:00:0{n} [emerg] 7#{n}: x", "... [emerg] ...: x"),
        ("Nov  {n} 10:00:01 died", "... 10:00:01 died"),
        ("since Sat 2026-11-28 10:00:0{n} UTC", "since Sat ... UTC"),
        ("with sha256 {n}123456789abcdef", "with sha256 ..."),
        ("seen is SHA256:5a/+b", "seen is SHA256:5a/+b"),
        ("\x00 \x01 \x02 {n} s", "? ? ? 1 to 6 s"),
        ("fab logs --limit {nodes}", "fab logs --limit {nodes}"),
    ],
)
def test_the_own_name_and_what_changes_make_no_difference(text: str, merged: str) -> None:
    ((told_once, nodes),) = once(text)
    assert (told_once, len(nodes)) == (merged, 6)


def test_fingerprints_are_there_to_be_compared() -> None:
    ((text, _),) = once("known is SHA256:abc, seen is SHA256:{n}a/+b\nmore", 8)
    assert text.split("\n") == [
        "known is SHA256:abc, seen is ...",
        "more",
        *(f"  w-{n}.example: SHA256:abc, SHA256:{n}a/+b" for n in range(1, 6)),
        "  and 3 more: --json has them",
    ]


@pytest.mark.parametrize(
    "text",
    [
        "10.0.1.{n}:6443 refused",
        "fd00::10:20:3{n} refused",
        "10.0.1.7:644{n} refused",
        "ended with status {n}",
        "needs glibc 2.34, has 2.{n}",
        "nginx 1.26.{n}",
        "bind() failed (9{n}: Address in use)",
        "w-10{n} is off",
        "HTTP 50{n}",
        "the gateway x-w-{n}.example: off",
    ],
)
def test_what_differs_stays_apart(text: str) -> None:
    told_once = once(text)
    assert [one for one, _ in told_once] == [text.replace("{n}", str(n)) for n in range(1, 7)]
    assert [nodes for _, nodes in told_once] == [[f"w-{n}.example"] for n in range(1, 7)]


@pytest.mark.parametrize("nodes", [3, 6])
def test_a_name_that_all_tell_is_not_only_one_nodes_own(nodes: int) -> None:
    said = "sudo refused the password (tried once, on w-1.example)"
    assert once(said, nodes) == [(said, [f"w-{n}.example" for n in range(1, nodes + 1)])]


@pytest.mark.parametrize(
    ("sizes", "groups"),
    [
        ([3] * 9 + [4900], [("took 3 ms", 9), ("took 4900 ms", 1)]),
        ([900] * 9 + [2], [("took 900 ms", 9), ("took 2 ms", 1)]),
        ([3, 4, 5, 3, 4, 5] + [400, 500] * 3, [("took 3 to 5 ms", 6), ("took 400 to 500 ms", 6)]),
        ([1, 1, 1, 1, 2, 13], [("took 1 to 13 ms", 6)]),
        ([*range(60)], [("took 0 to 59 ms", 60)]),
    ],
)
def test_a_size_that_is_far_out_stands_apart(sizes: list[int], groups: list[tuple[str, int]]) -> None:
    said = [(f"w{n}", "", [f"took {size} ms"]) for n, size in enumerate(sizes)]
    found = [(text, len(nodes)) for (text,), nodes in alike(said)]
    assert sorted(found) == sorted(groups)


def test_few_nodes_are_told_each_as_it_is() -> None:
    assert once("{n} s", 5) == [(f"{n} s", [f"w-{n}.example"]) for n in range(1, 6)]


def test_each_part_counts() -> None:
    said = [("a", "", ("no", "x")), ("b", "", ("no", "y")), ("c", "", ("no", "x"))]
    assert [*alike(said)] == [(["no", "x"], ["a", "c"]), (["no", "y"], ["b"])]


def test_what_most_have_comes_first() -> None:
    said = [("a", "", ["x"]), ("b", "", ["y"]), ("c", "", ["y"]), ("d", "", ["z"])]
    assert [*alike(said)] == [(["y"], ["b", "c"]), (["x"], ["a"]), (["z"], ["d"])]


def test_a_node_may_be_called_as_what_stands_for_nodes_in_a_hint() -> None:
    said = [(node, "", ["try {nodes}"]) for node in ("nodes", *"abcde")]
    assert [*alike(said)] == [(["try {nodes}"], ["nodes", *"abcde"])]
