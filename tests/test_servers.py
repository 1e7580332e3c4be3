"""Apiservers that are named by names, and what a node makes of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest

from tasks.core.config import settings
from tasks.core.config.address import Endpoint, parse_endpoint
from tasks.core.config.model import Settings, Watch
from tasks.core.errors import StepError
from tasks.core.facts.facts import Facts
from tasks.core.facts.paths import WATCH, WATCH_UNIT
from tasks.core.nginx import store
from tasks.core.nginx.build_commands import Inspected
from tasks.core.release import render, servers
from tasks.core.release.release import BINARY, CONF, UNIT
from tasks.core.rollout.deployment import Releases
from tasks.core.rollout.preflight import unresolved

from .hosts_data import FILE, with_keys

GOLDEN = Path(__file__).parent / "golden" / "kube-nginx.conf"


def endpoints(*texts: str) -> tuple[Endpoint, ...]:
    return tuple(parse_endpoint(text, 6443) for text in texts)


def make(*apiservers: str, profile: str = "recommended", listen: Sequence[str] = ()) -> Settings:
    data = with_keys(profile=profile, apiservers=list(apiservers))
    return settings.parse(data | ({"proxy": {"listen": list(listen)}} if listen else {}), FILE)


def server_lines(conf: str) -> list[str]:
    return [line.split()[1] for line in conf.splitlines() if line.startswith("        server ")]


def test_the_names_among_the_apiservers() -> None:
    mixed = endpoints("api-2", "10.0.0.1", "api-1:6443", "[fd00::1]:6443", "api-2:7443", "::1", "a.b.example")
    assert servers.names(mixed) == ("api-2", "api-1", "a.b.example")
    assert servers.names(endpoints("10.0.0.1", "fd00::1")) == ()


@pytest.mark.parametrize(
    ("apiservers", "addresses", "expected"),
    [
        (["api-1"], {"api-1": ("10.0.0.1", "fd00::1")}, ["10.0.0.1:6443", "[fd00::1]:6443"]),
        (["b:1", "a:2"], {"a": ("10.0.0.1",), "b": ("10.0.0.2",)}, ["10.0.0.2:1", "10.0.0.1:2"]),
        (["a", "b"], {"a": ("10.0.0.1", "10.0.0.2"), "b": ("10.0.0.2",)}, ["10.0.0.1:6443", "10.0.0.2:6443"]),
        (["a", "10.0.0.1"], {"a": ("10.0.0.1",)}, ["10.0.0.1:6443"]),
        (["a:1", "a:2"], {"a": ("10.0.0.1",)}, ["10.0.0.1:1", "10.0.0.1:2"]),
        (["a", "10.0.0.1"], {}, ["a:6443", "10.0.0.1:6443"]),
        (["a", "b"], {"a": (), "b": ("10.0.0.1",)}, ["a:6443", "10.0.0.1:6443"]),
    ],
)
def test_what_nginx_is_told(
    apiservers: list[str], addresses: Mapping[str, tuple[str, ...]], expected: list[str]
) -> None:
    assert [str(there) for there in servers.resolved(endpoints(*apiservers), addresses)] == expected
    assert server_lines(render.conf(make(*apiservers), addresses)) == expected


def test_names_in_the_runbooks_profile_give_the_runbooks_file() -> None:
    addresses = {
        "api-1": ("172.27.138.251",),
        "api-2": ("172.27.137.229", "172.27.138.239"),
    }
    assert render.conf(make("api-1", "api-2", profile="runbook"), addresses) == GOLDEN.read_text()


def test_without_addresses_the_names_stay_and_it_is_said_why() -> None:
    note = "        # in place of each name, deploy writes the addresses to which the node resolves it\n"
    by_name = render.conf(make("api-1", "10.0.0.2"))
    assert f"    upstream backend {{\n{note}" in by_name
    assert server_lines(by_name) == ["api-1:6443", "10.0.0.2:6443"]
    assert render.conf(make("api-1", "10.0.0.2"), {"api-1": ("10.0.0.1",)}) == by_name.replace(
        note, ""
    ).replace("api-1", "10.0.0.1")


def met(chosen: Settings, resolver: bool = True, **addresses: tuple[str, ...]) -> list[tuple[str, str]]:
    names = {name.replace("_", "-"): found for name, found in addresses.items()}
    errors = unresolved(chosen, Facts(addresses=names, resolver=resolver))
    return [(error.message, error.hint) for error in errors]


def test_names_that_resolve_are_no_obstacle() -> None:
    assert met(make("api-1", "10.0.0.1"), api_1=("10.0.0.2",)) == []
    assert met(make("10.0.0.1"), resolver=False) == []
    assert met(make("api-1")) == []  # as in a survey that was asked for no names


def test_a_name_that_does_not_resolve() -> None:
    assert met(make("api-1", "api-3"), api_1=("10.0.0.2",), api_3=()) == [
        (
            "api-3 does not resolve on the node",
            "on the node: getent ahosts api-3; correct apiservers in hosts.toml, or the node's "
            "/etc/resolv.conf or /etc/hosts",
        )
    ]


def test_several_are_told_in_the_order_of_hosts_toml() -> None:
    ((message, hint),) = met(make("c", "a", "b"), a=(), b=(), c=())
    assert message == "c, a and b do not resolve on the node"
    assert "getent ahosts c;" in hint


def test_a_node_that_has_no_getent() -> None:
    assert met(make("api-1", "api-2"), resolver=False, api_1=(), api_2=()) == [
        (
            "the node has no getent, so that api-1 and api-2 cannot be resolved there",
            "install it there, or write addresses as apiservers in hosts.toml",
        )
    ]


@pytest.mark.parametrize(
    ("listen", "apiserver", "found", "there"),
    [
        ("127.0.0.1:8443", "api-1:8443", ("127.0.0.1",), "127.0.0.1:8443"),
        ("127.0.0.1:8443", "api-1:8443", ("10.0.0.1", "127.0.0.1", "::1"), "127.0.0.1:8443"),
        ("127.0.0.1:8443", "api-1:8443", ("0.0.0.0",), "0.0.0.0:8443"),
        ("[::1]:8443", "api-1:8443", ("127.0.0.1",), "127.0.0.1:8443"),
        ("0.0.0.0:6443", "api-1", ("127.0.1.1",), "127.0.1.1:6443"),
        ("10.0.0.7:6443", "api-1", ("10.0.0.7",), "10.0.0.7:6443"),
        ("127.0.0.1:8443", "api-1", ("127.0.0.1",), ""),
        ("127.0.0.1:8443", "api-1:8443", ("10.0.0.1",), ""),
    ],
)
def test_a_name_that_is_the_proxy_itself(
    listen: str, apiserver: str, found: tuple[str, ...], there: str
) -> None:
    message = f"{endpoints(apiserver)[0]} is {there} on the node: the proxy, which has {listen}, "
    expected = [
        (
            f"{message}would connect to itself",
            "name the apiserver's address in hosts.toml, or change proxy.listen",
        )
    ]
    assert met(make(apiserver, listen=[listen]), api_1=found) == (expected if there else [])


@pytest.fixture
def built(tmp_path: Path) -> Settings:
    """With binaries for two architectures, and a name and an address among the apiservers."""
    chosen = make("api-1", "10.0.0.9")
    chosen = replace(chosen, build=replace(chosen.build, work_dir=str(tmp_path)))
    for arch in ("x86_64", "aarch64"):
        content = f"for {arch}".encode()
        seen = Inspected("1.30.6", (), (), "2.17", arch, sha256(content).hexdigest())
        store.keep(chosen, content, seen)
        store.keep_watch(chosen, content, seen)
    return chosen


@pytest.fixture
def releases(built: Settings) -> Releases:
    return Releases(built)


def node(address: str, arch: str = "x86_64", kernel: str = "") -> Facts:
    return Facts(arch=arch, addresses={"api-1": (address,)}, kernel=kernel)


def test_the_watch_goes_along_where_there_is_to_be_one(releases: Releases) -> None:
    release = releases.for_node(node("10.0.0.1"))
    without = releases.for_node(node("10.0.0.1", kernel="4.4.0"))
    assert set(release.watch) == {WATCH, WATCH_UNIT}
    assert release.shipped.keys() - without.shipped.keys() == {WATCH, WATCH_UNIT}
    assert (without.name, without.sums) == (release.name, release.sums), "it is no part of the release"


def test_a_watch_that_was_not_built(built: Settings) -> None:
    binary = store.find_watch(built, "aarch64")
    assert binary
    Path(binary.path).unlink()
    there = Releases(built)
    there.for_node(node("10.0.0.1"))
    with pytest.raises(StepError, match="no kube-nginx-watch for aarch64 has been built"):
        there.for_node(node("10.0.0.1", "aarch64"))
    without = Releases(replace(built, watch=Watch(enabled=False)))
    assert not without.for_node(node("10.0.0.1", "aarch64")).watch


def test_nodes_that_resolve_differently_have_releases_of_their_own(releases: Releases) -> None:
    one, two = releases.for_node(node("10.0.0.1")), releases.for_node(node("10.0.0.2"))
    assert one.name != two.name
    assert [server_lines(made.texts[CONF]) for made in (one, two)] == [
        ["10.0.0.1:6443", "10.0.0.9:6443"],
        ["10.0.0.2:6443", "10.0.0.9:6443"],
    ]
    assert {made.sums[BINARY] for made in (one, two)} == {sha256(b"for x86_64").hexdigest()}
    assert one.texts[UNIT] == two.texts[UNIT]
    assert set(one.texts) == {CONF, UNIT}


def test_nodes_that_resolve_alike_share_one(releases: Releases) -> None:
    assert releases.for_node(node("10.0.0.1")) is releases.for_node(node("10.0.0.1"))
    same = Facts(arch="x86_64", addresses={"api-1": ("10.0.0.1", "10.0.0.9")})
    assert releases.for_node(same).name == releases.for_node(node("10.0.0.1")).name
    other = releases.for_node(node("10.0.0.1", "aarch64"))
    assert other.contents[BINARY] == b"for aarch64"
    assert other.name != releases.for_node(node("10.0.0.1")).name


def test_a_node_of_another_architecture(releases: Releases) -> None:
    with pytest.raises(StepError) as caught:
        releases.for_node(node("10.0.0.1", "riscv64"))
    assert caught.value.message == "the node is riscv64, and the binaries are for aarch64, x86_64"


def test_names_as_they_are_written() -> None:
    apiservers = [Endpoint("api-1", 6443), Endpoint("api-2", 6443), Endpoint("10.0.0.9", 6443)]
    addresses = {"api-1": ("10.0.0.1",), "api-2": ("10.0.0.2", "10.0.0.3")}
    text = "10.0.0.1:6443 x; 10.0.0.2:6443; 110.0.0.1:6443; 10.0.0.1:64430; 10.0.0.9:6443"
    told = "api-1:6443 x; 10.0.0.2:6443; 110.0.0.1:6443; 10.0.0.1:64430; 10.0.0.9:6443"
    assert servers.as_written(text, apiservers, addresses) == told
