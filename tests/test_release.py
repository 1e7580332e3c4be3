"""The name of a release, here and on the node."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from itertools import combinations
from pathlib import Path
from typing import ClassVar

import pytest

from tasks.core.config.model import Proxy
from tasks.core.facts.facts import Facts, File, Process
from tasks.core.facts.layout import folders
from tasks.core.release import release as releases
from tasks.core.release.release import BINARY, CONF, NAMES, UNIT, found, name_of, paths, release, serving
from tests.test_scripts import Place, functions, place, shell

__all__ = ["place", "shell"]

SUMS = {BINARY: "a" * 64, CONF: "b" * 64, UNIT: "c" * 64}


def test_the_name_is_stable() -> None:
    assert name_of(SUMS) == "6ef8f08a85"
    assert name_of(dict(reversed(SUMS.items()))) == name_of(SUMS)
    assert name_of({**SUMS, "other": "d"}) == name_of(SUMS)


def test_the_name_depends_on_each_file() -> None:
    names = {name_of(SUMS), name_of({})}
    for name in NAMES:
        names |= {name_of({**SUMS, name: "d" * 64}), name_of({k: v for k, v in SUMS.items() if k != name})}
    assert len(names) == 2 + 2 * len(NAMES)


def test_a_release() -> None:
    made = release("1.30.6", "2.17", b"\0binary", "é\n", "unit\n")
    assert (made.version, made.glibc, made.size) == ("1.30.6", "2.17", 7 + 3 + 5)
    assert made.contents == {BINARY: b"\0binary", CONF: "é\n".encode(), UNIT: b"unit\n"}
    assert made.sums == {name: sha256(content).hexdigest() for name, content in made.contents.items()}
    assert made.name == name_of(made.sums)
    assert replace(made, version="1.26.3", glibc="").name == made.name


def test_what_is_in_use_on_a_node() -> None:
    proxy = Proxy(prefix="/srv/x")
    where = paths(proxy)
    assert where == {
        BINARY: "/srv/x/sbin/kube-nginx",
        CONF: "/srv/x/conf/kube-nginx.conf",
        UNIT: "/etc/systemd/system/kube-nginx.service",
    }
    facts = Facts(files={where[CONF]: File("cc"), where[UNIT]: File("uu"), "/other": File("oo")})
    assert found(facts, proxy) == {CONF: "cc", UNIT: "uu"}
    assert found(Facts(), proxy) == {}


@pytest.mark.parametrize(
    ("user", "user_id", "logs"), [("kube-nginx", "998", "998"), ("kube-nginx", "", ""), ("", "", "0")]
)
def test_the_folders_and_whose_they_are(user: str, user_id: str, logs: str) -> None:
    assert folders(Proxy(prefix="/srv/x", user=user), user_id) == {
        "/srv/x": "0",
        "/srv/x/conf": "0",
        "/srv/x/logs": logs,
        "/srv/x/releases": "0",
        "/srv/x/sbin": "0",
    }


class TestServing:
    """The release that the processes have loaded, whatever is on disk."""

    PROXY = Proxy()
    WHERE = paths(PROXY)
    CHANGED, STARTED = 100.0, 200.0
    PROCESS = Process(
        7, WHERE[BINARY], SUMS[BINARY], "", STARTED, "boot:7:1", {8: STARTED}, frozenset({"8:1"})
    )
    RECORD: ClassVar = {
        "main": PROCESS.identity,
        "conf": SUMS[CONF],
        "unit": SUMS[UNIT],
        "changed": str(CHANGED),
        "workers": "8:1",
    }

    def seen(self, **sums: str) -> Facts:
        """A node whose process is that of the record, with these files."""
        there = {CONF: SUMS[CONF], BINARY: SUMS[BINARY], UNIT: SUMS[UNIT]} | sums
        later = {name: self.CHANGED if there[name] == SUMS[name] else self.STARTED + 100 for name in NAMES}
        files = {self.WHERE[name]: File(there[name], changed=later[name]) for name in NAMES if there[name]}
        return Facts(files=files, process=self.PROCESS, recorded=self.RECORD)

    def test_what_is_on_disk_was_taken(self) -> None:
        assert serving(self.seen(), self.PROXY) == name_of(SUMS)
        assert serving(replace(self.seen(), recorded={}), self.PROXY) == name_of(SUMS)

    @pytest.mark.parametrize("edited", [some for size in range(1, 4) for some in combinations(NAMES, size)])
    @pytest.mark.parametrize("sha256", ["edited", ""], ids=["edited", "removed"])
    def test_what_nobody_has_loaded_does_not_count(self, edited: tuple[str, ...], sha256: str) -> None:
        facts = self.seen(**dict.fromkeys(edited, sha256))
        assert serving(facts, self.PROXY) == name_of(SUMS)

    @pytest.mark.parametrize("name", [CONF, UNIT])
    @pytest.mark.parametrize("sha256", ["edited", ""], ids=["edited", "removed"])
    def test_without_a_record_it_is_not_known(self, name: str, sha256: str) -> None:
        facts = replace(self.seen(**{name: sha256}), recorded={})
        assert serving(facts, self.PROXY) == ""

    @pytest.mark.parametrize("is_recorded", [True, False])
    def test_a_configuration_that_somebody_loaded_by_hand(self, is_recorded: bool) -> None:
        by_hand = replace(self.PROCESS, workers={9: self.STARTED + 200}, worker_identities=frozenset({"9:2"}))
        facts = replace(self.seen(**{CONF: "edited"}), process=by_hand)
        facts = facts if is_recorded else replace(facts, recorded={})
        assert serving(facts, self.PROXY) == name_of({**SUMS, CONF: "edited"})

    def test_another_binary_than_the_one_on_disk(self) -> None:
        facts = replace(self.seen(), process=replace(self.PROCESS, sha256="older"))
        assert serving(facts, self.PROXY) == name_of({**SUMS, BINARY: "older"})

    @pytest.mark.parametrize("process", [None, replace(PROCESS, sha256="")], ids=["none", "unseen"])
    def test_what_does_not_run_or_cannot_be_seen(self, process: Process | None) -> None:
        assert serving(replace(self.seen(), process=process), self.PROXY) == ""


@pytest.mark.parametrize("there", [some for size in range(4) for some in combinations(NAMES, size)])
def test_a_node_computes_the_same_name(place: Place, there: tuple[str, ...]) -> None:
    contents = {BINARY: b"\0binary", CONF: b"conf\n", UNIT: b"unit\n"}
    some = {name: contents[name] for name in there}
    place.use(some)
    folder = place.releases / "it's a copy"
    folder.mkdir(parents=True)
    for name, content in some.items():
        (folder / name).write_bytes(content)
    done = functions(place, "name_of ''; name_of \"$releases/it's a copy\"")
    assert done.stdout == 2 * f"{name_of({name: sha256(c).hexdigest() for name, c in some.items()})}\n"


def test_a_node_that_has_a_release_in_use_says_its_name(place: Place) -> None:
    made = release("1.30.6", "", b"binary", "conf\n", "unit\n")
    place.use(dict(made.contents))
    assert functions(place, "name_of ''").stdout == f"{made.name}\n"


def test_a_node_without_a_file_does_not_complain(place: Place) -> None:
    assert functions(place, "name_of ''").stderr == ""


def test_the_node_and_we_know_the_same_files() -> None:
    text = (Path(__file__).parent.parent / "templates" / "common.sh").read_text()
    assert f"names='{' '.join(releases.NAMES)}'" in text
