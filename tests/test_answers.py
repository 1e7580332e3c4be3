"""Every script's class: its exit statuses are those of its files, it reads what real nodes answered."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from tasks.core.answer import Lines, read_answer, text
from tasks.core.config.address import Endpoint
from tasks.core.config.model import Build, Proxy
from tasks.core.errors import StepError
from tasks.core.facts import layout
from tasks.core.facts.facts import Facts
from tasks.core.facts.paths import UNIT_PATH, conf_path
from tasks.core.nginx.build_commands import Inspected, faults
from tasks.core.scripts.activate import Activated, Outcome
from tasks.core.scripts.drill import Drilled, DrillStatus
from tasks.core.scripts.reach import Met
from tasks.core.scripts.script import Script
from tasks.core.users.found import Kubeconfig

from .answers import ANSWERS, recorded
from .scripts import every

RELEASES = ("debian-11", "debian-12", "debian-13", "centos-7")
GLIBC = dict(zip(RELEASES, ("2.31", "2.36", "2.41", "2.17"), strict=True))
RESTARTS = dict(zip(RELEASES, (0, 0, 0, None), strict=True))
TEMPLATES = Path(__file__).parent.parent / "templates"
EVERY = {type(script).__name__: script for script in every()}
USUAL = {0, 1, 129, 130, 143}  # well, not well, and what a signal makes of a script


def exits(file: str) -> set[int]:
    """The exit statuses that a file of templates/ chooses itself."""
    text = (TEMPLATES / f"{file}.sh").read_text()
    return {int(status) for status in re.findall(r"\bexit (\d+)", text)} - USUAL


def comment(file: str) -> str:
    """What the file says of itself."""
    return re.match(r"(?:#.*\n)*", (TEMPLATES / f"{file}.sh").read_text())[0]  # type: ignore[index]


@pytest.mark.parametrize("name", EVERY)
def test_a_class_knows_the_exit_statuses_of_its_files(name: str) -> None:
    script = EVERY[name]
    chosen = {status for file in getattr(script, "files", ()) for status in exits(file)}
    known = {int(status) for kind in script.statuses for status in kind}
    assert chosen == known - {126, 127}  # which are the shell's, of lock.sh


@pytest.mark.parametrize("file", sorted(path.stem for path in TEMPLATES.glob("*.sh")))
def test_the_comment_says_them(file: str) -> None:
    first, *_ = comment(file).splitlines() or [""]
    assert first.startswith("# ")
    _, _, ends = comment(file).partition("Ends with ")
    assert exits(file) <= {int(status) for status in re.findall(r"\d+", ends)}


@pytest.mark.parametrize("script", EVERY.values(), ids=EVERY)
def test_what_a_script_is_given_is_in_its_comment(script: Script[Any]) -> None:
    said = " ".join(comment(file) for file in getattr(script, "files", ()))
    if said:
        assert {name for name in script.variables() if not re.search(rf"\b{name}\b", said)} <= {"unit"}


RECORDED = sorted(ANSWERS.glob("*/*.txt"))


def answer(path: Path) -> Any:
    """What the parser of its class makes of a recorded answer."""
    words, _, action = path.stem.partition("-")
    script: Any = EVERY[words.title().replace("_", "")]
    return (replace(script, action=action) if words == "drill" else script).read(recorded(path))


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_every_answer_is_read(path: Path) -> None:
    if path.stem == "lock":
        with pytest.raises(StepError, match=r"^locked by first since \d{4}-"):
            answer(path)
    else:
        answer(path)


@pytest.mark.parametrize("release", RELEASES)
def test_facts_of_every_release(release: str) -> None:
    facts: Facts = answer(ANSWERS / release / "survey.txt")
    proxy = Proxy()
    assert (facts.uid, facts.arch, facts.systemd, facts.missing) == (0, "x86_64", True, ())
    assert facts.libc == f"glibc {GLIBC[release]}"
    assert (facts.state, facts.enabled, facts.unread) == ("active (running)", True, False)
    assert (facts.active_seconds is not None, facts.restarts) == (True, RESTARTS[release])
    assert set(facts.files) == set(layout.paths(proxy).values())
    assert facts.directories.keys() == layout.folders(proxy, facts.user_id).keys()
    assert (facts.installed, facts.version, facts.replaced) == ("1.26.3", "1.26.3", False)
    assert facts.process is not None
    assert (facts.process.named, facts.process.detached, facts.process.stopped) == (True, False, ())
    assert (facts.process.owner, len(facts.process.workers) > 0) == (facts.user_id, True)
    assert facts.took(UNIT_PATH, "unit")
    assert facts.took(conf_path(proxy), "conf")
    assert all(map(facts.listens, proxy.listen))
    assert list(layout.notes(facts, proxy)) == []
    assert list(layout.around(facts, proxy)) == []


@pytest.mark.parametrize("release", RELEASES[:3])
def test_whom_every_release_calls_a_user(release: str) -> None:
    facts, users = answer(ANSWERS / release / "survey_and_users.txt")
    assert facts.state == "active (running)"
    (kubelet,) = users.kube
    assert (kubelet.name, kubelet.sessions, kubelet.straight) == ("kubelet", 1, {})
    assert kubelet.kubeconfig == Kubeconfig("/root/kubelet.kubeconfig", {3: "https://198.18.0.1:6443"})
    assert (users.sessions, users.others, kubelet.contained) == (1, {}, False)


@pytest.mark.parametrize("release", RELEASES)
def test_what_every_release_says_of_an_activation(release: str) -> None:
    done: Activated = answer(ANSWERS / release / "activate-restart.txt")
    assert (done.outcome, done.was_active, done.was_enabled) == (Outcome.DONE, "1", "1")


@pytest.mark.parametrize("release", RELEASES[:3])
def test_what_every_release_says_of_a_drill(release: str) -> None:
    looked: Drilled = answer(ANSWERS / release / "drill-look.txt")
    if release == "debian-12":
        assert looked.status == DrillStatus.NO_TOOL
        return
    assert (looked.status, looked.healed) == (0, False)
    assert looked.tools.endswith("/nft" if release == "debian-13" else "iptables")
    assert answer(ANSWERS / release / "drill-heal.txt").healed


@pytest.mark.parametrize("release", RELEASES[:3])
def test_whom_every_release_reaches(release: str) -> None:
    met: dict[Endpoint, Met] = answer(ANSWERS / release / "check.txt")
    assert {found.tool for found in met.values()} == {"curl" if release == "debian-12" else "bash"}


def test_nginx_as_it_was_built() -> None:
    seen: Inspected = answer(ANSWERS / "debian-12" / "inspect.txt")
    assert faults(Build(version="1.26.3", static=True), seen) == []


def test_the_values_below_a_prefix() -> None:
    lines = Lines({"file./a.b": "1", "file": "2", "files.c": "3", "file.": "4", "file.d": ""})
    assert lines.below("file") == {"/a.b": "1", "": "4", "d": ""}
    assert (lines.below("fil"), lines["file"], lines.get("d")) == ({}, "2", None)


@dataclass(frozen=True, slots=True)
class _MoreFacts(Facts):
    kernel: str = text("kernel")


def test_a_new_fact_is_a_line_of_the_script_and_a_field() -> None:
    assert read_answer(_MoreFacts, {"kernel": "6.1.0", "arch": "x86_64"}).kernel == "6.1.0"
