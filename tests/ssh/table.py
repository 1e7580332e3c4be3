"""All cases, by theme: a file of cases, and a file of tests, so that several workers share them."""

from __future__ import annotations

from tests.ssh import fleets, jumps, known, logins, network, reading, whole

THEMES = {
    "How ssh_config is read": reading.CASES,
    "Jump hosts": jumps.CASES,
    "Keys, agents and certificates": logins.CASES,
    "Addresses, ports and algorithms": network.CASES,
    "Host keys": known.CASES,
    "Several nodes at once": fleets.CASES,
    "Whole files": whole.CASES,
}
CASES = [case for cases in THEMES.values() for case in cases]
