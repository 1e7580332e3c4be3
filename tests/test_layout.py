"""What the service is on a node, beside the content of its files."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tasks.core.config.model import Proxy
from tasks.core.facts.facts import Facts, File, Process
from tasks.core.facts.layout import BINARY, paths, processes, runs_ours, unit_state, user
from tasks.core.facts.paths import UNIT_PATH

PROXY = Proxy()
OURS = paths(PROXY)[BINARY]
PROCESS = Process(7, OURS, "", "", 200.0, "boot:7:1", {8: 200.0}, owner="998")
THERE = {UNIT_PATH: File("u")}


@pytest.mark.parametrize(
    ("unit", "files", "words"),
    [
        ({"LoadState": "loaded", "NeedDaemonReload": "no"}, THERE, []),
        ({"LoadState": "loaded", "NeedDaemonReload": "yes"}, THERE, ["unit not read"]),
        ({"LoadState": "not-found"}, THERE, ["unit not read"]),
        ({"LoadState": "error"}, THERE, ["unit not read"]),
        ({"LoadState": "masked"}, THERE, ["masked"]),
        ({"LoadState": "masked"}, {}, ["masked"]),
        # it was removed, and systemd still has it, or a process of it is there
        ({"LoadState": "loaded", "NeedDaemonReload": "yes"}, {}, ["no unit"]),
        ({"LoadState": "error", "ActiveState": "active"}, {}, ["no unit"]),
        ({"LoadState": "not-found"}, {}, []),
        ({}, {}, []),
        ({"LoadState": "loaded", "DropInPaths": "/etc/x.conf /run/y.conf"}, THERE, ["drop-in"]),
        (
            {"LoadState": "loaded", "NeedDaemonReload": "yes", "DropInPaths": "/etc/x.conf"},
            THERE,
            ["unit not read", "drop-in"],
        ),
    ],
)
def test_the_unit_in_words(unit: dict[str, str], files: dict[str, File], words: list[str]) -> None:
    assert list(unit_state(Facts(unit=unit, files=files))) == words


def test_a_drop_in_that_systemd_does_not_know_yet() -> None:
    facts = Facts(unit={"LoadState": "loaded", "NeedDaemonReload": "no"}, files=THERE, new_drop_ins=("/x",))
    assert list(unit_state(facts)) == ["unit not read", "drop-in"]


@pytest.mark.parametrize(
    ("executable", "is_ours"),
    [
        (OURS, True),
        (f"{OURS} (deleted)", True),
        (f"{OURS}-2", False),
        ("/usr/sbin/nginx", False),
        ("", False),
    ],
)
def test_whether_it_runs_the_binary_under_the_prefix(executable: str, is_ours: bool) -> None:
    assert runs_ours(Facts(process=replace(PROCESS, executable=executable)), PROXY) == is_ours


def test_nothing_runs() -> None:
    assert not runs_ours(Facts(), PROXY)
    assert list(processes(Facts())) == []
    assert list(user(Facts(user_id="998"), PROXY)) == []


@pytest.mark.parametrize(
    ("wanted", "user_id", "owner", "text"),
    [
        ("kube-nginx", "998", "998", []),
        ("kube-nginx", "998", "0", ["it runs as user 0, and kube-nginx is 998"]),
        ("kube-nginx", "998", "", []),  # it ended meanwhile
        ("kube-nginx", "", "998", []),  # the user was deleted: that is told elsewhere
        ("", "", "0", []),
        ("", "", "998", ["it runs as user 998, and root is 0"]),
    ],
)
def test_as_whom_it_runs(wanted: str, user_id: str, owner: str, text: list[str]) -> None:
    facts = Facts(user_id=user_id, process=replace(PROCESS, owner=owner))
    assert list(user(facts, replace(PROXY, user=wanted))) == text
