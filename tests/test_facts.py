"""What is read out of a survey, and what the survey's script sees on this very machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import ip_address
from itertools import product
from pathlib import Path
from stat import S_IMODE
from time import monotonic, sleep, time
from typing import ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.config.address import Endpoint
from tasks.core.config.model import Proxy
from tasks.core.facts import sockets
from tasks.core.facts.facts import Facts, File, Folder, Holder, Process
from tasks.core.facts.paths import binary_path, conf_path
from tasks.core.facts.tools import needed
from tasks.core.scripts.survey import Survey
from tasks.core.shell.command import with_defaults

from .scripts import facts as parse
from .strategies import thorough

LISTEN = Endpoint("127.0.0.1", 8443)
BINARY = "/opt/k8s/kube-nginx/sbin/kube-nginx"
CONF = "/opt/k8s/kube-nginx/conf/kube-nginx.conf"
NAME = "kube-nginx.service"
UNIT = "/etc/systemd/system/kube-nginx.service"
LOGS = "/opt/k8s/kube-nginx/logs"
SURVEY = """\
Welcome to this machine!
arch=nonsense
kn.arch=x86_64
kn.uid=0
kn.boot=f00d
kn.now=1000160.500000000
kn.uptime=160.5
kn.ticks=100
kn.libc=glibc 2.17
kn.systemd=1
kn.user=998
kn.free=2048
kn.mount.prefix=rw,relatime
kn.mount.unit=ro
kn.journal=none
kn.dir./opt/k8s/kube-nginx/conf=0 755
kn.dir./opt/k8s/kube-nginx/logs=998 2700
kn.instead./opt/k8s/kube-nginx/sbin=no folder
kn.file./opt/k8s/kube-nginx/sbin/kube-nginx=aa11 755 0 1000001.25 1000000.5
kn.unsafe./opt/k8s=belongs to ops and has mode 755
kn.file./etc/systemd/system/kube-nginx.service=bb22 644 998 1000002.5 1000002.5
kn.text./etc/systemd/system/kube-nginx.service=W1VuaXRdCkE9Qj1DCg==
kn.release.current=0123456789
kn.kept.current.kube-nginx=aa11
kn.kept.current.kube-nginx.conf=cc33
kn.release.previous=abcdefabcd
kn.recorded.main=f00d:4711:8000
kn.recorded.conf=cc33
kn.unit.LoadState=loaded
kn.unit.ActiveState=active
kn.unit.SubState=running
kn.unit.UnitFileState=enabled
kn.unit.NRestarts=2
kn.unit.MainPID=4711
kn.unit.ActiveEnterTimestamp=Mon 2024-01-01 10:00:00 UTC
kn.unit.ActiveEnterTimestampMonotonic=100000000
kn.pid=4711
kn.started=8000
kn.owner=998
kn.exe=/opt/k8s/kube-nginx/sbin/kube-nginx (deleted)
kn.running=nginx version: nginx/1.26.3
kn.running_sum=dd44
kn.installed=nginx version: nginx/1.30.6
kn.address.api-1=10.0.0.2 10.0.0.2 10.0.0.1
kn.address.api.example.com=
kn.worker.4712=9050
kn.beside.4699=1
kn.beside.4700=1
kn.stopped.4712=1
kn.pid_file=1
kn.detached=1
kn.listen.0100007F:20FB=ours
kn.listen.00000000000000000000000001000000:20FB=ours
kn.listen.00000000:1F90=77 haproxy.service /usr/sbin/haproxy?(deleted) ha?proxy
kn.listen.0200007F:1F90=78 - /opt/x x
kn.listen.0300007F:1F90=0 - - unknown
kn.end=1000161.250000000
"""


def test_a_running_node() -> None:
    seen = parse(SURVEY)
    assert (seen.arch, seen.uid, seen.user_id, seen.systemd) == ("x86_64", 0, "998", True)
    assert (seen.libc, seen.free) == ("glibc 2.17", 2048 * 1024)
    assert seen.mounts == {"prefix": "rw,relatime", "unit": "ro"}
    assert seen.directories == {
        "/opt/k8s/kube-nginx/conf": Folder("0", "755"),
        LOGS: Folder("998", "700"),
    }
    assert seen.unsafe == {"/opt/k8s": "belongs to ops and has mode 755"}
    assert (seen.instead, seen.journal) == ({"/opt/k8s/kube-nginx/sbin": "no folder"}, "none")
    assert seen.files == {
        BINARY: File("aa11", "755", "0", 1000001.25, 1000000.5),
        UNIT: File("bb22", "644", "998", 1000002.5, 1000002.5),
    }
    assert seen.texts == {UNIT: "[Unit]\nA=B=C\n"}
    assert seen.releases == {"current": "0123456789", "previous": "abcdefabcd"}
    assert seen.kept == {"current": {"kube-nginx": "aa11", "kube-nginx.conf": "cc33"}, "previous": {}}
    assert seen.recorded == {"main": "f00d:4711:8000", "conf": "cc33"}
    assert (seen.active, seen.enabled, seen.masked, seen.state) == (True, True, False, "active (running)")
    assert seen.loaded_unit
    assert seen.active_seconds == pytest.approx(60.5)
    assert seen.restarts == 2
    assert seen.unit["ActiveEnterTimestamp"] == "Mon 2024-01-01 10:00:00 UTC"
    assert (seen.installed, seen.clock, seen.resolver) == ("1.30.6", 0.0, True)
    assert seen.addresses == {"api-1": ("10.0.0.1", "10.0.0.2"), "api.example.com": ()}


def test_its_process() -> None:
    seen = parse(SURVEY)
    assert seen.process == Process(
        pid=4711,
        executable=f"{BINARY} (deleted)",
        sha256="dd44",
        version="1.26.3",
        started=1000080.0,
        identity="f00d:4711:8000",
        workers={4712: 1000090.5},
        worker_identities=frozenset({"4712:9050"}),
        owner="998",
        beside=(4699, 4700),
        stopped=(4712,),
        named=True,
        detached=True,
    )
    assert (seen.version, seen.replaced) == ("1.26.3", True)
    same = replace(seen.process, sha256="aa11")
    assert not replace(seen, process=same).replaced


def test_a_process_of_which_little_is_known() -> None:
    seen = parse("kn.now=1000160.5\nkn.uptime=160.5\nkn.pid=4711\n").process
    assert seen is not None
    assert (seen.owner, seen.beside, seen.stopped, seen.worker_identities) == ("", (), (), frozenset())
    assert (seen.named, seen.detached) == (False, False)


def test_its_listeners() -> None:
    assert parse(SURVEY).listening == {
        LISTEN: None,
        Endpoint("::1", 8443): None,
        Endpoint("0.0.0.0", 8080): Holder(77, "haproxy.service", "/usr/sbin/haproxy?(deleted)", "ha?proxy"),
        Endpoint("127.0.0.2", 8080): Holder(78, "", "/opt/x", "x"),
        Endpoint("127.0.0.3", 8080): Holder(0, "", "-", "unknown"),
    }


@pytest.mark.parametrize("text", ["", "\n", "motd\n", "kn.\nkn.arch\nkn.unit.\n"])
def test_a_survey_that_says_nothing(text: str) -> None:
    seen = parse(text)
    assert (seen.uid, seen.systemd, seen.process, seen.version, seen.replaced) == (-1, False, None, "", False)
    assert (seen.state, seen.active, seen.enabled, seen.masked) == ("not installed", False, False, False)
    assert (seen.files, seen.listening, seen.free) == ({}, {}, 0)
    assert (seen.directories, seen.instead, seen.journal, seen.loaded_unit) == ({}, {}, "", False)
    assert (seen.installed, seen.addresses, seen.resolver) == ("", {}, True)


@pytest.mark.parametrize(
    ("asked", "answered", "clock"),
    [
        # the node read its clock at 1000160.5, and again at 1000161.25
        (1000160.4, 1000161.3, 0.0),
        (1000155.0, 1000161.3, 0.0),  # however long it took to get there
        (1000160.4, 1000166.0, 0.0),
        (1000150.4, 1000151.25, 10.0),
        (1000140.0, 1000151.25, 10.0),
        (1000170.5, 1000171.3, -10.0),
        (1000170.5, 1000180.0, -10.0),
    ],
)
def test_the_clock_is_off_by_what_the_round_trip_does_not_explain(
    asked: float, answered: float, clock: float
) -> None:
    assert parse(SURVEY).compared(asked, answered).clock == pytest.approx(clock)


@pytest.mark.parametrize("text", ["", "kn.now=\nkn.end=\n", "kn.now="])
def test_a_node_that_does_not_tell_the_time(text: str) -> None:
    assert parse(text).compared(1000.0, 1001.0).clock == 0.0


@pytest.mark.parametrize(
    ("told", "addresses"),
    [
        ("10.0.0.10 10.0.0.9 10.0.0.10 ", ("10.0.0.9", "10.0.0.10")),
        ("fd00::2 2001:DB8::1 10.0.0.1", ("10.0.0.1", "2001:db8::1", "fd00::2")),
        ("fe80::1%eth0 fe80::1 febf::1 10.0.0.1", ("10.0.0.1",)),
        ("fe80::1", ()),
        ("fd00::1%eth0", ()),
        ("::ffff:10.0.0.1 10.0.0.1", ("10.0.0.1",)),
        ("169.254.1.1", ("169.254.1.1",)),
        ("api-1 getent: 10.0.0", ()),
    ],
)
def test_the_addresses_of_a_name(told: str, addresses: tuple[str, ...]) -> None:
    assert parse(f"kn.address.x={told}").addresses == {"x": addresses}


@pytest.mark.parametrize(
    ("unit", "state", "active"),
    [
        ({"LoadState": "not-found", "ActiveState": "inactive"}, "not installed", False),
        ({"LoadState": "loaded", "ActiveState": "active", "SubState": "running"}, "active (running)", True),
        ({"LoadState": "loaded", "ActiveState": "inactive", "SubState": "dead"}, "inactive (dead)", False),
        ({"LoadState": "loaded", "ActiveState": "active", "SubState": "exited"}, "active (exited)", False),
        (
            {"LoadState": "loaded", "ActiveState": "activating", "SubState": "auto-restart"},
            "activating (auto-restart)",
            False,
        ),
    ],
)
def test_states(unit: Mapping[str, str], state: str, active: bool) -> None:
    seen = Facts(unit=unit)
    assert (seen.state, seen.active, seen.active_seconds) == (state, active, None)


@pytest.mark.parametrize(
    ("state", "masked", "loaded"),
    [("masked", True, False), ("loaded", False, True), ("not-found", False, False), ("error", False, False)],
)
def test_whether_systemd_has_the_unit(state: str, masked: bool, loaded: bool) -> None:
    seen = Facts(unit={"LoadState": state})
    assert (seen.masked, seen.loaded_unit) == (masked, loaded)


@pytest.mark.parametrize(
    ("file", "has"),
    [(File("aa", "644", "0"), True), (File("aa", "600", "0"), False), (File("aa", "644", "998"), False)],
)
def test_a_file_is_as_it_should_be(file: File, has: bool) -> None:
    assert file.has("644") == has


def test_systemd_before_235_counts_no_restarts() -> None:
    assert parse("kn.unit.LoadState=loaded").restarts is None


OURS = "boot:7:42"
CHANGED = 100.0


def loading(started: float, *workers: float, **recorded: str) -> Facts:
    """A node whose files were changed at CHANGED, and whose processes were started then and then.

    A worker goes by its number and the time: the first by 0:60, say.
    """
    process = Process(
        7,
        BINARY,
        "",
        "",
        started,
        OURS,
        workers=dict(enumerate(workers)),
        worker_identities=frozenset(f"{pid}:{start:g}" for pid, start in enumerate(workers)),
    )
    files = {CONF: File("cc", changed=CHANGED), UNIT: File("uu", changed=CHANGED)}
    return Facts(files=files, process=process, recorded=recorded)


def took(seen: Facts) -> tuple[bool, bool]:
    return seen.took(CONF, "conf"), seen.took(UNIT, "unit")


def loaded(seen: Facts) -> tuple[str, str]:
    return seen.loaded(CONF, "conf"), seen.loaded(UNIT, "unit")


class TestTook:
    """Whether the process has read a file as it is now."""

    @pytest.mark.parametrize(
        ("recorded", "conf", "unit"),
        [
            ({"main": OURS, "conf": "cc", "unit": "uu"}, True, True),
            ({"main": OURS, "conf": "cc", "unit": "old"}, True, False),
            ({"main": OURS, "conf": "old", "unit": "uu"}, False, True),
            ({"main": OURS}, False, False),
            ({"main": "boot:7:43", "conf": "cc", "unit": "uu"}, False, False),
            ({"conf": "cc", "unit": "uu"}, False, False),
        ],
    )
    def test_by_the_record_whatever_the_times(self, recorded: dict[str, str], conf: bool, unit: bool) -> None:
        assert took(loading(50, 60, **recorded)) == (conf, unit)

    @pytest.mark.parametrize(
        ("workers", "changed", "those", "conf"),
        [
            ([60], "100.000000000", "0:60", True),
            ([160], "100.000000000", "0:60", True),  # who reloaded, reloaded the same
            ([60], "90.000000000", "0:60", True),  # edited and put back, and nobody has read it
            ([60], "90.000000000", "0:60 1:60", True),  # one of them has ended
            ([160], "90.000000000", "0:60", False),  # somebody has read what it was meanwhile, perhaps
            ([60, 160], "90.000000000", "0:60 1:60", False),
            ([], "90.000000000", "0:60", False),
            ([60], "90.000000000", "", False),
            ([160], "", "", True),  # a record that says neither
        ],
    )
    def test_what_was_recorded_was_something_else_meanwhile(
        self, workers: list[float], changed: str, those: str, conf: bool
    ) -> None:
        record = {"main": OURS, "conf": "cc", "unit": "uu", "changed": changed, "workers": those}
        assert took(loading(50, *workers, **record)) == (conf, True)

    @pytest.mark.parametrize(
        ("mode", "owner", "modified", "taken"),
        [
            ("777", "0", 40.0, True),
            ("644", "998", 40.0, True),
            ("644", "0", 40.0, False),  # with an older file in its place, say
            ("777", "0", 60.0, False),
        ],
    )
    def test_permissions_alone_are_nothing_to_be_read(
        self, mode: str, owner: str, modified: float, taken: bool
    ) -> None:
        """Also where the record is of a process of before; a reload may have read something else."""
        file = File("cc", mode, owner, CHANGED, modified)
        for record in ({}, {"main": "boot:6:1", "conf": "cc", "unit": "cc"}):
            seen = replace(loading(50, 50.5, **record), files={CONF: file, UNIT: file})
            assert took(seen) == (taken, taken)
            assert loaded(seen) == (("cc", "cc") if taken else ("", ""))
            seen = replace(loading(50, 60, **record), files={CONF: file, UNIT: file})
            assert took(seen) == (False, taken)
        record = {"main": OURS, "conf": "cc", "unit": "cc", "changed": "50.0", "workers": "0:60"}
        for worker, same in ((60, True), (160, False)):
            seen = replace(loading(50, worker, **record), files={CONF: file, UNIT: file})
            assert took(seen) == (same, True)

    @pytest.mark.parametrize(
        ("started", "workers", "taken"),
        [
            (150.0, [160.0], True),
            (50.0, [160.0], False),  # a worker that died has a younger one, too, and of before
            (50.0, [60.0, 160.0], False),
            (150.0, [], True),
            (100.0, [100.0], False),
        ],
    )
    def test_by_the_time_of_the_start_where_nothing_is_recorded(
        self, started: float, workers: list[float], taken: bool
    ) -> None:
        seen = loading(started, *workers, main="another", conf="cc", unit="uu")
        assert took(seen) == (taken, taken)

    def test_not_without_a_file_or_a_process(self) -> None:
        seen = loading(150, 160, main=OURS, conf="cc", unit="uu")
        assert took(replace(seen, process=None)) == (False, False)
        assert took(replace(seen, files={})) == (False, False)


class TestLoaded:
    """The file that the process has read, which need not be the one on disk."""

    RECORD: ClassVar = {"main": OURS, "conf": "old", "unit": "older", "changed": "40.0", "workers": "0:60"}

    @pytest.mark.parametrize(
        ("started", "workers", "conf", "unit"),
        [
            (150.0, [160.0], "cc", "uu"),
            (50.0, [160.0], "cc", ""),  # a reload reads the configuration, and no unit
            (50.0, [60.0, 160.0], "", ""),  # one of the old workers goes on
            (50.0, [60.0], "", ""),
            (50.0, [], "", ""),
        ],
    )
    def test_where_nothing_is_recorded(
        self, started: float, workers: list[float], conf: str, unit: str
    ) -> None:
        assert loaded(loading(started, *workers, main="another", conf="old", unit="older")) == (conf, unit)

    @pytest.mark.parametrize(
        ("workers", "conf"),
        [
            ([60.0], "old"),  # edited, and not loaded
            ([160.0], "cc"),  # edited, and reloaded by hand
            ([80.0], "old"),  # a worker that died, and came again before the edit
            ([60.0, 160.0], "old"),
            ([], "old"),
        ],
    )
    def test_where_another_file_is_recorded(self, workers: list[float], conf: str) -> None:
        assert loaded(loading(50, *workers, **self.RECORD)) == (conf, "older")

    def test_by_the_record_if_its_workers_are_there_whatever_the_times(self) -> None:
        assert loaded(loading(50, 160, **{**self.RECORD, "workers": "0:160"})) == ("old", "older")

    def test_of_what_it_took(self) -> None:
        record = {"main": OURS, "conf": "cc", "unit": "uu"}
        assert loaded(loading(50, 60, **record)) == ("cc", "uu")

    def test_what_has_gone_is_known_from_the_record_alone(self) -> None:
        seen = loading(150, 160, **self.RECORD)
        assert loaded(replace(seen, files={})) == ("old", "older")
        assert loaded(replace(seen, files={}, recorded={})) == ("", "")
        assert loaded(replace(seen, files={}, recorded={"main": OURS})) == ("", "")

    def test_nothing_runs(self) -> None:
        seen = loading(150, 160, main=OURS, conf="cc", unit="uu")
        assert loaded(replace(seen, process=None)) == ("", "")


SOMEBODY = Holder(9, "other.service", "/other", "other")


@pytest.mark.parametrize(
    ("there", "wanted", "excluded"),
    [
        ("127.0.0.1", "127.0.0.1", True),
        ("127.0.0.2", "127.0.0.1", False),
        ("10.0.0.1", "127.0.0.1", False),
        ("0.0.0.0", "127.0.0.1", True),
        ("::", "127.0.0.1", True),
        ("::", "::1", True),
        ("::", "0.0.0.0", True),
        ("::", "::", True),
        ("127.0.0.1", "0.0.0.0", True),
        ("::1", "::", True),
        ("::1", "::2", False),
        ("::1", "127.0.0.1", False),
        ("::1", "0.0.0.0", False),
        # nginx takes [::] for IPv6 alone
        ("127.0.0.1", "::", False),
        ("0.0.0.0", "::", False),
        ("0.0.0.0", "::1", False),
    ],
)
def test_who_keeps_the_service_from_its_address(there: str, wanted: str, excluded: bool) -> None:
    seen = Facts(listening={Endpoint(there, 8443): SOMEBODY})
    assert seen.holder(Endpoint(wanted, 8443)) == (SOMEBODY if excluded else None)
    assert seen.holder(Endpoint(wanted, 8444)) is None
    assert not seen.listens(Endpoint(there, 8443))


def test_the_service_does_not_keep_itself_from_its_address() -> None:
    seen = Facts(listening={LISTEN: None})
    assert seen.holder(LISTEN) is None
    assert seen.listens(LISTEN)
    assert not seen.listens(Endpoint("127.0.0.1", 8444))
    assert not Facts().listens(LISTEN)


@pytest.mark.parametrize("there", ["::", "0.0.0.0"])
def test_nobody_keeps_it_from_what_it_listens_on(there: str) -> None:
    """A socket on [::] may be for IPv6 alone, which the kernel's table does not tell."""
    seen = Facts(listening={LISTEN: None, Endpoint(there, LISTEN.port): SOMEBODY})
    assert seen.holder(LISTEN) is None
    assert seen.holder(Endpoint("127.0.0.9", LISTEN.port)) == SOMEBODY


@pytest.mark.parametrize(
    ("holder", "text"),
    [
        (SOMEBODY, "other (PID 9, other.service)"),
        (Holder(9, "", "/other", "other"), "other (PID 9)"),
        (Holder(0, "", "-", "unknown"), "a process that cannot be seen"),
    ],
)
def test_a_holder_in_words(holder: Holder, text: str) -> None:
    assert str(holder) == text


@thorough
@given(st.ip_addresses(), st.integers(1, 65535))
def test_addresses_as_the_kernel_writes_them(address: object, port: int) -> None:
    host = ip_address(str(address).partition("%")[0])
    line = sockets.as_kernel(Endpoint(str(host), port))
    read = getattr(host, "ipv4_mapped", None) or host
    assert parse(f"kn.listen.{line}=ours").listening == {Endpoint(str(read), port): None}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_this_kernel_writes_them_so(host: str) -> None:
    family, table = (socket.AF_INET6, "tcp6") if ":" in host else (socket.AF_INET, "tcp")
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with listener:
        port = listener.getsockname()[1]
        assert f" {sockets.as_kernel(Endpoint(host, port))} " in Path(f"/proc/net/{table}").read_text()


SYSTEMCTL = r"""#!/bin/sh
# show -p PROPERTIES [--] UNIT
for unit; do :; done
case ,$3, in *,LoadState,*) echo LoadState=loaded ;; esac
case ,$3, in *,DropInPaths,*) echo "DropInPaths=/etc/x.conf /run/y.conf" ;; esac
case ,$3, in *,MainPID,*) echo "MainPID=$(cat "${0%/*}/$unit.pid" 2>/dev/null)" ;; esac
"""


@dataclass
class Machine:
    """This machine, with a unit, a prefix and a systemd of the test's own."""

    folder: Path
    units: Path
    proxy: Proxy

    def script(self, *names: str) -> str:
        """The survey of it."""
        return Survey(self.proxy, names, unit_path=str(self.units / NAME)).text()

    def main(self, pid: int, unit: str = NAME) -> None:
        """Has systemd say that this is the unit's main process."""
        (self.folder / "bin" / f"{unit}.pid").write_text(f"{pid}\n")

    def survey(
        self,
        main: int = 0,
        unit: str = "",
        names: Sequence[str] = (),
        members: Sequence[int] = (),
        **instead: tuple[str, str],
    ) -> Facts:
        """What a survey sees, with this main process; `unit` is that of any process.

        `members` are all processes of the unit. `instead` changes the script: what is replaced, and what it
        becomes.
        """
        self.main(main)
        script = self.script(*names)
        if members := members or [main] * bool(main):
            pids = " ".join(map(str, members))
            in_unit = f'in_unit() {{ case " {pids} " in *" $1 "*) ;; *) false ;; esac; }}'
            instead["members"] = ("# --- who listens ---", f"of_unit() {{ list {pids}; }}; {in_unit}")
        for old, new in instead.values():
            assert old in script
            script = script.replace(old, new)
        if unit:
            (self.folder / "cgroup").write_text(f"1:name=systemd:/system.slice/{unit}\n0::/\n")
            assert "/proc/$holder/cgroup" in script
            script = script.replace("/proc/$holder/cgroup", str(self.folder / "cgroup"))
        return parse(self.run(script))

    def part(self, first: str, last: str, cases: Iterable[str], **instead: tuple[str, str]) -> list[Facts]:
        """What the part of the survey from `first` to `last` says after each of `cases`, in one shell.

        A case is what the shell is told before. `instead` changes the part, as with `survey`.
        """
        script = self.script()
        head, mark, rest = script.partition("for tool in $tools;")
        part, end, _ = (mark + rest)[(mark + rest).index(first) :].partition(last)
        assert end
        for old, new in instead.values():
            assert old in part
            part = part.replace(old, new)
        told = self.run(head + "".join(f"({case}\n{part}{end}\n)\necho =====\n" for case in cases))
        return [parse(text) for text in told.split("=====\n")[:-1]]

    def run(self, script: str) -> str:
        """What a script says."""
        ran = subprocess.run(
            ["sh", "-c", with_defaults(script)],
            env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stderr == ""
        return ran.stdout

    def program(self, name: str, text: str) -> None:
        """Puts a shell script in place of a program of this machine."""
        file = self.folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)


@pytest.fixture(params=["sh", "bash"])
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    prefix, units = tmp_path / "kube-nginx", tmp_path / "units"
    for folder in (tmp_path / "bin", units):
        folder.mkdir()
    if request.param == "bash":
        bash = shutil.which("bash")
        if bash is None:
            pytest.skip("no bash here")
        (tmp_path / "bin" / "sh").symlink_to(bash)
    systemctl = tmp_path / "bin" / "systemctl"
    systemctl.write_text(SYSTEMCTL)
    systemctl.chmod(0o755)
    return Machine(tmp_path, units, Proxy(prefix=str(prefix), user="", listen=()))


@contextmanager
def listening() -> Iterator[tuple[socket.socket, Endpoint]]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener, Endpoint(*listener.getsockname())


@contextmanager
def running(executable: Path, *arguments: str, keeps: socket.socket) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has the socket, which this one has no longer."""
    command = [str(executable), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, pass_fds=[keeps.fileno()]) as process:
        keeps.close()
        try:
            yield process
        finally:
            process.kill()


def copied(program: str, to: Path) -> Path:
    to.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(shutil.which(program) or program, to))


def test_the_survey_of_a_machine_without_it(machine: Machine) -> None:
    seen = machine.survey()
    arch = subprocess.run(["uname", "-m"], capture_output=True, text=True, check=True).stdout
    assert (seen.arch, seen.uid, seen.systemd) == (
        arch.strip(),
        os.getuid(),
        Path("/run/systemd/system").is_dir(),
    )
    assert seen.uptime > 0
    assert seen.free == pytest.approx(shutil.disk_usage(machine.folder).free, rel=0.2)
    assert {"rw", "ro"} & set(seen.mounts["prefix"].split(","))
    assert {"rw", "ro"} & set(seen.mounts["unit"].split(","))
    assert (seen.directories, seen.files, seen.texts, seen.releases) == ({}, {}, {}, {})
    assert seen.process is None
    assert not Path(machine.proxy.prefix).exists()


def test_the_survey_of_files(machine: Machine) -> None:
    prefix, unit = Path(machine.proxy.prefix), machine.units / NAME
    text = "a=b\n\n  it's $HOME é"
    for folder in ("conf", "logs", "releases/0123456789"):
        (prefix / folder).mkdir(parents=True)
    (prefix / "conf" / "kube-nginx.conf").write_text(text)
    (prefix / "conf" / "kube-nginx.conf").chmod(0o600)
    unit.write_bytes(b"")
    (prefix / "releases" / "0123456789" / "kube-nginx").write_bytes(b"\0")
    (prefix / "releases" / "current").symlink_to("0123456789")
    (prefix / "releases" / "running").write_text("main=boot:1:2\nconf=cc\n")
    seen = machine.survey()
    me = str(os.getuid())
    assert seen.directories == {
        str(folder): Folder(me, f"{S_IMODE(folder.stat().st_mode):o}")
        for folder in (prefix, prefix / "conf", prefix / "logs", prefix / "releases")
    }
    assert seen.instead == {}
    file = seen.files[str(prefix / "conf" / "kube-nginx.conf")]
    assert (file.sha256, file.mode, file.owner) == (sha256(text.encode()).hexdigest(), "600", me)
    assert file.changed == pytest.approx((prefix / "conf" / "kube-nginx.conf").stat().st_ctime, abs=1e-3)
    assert seen.texts == {str(prefix / "conf" / "kube-nginx.conf"): text, str(unit): ""}
    assert seen.releases == {"current": "0123456789"}
    assert seen.kept == {"current": {"kube-nginx": sha256(b"\0").hexdigest()}}
    assert seen.recorded == {"main": "boot:1:2", "conf": "cc"}


def test_the_survey_of_what_a_run_that_was_cut_off_left_behind(machine: Machine) -> None:
    prefix = Path(machine.proxy.prefix)
    left = [prefix / "releases" / "0123456789.part", prefix / "sbin" / ".kube-nginx.part"]
    left += [prefix / "conf" / ".kube-nginx.conf.fresh", machine.units / ".kube-nginx.service.fresh"]
    for path in [*left, prefix / "releases" / "0123456789", prefix / "conf" / ".other"]:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert set(machine.survey().leftovers) == {str(path) for path in left}


def test_the_survey_of_folders(machine: Machine) -> None:
    """Through links, and without setgid, which a folder may have from the one above it."""
    prefix = Path(machine.proxy.prefix)
    (machine.folder / "elsewhere").mkdir()
    prefix.symlink_to("elsewhere")
    for name, mode in (("conf", 0o2755), ("logs", 0o700), ("sbin", 0o1755)):
        (prefix / name).mkdir()
        (prefix / name).chmod(mode)
    prefix.chmod(0o750)
    seen, me = machine.survey(), str(os.getuid())
    assert seen.directories == {
        str(prefix): Folder(me, "750"),
        str(prefix / "conf"): Folder(me, "755"),
        str(prefix / "logs"): Folder(me, "700"),
        str(prefix / "sbin"): Folder(me, "755"),
    }
    assert seen.instead == {}


UNSAFE: dict[str, dict[str, str]] = {
    "mkdir -p a/b": {},
    "mkdir -p a/b; chmod 775 a": {"a": "root and has mode 775"},
    "mkdir -p a/b; chmod 1777 a/b": {"a/b": "root and has mode 1777"},
    "mkdir -p a/b; chown daemon a; chmod 700 a": {"a": "daemon and has mode 700"},
    "mkdir -p a/b/kube-nginx/conf; chmod 777 a/b/* a/b/*/conf": {},  # put right anyway
    "mkdir -p a c/d/b; chown daemon c; ln -s ../c/d/b a/b": {"a/../c": "daemon and has mode 755"},
    # of links to links, every one's folder
    "mkdir -p a x y/b; chmod 757 x; ln -s $PWD/y/b x/b; ln -s $PWD/x/b a/b": {"x": "root and has mode 757"},
    "mkdir -p a/b/kube-nginx c; chmod 777 c; ln -s $PWD/c/sbin a/b/kube-nginx/sbin; mkdir c/sbin":
        {"c": "root and has mode 777"},
    "mkdir -p a/b/kube-nginx/logs/s; chown daemon a/b/kube-nginx/logs; ln -s logs/s a/b/kube-nginx/sbin":
        {"a/b/kube-nginx/logs": "daemon and has mode 755"},
    "n='\nkn.arch=x\n' && mkdir -p a \"$n/b\" && chmod 777 a \"$n\" && ln -s \"../$n/b\" a/b":
        {"a": "root and has mode 777"},
    "mkdir -p a; ln -s b a/b; chmod 775 a": {"a": "root and has mode 775"},  # which leads nowhere
    "mkdir -p 'a/b'; chmod 777 units": {"units": "root and has mode 777"},
    "mkdir units/kube-nginx.service.d; chmod 777 units/*":
        {"units/kube-nginx.service.d": "root and has mode 777"},
}  # fmt: skip


def test_the_survey_of_folders_that_others_may_write_to(machine: Machine) -> None:
    """Above the prefix, and above what links on the way lead to, as sshd's StrictModes."""
    places = [machine.folder / str(number) for number in range(len(UNSAFE))]
    for place, there in zip(places, UNSAFE, strict=True):
        (place / "units").mkdir(parents=True)
        subprocess.run(["sh", "-c", there], cwd=place, check=True)
    own = "prefix={0}/a/b/kube-nginx releases={0}/a/b/kube-nginx/releases unit_path={0}/units/" + NAME
    found = machine.part("above() {", "tells nothing else\n)", [own.format(place) for place in places])
    for facts, place, unsafe in zip(found, places, UNSAFE.values(), strict=True):
        seen = {k: v for k, v in facts.unsafe.items() if k.startswith(f"{place}/")}
        assert facts.arch == ""  # no name of a folder is a line of ours
        assert seen == {f"{place}/{path}": f"belongs to {whose}" for path, whose in unsafe.items()}


def test_the_survey_of_a_folder_that_others_may_write_to(machine: Machine) -> None:
    machine.units.chmod(0o777)
    assert machine.survey().unsafe[str(machine.units)].endswith(" and has mode 777")


def test_a_file_without_an_end_hides_no_other(machine: Machine) -> None:
    """All sums are taken at once; where that takes too long, each by itself."""
    conf, unit = Path(conf_path(machine.proxy)), machine.units / NAME
    conf.parent.mkdir(parents=True)
    with conf.open("wb") as file:
        file.truncate(1 << 42)
    unit.write_text("text")
    files = machine.survey(soon=("KILL 5 sha256sum", "KILL 1 sha256sum")).files
    assert {path: file.sha256 for path, file in files.items()} == {str(unit): sha256(b"text").hexdigest()}


def test_the_survey_of_what_is_in_the_way(machine: Machine) -> None:
    """An empty folder in place of a file is not: it is no loss."""
    prefix = Path(machine.proxy.prefix)
    (prefix / "conf" / "kube-nginx.conf" / "of somebody").mkdir(parents=True)
    (prefix / "sbin" / "kube-nginx").mkdir(parents=True)
    (prefix / "releases").write_text("a file")
    (prefix / "logs").symlink_to("nowhere")
    seen = machine.survey()
    assert seen.instead == {
        str(prefix / "conf" / "kube-nginx.conf"): "a folder that is not empty",
        str(prefix / "releases"): "no folder",
        str(prefix / "logs"): "no folder",
    }
    assert set(seen.directories) == {str(prefix), str(prefix / "conf"), str(prefix / "sbin")}
    assert (seen.files, seen.releases) == ({}, {})


def test_the_survey_of_a_prefix_that_is_a_file(machine: Machine) -> None:
    Path(machine.proxy.prefix).write_text("a file")
    seen = machine.survey()
    assert (seen.instead, seen.directories) == ({machine.proxy.prefix: "no folder"}, {})


def test_the_survey_of_a_file_that_is_a_link(machine: Machine) -> None:
    """It has another mode than a file should have, so that it is put right."""
    conf = Path(conf_path(machine.proxy))
    conf.parent.mkdir(parents=True)
    (machine.folder / "elsewhere.conf").write_text("text")
    conf.symlink_to(machine.folder / "elsewhere.conf")
    file = machine.survey().files[str(conf)]
    assert (file.sha256, file.mode) == (sha256(b"text").hexdigest(), "777")


JOURNALS: list[tuple[dict[str, str], str]] = [
    ({}, ""),
    ({"etc": "[Journal]\n#Storage=none\n"}, ""),
    ({"etc": "[Journal]\nStorage=none\n"}, "none"),
    ({"etc": "[Journal]\n Storage = volatile\n"}, "volatile"),
    ({"etc": "Storage=persistent\n", "etc.d/10.conf": "Storage=none\n"}, "none"),
    ({"usr.d/10.conf": "Storage=none\n", "etc.d/10.conf": "Storage=auto\n"}, "auto"),
    ({"etc": "Storage=none\n", "usr.d/10.conf": "Storage=auto\n"}, "auto"),
    ({"etc": "Storage=none\nStorage=\n"}, ""),
]


def test_the_survey_of_the_journal(machine: Machine) -> None:
    places = [machine.folder / str(number) for number in range(len(JOURNALS))]
    for place, (texts, _) in zip(places, JOURNALS, strict=True):
        for name, text in texts.items():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            (place / name).write_text(text)
    found = machine.part(
        "storage=",
        'say journal "${storage#=}"\n',
        [f"here={place}" for place in places],
        usr_d=("/usr/lib/systemd/journald.conf.d/", "$here/usr.d/"),
        etc=("/etc/systemd/journald.conf ", "$here/etc "),
        etc_d=("/etc/systemd/journald.conf.d/", "$here/etc.d/"),
    )
    assert [seen.journal for seen in found] == [storage for _, storage in JOURNALS]


def test_the_survey_of_a_process(machine: Machine) -> None:
    """A shell for a master, whose children are workers, old and new: all have the socket."""
    binary = copied("dash" if shutil.which("dash") else "sh", Path(binary_path(machine.proxy)))
    fifo = machine.folder / "never"
    os.mkfifo(fifo)
    names = ("nginx: worker process", "nginx: worker process is shutting down", "nginx: master process")
    script = "".join(f"sh -c 'read -r word < {fifo}; :' '{name}' >/dev/null & echo $!; " for name in names)
    with (
        listening() as (listener, address),
        running(binary, "-c", f"{script} wait", keeps=listener) as master,
    ):
        assert master.stdout is not None
        children = [int(master.stdout.readline()) for _ in names]
        eventually(lambda: all(map(is_called, children, names)))
        seen, again = machine.survey(master.pid), machine.survey(master.pid)
        for child in children:
            os.kill(child, signal.SIGKILL)
    assert seen.process is not None
    assert (seen.process.pid, seen.process.executable) == (master.pid, str(binary))
    assert seen.process.sha256 == sha256(binary.read_bytes()).hexdigest()
    assert seen.process.started == pytest.approx(time(), abs=30)
    assert seen.process.workers == {children[0]: pytest.approx(time(), abs=30)}
    (worker,) = seen.process.worker_identities
    assert worker.startswith(f"{children[0]}:")
    assert seen.process.owner == str(os.getuid())
    assert (seen.process.beside, seen.process.stopped) == ((), ())  # no process here is the unit's
    assert (seen.process.named, seen.process.detached) == (False, False)
    assert again.process is not None
    assert again.process.identity == seen.process.identity
    assert seen.listening[address] is None


def test_the_survey_of_what_else_is_in_the_unit(machine: Machine) -> None:
    """Whoever accepts connections beside the main process and its workers, and who is stopped."""
    binary = copied("dash" if shutil.which("dash") else "sh", Path(binary_path(machine.proxy)))
    fifo, pid_file = machine.folder / "never", Path(machine.proxy.prefix, "logs", "nginx.pid")
    os.mkfifo(fifo)
    pid_file.parent.mkdir()
    names = ("nginx: worker process", "nginx: worker process is shutting down", "nginx: master process")
    script = "".join(f"sh -c 'read -r word < {fifo}; :' '{name}' >/dev/null & echo $!; " for name in names)
    with (
        listening() as (listener, _),
        running(binary, "-c", f"{script} wait", keeps=listener) as master,
        subprocess.Popen(["sleep", "600"]) as drained,  # a worker of before has no listening socket
    ):
        assert master.stdout is not None
        worker, draining, second = children = [int(master.stdout.readline()) for _ in names]
        eventually(lambda: all(map(is_called, children, names)))
        pid_file.write_text(f"{master.pid}\n")
        for child in (worker, draining):
            os.kill(child, signal.SIGSTOP)
        eventually(lambda: all(state(child) == "T" for child in (worker, draining)))
        seen = machine.survey(master.pid, members=[master.pid, *children, drained.pid]).process
        fewer = machine.survey(master.pid, members=[master.pid, worker, drained.pid]).process
        for child in (*children, drained.pid):
            os.kill(child, signal.SIGKILL)
    assert seen is not None
    assert (seen.pid, list(seen.workers), seen.named) == (master.pid, [worker], True)
    assert seen.beside == (draining, second)
    assert seen.stopped == (worker, draining)
    assert fewer is not None
    assert (fewer.beside, fewer.stopped) == ((), (worker,))


def test_whether_the_pid_file_names_the_main_process(machine: Machine) -> None:
    texts = {"77\n": True, "77": True, "177\n": False, "": False}
    files = [machine.folder / f"{number}.pid" for number in range(len(texts))]
    for file, text in zip(files, texts, strict=True):
        file.write_text(text)
    # whoever is the service's user may leave a link there
    (machine.folder / "link.pid").symlink_to(files[0])
    files += [machine.folder / "link.pid", machine.folder / "none.pid"]
    cases = [f"say pid 77; pid=77 pid_file={file}; recorded=$(recorded_pid)" for file in files]
    found = machine.part('[ "$recorded" = "$pid" ]', "say pid_file 1", cases)
    assert [seen.process and seen.process.named for seen in found] == [*texts.values(), False, False]


MOUNTED = "71 60 8:1 /x/kube-nginx/logs{gone} {logs} rw,nosuid shared:1 - ext4 /dev/sda rw\n"


VIEWS = [
    (MOUNTED, "ReadWritePaths=/x\n", False),
    (MOUNTED.replace("{gone}", "//deleted"), "ReadWritePaths=/x\n", True),
    # mounted again: the last one is what it sees
    (MOUNTED.replace("{gone}", "//deleted") + MOUNTED, "ReadWritePaths=/x\n", False),
    ("60 1 8:1 / / ro,relatime - ext4 /dev/sda rw\n", "ReadWritePaths=/x\n", True),
    ("60 1 8:1 / / ro - ext4 /dev/sda rw\n", "ReadWritePaths=/x\n", True),
    ("60 1 8:1 / / rw,relatime - ext4 /dev/sda rw\n", "ReadWritePaths=/x\n", False),
    ("60 1 8:1 / / ro,relatime - ext4 /dev/sda rw\n", "[Service]\n", False),
    ("60 1 8:1 / / ro,relatime - ext4 /dev/sda rw\n", "", False),
    ("60 1 8:1 / /elsewhere ro,relatime - ext4 /dev/sda rw\n", "ReadWritePaths=/x\n", False),
]


def test_whether_its_view_of_logs_has_gone(machine: Machine) -> None:
    """Also once there is such a folder again."""
    cases = []
    for (number, (mounts, unit, _)), made in product(enumerate(VIEWS), (False, True)):
        place = machine.folder / f"{number}{made}"
        logs = place / "kube-nginx" / "logs"
        (logs if made else logs.parent).mkdir(parents=True)
        if unit:
            (place / NAME).write_text(unit)
        (place / "mountinfo").write_text(mounts.format(logs=logs, gone=""))
        cases.append(f"say pid 77; here={place} prefix={place}/kube-nginx unit_path={place}/{NAME}")
    there = ("/proc/$pid/mountinfo", "$here/mountinfo")
    found = machine.part("logs=$(cd", "does not know\n  esac", cases, there=there)
    told = [seen.process and seen.process.detached for seen in found]
    assert told == [detached for *_, detached in VIEWS for _ in range(2)]


def test_the_survey_of_a_process_whose_view_of_logs_has_gone(machine: Machine) -> None:
    binary = copied("sleep", Path(binary_path(machine.proxy)))
    logs = Path(machine.proxy.prefix, "logs")
    (machine.folder / "mountinfo").write_text(MOUNTED.format(logs=logs, gone="//deleted"))
    there = ("/proc/$pid/mountinfo", f"{machine.folder}/mountinfo")
    with listening() as (listener, _), running(binary, "600", keeps=listener) as process:
        seen = machine.survey(process.pid, mounts=there).process
    assert seen is not None
    assert seen.detached


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def is_called(pid: int, name: str) -> bool:
    """Whether it is what was started by this name, and no longer a copy of the shell that starts it."""
    return Path(f"/proc/{pid}/cmdline").read_text().endswith(f"\0{name}\0")


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until something is true."""
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end
        sleep(0.01)


def test_the_survey_does_not_run_what_the_service_runs(machine: Machine) -> None:
    """Its version is read: the file may be somebody else's than root's."""
    binary = copied("sleep", Path(binary_path(machine.proxy)))
    with binary.open("ab") as file:
        file.write(b"\0nginx version: nginx/1.30.6\n\0nginx version: nginx/9.9\0")
    with listening() as (listener, _), running(binary, "600", keeps=listener) as process:
        assert versions(machine.survey(process.pid)) == ("1.30.6", "1.30.6")
        binary.unlink()
        assert versions(machine.survey(process.pid)) == ("1.30.6", "")
        copied("touch", binary)
        assert versions(machine.survey(process.pid)) == ("1.30.6", "")
        with binary.open("ab") as file:
            file.write(b"\0nginx version: nginx/1.31.0\0")
        assert versions(machine.survey(process.pid)) == ("1.30.6", "1.31.0")
    assert versions(machine.survey()) == ("", "1.31.0")


def versions(seen: Facts) -> tuple[str, str]:
    """That of what runs, and that of what is on disk."""
    return seen.version, seen.installed


def test_the_survey_reads_a_version_once_where_the_file_runs(machine: Machine) -> None:
    binary = copied("sleep", Path(binary_path(machine.proxy)))
    read = machine.folder / "read"
    machine.program("grep", f'echo "$*" >> {read}; exec {shutil.which("grep")} "$@"')
    with listening() as (listener, _), running(binary, "600", keeps=listener) as process:
        machine.survey(process.pid)
    assert [line for line in read.read_text().splitlines() if "nginx version" in line] == [
        "-a -o nginx version: nginx/[0-9.]*"
    ]


def test_the_survey_of_a_service_that_runs_another_program(machine: Machine) -> None:
    program = copied("sleep", machine.folder / "it's\nkn.uid=77")
    with listening() as (listener, _), running(program, "600", keeps=listener) as process:
        seen = machine.survey(process.pid)
    assert seen.process is not None
    assert (seen.uid, seen.version) == (os.getuid(), "")
    assert seen.process.executable == f"{machine.folder}/it'skn.uid=77"


def test_the_survey_runs_few_programs(machine: Machine) -> None:
    """Each costs a node more than all that the shell does itself."""
    ran, bin_folder = machine.folder / "ran", machine.folder / "bin"
    asked = (bin_folder / "systemctl").read_text().replace("\n", f"\necho systemctl >> {ran}\n", 1)
    for tool in needed("somebody").split():
        machine.program(tool, f'echo {tool} >> {ran}; exec {shutil.which(tool)} "$@"')
    (bin_folder / "systemctl").write_text(asked)
    binary = copied("sleep", Path(binary_path(machine.proxy)))
    prefix, unit = Path(machine.proxy.prefix), machine.units / NAME
    kept = {"current": "0123456789", "previous": "abcdef0123"}
    for folder in ("conf", "logs", *(f"releases/{name}" for name in kept.values())):
        (prefix / folder).mkdir(parents=True)
    unit.write_text("[Service]\nPIDFile=/x\n")
    Path(conf_path(machine.proxy)).write_text("listen 127.0.0.1:8443;\n")
    for link, name in kept.items():
        (prefix / "releases" / link).symlink_to(name)
        for file in (binary, unit, Path(conf_path(machine.proxy))):
            shutil.copy(file, prefix / "releases" / name)
    with listening() as (listener, _), running(binary, "600", keeps=listener) as process:
        (prefix / "logs" / "nginx.pid").write_text(f"{process.pid}\n")
        seen = machine.survey(process.pid)
    assert seen.process is not None
    assert (seen.process.named, seen.listens_in.keys()) == (True, kept.keys())
    assert {link: len(files) for link, files in seen.kept.items()} == dict.fromkeys(kept, 3)
    programs = Counter(ran.read_text().split())
    assert (programs["systemctl"], programs["sha256sum"], programs["stat"]) == (1, 1, 1)
    assert programs.total() <= 40, programs


def test_the_survey_reports_drop_ins(machine: Machine) -> None:
    assert machine.survey().unit["DropInPaths"] == "/etc/x.conf /run/y.conf"


def test_a_drop_in_that_systemd_does_not_know_yet(machine: Machine) -> None:
    system, runtime = machine.units / "x.d", machine.units / "y.d"
    system.mkdir()
    runtime.mkdir()
    for path in (system / "new.conf", runtime / "new.conf", runtime / "other.conf", system / "no.txt"):
        path.touch()
    known, new = system / "known.conf", [str(system / "new.conf"), str(runtime / "other.conf")]
    known.touch()
    seen = machine.survey(
        system=("/etc/systemd/system/$unit.d", str(system)),
        runtime=("/run/systemd/system/$unit.d", str(runtime)),
        known=('known=" ', f'known=" {known} '),
    )
    assert seen.unread
    assert list(seen.new_drop_ins) == new  # of two of one name, that of /etc counts
    assert seen.drop_ins == ["/etc/x.conf", "/run/y.conf", *new]


@pytest.mark.parametrize("is_main", [True, False])
def test_a_holders_unit_is_named_only_if_it_is_the_units_main_process(
    machine: Machine, is_main: bool
) -> None:
    """To stop a unit in which it is one of many would end the others, too."""
    program = copied("sleep", machine.folder / "haproxy")
    with listening() as (listener, address), running(program, "600", keeps=listener) as process:
        machine.proxy = replace(machine.proxy, listen=(address,))
        machine.main(process.pid if is_main else os.getpid(), "other.service")
        holder = machine.survey(unit="other.service").holder(address)
    assert holder is not None
    assert (holder.pid, holder.unit) == (process.pid, "other.service" if is_main else "")


def test_the_survey_names_who_holds_a_wanted_port(machine: Machine) -> None:
    exe = Path("/proc/self/exe").readlink()
    try:
        parent = Path(f"/proc/{os.getppid()}/exe").readlink()
    except OSError:  # another user's
        parent = None
    with listening() as (_, address), listening() as (_, other):
        machine.proxy = replace(machine.proxy, listen=(address,))
        seen = machine.survey()
    holder = seen.holder(address)
    assert holder is not None
    # of two that run the same binary, the survey names the parent: nginx's master
    assert holder.pid == (os.getppid() if parent == exe else os.getpid())
    assert holder.name == Path(f"/proc/{holder.pid}/comm").read_text().strip()
    assert holder.executable == str(exe)
    assert other not in seen.listening


def test_the_survey_sees_a_stray_whose_binary_was_replaced(machine: Machine) -> None:
    binary = copied("sleep", Path(binary_path(machine.proxy)))
    with listening() as (listener, address), running(binary, "600", keeps=listener) as stray:
        binary.unlink()
        machine.proxy = replace(machine.proxy, listen=(address,))
        holder = machine.survey().holder(address)
    assert holder is not None
    assert (holder.pid, holder.executable, holder.name) == (stray.pid, str(binary), "kube-nginx")


@pytest.mark.parametrize("link", ["prefix", "sbin", "above"])
@pytest.mark.parametrize("is_gone", [False, True], ids=["there", "replaced"])
def test_the_survey_knows_the_binary_by_whatever_way(machine: Machine, link: str, is_gone: bool) -> None:
    """A link in its path makes another text, and is the same file."""
    prefix, real = Path(machine.proxy.prefix), machine.folder / "real"
    if link == "above":
        (machine.folder / "link").symlink_to("real")
        machine.proxy = replace(machine.proxy, prefix=str(machine.folder / "link" / "kube-nginx"))
        (real / "kube-nginx" / "sbin").mkdir(parents=True)
    elif link == "prefix":
        (real / "sbin").mkdir(parents=True)
        prefix.symlink_to("real")
    else:
        real.mkdir()
        prefix.mkdir()
        (prefix / "sbin").symlink_to(real)
    binary = copied("sleep", Path(binary_path(machine.proxy)))
    with (
        listening() as (listener, _),
        listening() as (other, address),
        running(binary, "600", keeps=listener) as main,
        running(binary, "600", keeps=other) as stray,
    ):
        if is_gone:
            copied("sleep", binary.with_name("new")).rename(binary)
        machine.proxy = replace(machine.proxy, listen=(address,))
        seen = machine.survey(main.pid)
    assert seen.process is not None
    assert (seen.process.pid, seen.process.executable) == (main.pid, str(binary))
    holder = seen.holder(address)
    assert holder is not None
    assert (holder.pid, holder.executable) == (stray.pid, str(binary))


def test_what_a_link_in_place_of_the_binary_leads_to_is_somebody_elses(machine: Machine) -> None:
    """Were it ours, a restart would end whatever else runs it and has the port."""
    program = copied("sleep", machine.folder / "nginx")
    binary = Path(binary_path(machine.proxy))
    binary.parent.mkdir(parents=True)
    binary.symlink_to(program)
    with listening() as (listener, address), running(binary, "600", keeps=listener) as process:
        machine.proxy = replace(machine.proxy, listen=(address,))
        holder, seen = machine.survey().holder(address), machine.survey(process.pid).process
    assert seen is not None
    assert seen.executable == str(program)
    assert holder is not None
    assert holder.executable == str(program)


def test_a_copy_of_the_binary_is_another(machine: Machine) -> None:
    binary = copied("sleep", Path(binary_path(machine.proxy)))
    copy = copied("sleep", binary.with_name("kube-nginx-2"))
    with listening() as (listener, _), running(copy, "600", keeps=listener) as process:
        seen = machine.survey(process.pid).process
    assert seen is not None
    assert seen.executable == str(copy)


@pytest.mark.parametrize(
    "half",
    [
        " 600 0 1.5 1.0",  # this login may not read it
        "aa11 ",  # it went away after it was read
        "",
    ],
)
def test_a_file_that_could_not_be_read_is_as_good_as_none(half: str) -> None:
    seen = parse(f"kn.uid=1000\nkn.file./x={half}\nkn.file./y=aa11 644 0 1.5 1.0\n")
    assert (seen.uid, seen.files) == (1000, {"/y": File("aa11", changed=1.5, modified=1.0)})


@pytest.mark.parametrize("half", ["", "0", "0 ", " 755"])
def test_a_folder_that_went_away_meanwhile_is_as_good_as_none(half: str) -> None:
    seen = parse(f"kn.uid=1000\nkn.dir./x={half}\nkn.dir./y=0 755\n")
    assert (seen.uid, seen.directories) == (1000, {"/y": Folder("0", "755")})


@pytest.mark.parametrize(
    "half",
    [
        " -  ",  # it ended while the survey looked at it
        " - - unknown",
        "7 -  name",  # its executable cannot be read
        "7 - /x two words",
        "seven - /x name",
        "",
    ],
)
def test_a_holder_of_which_half_a_line_is_known_is_one_all_the_same(half: str) -> None:
    seen = parse(f"kn.uid=1000\nkn.listen.0100007F:20FB={half}\n")
    assert (seen.uid, seen.holder(LISTEN)) == (1000, Holder(0, "", "", "unknown"))
    assert not seen.listens(LISTEN)


def test_a_worker_that_ended_while_the_survey_looked_at_it() -> None:
    seen = parse(f"{SURVEY}kn.worker.4713=\n").process
    assert seen is not None
    assert list(seen.workers) == [4712]


def test_no_path_of_a_process_can_forge_a_line_of_the_survey(machine: Machine) -> None:
    program = copied("sleep", machine.folder / "x\ty\nkn.listen.0100007F:20FB=1\t-\t" / BINARY[1:])
    with listening() as (listener, address), running(program, "600", keeps=listener) as process:
        machine.proxy = replace(machine.proxy, listen=(address,))
        seen = machine.survey()
    assert LISTEN not in seen.listening  # a stray with PID 1, which would be ended
    assert [holder.pid for holder in seen.listening.values() if holder] == [process.pid]


@pytest.mark.parametrize(
    ("name", "told"), [("x\nkn.uid=77\ny", "xkn.uid=77y"), ("a b\tc\x1b", "a?b?c?"), ("\n", "unknown")]
)
def test_no_name_of_a_process_can_forge_a_line_of_the_survey(machine: Machine, name: str, told: str) -> None:
    program = copied("sleep", machine.folder / "programs" / name)
    with listening() as (listener, address), running(program, "600", keeps=listener) as process:
        machine.proxy = replace(machine.proxy, listen=(address,))
        seen = machine.survey()
    holder = seen.holder(address)
    assert holder is not None
    assert (seen.uid, holder.pid, holder.name) == (os.getuid(), process.pid, told)


@pytest.mark.parametrize(
    ("address", "excluded"), [("0100007F", True), ("00000000", True), ("0200007F", False)]
)
def test_who_holds_an_ipv4_address_through_ipv6_as_java_does(address: str, excluded: bool) -> None:
    line = f"kn.listen.0000000000000000FFFF0000{address}:20FB=9 other.service /other other"
    assert parse(line).holder(LISTEN) == (SOMEBODY if excluded else None)


def test_the_survey_sees_who_holds_an_ipv4_address_through_ipv6(machine: Machine) -> None:
    try:
        listener = socket.socket(socket.AF_INET6)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("::ffff:127.0.0.1", 0))
    except OSError:
        pytest.skip("no IPv6 here")
    with listener:
        listener.listen()
        address = Endpoint("127.0.0.1", listener.getsockname()[1])
        machine.proxy = replace(machine.proxy, listen=(address,))
        seen = machine.survey()
    assert list(seen.listening) == [address]
    assert seen.holder(address) is not None


GETENT = r"""case $2 in
  dead-*) exec sleep 60 ;;
  away) exit 2 ;;
  *) printf '%s STREAM %s\n' 10.0.0.2 "$2" 10.0.0.2 '' fd00::1 '' ;;
esac"""


def test_the_survey_resolves_names(machine: Machine) -> None:
    machine.program("getent", f'[ "$1" = ahosts ] || exit 3\n{GETENT}')
    seen = machine.survey(names=["api-1", "away", "api.example.com"])
    found = ("10.0.0.2", "fd00::1")
    assert seen.addresses == {"api-1": found, "away": (), "api.example.com": found}
    assert seen.resolver


def test_the_survey_resolves_as_this_machine_does(machine: Machine) -> None:
    seen = machine.survey(names=["localhost"]).addresses["localhost"]
    assert set(seen) <= {"127.0.0.1", "::1"}
    assert seen


def test_without_names_nothing_is_resolved(machine: Machine) -> None:
    machine.program("getent", f"touch {machine.folder}/asked")
    assert machine.survey().addresses == {}
    assert not (machine.folder / "asked").exists()


def test_a_dead_resolver_holds_the_survey_up_once_and_not_for_each_name(machine: Machine) -> None:
    together = (
        f"cd {machine.folder}; : >asked-$$; while :; do n=0; for f in asked-*; do "
        "kill -0 ${f#asked-} && n=$((n + 1)); done; [ $n = 4 ] && : >together; sleep 0.05; done 2>/dev/null"
    )
    machine.program("getent", GETENT.replace("exec sleep 60", together))
    names = ["dead-1", "dead-2", "dead-3", "dead-4", "api-1"]
    seen = machine.survey(names=names, soon=("timeout 5 ", "timeout 2 "))
    assert (machine.folder / "together").exists()
    assert [bool(seen.addresses[name]) for name in names] == [False] * 4 + [True]


def test_a_machine_without_getent_says_so(machine: Machine) -> None:
    seen = machine.survey(names=["api-1"], gone=("getent", "no-such-getent"))
    assert (seen.resolver, seen.addresses) == (False, {"api-1": ()})


def test_the_survey_tells_the_time_at_both_ends(machine: Machine) -> None:
    began = time()
    machine.program("getent", "exec sleep 0.5")
    script = with_defaults(machine.script("api-1"))
    path = f"{machine.folder}/bin:{os.environ['PATH']}"
    ran = subprocess.run(
        ["sh", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    told = dict(line.split("=", 1) for line in ran.stdout.splitlines())
    assert began <= float(told["kn.now"]) <= float(told["kn.end"]) - 0.5 <= time() - 0.5
    assert parse(ran.stdout).compared(began, time()).clock == 0.0
    assert parse(ran.stdout).compared(began - 60, time() - 60).clock == pytest.approx(60, abs=0.2)
