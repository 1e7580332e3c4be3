"""What would go wrong on a node, and what people read of it."""

from __future__ import annotations

import platform
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest

from tasks.core.config.address import Endpoint
from tasks.core.config.model import Proxy, Settings
from tasks.core.facts.facts import Facts, Holder
from tasks.core.facts.layout import notes
from tasks.core.release.release import BINARY, CONF, NAMES, UNIT, Release, release
from tasks.core.rollout.plan import Action, Plan
from tasks.core.rollout.preflight import in_the_way, obstacles, taken

PROXY = Proxy()
SETTINGS = Settings(None, "recommended", (), (Endpoint("api-1", 6443), Endpoint("10.0.0.1", 6443)))
(LISTEN,) = PROXY.listen
RELEASE = release("1.30.6", "2.17", b"x" * 1_999_990, "12345", "67890")
STATIC = replace(RELEASE, glibc="")
HEALTHY = Facts(
    arch="x86_64",
    systemd=True,
    libc="glibc 2.31",
    free=4_000_000,
    mounts={"prefix": "rw,relatime", "unit": "rw,nosuid,nodev"},
    unit={"LoadState": "not-found"},
)
EVERYTHING = Plan(Action.INSTALL, (), NAMES, stages=True)
NO_FILES = Plan(Action.RESTART, (), ())
TO_BE_KEPT = Plan(Action.MODE, (), (), stages=True)


def met(
    plan: Plan = EVERYTHING, release: Any = RELEASE, proxy: Proxy = PROXY, **changes: Any
) -> list[tuple[str, str]]:
    """Message and hint of each obstacle on a node that is healthy but for these `changes`."""
    settings = replace(SETTINGS, proxy=proxy)
    errors = obstacles(release, plan, replace(HEALTHY, **changes), settings)
    return [(error.message, error.hint) for error in errors]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"libc": "glibc 2.17"},
        {"libc": "glibc 2.100"},
        {"libc": "glibc 3"},
        {"libc": "", "release": STATIC},
        {"free": 0, "mounts": {"prefix": "ro,noexec", "unit": "ro"}, "plan": NO_FILES},
        {"free": 0, "mounts": {"prefix": "ro", "unit": "ro"}, "plan": Plan(Action.NOTHING, (), ())},
        {
            "mounts": {"prefix": "rw", "unit": "ro"},
            "plan": Plan(Action.RESTART, (), (BINARY, CONF), stages=True),
        },
        {"mounts": {"prefix": "rw", "unit": "ro"}, "plan": TO_BE_KEPT},
        {"journal": "none"},
        {"unit": {"LoadState": "loaded", "LimitNOFILE": "1024"}},
        {"mounts": {"prefix": "rw,errors=remount-ro,nodev,roaming"}},
        {"mounts": {}},
        {"unit": {"LoadState": "loaded"}},
        {"listening": {LISTEN: None}},
        {"addresses": {"api-1": ("10.0.0.7", "127.0.0.1")}},
        {"listening": {Endpoint("127.0.0.1", 6443): Holder(9, "", "/x", "kube-apiserver")}},
        {"listening": {Endpoint("10.0.0.1", 8443): Holder(9, "", "/x", "other")}},
    ],
)
def test_none(changes: dict[str, Any]) -> None:
    assert met(**changes) == []


@pytest.mark.parametrize(
    ("changes", "message", "hint"),
    [
        ({"systemd": False}, "systemd is not PID 1 there", "kube-nginx runs under systemd only"),
        (
            {"unit": {"LoadState": "masked"}},
            "the unit is masked",
            "somebody wanted it so; if that is over: systemctl unmask kube-nginx on the node",
        ),
        (
            {"free": 3_900_000},
            "3.9 MB are free under /opt/k8s/kube-nginx, 4.0 MB are needed",
            "make room; on the node: df -h /opt/k8s/kube-nginx",
        ),
        (
            {"free": 3_900_000, "plan": TO_BE_KEPT},
            "3.9 MB are free under /opt/k8s/kube-nginx, 4.0 MB are needed",
            "make room; on the node: df -h /opt/k8s/kube-nginx",
        ),
        (
            {"instead": {"/opt/k8s/kube-nginx/releases": "no folder"}},
            "/opt/k8s/kube-nginx/releases is no folder",
            "see what it is, and move it away: kube-nginx needs that place",
        ),
        (
            {"mounts": {"prefix": "nodev,ro", "unit": "rw"}},
            "/opt/k8s/kube-nginx is on a file system that is mounted read-only",
            "on the node: findmnt -T /opt/k8s/kube-nginx; or choose another proxy.prefix",
        ),
        (
            {"mounts": {"prefix": "rw,noexec,nodev", "unit": "rw"}},
            "/opt/k8s/kube-nginx is on a file system that is mounted noexec, "
            "so that nothing can be run from it",
            "on the node: findmnt -T /opt/k8s/kube-nginx; or choose another proxy.prefix",
        ),
        (
            {"mounts": {"prefix": "rw", "unit": "ro,nodev"}},
            "/etc/systemd/system is on a file system that is mounted read-only",
            "on the node: findmnt -T /etc/systemd/system",
        ),
        (
            {"libc": "glibc 2.9"},
            "the binary needs glibc 2.17, and the node has 2.9",
            "build on the oldest distribution of the fleet (build.hosts), or build.static = true",
        ),
        (
            {"libc": ""},
            "the binary needs glibc 2.17, and the node has none",
            "build one that needs no libc: build.static = true, then fab build",
        ),
        (
            {"listening": {LISTEN: Holder(9, "haproxy.service", "/usr/sbin/haproxy", "haproxy")}},
            "127.0.0.1:8443 is held by haproxy (PID 9, haproxy.service)",
            "on the node: systemctl stop haproxy.service; or choose another proxy.listen",
        ),
        (
            {"listening": {LISTEN: Holder(9, "session-1.scope", "/usr/bin/nc", "nc")}},
            "127.0.0.1:8443 is held by nc (PID 9, session-1.scope)",
            "on the node: end PID 9; or choose another proxy.listen",
        ),
        (
            {"listening": {Endpoint("::", 8443): Holder(9, "", "/x", "other")}},
            "127.0.0.1:8443 is held by other (PID 9)",
            "on the node: end PID 9; or choose another proxy.listen",
        ),
        (
            {"listening": {Endpoint("0.0.0.0", 8443): Holder(9, "a.service", "/x", "kube-apiserver")}},
            "127.0.0.1:8443 is held by kube-apiserver (PID 9, a.service)",
            "the node is itself an apiserver; give that another --secure-port, or kube-nginx another "
            "proxy.listen",
        ),
    ],
)
def test_one(changes: dict[str, Any], message: str, hint: str) -> None:
    assert met(**changes) == [(message, hint)]


@pytest.mark.parametrize("plan", [NO_FILES, Plan(Action.NOTHING, (), ())])
def test_what_stands_in_the_way_even_of_a_restart(plan: Plan) -> None:
    listening = {LISTEN: Holder(9, "", "/x", "other")}
    instead = {"/x/conf": "no folder"}
    masked = {"LoadState": "masked"}
    found = met(plan, systemd=False, libc="", unit=masked, listening=listening, instead=instead)
    assert [message for message, _ in found] == [
        "systemd is not PID 1 there",
        "the unit is masked",
        "/x/conf is no folder",
        "the binary needs glibc 2.17, and the node has none",
        "127.0.0.1:8443 is held by other (PID 9)",
    ]


@pytest.mark.parametrize("plan", [EVERYTHING, NO_FILES, Plan(Action.NOTHING, (), ())])
def test_a_name_that_does_not_resolve_or_is_the_proxy_itself(plan: Plan) -> None:
    ((message, hint),) = met(plan, addresses={"api-1": ()})
    assert message == "api-1 does not resolve on the node"
    assert hint.startswith("on the node: getent ahosts api-1; ")
    proxy = replace(PROXY, listen=(Endpoint("127.0.0.1", 6443),))
    ((message, _),) = met(plan, proxy=proxy, addresses={"api-1": ("127.0.0.1",)})
    assert message.endswith("the proxy, which has 127.0.0.1:6443, would connect to itself")


def test_a_stray_is_none_since_it_is_ended() -> None:
    listening = {LISTEN: Holder(77, "", "/opt/k8s/kube-nginx/sbin/kube-nginx", "kube-nginx")}
    assert met(replace(EVERYTHING, unmanaged=(77,)), listening=listening) == []
    assert [message for message, _ in met(replace(EVERYTHING, unmanaged=(78,)), listening=listening)] == [
        "127.0.0.1:8443 is held by kube-nginx (PID 77)"
    ]


def test_what_stands_in_the_way_of_what_has_no_plan() -> None:
    """As of a rollback and a restart: nobody is ended for them."""
    facts = replace(HEALTHY, listening={LISTEN: Holder(77, "", "/x", "kube-nginx")})
    assert [error.message for error in taken(facts, PROXY)] == [
        "127.0.0.1:8443 is held by kube-nginx (PID 77)"
    ]
    assert list(taken(facts, PROXY, (77,))) == []
    assert list(taken(replace(HEALTHY, listening={LISTEN: None}), PROXY)) == []


def test_each_listen_address_that_is_taken() -> None:
    other = Endpoint("::1", 9443)
    proxy = replace(PROXY, listen=(LISTEN, other))
    one, two = Holder(9, "", "/x", "one"), Holder(10, "", "/y", "two")
    assert [message for message, _ in met(proxy=proxy, listening={LISTEN: one, other: two})] == [
        "127.0.0.1:8443 is held by one (PID 9)",
        "[::1]:9443 is held by two (PID 10)",
    ]


def test_room_is_for_the_files_as_they_arrive_and_as_they_are_put_in_place() -> None:
    assert RELEASE.size == 2_000_000
    assert met(free=4_000_000) == []
    assert len(met(free=3_999_999)) == 1


def test_the_unit_has_its_own_file_system() -> None:
    mounts = {"prefix": "rw", "unit": "ro"}
    assert met(Plan(Action.RESTART, (), (BINARY, CONF), stages=True), mounts=mounts) == []
    assert len(met(Plan(Action.RESTART, (), (UNIT,), stages=True), mounts=mounts)) == 1


def test_each_place_that_is_taken() -> None:
    facts = replace(
        HEALTHY, unsafe=dict.fromkeys(("/it's", "/etc/systemd"), "belongs to ops and has mode 755")
    )
    told = [(e.message, e.hint) for e in in_the_way(facts)]
    where = shlex.quote("/it's")
    assert told == [
        (
            "/it's belongs to ops and has mode 755: who may write there can have root run anything",
            f"on the node: chown root: {where}; chmod go-w {where}; or choose another proxy.prefix",
        ),
        (
            "/etc/systemd belongs to ops and has mode 755: who may write there can have root run anything",
            "on the node: chown root: /etc/systemd; chmod go-w /etc/systemd",
        ),
    ]
    facts = replace(HEALTHY, instead={"/x/sbin": "no folder", "/x/conf/y": "a folder that is not empty"})
    assert [error.message for error in in_the_way(facts)] == [
        "/x/sbin is no folder",
        "/x/conf/y is a folder that is not empty",
    ]
    assert list(in_the_way(HEALTHY)) == []


class TestNotes:
    """What works, and is worth knowing."""

    def told(self, unit: dict[str, str], journal: str = "", connections: int = 4096) -> list[str]:
        facts = replace(HEALTHY, unit={"LoadState": "loaded"} | unit, journal=journal)
        return list(notes(facts, replace(PROXY, worker_connections=connections)))

    @pytest.mark.parametrize(
        ("unit", "limit"),
        [
            ({"LimitNOFILE": "1024", "LimitNOFILESoft": "1024"}, "1024"),
            ({"LimitNOFILE": "524288", "LimitNOFILESoft": "1024"}, "1024"),
            ({"LimitNOFILE": "4095"}, "4095"),
            ({"LimitNOFILE": "infinity", "LimitNOFILESoft": "512"}, "512"),
        ],
    )
    def test_too_few_open_files(self, unit: dict[str, str], limit: str) -> None:
        told = f"the unit allows {limit} open files (LimitNOFILE), fewer than proxy.worker_connections, 4096"
        assert self.told(unit) == [told]
        assert self.told(unit | {"DropInPaths": "/etc/x.conf /run/y.conf"}) == [
            f"{told}; see /etc/x.conf /run/y.conf"
        ]

    @pytest.mark.parametrize(
        "unit",
        [
            {"LimitNOFILE": "4096", "LimitNOFILESoft": "4096"},
            {"LimitNOFILE": "infinity", "LimitNOFILESoft": "infinity"},
            {"LimitNOFILE": "524288", "LimitNOFILESoft": ""},
            {},
            # of a unit that is not there it is systemd's default
            {"LoadState": "not-found", "LimitNOFILE": "1024", "LimitNOFILESoft": "1024"},
        ],
    )
    def test_enough_of_them_or_nobody_knows(self, unit: dict[str, str]) -> None:
        assert self.told(unit) == []

    def test_fewer_connections_need_fewer(self) -> None:
        assert self.told({"LimitNOFILE": "1024"}, connections=1024) == []
        assert len(self.told({"LimitNOFILE": "1024"}, connections=1025)) == 1

    @pytest.mark.parametrize(
        ("storage", "is_told"),
        [("none", True), ("", False), ("auto", False), ("volatile", False), ("persistent", False)],
    )
    def test_a_journal_that_keeps_nothing(self, storage: str, is_told: bool) -> None:
        text = "journald stores nothing there (Storage=none), so that fab logs stays empty"
        assert self.told({}, journal=storage) == ([text] if is_told else [])

    def test_both(self) -> None:
        assert len(self.told({"LimitNOFILE": "1024"}, journal="none")) == 2


def test_a_holder_that_cannot_be_seen() -> None:
    """It stands as PID 0, which nobody can end."""
    assert met(listening={LISTEN: Holder(0, "", "", "unknown")}) == [
        (
            "127.0.0.1:8443 is held by a process that cannot be seen",
            "find out who it is; on the node: ss -ltnp",
        )
    ]


def for_machine(number: int, order: Literal["little", "big"] = "little") -> Release:
    """A release whose binary has the header of an ELF file: e_machine is its bytes 18 and 19."""
    ident = b"\x7fELF" + bytes([2, 2 if order == "big" else 1, 1]) + bytes(9)
    header = ident + (2).to_bytes(2, order) + number.to_bytes(2, order)
    return release("1.30.6", "", header + bytes(100), "", "")


MACHINES: list[tuple[str, int, Literal["little", "big"]]] = [
    ("x86_64", 62, "little"),
    ("aarch64", 183, "little"),
    ("ppc64le", 21, "little"),
    ("s390x", 22, "big"),
    ("riscv64", 243, "little"),
]


@pytest.mark.parametrize(("arch", "number", "order"), MACHINES)
def test_a_binary_for_the_nodes_machine(arch: str, number: int, order: Literal["little", "big"]) -> None:
    assert met(release=for_machine(number, order), arch=arch) == []


@pytest.mark.parametrize("plan", [EVERYTHING, NO_FILES])
@pytest.mark.parametrize(("arch", "number", "order"), MACHINES)
def test_a_binary_for_another_machine(
    plan: Plan, arch: str, number: int, order: Literal["little", "big"]
) -> None:
    node = "aarch64" if arch == "x86_64" else "x86_64"
    message = f"the binary is for {arch}, the node is {node}"
    hint = "build it again: fab build --force"
    assert met(plan, for_machine(number, order), arch=node) == [(message, hint)]


def test_a_binary_for_a_machine_that_we_do_not_know() -> None:
    ((message, _),) = met(release=for_machine(40))
    assert message == "the binary is for another architecture, the node is x86_64"


@pytest.mark.parametrize("arch", ["", "armv7l", "mips64"])
def test_a_node_of_which_we_do_not_know_what_its_binaries_say(arch: str) -> None:
    assert met(release=for_machine(62), arch=arch) == []


@pytest.mark.skipif(platform.machine() not in dict.fromkeys(arch for arch, *_ in MACHINES), reason="unknown")
def test_a_binary_of_this_machine() -> None:
    mine = release("1.30.6", "", Path("/proc/self/exe").read_bytes(), "", "")
    assert met(release=mine, arch=platform.machine(), free=2 * mine.size) == []
