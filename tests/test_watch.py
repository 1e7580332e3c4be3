"""kube-nginx-watch as a node has it: what a plan makes of it, and what is told of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tasks.core.config import settings
from tasks.core.config.model import Proxy, Settings, Watch
from tasks.core.facts.facts import Facts
from tasks.core.facts.layout import MODES
from tasks.core.facts.parts import File
from tasks.core.facts.paths import WATCH, WATCH_UNIT, watch_paths
from tasks.core.facts.watch import Ejection, WatchUnit
from tasks.core.results import as_json
from tasks.core.rollout.plan import Action, plan
from tasks.core.watch import needs
from tasks.core.watch.seen import WatchSeen, WatchState, watch_of

from .hosts_data import FILE, with_keys
from .scripts import facts
from .test_plan import HEALTHY, PROXY, SUMS

WATCH_SUMS = {WATCH: "7" * 64, WATCH_UNIT: "8" * 64}
PATHS = watch_paths(PROXY)
RUNS = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "SubState": "running",
    "UnitFileState": "enabled",
    "NeedDaemonReload": "no",
    "StatusText": "ok",
}
NEW = "6.1.0-25-amd64"


def node(sums: Mapping[str, str] = WATCH_SUMS, kernel: str = NEW, modes: str = "", **unit: str) -> Facts:
    """A healthy node with a watch of these sums."""
    files = {PATHS[name]: File(digest, modes or MODES[name]) for name, digest in sums.items()}
    watch = WatchUnit(RUNS | unit if sums else {})
    return replace(HEALTHY, files={**HEALTHY.files, **files}, watch=watch, kernel=kernel)


@pytest.mark.parametrize(
    ("there", "expected", "stages"),
    [
        (node(), (), False),
        (node({}), ("the watch is missing",), True),
        (node(WATCH_SUMS | {WATCH: "6" * 64}), ("the watch differs",), True),
        (node({WATCH: WATCH_SUMS[WATCH]}), ("the watch differs",), True),
        (node(UnitFileState="disabled"), ("the watch does not start with kube-nginx",), False),
        (node(ActiveState="failed", SubState="failed"), ("the watch is failed (failed)",), False),
        (node(ActiveState="activating", SubState="start"), (), False),
        (
            node(ActiveState="activating", SubState="auto-restart"),
            ("the watch is activating (auto-restart)",),
            False,
        ),
        (node(NeedDaemonReload="yes"), ("systemd has not read the watch's unit as it is now",), False),
        (
            node({WATCH: WATCH_SUMS[WATCH], WATCH_UNIT: WATCH_SUMS[WATCH_UNIT]}, modes="644"),
            ("kube-nginx-watch has mode 644 and owner 0, not 755 and 0",),
            False,
        ),
    ],
)
def test_what_a_node_lacks_of_it(there: Facts, expected: tuple[str, ...], stages: bool) -> None:
    """None of it touches nginx."""
    made = plan(SUMS, there, PROXY, watch=WATCH_SUMS)
    action = Action.MODE if expected else Action.NOTHING
    assert (made.action, made.why, made.stages) == (action, expected, stages)
    assert made.watch is (True if expected else None)


def test_one_that_is_to_go() -> None:
    made = plan(SUMS, node(), PROXY)
    assert (made.action, made.why, made.watch) == (Action.MODE, ("the watch is not to be there",), False)
    assert plan(SUMS, node({}), PROXY).watch is None


def test_it_is_not_missed_while_the_service_is_stopped() -> None:
    stopped = replace(
        node(ActiveState="inactive", SubState="dead"), unit={**HEALTHY.unit, "ActiveState": "inactive"}
    )
    assert needs.reasons(WATCH_SUMS, stopped, PROXY) == []


def test_it_comes_with_a_first_install() -> None:
    made = plan(SUMS, Facts(), PROXY, watch=WATCH_SUMS)
    assert (made.action, made.watch, made.first) == (Action.INSTALL, True, True)


@pytest.mark.parametrize(
    ("kernel", "user", "why"),
    [
        (NEW, "kube-nginx", ""),
        ("4.5.0", "kube-nginx", ""),
        ("", "kube-nginx", ""),
        ("4.4.0-210-generic", "kube-nginx", "Linux 4.4.0-210-generic closes no sessions of others"),
        ("3.10.0-1160.el7.x86_64", "kube-nginx", "Linux 3.10.0-1160.el7.x86_64 closes no sessions of others"),
        (NEW, "", "kube-nginx has no user of its own"),
    ],
)
def test_where_it_is_not_possible(kernel: str, user: str, why: str) -> None:
    proxy = replace(PROXY, user=user)
    found = needs.impossible(Facts(kernel=kernel), proxy)
    assert found.startswith(why)
    assert bool(found) is bool(why)
    assert needs.wanted(Facts(kernel=kernel), proxy, Watch()) is not bool(why)
    assert not needs.wanted(Facts(kernel=kernel), proxy, Watch(enabled=False))


def test_an_old_systemd_beside_a_new_kernel() -> None:
    """219 would run it as root, and stop it at its first call; 237 would stop it, too."""
    unit = {name: value for name, value in HEALTHY.unit.items() if name != "PrivateMounts"}
    why = needs.impossible(replace(node({}), unit=unit), PROXY)
    assert why.startswith("its systemd is older than 239")


def chosen(profile: str = "recommended", **watch: Any) -> Settings:
    return settings.parse(with_keys(profile=profile) | ({"watch": watch} if watch else {}), FILE)


def test_the_profiles() -> None:
    assert chosen().watch.enabled
    assert not chosen("runbook").watch.enabled
    assert not chosen(enabled=False).watch.enabled


HUNG = "no answer to a TLS hello"
SILENT = "silent 198.18.0.2:6443, and not ejected: no other answers"


@pytest.mark.parametrize(
    ("there", "state", "told"),
    [
        (node(), WatchState.OK, "ok"),
        (node({}), WatchState.OFF, "off"),
        (node({}, kernel="4.4.0"), WatchState.NOT_POSSIBLE, "not possible"),
        (node(StatusText="not possible here: no INET_DIAG_DESTROY"), WatchState.NOT_POSSIBLE, "not possible"),
        (node(StatusText=SILENT), WatchState.SILENT, "silent"),
        (node(ActiveState="failed", SubState="failed"), WatchState.NOT_RUNNING, "not running"),
        (
            node(StatusText=f"ejected 198.18.0.2:6443 for 34 s ({HUNG})"),
            WatchState.EJECTED,
            "ejected 198.18.0.2:6443 for 34 s",
        ),
    ],
)
def test_what_is_told_of_it(there: Facts, state: WatchState, told: str) -> None:
    seen = watch_of(there, chosen())
    assert (seen.state, str(seen)) == (state, told)


def test_two_that_are_ejected() -> None:
    text = f"ejected 198.18.0.2:6443 for 34 s ({HUNG}), [2001:2::3]:6443 for 3 s (no answer, to a connection)"
    seen = watch_of(node(StatusText=text), chosen())
    assert seen.ejected == (
        Ejection("198.18.0.2:6443", 34, HUNG),
        Ejection("[2001:2::3]:6443", 3, "no answer, to a connection"),
    )
    assert as_json(seen)["ejected"][0] == {"apiserver": "198.18.0.2:6443", "seconds": 34, "why": HUNG}


def test_a_number_of_any_length_is_text_from_a_node() -> None:
    there = node(StatusText=f"ejected 198.18.0.2:6443 for {'9' * 5000} s, 198.18.0.3:6443 for 3 s")
    assert [of.apiserver for of in watch_of(there, chosen()).ejected] == ["198.18.0.3:6443"]


def test_what_it_said_before_it_ended_is_not_believed() -> None:
    there = node(ActiveState="inactive", SubState="dead", StatusText="ejected 198.18.0.2:6443 for 34 s")
    assert watch_of(there, chosen()) == WatchSeen(WatchState.NOT_RUNNING, "inactive (dead)")


def test_a_survey_brings_it() -> None:
    found = facts(
        "kn.kernel=6.1.0\nkn.watch.LoadState=loaded\nkn.watch.ActiveState=active\nkn.watch.StatusText=ok"
    )
    assert (found.kernel, found.watch.status, found.watch.there) == ("6.1.0", "ok", True)
    assert not facts("").watch.there


def test_its_places() -> None:
    assert watch_paths(Proxy()) == {
        WATCH: "/opt/k8s/kube-nginx/sbin/kube-nginx-watch",
        WATCH_UNIT: "/etc/systemd/system/kube-nginx-watch.service",
    }
