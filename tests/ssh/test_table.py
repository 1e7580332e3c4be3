"""Each case of the table: what `ssh` does is what the case says, and `fab` does it too, or says why not."""

from __future__ import annotations

import re

import pytest

from tests.ssh.bench import Bench, Seen
from tests.ssh.case import Case
from tests.ssh.table import CASES, named

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_case(bench: Bench, case: Case) -> None:
    with bench.world.sshds(case.sshd):
        ssh, fab = bench.ssh(case), bench.fab(case)
    assert bench.in_words(ssh.logins) == case.logins, f"ssh: {ssh.ran.text}"
    assert bool(ssh.ran.status) == bool(case.ssh), f"ssh: {ssh.ran.text}"
    assert case.ssh in ssh.ran.text
    if case.route:
        assert f"{ssh.logins[-1].source} -> {ssh.logins[-1].address}" == case.route
    compare(bench, case, ssh, fab, case.fab)


@pytest.mark.parametrize("case", [case for case in CASES if case.fallback is not None], ids=named)
def test_a_case_without_ssh(bench: Bench, case: Case) -> None:
    with bench.world.sshds(case.sshd):
        ssh, fab = bench.ssh(case), bench.fab(case, path="/srv/nossh")
    compare(bench, case, ssh, fab, case.fallback or "")


def compare(bench: Bench, case: Case, ssh: Seen, fab: Seen, refusal: str) -> None:
    """Holds what fab did, as the sshds and its user saw it, against what ssh did."""
    done = bench.in_words(fab.logins)
    if refusal:
        assert refusal in said(fab), f"fab: {fab.ran.text}"
        assert fab.ran.status != 0
        assert case.logins.startswith(done), f"fab: {done}"
        assert case.ssh or done != case.logins, f"fab: {done}"
    else:
        assert done == case.logins, f"fab: {fab.ran.text}"
        assert fab.logins == ssh.logins
    if case.records:
        assert fab.known == ssh.known


def said(seen: Seen) -> str:
    """What a program has printed, with its places in files as FILE:LINE."""
    return re.sub(r"(/\S+) line (\d+)", r"\1:\2", seen.ran.text)
