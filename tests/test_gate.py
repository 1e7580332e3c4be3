"""A password goes to one node first."""

from __future__ import annotations

from collections import deque

import pytest

from tasks.core.gate import Gate, PasswordRefusedError
from tasks.core.shell.pool import together


def test_a_wrong_one_is_tried_once() -> None:
    gate, tried = Gate(), deque[int]()

    def attempt(number: int) -> str:
        def refused() -> bool:
            tried.append(number)
            raise PasswordRefusedError("sudo refused the password", hint="give the right one")

        with pytest.raises(PasswordRefusedError) as told:
            gate.pass_through(f"n{number}", refused)
        assert told.value.hint == "give the right one"
        return told.value.message

    said = together(range(32), attempt)
    assert len(tried) == 1
    assert {*said} == {f"sudo refused the password (tried once, on n{tried[0]})"}


def test_once_it_was_taken_nobody_waits() -> None:
    gate = Gate()
    assert gate.pass_through("n1", lambda: "in") == "in"
    assert gate.pass_through("n2", lambda: pytest.fail("it was taken")) is None


def test_what_says_nothing_of_the_password_leaves_it_to_the_next() -> None:
    gate = Gate()
    assert gate.pass_through("n1", lambda: False) is False
    with pytest.raises(TimeoutError):
        gate.pass_through("n2", _silent)
    assert gate.pass_through("n3", lambda: True)
    assert gate.pass_through("n4", _silent) is None


def _silent() -> bool:
    raise TimeoutError
