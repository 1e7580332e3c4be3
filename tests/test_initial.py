"""The hosts.toml that `fab init` makes: what goes in comes out again, and it replaces nothing."""

from __future__ import annotations

import resource
import tomllib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.config.address import Endpoint, NodeSpec
from tasks.core.config.settings import SettingsError, load, parse
from tasks.core.errors import KubeNginxError
from tasks.core.setup import initial
from tasks.core.setup.initial import InitialConfig

from .hosts_data import FILE
from .strategies import brief, thorough

SMALL = InitialConfig((NodeSpec("worker-1", "worker-1"),), (Endpoint("10.0.0.1", 6443),))

names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,9}", fullmatch=True)
# what names this machine, or nobody, cannot be an apiserver; ::ffff:1.2.3.4 is parsed as 1.2.3.4
addresses = (
    st.ip_addresses()
    .filter(lambda ip: not ip.is_multicast and not (ip.version == 6 and ip.is_link_local))
    .map(str)
    .filter(lambda text: not text.startswith(("127.", "0.", "255.255.255.255", "::")))
)
hosts = addresses | st.from_regex(r"[a-z_][a-z0-9_-]{0,7}", fullmatch=True)
ports = st.integers(1, 65535)
nodes = st.builds(
    NodeSpec,
    names,
    hosts,
    st.none() | st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._@+-]{0,9}", fullmatch=True),
    st.none() | ports,
    st.lists(names, max_size=2, unique=True).map(tuple),
)


def unambiguous(nodes: list[NodeSpec]) -> bool:
    """Whether no name is the host of another node, or a group."""
    hosts, groups = {n.host for n in nodes}, {g.lower() for n in nodes for g in n.groups}
    return all(n.name.lower() not in groups | (hosts - {n.host}) for n in nodes)


fleets = st.lists(
    nodes, min_size=1, max_size=5, unique_by=(lambda node: node.name.lower(), lambda node: node.host)
).filter(unambiguous)
endpoints = st.lists(st.builds(Endpoint, hosts, ports), min_size=1, max_size=5, unique=True)
listeners = st.builds(Endpoint, st.just("127.0.0.1"), st.integers(1024, 65535)).map(lambda one: (one,))


@brief
@given(fleets.map(tuple), endpoints.map(tuple), listeners, st.booleans())
def test_what_goes_in_comes_out(
    nodes: tuple[NodeSpec, ...],
    apiservers: tuple[Endpoint, ...],
    listen: tuple[Endpoint, ...],
    assumed: bool,
) -> None:
    data = tomllib.loads(InitialConfig(nodes, apiservers, listen, assumed).text())
    settings = parse(data, FILE)
    assert (settings.nodes, settings.apiservers, settings.proxy.listen) == (nodes, apiservers, listen)
    assert ("proxy" in data) == (listen != (Endpoint("127.0.0.1", 8443),))


@thorough
@given(st.text(st.characters(blacklist_categories=["Cs"])))
def test_any_text_can_be_quoted(text: str) -> None:
    assert tomllib.loads(f"x = {initial.quoted(text)}") == {"x": text}


@pytest.mark.parametrize("text", ["\x00", "\x1f", "\x7f", '"', "\\", "\\u0041", "\n", "\r\n", "\u2028", "é"])
def test_odd_text_can_be_quoted(text: str) -> None:
    assert tomllib.loads(f"x = {initial.quoted(text)}") == {"x": text}


def test_the_whole_text() -> None:
    fleet = InitialConfig(
        (NodeSpec("worker-1", "10.0.0.11", groups=("rack-a",)), NodeSpec("fd00::1", "fd00::1", "root", 2222)),
        (Endpoint("fd00::2", 6443),),
        (Endpoint("127.0.0.1", 9443),),
        assumed=True,
        prefix="/srv/kube-nginx",
        labels=("master-1",),
        notes=("a note " * 20,),
    )
    lines = [line for line in fleet.text().splitlines() if line and not line.startswith("#")]
    assert lines == [
        "nodes = [",
        '  { host = "10.0.0.11", name = "worker-1", groups = ["rack-a"] },',
        '  "root@[fd00::1]:2222",',
        "]",
        "apiservers = [",
        '  "[fd00::2]:6443",  # master-1',
        "]",
        "[proxy]",
        'prefix = "/srv/kube-nginx"',
        'listen = ["127.0.0.1:9443"]',
    ]
    assert "please check" in fleet.text()
    assert all(len(line) <= 110 for line in fleet.text().splitlines())


def test_the_login_in_the_comment_is_valid(tmp_path: Path) -> None:
    text = SMALL.text().replace("# [ssh]", "[ssh]").replace("# user =", "user =").replace("# sudo", "sudo")
    settings = parse(tomllib.loads(text), FILE)
    assert (settings.ssh.user, settings.ssh.sudo) == ("admin", True)


def test_created(tmp_path: Path) -> None:
    path = tmp_path / "hosts.toml"
    assert initial.create(SMALL, path) == load(path)
    assert path.read_text() == SMALL.text()


def test_nothing_invalid_is_written(tmp_path: Path) -> None:
    loop = InitialConfig(SMALL.nodes, (Endpoint("127.0.0.1", 8443),))
    with pytest.raises(SettingsError, match="own listener"):
        initial.create(loop, tmp_path / "hosts.toml")
    assert list(tmp_path.iterdir()) == []


def in_the_way() -> Iterator[tuple[str, Callable[[Path], object]]]:
    yield "a file", lambda path: path.write_text("mine")
    yield "an empty file", lambda path: path.touch()
    yield "a link to nowhere", lambda path: path.symlink_to(path.parent / "nowhere")
    yield "a folder", lambda path: path.mkdir()


def made(path: Path) -> tuple[int, ...]:
    """All that writing would change; looking at a link may change when it was last looked at."""
    seen = path.lstat()
    return seen.st_ino, seen.st_mode, seen.st_size, seen.st_mtime_ns, seen.st_ctime_ns


@pytest.mark.parametrize("put", [put for _, put in in_the_way()], ids=[name for name, _ in in_the_way()])
def test_what_is_there_stays(tmp_path: Path, put: Callable[[Path], object]) -> None:
    path = tmp_path / "hosts.toml"
    put(path)
    before = made(path)
    with pytest.raises(KubeNginxError, match=r"--to") as caught:
        initial.create(SMALL, path)
    assert caught.value.exit_code == 1
    assert made(path) == before
    assert [entry.name for entry in tmp_path.iterdir()] == ["hosts.toml"]


def test_what_appears_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "hosts.toml"
    monkeypatch.setattr(initial, "refuse_taken", Path.touch)  # another `fab init`, between look and write
    with pytest.raises(KubeNginxError, match="is there and stays as it is"):
        initial.create(SMALL, path)
    assert path.read_text() == ""


def test_no_folder_for_it(tmp_path: Path) -> None:
    with pytest.raises(KubeNginxError, match=r"there is no folder .*/none; make it"):
        initial.create(SMALL, tmp_path / "none" / "hosts.toml")


def test_a_file_that_does_not_fit_is_removed_again(tmp_path: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, before[1]))
    try:
        with pytest.raises(KubeNginxError, match="cannot be written: File too large"):
            initial.create(SMALL, tmp_path / "hosts.toml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(tmp_path.iterdir()) == []
