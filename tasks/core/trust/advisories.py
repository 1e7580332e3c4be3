"""nginx's security advisories that touch what is compiled here, with stream alone, without ssl and pcre.

Source: https://nginx.org/en/security_advisories.html and CHANGES, as of nginx 1.31.6 and 1.30.5 (2026-09-15).
Not in the table, since none of their code is compiled: http, mail, HTTP/2 and HTTP/3, and ssl in stream
(CVE-2026-40701, CVE-2026-28755, CVE-2026-1642, CVE-2025-23419); nor those of versions that are older than
the oldest that hosts.toml may name (CVE-2016-0742, CVE-2016-0746, CVE-2016-0747).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from ..config import rules
from ..results import output


@dataclass(frozen=True, slots=True)
class Advisory:
    """A security advisory of nginx that touches what is compiled of a version."""

    cve: str = output("its number")
    published: date = output("the day of the first release that has it mended")
    about: str = output("what is wrong, in nginx's words")
    touches: str = output("which of the code that is compiled it touches")
    reached: str = output("whether the kube-nginx.conf of this library gets there")
    mended: tuple[str, ...] = output("the first version of each branch that has it mended")
    source: str = output("the advisory")
    oldest: str = ""  # the versions that are vulnerable, unless their branch has it mended
    newest: str = ""

    def affects(self, version: str) -> bool:
        """Whether it is known to be true of a version, such as `1.30.6`."""
        this = rules.number(version)
        mended = (rules.number(first) for first in self.mended)
        if any(first[:2] == this[:2] and first <= this for first in mended):
            return False
        return rules.number(self.oldest) <= this <= rules.number(self.newest)


ADVISORIES = (
    Advisory(
        cve="CVE-2026-42533",
        published=date(2026, 7, 15),
        about="Buffer overflow when using map and regex",
        touches="stream: its script engine got the same check, and non-cacheable variables need no regex",
        reached="no: it has no map, and no expression of several variables",
        mended=("1.30.4", "1.31.3"),
        source="https://my.f5.com/manage/s/article/K000162097",
        oldest="0.9.6",
        newest="1.31.2",
    ),
    Advisory(
        cve="CVE-2021-23017",
        published=date(2021, 5, 25),
        about="1-byte memory overwrite in resolver",
        touches="core: the resolver is always compiled, and stream's proxy_pass calls it",
        reached="no: it has no resolver, and addresses instead of names",
        mended=("1.20.1", "1.21.0"),
        source="https://mailman.nginx.org/pipermail/nginx-announce/2021/000300.html",
        oldest="0.6.18",
        newest="1.20.0",
    ),
)


def affecting(version: str) -> tuple[Advisory, ...]:
    """Those that are known of a version; none of what is no version, such as that of a node without nginx."""
    try:
        return tuple(advisory for advisory in ADVISORIES if advisory.affects(version))
    except ValueError:
        return ()


def sentence(version: str, found: tuple[Advisory, ...]) -> str:
    """One line for people; "" if nothing is known.

    `nginx 1.18.0 has CVE-2021-23017 (1-byte memory overwrite in resolver; mended in 1.20.1, 1.21.0)...`
    """
    told = ", ".join(f"{one.cve} ({one.about}; mended in {', '.join(one.mended)})" for one in found)
    ways = "" if any(one.reached[:2] != "no" for one in found) else "; kube-nginx.conf does not get there"
    return f"nginx {version} has {told}{ways}{_hint()}" if found else ""


def _hint() -> str:
    """The newest of the pinned versions of which nothing is known."""
    good = [version for version in rules.PINS if not affecting(version)]
    return f'; hint: build.version = "{max(good, key=rules.number)}"' if good else ""
