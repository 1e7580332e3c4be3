"""A try of one case: what `ssh` does is what the case says, and `fab` does it too, or says why not."""

from __future__ import annotations

import re
from collections.abc import Sequence

import pytest
from _pytest.mark import ParameterSet

from tests.ssh.bench import WITHOUT_SSH, Bench, Seen
from tests.ssh.case import Case


def trials(cases: Sequence[Case]) -> list[ParameterSet]:
    """Parameters of a test: each case, and some of them where there is no program `ssh`, too."""
    usual = [pytest.param(case, "", id=case.name) for case in cases]
    again = [case for case in cases if case.fallback is not None]
    return usual + [pytest.param(case, WITHOUT_SSH, id=f"{case.name}, without ssh") for case in again]


def hold(bench: Bench, case: Case, path: str) -> None:
    """Fails, with what was said, if a case does not hold; `path` is fab's PATH, "": the usual one."""
    with bench.world.sshds(case.sshd):
        ssh, fab = bench.ssh(case), bench.fab(case, path)
    assert _words(bench, case, ssh) == case.logins, f"ssh: {ssh.ran.text}"
    assert bool(ssh.ran.status) == bool(case.ssh), f"ssh: {ssh.ran.text}"
    assert case.ssh in ssh.ran.text
    if case.route:
        assert f"{ssh.logins[-1].source} -> {ssh.logins[-1].address}" == case.route
    _compare(bench, case, ssh, fab, (case.fallback or "") if path else case.fab)


def _compare(bench: Bench, case: Case, ssh: Seen, fab: Seen, refusal: str) -> None:
    """Holds what fab did, as the sshds and its user saw it, against what ssh did."""
    done = _words(bench, case, fab)
    if refusal:
        assert refusal in _said(fab), f"fab: {fab.ran.text}"
        assert fab.ran.status != 0
        assert case.logins.startswith(done), f"fab: {done}"
        assert case.ssh or done != case.logins, f"fab: {done}"
    elif case.instead:
        assert done == case.instead, f"fab: {fab.ran.text}"
    else:
        assert done == case.logins, f"fab: {fab.ran.text}"
        assert {*fab.logins} == {*ssh.logins}
    if case.records:
        assert fab.known == ssh.known


def _words(bench: Bench, case: Case, seen: Seen) -> str:
    """What sshds saw, as the case writes it."""
    words = [bench.in_words(login) for login in seen.logins]
    return ", ".join(sorted({*words}) if case.others else words)


def _said(seen: Seen) -> str:
    """What a program has printed, with its places in files as FILE:LINE."""
    return re.sub(r"(/\S+) line (\d+)", r"\1:\2", seen.ran.text)
