"""All cases, by theme."""

from __future__ import annotations

from tests.ssh import jumps, known, logins, network, reading
from tests.ssh.case import Case

THEMES = {
    "How ssh_config is read": reading.CASES,
    "Jump hosts": jumps.CASES,
    "Keys, agents and certificates": logins.CASES,
    "Addresses, ports and algorithms": network.CASES,
    "Host keys": known.CASES,
}
CASES = [case for cases in THEMES.values() for case in cases]


def named(case: Case) -> str:
    """The case's name in a test's."""
    return case.name
