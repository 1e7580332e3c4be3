"""nginx's advisories that touch what is compiled: the form of the table, and of whom they are told."""

import re
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from tasks.core.config import rules
from tasks.core.config.address import Endpoint, parse_node
from tasks.core.config.model import PROFILES, Build, Proxy, Settings
from tasks.core.release import render
from tasks.core.trust import advisories
from tasks.core.trust.advisories import ADVISORIES, Advisory, affecting, sentence

RESOLVER, MAP = "CVE-2021-23017", "CVE-2026-42533"


@pytest.mark.parametrize("advisory", ADVISORIES, ids=lambda advisory: advisory.cve)
def test_a_row_of_the_table(advisory: Advisory) -> None:
    assert re.fullmatch(r"CVE-\d{4}-\d{4,6}", advisory.cve)
    assert date(2016, 10, 11) < advisory.published  # when the oldest version came that hosts.toml may name
    assert re.match(r"(core|stream|resolver): \w", advisory.touches), "only what is compiled belongs here"
    assert re.match(r"(no|yes): \w", advisory.reached)
    assert re.fullmatch(r"https://(my\.f5\.com|mailman\.nginx\.org|nginx\.org)/\S+", advisory.source)
    oldest, newest = rules.number(advisory.oldest), rules.number(advisory.newest)
    mended = [*map(rules.number, advisory.mended)]
    assert oldest < newest
    assert mended == sorted(mended)
    assert newest < mended[-1], "the newest branch has it mended after the last one that is vulnerable"
    assert not any(advisory.affects(version) for version in advisory.mended)
    assert advisory.affects(advisory.oldest)
    assert advisory.affects(advisory.newest)


def test_each_is_told_once_the_newest_first() -> None:
    published = [advisory.published for advisory in ADVISORIES]
    assert published == sorted(published, reverse=True)
    assert len({advisory.cve for advisory in ADVISORIES}) == len(ADVISORIES)


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("1.11.5", [MAP, RESOLVER]),
        ("1.15.3", [MAP, RESOLVER]),
        ("1.18.0", [MAP, RESOLVER]),
        ("1.20.0", [MAP, RESOLVER]),
        ("1.20.1", [MAP]),
        ("1.21.0", [MAP]),
        ("1.22.1", [MAP]),
        ("1.26.3", [MAP]),
        ("1.28.3", [MAP]),
        ("1.29.8", [MAP]),
        ("1.30.3", [MAP]),
        ("1.30.4", []),
        ("1.30.6", []),
        ("1.31.2", [MAP]),
        ("1.31.3", []),
        ("1.32.0", []),
        ("", []),
        ("unknown", []),
    ],
)
def test_what_is_known_of_a_version(version: str, known: list[str]) -> None:
    assert [advisory.cve for advisory in affecting(version)] == known


def test_the_version_that_is_built_unless_another_is_named() -> None:
    assert affecting(Build().version) == ()
    runbook = PROFILES["runbook"]["build"]
    assert isinstance(runbook, Build)
    assert [advisory.cve for advisory in affecting(runbook.version)] == [MAP, RESOLVER]


@pytest.mark.parametrize("profile", ["recommended", "runbook"])
def test_the_configuration_does_not_get_there(profile: str) -> None:
    """What `reached` says."""
    proxy = PROFILES[profile].get("proxy", Proxy())
    assert isinstance(proxy, Proxy)
    for balance in ("round robin", "random two least_conn", "hash $remote_addr consistent"):
        wanted = replace(proxy, balance=balance)
        servers = (Endpoint("10.0.0.1", 6443), Endpoint("10.0.0.2", 6443))
        conf = render.conf(Settings(None, profile, (parse_node("worker-1"),), servers, proxy=wanted))
        assert not re.search(r"\b(resolver|map)\b", conf)
        assert not [line for line in conf.splitlines() if line.count("$") > 1]


def test_the_line_for_people() -> None:
    assert sentence("1.30.6", affecting("1.30.6")) == ""
    assert sentence("1.18.0", affecting("1.18.0")) == (
        "nginx 1.18.0 has CVE-2026-42533 (Buffer overflow when using map and regex; mended in 1.30.4, "
        "1.31.3), CVE-2021-23017 (1-byte memory overwrite in resolver; mended in 1.20.1, 1.21.0); "
        'kube-nginx.conf does not get there; hint: build.version = "1.30.6"'
    )


def test_one_that_the_configuration_reaches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advisories, "ADVISORIES", [replace(ADVISORIES[0], reached="yes: invented")])
    assert "does not get there" not in sentence("1.26.3", affecting("1.26.3"))


def test_the_page_has_the_same_table() -> None:
    text = (Path(__file__).parent.parent / "docs" / "trust.md").read_text()
    for row in ADVISORIES:
        versions = (f"{row.oldest} to {row.newest}", ", ".join(row.mended))
        cells = (row.cve, str(row.published), row.about, row.touches, row.reached, *versions)
        assert f"\n| {' | '.join(cells)} |\n" in text
