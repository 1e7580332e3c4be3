"""What is done to a node, for each way in which it can differ from what it is to be."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.config.address import Endpoint
from tasks.core.config.model import Proxy
from tasks.core.facts.facts import Facts, File, Folder, Holder, Process
from tasks.core.facts.layout import folders
from tasks.core.facts.paths import UNIT_PATH
from tasks.core.release.release import BINARY, CONF, MODES, NAMES, UNIT, name_of, paths
from tasks.core.rollout.diff import diffs
from tasks.core.rollout.plan import RESULTS, Action, Plan, plan, returning

from .strategies import thorough

PROXY = Proxy()
(LISTEN,) = PROXY.listen
PATHS = paths(PROXY)
SUMS = {BINARY: "new binary", CONF: "new conf", UNIT: "new unit"}
CHANGED, STARTED = 100.0, 200.0
USER_ID = "998"
FOLDERS = folders(PROXY, USER_ID)
LOGS = f"{PROXY.prefix}/logs"
WITH_PID_FILE, WITHOUT = "[Service]\nPIDFile=/x/nginx.pid\n", "[Service]\nType=forking\n"

PROCESS = Process(
    pid=7,
    executable=PATHS[BINARY],
    sha256=SUMS[BINARY],
    version="1.30.6",
    started=STARTED,
    identity="boot:7:1",
    workers={8: STARTED},
    worker_identities=frozenset({"8:1"}),
    owner=USER_ID,
)
HEALTHY = Facts(
    user_id=USER_ID,
    directories={path: Folder(owner, "755") for path, owner in FOLDERS.items()},
    files={PATHS[name]: File(SUMS[name], MODES[name], changed=CHANGED) for name in NAMES},
    texts={UNIT_PATH: WITH_PID_FILE, PATHS[CONF]: "conf\n"},
    releases={"current": name_of(SUMS), "previous": "r0"},
    kept={"current": SUMS, "previous": SUMS},
    recorded={
        "main": PROCESS.identity,
        "conf": SUMS[CONF],
        "unit": SUMS[UNIT],
        "changed": str(CHANGED),
        "workers": "8:1",
    },
    unit={
        "LoadState": "loaded",
        "UnitFileState": "enabled",
        "ActiveState": "active",
        "SubState": "running",
        "PrivateMounts": "no",
    },
    process=PROCESS,
    listening={LISTEN: None},
)

Changes = dict[str, Any]


def file(name: str, **changes: Any) -> Changes:
    """That file otherwise than it is to be."""
    return {"files": {**HEALTHY.files, PATHS[name]: replace(HEALTHY.files[PATHS[name]], **changes)}}


def folder(path: str, **changes: str) -> Changes:
    """That folder otherwise than it is to be."""
    return {"directories": {**HEALTHY.directories, path: replace(HEALTHY.directories[path], **changes)}}


def without_folder(path: str) -> Changes:
    return {"directories": {there: found for there, found in HEALTHY.directories.items() if there != path}}


def missing(*names: str) -> Changes:
    return {"files": {PATHS[name]: HEALTHY.files[PATHS[name]] for name in NAMES if name not in names}}


def unit(**changes: str) -> Changes:
    return {"unit": {**HEALTHY.unit, **changes}}


def process(**changes: Any) -> Changes:
    return {"process": replace(PROCESS, **changes)}


def reloaded_by_hand(at: float) -> Changes:
    """Workers that are not those of the record."""
    return process(workers={9: at}, worker_identities=frozenset({"9:2"}))


def gone(active: str, sub: str) -> Changes:
    """A service that does not run."""
    return {**unit(ActiveState=active, SubState=sub), "process": None, "listening": {}}


def held(executable: str, unit: str = "") -> Changes:
    return {"listening": {LISTEN: Holder(77, unit, executable, "name")}}


def made(changes: Changes, force: bool = False) -> Plan:
    return plan(SUMS, replace(HEALTHY, **changes), PROXY, force)


UNRECORDED: Changes = {"recorded": {}}
NO_PID_FILE: Changes = {"texts": {UNIT_PATH: WITHOUT}}
UNSEEN = "(without PIDFile in the unit systemd would lose its main process)"
NOT_TAKEN = "it has not taken the configuration that is on disk"
OLD_UNIT = "it was started before the unit was changed"
UNREAD = "systemd has not read the unit as it is now"
NOT_KEPT = "its release is not kept there"
DETACHED = "(the service cannot write to logs, which was removed under it)"


def test_nothing_to_do() -> None:
    assert made({}) == Plan(Action.NOTHING, (), ())


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param(UNRECORDED, id="by the times"),
        pytest.param({"recorded": {"main": "another"}}, id="a record of another process"),
        pytest.param(file(CONF, changed=STARTED + 9), id="touched, and recorded as taken"),
        pytest.param(file(UNIT, changed=STARTED + 9), id="the unit touched, and recorded as taken"),
        pytest.param(reloaded_by_hand(STARTED + 9), id="reloaded, and the file is the recorded one"),
        pytest.param(process(owner=""), id="a user that cannot be seen"),
        pytest.param(process(detached=True), id="a view of logs of its own, and nothing to write there"),
        pytest.param(NO_PID_FILE, id="no PIDFile, and none needed"),
        pytest.param(process(executable=f"{PATHS[BINARY]} (deleted)"), id="replaced by the same"),
        pytest.param(unit(NeedDaemonReload="no"), id="NeedDaemonReload=no"),
        pytest.param(unit(DropInPaths="/etc/x.conf"), id="a drop-in that systemd knows"),
    ],
)
def test_still_nothing_to_do(changes: Changes) -> None:
    assert made(changes) == Plan(Action.NOTHING, (), ())


def test_nothing_there() -> None:
    why = ("nothing of it is there",)
    assert plan(SUMS, Facts(), PROXY) == Plan(Action.INSTALL, why, NAMES, stages=True, first=True)


def test_nothing_there_but_a_stray() -> None:
    found = plan(SUMS, Facts(**held(PATHS[BINARY])), PROXY, force=True)
    assert found == Plan(Action.INSTALL, ("nothing of it is there",), NAMES, unmanaged=(77,), stages=True)


@pytest.mark.parametrize(
    ("facts", "first"),
    [
        (Facts(), True),
        (replace(Facts(), releases={"current": "r0"}), True),  # one that did not come up, and was stopped
        (replace(Facts(), listening={LISTEN: Holder(77, "", PATHS[BINARY], "nginx")}), False),
        (replace(Facts(), process=PROCESS), False),
        (replace(HEALTHY, **gone("inactive", "dead")), False),
        (replace(HEALTHY, **gone("failed", "failed")), False),
        (replace(HEALTHY, **(missing(*NAMES) | gone("inactive", "dead"))), False),  # its unit is elsewhere
        (replace(HEALTHY, **(missing(*NAMES) | gone("", "") | unit(LoadState="not-found"))), True),
        *((replace(HEALTHY, **(missing(name) | gone("inactive", "dead"))), False) for name in NAMES),
    ],
)
def test_a_node_that_has_had_nothing_yet(facts: Facts, first: bool) -> None:
    assert plan(SUMS, facts, PROXY).first is first


@pytest.mark.parametrize(
    ("changes", "action", "why", "files"),
    [
        (file(CONF, sha256="old"), Action.RELOAD, "the configuration differs", (CONF,)),
        (file(CONF, sha256="old", mode="600"), Action.RELOAD, "the configuration differs", (CONF,)),
        (file(CONF, mode="600"), Action.MODE, "kube-nginx.conf has mode 600, not 644", ()),
        (file(CONF, owner="1000"), Action.MODE, "kube-nginx.conf has owner 1000, not 0", ()),
        (missing(CONF), Action.RELOAD, "the configuration differs", (CONF,)),
        (file(BINARY, sha256="old"), Action.UPGRADE, "the binary differs", (BINARY,)),
        (file(BINARY, mode="644"), Action.MODE, "kube-nginx has mode 644, not 755", ()),
        (missing(BINARY), Action.UPGRADE, "the binary differs", (BINARY,)),
        (
            {**file(BINARY, sha256="old"), **NO_PID_FILE},
            Action.RESTART,
            f"the binary differs {UNSEEN}",
            (BINARY,),
        ),
        (process(sha256="old"), Action.UPGRADE, "it runs another binary than the one on disk", ()),
        (
            {**process(sha256="old"), **NO_PID_FILE},
            Action.RESTART,
            f"it runs another binary than the one on disk {UNSEEN}",
            (),
        ),
        (
            process(sha256="old", detached=True),
            Action.RESTART,
            f"it runs another binary than the one on disk {DETACHED}",
            (),
        ),
        (
            {**file(BINARY, sha256="old"), **process(detached=True)},
            Action.RESTART,
            f"the binary differs {DETACHED}",
            (BINARY,),
        ),
        (process(owner="997"), Action.RESTART, "it runs as user 997, and kube-nginx is 998", ()),
        (process(owner="0"), Action.RESTART, "it runs as user 0, and kube-nginx is 998", ()),
        (process(executable="/usr/sbin/nginx"), Action.RESTART, "it runs /usr/sbin/nginx", ()),
        # another program has its pid file and its logs elsewhere
        (process(executable="/usr/sbin/nginx", named=False), Action.RESTART, "it runs /usr/sbin/nginx", ()),
        (file(UNIT, sha256="old"), Action.RESTART, "the unit differs", (UNIT,)),
        ({**file(UNIT, sha256="old"), **process(owner="997")}, Action.RESTART, "the unit differs", (UNIT,)),
        (
            {**file(UNIT, sha256="old"), **unit(NeedDaemonReload="yes")},
            Action.RESTART,
            "the unit differs",
            (UNIT,),
        ),
        (file(UNIT, mode="755"), Action.MODE, "kube-nginx.service has mode 755, not 644", ()),
        (missing(UNIT), Action.RESTART, "the unit differs", (UNIT,)),
        (unit(NeedDaemonReload="yes"), Action.MODE, UNREAD, ()),
        (unit(NeedDaemonReload="yes", DropInPaths="/etc/x.conf"), Action.MODE, UNREAD, ()),
        (unit(LoadState="not-found"), Action.MODE, UNREAD, ()),
        (unit(LoadState="error"), Action.MODE, UNREAD, ()),
        ({**file(UNIT, changed=STARTED + 9), **UNRECORDED}, Action.RESTART, OLD_UNIT, ()),
        ({**file(CONF, changed=STARTED + 9), **UNRECORDED}, Action.RELOAD, NOT_TAKEN, ()),
        ({**file(CONF, changed=STARTED + 9), **reloaded_by_hand(STARTED + 5)}, Action.RELOAD, NOT_TAKEN, ()),
        (process(workers={}, worker_identities=frozenset()), Action.RELOAD, "it has no worker process", ()),
        (process(beside=(9,)), Action.RELOAD, "another process of it accepts connections, too (PID 9)", ()),
        (process(stopped=(8,)), Action.RELOAD, "a process of it is stopped (PID 8)", ()),
        (process(named=False), Action.MODE, "nginx.pid does not name its main process", ()),
        ({"user_id": ""}, Action.MODE, "the user kube-nginx is missing", ()),
        *((without_folder(path), Action.MODE, f"{path} is missing", ()) for path in FOLDERS),
        ({"directories": {}}, Action.MODE, f"{PROXY.prefix} is missing", ()),
        *((folder(path, mode="700"), Action.MODE, f"{path} has mode 700, not 755", ()) for path in FOLDERS),
        *(
            (folder(path, owner="1000"), Action.MODE, f"{path} belongs to 1000, not to {owner}", ())
            for path, owner in FOLDERS.items()
        ),
        (gone("inactive", "dead"), Action.RESTART, "the service is inactive (dead)", ()),
        (gone("failed", "failed"), Action.RESTART, "the service is failed (failed)", ()),
        (gone("activating", "auto-restart"), Action.RESTART, "the service is activating (auto-restart)", ()),
        (unit(UnitFileState="disabled"), Action.ENABLE, "it does not start at boot", ()),
        ({"listening": {}}, Action.RESTART, "it does not have its listen address", ()),
        (
            {"listening": {replace(LISTEN, port=9): None}},
            Action.RESTART,
            "it does not have its listen address",
            (),
        ),
    ],
)
def test_one_deviation(changes: Changes, action: str, why: str, files: tuple[str, ...]) -> None:
    found = made(changes)
    assert (found.action, found.why, found.files, found.unmanaged) == (action, (why,), files, ())
    assert found.stages == bool(files)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"kept": {}, "releases": {}}, id="put there by hand"),
        pytest.param({"releases": {"current": "r1"}}, id="current names another"),
        pytest.param({"kept": {"current": {**SUMS, CONF: "damaged"}}}, id="a kept file is damaged"),
        pytest.param({"kept": {"current": {BINARY: SUMS[BINARY]}}}, id="kept files are missing"),
    ],
)
def test_a_release_that_is_not_kept_is_brought_again(changes: Changes) -> None:
    assert made(changes) == Plan(Action.MODE, (NOT_KEPT,), (), stages=True)
    # of what is brought anyway nothing is said
    found = made({**changes, **file(CONF, sha256="old")})
    assert (found.action, found.why, found.stages) == (Action.RELOAD, ("the configuration differs",), True)


def test_all_that_is_not_right_around_the_files_is_told() -> None:
    changes = {**folder(LOGS, owner="0"), **file(CONF, mode="600"), **unit(NeedDaemonReload="yes")}
    assert made({**changes, **process(named=False), "kept": {}, "user_id": USER_ID}) == Plan(
        Action.MODE,
        (
            f"{LOGS} belongs to 0, not to {USER_ID}",
            "kube-nginx.conf has mode 600, not 644",
            "nginx.pid does not name its main process",
            UNREAD,
            NOT_KEPT,
        ),
        (),
        stages=True,
    )


def test_a_service_that_runs_as_root() -> None:
    root = replace(PROXY, user="")
    changes = {"user_id": "", **folder(LOGS, owner="0"), **process(owner="0")}
    assert plan(SUMS, replace(HEALTHY, **changes), root) == Plan(Action.NOTHING, (), ())
    of_another = replace(HEALTHY, **{**changes, **folder(LOGS, owner="998")})
    assert plan(SUMS, of_another, root) == Plan(Action.MODE, (f"{LOGS} belongs to 998, not to 0",), ())
    as_another = replace(HEALTHY, **{**changes, **process(owner="998")})
    assert plan(SUMS, as_another, root) == Plan(Action.RESTART, ("it runs as user 998, and root is 0",), ())


def test_a_service_that_does_not_serve_is_restarted() -> None:
    silent = "no apiserver answers through 127.0.0.1:8443"
    assert plan(SUMS, HEALTHY, PROXY, silent=silent) == Plan(Action.RESTART, (silent,), ())
    facts = replace(HEALTHY, **unit(UnitFileState="disabled"))
    assert plan(SUMS, facts, PROXY, silent=silent).why == (silent, "it does not start at boot")


def test_each_process_that_should_not_be_there_is_told() -> None:
    changes = process(beside=(9, 10), stopped=(7, 8), workers={}, worker_identities=frozenset())
    assert made(changes) == Plan(
        Action.RELOAD,
        (
            "it has no worker process",
            "another process of it accepts connections, too (PID 9)",
            "another process of it accepts connections, too (PID 10)",
            "a process of it is stopped (PID 7)",
            "a process of it is stopped (PID 8)",
        ),
        (),
    )


def test_a_prefix_that_was_removed_under_it() -> None:
    """A hot upgrade would fail: what the service sees of logs went with it."""
    changes = {**missing(BINARY, CONF), "directories": {}, "releases": {}, "kept": {}, "recorded": {}}
    found = made({**changes, **process(executable=f"{PATHS[BINARY]} (deleted)", detached=True, named=False)})
    assert (found.action, found.files, found.stages) == (Action.RESTART, (BINARY, CONF), True)
    assert found.why[:2] == (f"the binary differs {DETACHED}", "the configuration differs")
    # of what was in it nothing is said, since it is told with it
    assert found.why[2:] == (f"{PROXY.prefix} is missing",)


@pytest.mark.parametrize(
    ("runs", "version", "why"),
    [
        ("1.26.3", "1.30.6", "nginx 1.26.3 becomes 1.30.6"),
        ("1.30.6", "1.26.3", "nginx 1.30.6 becomes 1.26.3"),
        ("1.30.6", "1.30.6", "the binary differs"),
        ("", "1.30.6", "the binary differs"),
        ("1.26.3", "", "the binary differs"),
    ],
)
def test_which_version_becomes_which(runs: str, version: str, why: str) -> None:
    facts = replace(HEALTHY, **file(BINARY, sha256="old"), **process(sha256="old", version=runs))
    made = plan(SUMS, facts, PROXY, version=version)
    assert (made.action, made.why, made.files) == (Action.UPGRADE, (why,), (BINARY,))
    without = plan(SUMS, replace(facts, **NO_PID_FILE), PROXY, version=version)
    assert (without.action, without.why) == (Action.RESTART, (f"{why} {UNSEEN}",))


def test_force() -> None:
    assert made({}, force=True) == Plan(Action.RESTART, ("--force",), ())


def test_a_main_process_that_cannot_be_seen() -> None:
    found = made({"process": None})
    assert found == Plan(Action.RESTART, (OLD_UNIT, "its main process cannot be seen", NOT_TAKEN), ())


def test_one_of_two_listen_addresses_is_missing() -> None:
    two = replace(PROXY, listen=(LISTEN, Endpoint("::1", 8443)))
    assert plan(SUMS, HEALTHY, two) == Plan(Action.RESTART, ("it does not have its listen address",), ())


@pytest.mark.parametrize(
    ("has", "wanted", "why"),
    [
        ("127.0.0.1", "0.0.0.0", ["it cannot listen on 0.0.0.0:8443 while it has 127.0.0.1:8443"]),
        ("0.0.0.0", "127.0.0.1", ["it cannot listen on 127.0.0.1:8443 while it has 0.0.0.0:8443"]),
        ("::1", "::", ["it cannot listen on [::]:8443 while it has [::1]:8443"]),
        # nginx's own [::] leaves IPv4 alone
        ("127.0.0.1", "::", []),
        ("::", "127.0.0.1", []),
        ("127.0.0.1", "127.0.0.2", []),
    ],
)
def test_what_the_kernel_does_not_give_out_at_once(has: str, wanted: str, why: list[str]) -> None:
    facts = replace(HEALTHY, **file(CONF, sha256="old"), listening={Endpoint(has, 8443): None})
    found = plan(SUMS, facts, replace(PROXY, listen=(Endpoint(wanted, 8443),)))
    assert (found.action, found.why) == (
        Action.RESTART if why else Action.RELOAD,
        (*why, "the configuration differs"),
    )
    other = plan(SUMS, facts, replace(PROXY, listen=(Endpoint(wanted, 9443),)))
    assert other.action == Action.RELOAD


def test_listen_addresses_are_not_missed_before_the_configuration_was_taken() -> None:
    changes = {**file(CONF, changed=STARTED + 9), **UNRECORDED, "listening": {}}
    assert made(changes) == Plan(Action.RELOAD, (NOT_TAKEN,), ())
    assert made({**file(CONF, sha256="old"), "listening": {}}).why == ("the configuration differs",)


@pytest.mark.parametrize("executable", [PATHS[BINARY], f"{PATHS[BINARY]}?(deleted)"])
def test_a_stray_worker_has_the_port(executable: str) -> None:
    found = made({**gone("activating", "auto-restart"), **held(executable)})
    assert found == Plan(
        Action.RESTART,
        (
            "the service is activating (auto-restart)",
            "a kube-nginx outside of the unit has the port (PID 77)",
        ),
        (),
        unmanaged=(77,),
    )


def test_a_stray_that_has_two_ports_is_one() -> None:
    other = Endpoint("::1", 8443)
    holder = Holder(77, "", PATHS[BINARY], "kube-nginx")
    facts = replace(HEALTHY, listening={LISTEN: holder, other: holder})
    assert plan(SUMS, facts, replace(PROXY, listen=(LISTEN, other))).unmanaged == (77,)


@pytest.mark.parametrize("executable", ["/usr/sbin/nginx", f"{PATHS[BINARY]}-2", "-"])
def test_somebody_else_has_the_port(executable: str) -> None:
    """Nobody else is ended; whether it can work all the same is for `preflight` to say."""
    found = made({**gone("activating", "auto-restart"), **held(executable, "other.service")})
    assert found == Plan(Action.RESTART, ("the service is activating (auto-restart)",), ())


DEVIATIONS: dict[str, tuple[Changes, str]] = {
    "the user kube-nginx is missing": ({"user_id": ""}, Action.MODE),
    "it does not start at boot": ({"UnitFileState": "disabled"}, Action.ENABLE),
    "the configuration differs": ({CONF: "old"}, Action.RELOAD),
    "the binary differs": ({BINARY: "old"}, Action.UPGRADE),
    "the unit differs": ({UNIT: "old"}, Action.RESTART),
    "it runs /elsewhere": ({"executable": "/elsewhere"}, Action.RESTART),
}


@pytest.mark.parametrize(
    "reasons",
    [pair for size in range(2, len(DEVIATIONS) + 1) for pair in combinations(DEVIATIONS, size)],
    ids=" and ".join,
)
def test_the_strongest_of_several_is_done_and_each_is_told(reasons: tuple[str, ...]) -> None:
    found: Changes = {}
    for reason in reasons:
        found |= DEVIATIONS[reason][0]
    files = {
        PATHS[name]: replace(HEALTHY.files[PATHS[name]], sha256=found.get(name, SUMS[name])) for name in NAMES
    }
    states = unit(UnitFileState=found.get("UnitFileState", "enabled"))
    there = process(executable=found.get("executable", PROCESS.executable))
    done = made({"files": files, **states, **there, "user_id": found.get("user_id", USER_ID)})
    assert done.action == max((Action(DEVIATIONS[reason][1]) for reason in reasons), key=[*Action].index)
    assert set(done.why) == set(reasons)
    assert done.files == tuple(name for name in NAMES if name in found)


def test_without_pid_file_several_make_one_restart() -> None:
    facts = replace(HEALTHY, files=missing(CONF, BINARY)["files"], **NO_PID_FILE)
    found = plan(SUMS, facts, PROXY)
    assert (found.action, found.why) == (
        Action.RESTART,
        (f"the binary differs {UNSEEN}", "the configuration differs"),
    )


class TestEdited:
    """Files that somebody has changed on the node since they were put there."""

    def edited(self, there: dict[str, str], kept: dict[str, str]) -> tuple[str, ...]:
        files = {PATHS[name]: File(there[name], MODES[name], changed=CHANGED) for name in there}
        return made({"files": files, "kept": {"current": kept}}).edited

    @pytest.mark.parametrize("name", NAMES)
    def test_one(self, name: str) -> None:
        assert self.edited({**SUMS, name: "edited"}, SUMS) == (name,)

    def test_two(self) -> None:
        assert self.edited({**SUMS, CONF: "edited", UNIT: "edited"}, {**SUMS, BINARY: "?"}) == NAMES

    def test_one_that_is_to_be_replaced_and_was_not_touched(self) -> None:
        assert self.edited({**SUMS, CONF: "old"}, {**SUMS, CONF: "old"}) == ()

    def test_another_one_than_is_to_be_replaced(self) -> None:
        assert self.edited({**SUMS, CONF: "old"}, {**SUMS, CONF: "old", UNIT: "older"}) == (UNIT,)

    def test_one_that_is_as_it_is_to_be_all_the_same(self) -> None:
        assert self.edited(SUMS, {**SUMS, CONF: "old"}) == ()

    def test_one_that_was_removed(self) -> None:
        assert self.edited({BINARY: SUMS[BINARY], UNIT: SUMS[UNIT]}, SUMS) == ()

    def test_without_a_release_nobody_can_tell(self) -> None:
        assert self.edited({**SUMS, CONF: "edited"}, {}) == ()


class TestDiffs:
    """What `fab diff` shows."""

    def test_what_is_the_same_is_not_there(self) -> None:
        assert diffs({CONF: "conf\n", UNIT: WITH_PID_FILE}, HEALTHY, PROXY) == {}

    def test_what_differs(self) -> None:
        assert diffs({CONF: "conf\n", UNIT: "[Service]\nPIDFile=/y\n"}, HEALTHY, PROXY) == {
            UNIT: (
                f"--- {UNIT_PATH} (on the node)\n+++ {UNIT_PATH} (from hosts.toml)\n@@ -1,2 +1,2 @@\n"
                " [Service]\n-PIDFile=/x/nginx.pid\n+PIDFile=/y\n"
            )
        }

    def test_what_is_not_there_yet(self) -> None:
        assert diffs({CONF: "a\n"}, Facts(), PROXY) == {
            CONF: f"--- /dev/null\n+++ {PATHS[CONF]} (from hosts.toml)\n@@ -0,0 +1 @@\n+a\n"
        }

    def test_two_lines_around_a_change_are_shown(self) -> None:
        before = "".join(f"{number}\n" for number in range(9))
        facts = Facts(texts={PATHS[CONF]: before})
        (text,) = diffs({CONF: before.replace("4", "four")}, facts, PROXY).values()
        assert text.splitlines()[2:] == ["@@ -3,5 +3,5 @@", " 2", " 3", "-4", "+four", " 5", " 6"]


@pytest.mark.parametrize(
    ("kept", "changes", "action"),
    [
        ({CONF: "older"}, {}, Action.RELOAD),
        ({}, {}, Action.RELOAD),
        ({BINARY: "older"}, {}, Action.UPGRADE),
        ({BINARY: "older", CONF: "older"}, {}, Action.UPGRADE),
        ({BINARY: "older"}, NO_PID_FILE, Action.RESTART),
        ({CONF: "older"}, NO_PID_FILE, Action.RELOAD),
        ({UNIT: "older"}, {}, Action.RESTART),
        ({UNIT: "older", BINARY: "older", CONF: "older"}, {}, Action.RESTART),
        ({CONF: "older"}, gone("inactive", "dead"), Action.RESTART),
        ({CONF: "older"}, missing(UNIT), Action.RESTART),
        # what runs is not what is on disk: a reload would not bring it
        ({}, process(sha256="older"), Action.UPGRADE),
        ({BINARY: "older"}, process(sha256="older"), Action.UPGRADE),
        ({CONF: "older"}, {**process(sha256="older"), **NO_PID_FILE}, Action.RESTART),
        ({BINARY: "older"}, {**file(BINARY, sha256="older"), **process(sha256="older")}, Action.RELOAD),
        ({BINARY: "older"}, file(BINARY, sha256="older"), Action.UPGRADE),
        ({}, {"process": None}, Action.UPGRADE),
        # its view of logs is gone
        ({BINARY: "older"}, process(detached=True), Action.RESTART),
        ({CONF: "older"}, process(detached=True), Action.RELOAD),
    ],
)
def test_the_way_back(kept: dict[str, str], changes: Changes, action: str) -> None:
    facts = replace(HEALTHY, **changes, kept={"current": {}, "previous": {**SUMS, **kept}})
    assert returning(facts, PROXY) == action


def test_every_action_has_a_result() -> None:
    assert [*RESULTS, Action.STOP] == [*Action]
    assert made({}).result == "unchanged"
    assert made(file(CONF, mode="600")).result == "corrected"
    assert made(file(CONF, sha256="old")).result == "reloaded"


SHA = st.sampled_from([*SUMS.values(), "old", ""])
TIMES = st.sampled_from([0.0, CHANGED, STARTED])
BY_NAME = st.dictionaries(st.sampled_from(NAMES), SHA)
HOLDERS = st.builds(
    Holder, st.integers(0, 99), st.just(""), st.sampled_from([PATHS[BINARY], "/x", "-"]), st.just("x")
)
FACTS = st.builds(
    Facts,
    files=st.dictionaries(
        st.sampled_from(list(PATHS.values())),
        st.builds(File, SHA, st.sampled_from(["755", "644"]), st.sampled_from(["0", "1"]), TIMES),
    ),
    texts=st.sampled_from([{}, {UNIT_PATH: WITHOUT}, {UNIT_PATH: WITH_PID_FILE}]),
    user_id=st.sampled_from(["", USER_ID]),
    directories=st.dictionaries(
        st.sampled_from(list(FOLDERS)),
        st.builds(Folder, st.sampled_from(["0", USER_ID]), st.sampled_from(["755", "700"])),
    ),
    releases=st.dictionaries(
        st.sampled_from(["current", "previous"]), st.sampled_from([name_of(SUMS), "r0"])
    ),
    kept=st.dictionaries(st.sampled_from(["current", "previous"]), BY_NAME),
    recorded=st.dictionaries(
        st.sampled_from(["main", "conf", "unit", "workers"]), SHA | st.sampled_from([PROCESS.identity, "8:1"])
    ),
    unit=st.fixed_dictionaries(
        {},
        optional={
            "LoadState": st.sampled_from(["loaded", "not-found", "masked"]),
            "UnitFileState": st.sampled_from(["enabled", "disabled", ""]),
            "ActiveState": st.sampled_from(["active", "inactive", "failed"]),
            "SubState": st.sampled_from(["running", "dead"]),
            "NeedDaemonReload": st.sampled_from(["yes", "no"]),
            "DropInPaths": st.sampled_from(["", "/etc/x.conf"]),
        },
    ),
    process=st.none()
    | st.builds(
        Process,
        pid=st.just(7),
        executable=st.sampled_from([PATHS[BINARY], f"{PATHS[BINARY]} (deleted)", "/x", ""]),
        sha256=SHA,
        version=st.just(""),
        started=TIMES,
        identity=st.just(PROCESS.identity),
        workers=st.dictionaries(st.integers(8, 9), TIMES),
        worker_identities=st.frozensets(st.sampled_from(["8:1", "9:2"])),
        owner=st.sampled_from(["", "0", USER_ID]),
        beside=st.sampled_from([(), (9,), (9, 10)]),
        stopped=st.sampled_from([(), (7,)]),
        named=st.booleans(),
        detached=st.booleans(),
    ),
    listening=st.dictionaries(
        st.sampled_from([LISTEN, Endpoint("0.0.0.0", LISTEN.port)]), st.none() | HOLDERS
    ),
)


@thorough
@given(FACTS | st.just(HEALTHY), st.booleans())
def test_whatever_a_survey_saw(facts: Facts, force: bool) -> None:
    found = plan(SUMS, facts, PROXY, force)
    assert found.action in list(Action)
    assert (found.action == Action.NOTHING) == (found.why == ())
    assert len(set(found.why)) == len(found.why)
    if found.action in (Action.NOTHING, Action.MODE, Action.ENABLE):
        assert found.files == ()
    assert found.stages or not found.files
    if found.action == Action.NOTHING:
        assert not found.stages
    if found.unmanaged or force or not facts.active:
        assert found.action in (Action.RESTART, Action.INSTALL)
    if not found.files:
        assert found.edited == ()
    assert set(found.edited) <= {name for name, path in PATHS.items() if path in facts.files}
