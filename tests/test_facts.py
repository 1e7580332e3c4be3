"""What is read out of a survey, and what the survey's script sees on this very machine."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from hashlib import sha256
from ipaddress import ip_address
from pathlib import Path
from time import monotonic, sleep, time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.config.settings import Endpoint, Proxy
from tasks.core.remote import commands, facts
from tasks.core.remote.facts import Facts, File, Holder, Process

from .strategies import thorough

LISTEN = Endpoint("127.0.0.1", 8443)
BINARY = "/opt/k8s/kube-nginx/sbin/kube-nginx"
CONF = "/opt/k8s/kube-nginx/conf/kube-nginx.conf"
UNIT = "/etc/systemd/system/kube-nginx.service"
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
kn.dir.conf=0
kn.dir.logs=998
kn.dir.sbin=0
kn.file./opt/k8s/kube-nginx/sbin/kube-nginx=aa11 755 0 1000001.25
kn.file./etc/systemd/system/kube-nginx.service=bb22 644 998 1000002.5
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
kn.exe=/opt/k8s/kube-nginx/sbin/kube-nginx (deleted)
kn.running=nginx version: nginx/1.26.3
kn.running_sum=dd44
kn.installed=nginx version: nginx/1.30.6
kn.address.api-1=10.0.0.2 10.0.0.2 10.0.0.1
kn.address.api.example.com=
kn.worker.4712=9050
kn.listen.0100007F:20FB=ours
kn.listen.00000000000000000000000001000000:20FB=ours
kn.listen.00000000:1F90=77 haproxy.service /usr/sbin/haproxy?(deleted) ha?proxy
kn.listen.0200007F:1F90=78 - /opt/x x
kn.listen.0300007F:1F90=0 - - unknown
kn.end=1000161.250000000
"""


def test_a_running_node() -> None:
    seen = facts.parse(SURVEY)
    assert (seen.arch, seen.uid, seen.user_id, seen.systemd) == ("x86_64", 0, "998", True)
    assert (seen.libc, seen.free) == ("glibc 2.17", 2048 * 1024)
    assert seen.mounts == {"prefix": "rw,relatime", "unit": "ro"}
    assert seen.directories == {"conf": "0", "logs": "998", "sbin": "0"}
    assert seen.files == {
        BINARY: File("aa11", "755", "0", 1000001.25),
        UNIT: File("bb22", "644", "998", 1000002.5),
    }
    assert seen.texts == {UNIT: "[Unit]\nA=B=C\n"}
    assert seen.releases == {"current": "0123456789", "previous": "abcdefabcd"}
    assert seen.kept == {"current": {"kube-nginx": "aa11", "kube-nginx.conf": "cc33"}, "previous": {}}
    assert seen.recorded == {"main": "f00d:4711:8000", "conf": "cc33"}
    assert (seen.active, seen.enabled, seen.masked, seen.state) == (True, True, False, "active (running)")
    assert seen.active_seconds == pytest.approx(60.5)
    assert seen.restarts == 2
    assert seen.unit["ActiveEnterTimestamp"] == "Mon 2024-01-01 10:00:00 UTC"
    assert (seen.installed, seen.clock, seen.resolver) == ("1.30.6", 0.0, True)
    assert seen.addresses == {"api-1": ("10.0.0.1", "10.0.0.2"), "api.example.com": ()}


def test_its_process() -> None:
    seen = facts.parse(SURVEY)
    assert seen.process == Process(
        pid=4711,
        executable=f"{BINARY} (deleted)",
        sha256="dd44",
        version="1.26.3",
        started=1000080.0,
        identity="f00d:4711:8000",
        workers={4712: 1000090.5},
    )
    assert (seen.version, seen.replaced) == ("1.26.3", True)
    same = replace(seen.process, sha256="aa11")
    assert not replace(seen, process=same).replaced


def test_its_listeners() -> None:
    assert facts.parse(SURVEY).listening == {
        LISTEN: None,
        Endpoint("::1", 8443): None,
        Endpoint("0.0.0.0", 8080): Holder(77, "haproxy.service", "/usr/sbin/haproxy?(deleted)", "ha?proxy"),
        Endpoint("127.0.0.2", 8080): Holder(78, "", "/opt/x", "x"),
        Endpoint("127.0.0.3", 8080): Holder(0, "", "-", "unknown"),
    }


@pytest.mark.parametrize("text", ["", "\n", "motd\n", "kn.\nkn.arch\nkn.unit.\n"])
def test_a_survey_that_says_nothing(text: str) -> None:
    seen = facts.parse(text)
    assert (seen.uid, seen.systemd, seen.process, seen.version, seen.replaced) == (-1, False, None, "", False)
    assert (seen.state, seen.active, seen.enabled, seen.masked) == ("not installed", False, False, False)
    assert (seen.files, seen.listening, seen.free) == ({}, {}, 0)
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
    assert facts.parse(SURVEY, asked, answered).clock == pytest.approx(clock)


@pytest.mark.parametrize("text", ["", "kn.now=\nkn.end=\n", "kn.now="])
def test_a_node_that_does_not_tell_the_time(text: str) -> None:
    assert facts.parse(text, 1000.0, 1001.0).clock == 0.0


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
    assert facts.parse(f"kn.address.x={told}").addresses == {"x": addresses}


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


def test_a_masked_unit() -> None:
    assert Facts(unit={"LoadState": "masked"}).masked


def test_systemd_before_235_counts_no_restarts() -> None:
    assert facts.parse("kn.unit.LoadState=loaded").restarts is None


class TestTook:
    """Whether the process has read a file as it is now."""

    CHANGED = 100.0
    OURS = "boot:7:42"

    def seen(self, started: float, *workers: float, **recorded: str) -> Facts:
        process = Process(7, BINARY, "", "", started, self.OURS, dict(enumerate(workers)))
        files = {CONF: File("cc", changed=self.CHANGED), UNIT: File("uu", changed=self.CHANGED)}
        return Facts(files=files, process=process, recorded=recorded)

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
        seen = self.seen(50, 60, **recorded)
        assert (seen.took(CONF, "conf"), seen.took(UNIT, "unit")) == (conf, unit)

    @pytest.mark.parametrize(
        ("started", "workers", "conf", "unit"),
        [
            (150.0, [160.0], True, True),
            (50.0, [160.0], True, False),  # a reload reads the configuration, and no unit
            (50.0, [60.0, 160.0], False, False),  # one of the old workers goes on
            (150.0, [], False, True),
            (100.0, [100.0], False, False),
        ],
    )
    def test_by_the_times_where_nothing_is_recorded(
        self, started: float, workers: list[float], conf: bool, unit: bool
    ) -> None:
        seen = self.seen(started, *workers, main="another", conf="cc", unit="uu")
        assert (seen.took(CONF, "conf"), seen.took(UNIT, "unit")) == (conf, unit)

    def test_not_without_a_file_or_a_process(self) -> None:
        seen = self.seen(150, 160, main=self.OURS, conf="cc")
        assert not replace(seen, process=None).took(CONF, "conf")
        assert not replace(seen, files={}).took(CONF, "conf")


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
    line = facts.as_kernel(Endpoint(str(host), port))
    read = getattr(host, "ipv4_mapped", None) or host
    assert facts.parse(f"kn.listen.{line}=ours").listening == {Endpoint(str(read), port): None}


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_this_kernel_writes_them_so(host: str) -> None:
    family, table = (socket.AF_INET6, "tcp6") if ":" in host else (socket.AF_INET, "tcp")
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip(f"no {host} here")
    with listener:
        port = listener.getsockname()[1]
        assert f" {facts.as_kernel(Endpoint(host, port))} " in Path(f"/proc/net/{table}").read_text()


SYSTEMCTL = r"""#!/bin/sh
# show -p PROPERTIES UNIT
case ,$3, in *,LoadState,*) echo LoadState=loaded ;; esac
case ,$3, in *,DropInPaths,*) echo "DropInPaths=/etc/x.conf /run/y.conf" ;; esac
case ,$3, in *,MainPID,*) echo "MainPID=$(cat "${0%/*}/$4.pid" 2>/dev/null)" ;; esac
"""


@dataclass
class Machine:
    """This machine, with a unit, a prefix and a systemd of the test's own."""

    folder: Path
    units: Path
    proxy: Proxy

    def main(self, pid: int, unit: str = commands.UNIT) -> None:
        """Has systemd say that this is the unit's main process."""
        (self.folder / "bin" / f"{unit}.pid").write_text(f"{pid}\n")

    def survey(
        self, main: int = 0, unit: str = "", names: Sequence[str] = (), **instead: tuple[str, str]
    ) -> Facts:
        """What a survey sees, with this main process; `unit` is that of any process.

        `instead` changes the script: what is replaced, and what it becomes.
        """
        self.main(main)
        script = commands.survey(self.proxy, names)
        for old, new in instead.values():
            assert old in script
            script = script.replace(old, new)
        if unit:
            (self.folder / "cgroup").write_text(f"1:name=systemd:/system.slice/{unit}\n0::/\n")
            assert "/proc/$holder/cgroup" in script
            script = script.replace("/proc/$holder/cgroup", str(self.folder / "cgroup"))
        ran = subprocess.run(
            ["sh", "-c", commands.shell(script)],
            env={**os.environ, "PATH": f"{self.folder}/bin:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        assert ran.stderr == ""
        return facts.parse(ran.stdout)

    def program(self, name: str, text: str) -> None:
        """Puts a shell script in place of a program of this machine."""
        file = self.folder / "bin" / name
        file.write_text(f"#!/bin/sh\n{text}\n")
        file.chmod(0o755)


@pytest.fixture(params=["sh", "bash"])
def machine(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
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
    monkeypatch.setattr(commands, "UNIT_PATH", str(units / commands.UNIT))
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
    prefix, unit = Path(machine.proxy.prefix), machine.units / commands.UNIT
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
    assert seen.directories == {"conf": me, "logs": me}
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


def test_the_survey_of_a_process(machine: Machine) -> None:
    """A shell for a master, whose children are workers, old and new: all have the socket."""
    binary = copied("dash" if shutil.which("dash") else "sh", Path(commands.binary_path(machine.proxy)))
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
        eventually(lambda: all(n in told(pid) for n, pid in zip(names, children, strict=True)))
        seen, again = machine.survey(master.pid), machine.survey(master.pid)
        for child in children:
            os.kill(child, signal.SIGKILL)
    assert seen.process is not None
    assert (seen.process.pid, seen.process.executable) == (master.pid, str(binary))
    assert seen.process.sha256 == sha256(binary.read_bytes()).hexdigest()
    assert seen.process.started == pytest.approx(time(), abs=30)
    assert seen.process.workers == {children[0]: pytest.approx(time(), abs=30)}
    assert again.process is not None
    assert again.process.identity == seen.process.identity
    assert seen.listening[address] is None


def told(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def eventually(true: Callable[[], bool], seconds: float = 20) -> None:
    """Waits until something is true."""
    end = monotonic() + seconds
    while not true():
        assert monotonic() < end
        sleep(0.01)


def test_the_survey_does_not_run_what_the_service_runs(machine: Machine) -> None:
    """Its version is read: the file may be somebody else's than root's."""
    binary = copied("sleep", Path(commands.binary_path(machine.proxy)))
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
    binary = copied("sleep", Path(commands.binary_path(machine.proxy)))
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


def test_the_survey_reports_drop_ins(machine: Machine) -> None:
    assert machine.survey().unit["DropInPaths"] == "/etc/x.conf /run/y.conf"


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
    binary = copied("sleep", Path(commands.binary_path(machine.proxy)))
    with listening() as (listener, address), running(binary, "600", keeps=listener) as stray:
        binary.unlink()
        machine.proxy = replace(machine.proxy, listen=(address,))
        holder = machine.survey().holder(address)
    assert holder is not None
    assert (holder.pid, holder.executable, holder.name) == (stray.pid, f"{binary}?(deleted)", "kube-nginx")


@pytest.mark.parametrize(
    "half",
    [
        " 600 0 1.5",  # this login may not read it
        "aa11 ",  # it went away after it was read
        "",
    ],
)
def test_a_file_that_could_not_be_read_is_as_good_as_none(half: str) -> None:
    seen = facts.parse(f"kn.uid=1000\nkn.file./x={half}\nkn.file./y=aa11 644 0 1.5\n")
    assert (seen.uid, seen.files) == (1000, {"/y": File("aa11", changed=1.5)})


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
    seen = facts.parse(f"kn.uid=1000\nkn.listen.0100007F:20FB={half}\n")
    assert (seen.uid, seen.holder(LISTEN)) == (1000, Holder(0, "", "", "unknown"))
    assert not seen.listens(LISTEN)


def test_a_worker_that_ended_while_the_survey_looked_at_it() -> None:
    seen = facts.parse(f"{SURVEY}kn.worker.4713=\n").process
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
    assert facts.parse(line).holder(LISTEN) == (SOMEBODY if excluded else None)


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
    machine.program("getent", GETENT)
    names = ["dead-1", "dead-2", "dead-3", "dead-4", "api-1"]
    began = monotonic()
    seen = machine.survey(names=names, soon=("timeout 5 ", "timeout 1 "))
    assert 1 <= monotonic() - began < 3
    assert [bool(seen.addresses[name]) for name in names] == [False] * 4 + [True]


def test_a_machine_without_getent_says_so(machine: Machine) -> None:
    seen = machine.survey(names=["api-1"], gone=("getent", "no-such-getent"))
    assert (seen.resolver, seen.addresses) == (False, {"api-1": ()})


def test_the_survey_tells_the_time_at_both_ends(machine: Machine) -> None:
    began = time()
    machine.program("getent", "exec sleep 0.5")
    script = commands.shell(commands.survey(machine.proxy, ["api-1"]))
    path = f"{machine.folder}/bin:{os.environ['PATH']}"
    ran = subprocess.run(
        ["sh", "-c", script], env={**os.environ, "PATH": path}, capture_output=True, text=True, check=True
    )
    told = dict(line.split("=", 1) for line in ran.stdout.splitlines())
    assert began <= float(told["kn.now"]) <= float(told["kn.end"]) - 0.5 <= time() - 0.5
    assert facts.parse(ran.stdout, began, time()).clock == 0.0
    assert facts.parse(ran.stdout, began - 60, time() - 60).clock == pytest.approx(60, abs=0.2)
