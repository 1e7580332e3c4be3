"""The table itself: what every case says of itself."""

from tests.ssh.table import CASES


def test_every_case_has_a_name_of_its_own() -> None:
    names = [case.name for case in CASES]
    assert len(names) == len(set(names)), sorted({name for name in names if names.count(name) > 1})


def test_what_ssh_refuses_fab_refuses_with_words() -> None:
    assert [case.name for case in CASES if case.ssh and not (case.fab or case.instead)] == []


def test_fab_says_why_where_it_does_not_do_what_ssh_does() -> None:
    assert [case.name for case in CASES if case.fallback is not None and case.fab and not case.fallback] == []
