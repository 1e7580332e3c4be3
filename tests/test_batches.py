from dataclasses import replace
from itertools import chain
from math import ceil
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tasks.core.config.model import Rollout
from tasks.core.config.settings import SettingsError, parse
from tasks.core.errors import UsageError
from tasks.core.rollout.rolling import batches
from tasks.core.run.flags import rollout_of

from .hosts_data import FILE, with_keys
from .strategies import spoilt, thorough

PERCENTAGES = st.integers(1, 100)
ROLLOUTS = st.builds(
    Rollout,
    canary=st.integers(0, 60) | st.just(1000),
    batch=st.integers(1, 60) | st.just(1000) | PERCENTAGES.map("{}%".format),
)
FLEETS = st.lists(st.integers(), max_size=50)


@pytest.mark.parametrize(
    ("count", "canary", "batch", "sizes"),
    [
        (0, 1, "25%", []),
        (0, 0, 5, []),
        (1, 1, "25%", [1]),
        (1, 0, "1%", [1]),
        (3, 5, 1, [3]),
        (3, 3, "100%", [3]),
        (7, 1, 3, [1, 3, 3]),
        (8, 1, 3, [1, 3, 3, 1]),
        (8, 0, 3, [3, 3, 2]),
        (8, 1, "25%", [1, 2, 2, 2, 1]),
        (9, 1, "25%", [1, 3, 3, 2]),
        (10, 2, "1%", [2, *[1] * 8]),
        (10, 2, "100%", [2, 8]),
        (100, 0, "29%", [29, 29, 29, 13]),
        (100, 10, 1000, [10, 90]),
    ],
)
def test_canaries_then_batches(count: int, canary: int, batch: int | str, sizes: list[int]) -> None:
    parts = batches(range(count), Rollout(canary=canary, batch=batch))
    assert [len(part) for part in parts] == sizes


def test_by_default_one_then_quarters() -> None:
    assert batches("abcdefgh", Rollout()) == [["a"], ["b", "c"], ["d", "e"], ["f", "g"], ["h"]]


@pytest.mark.parametrize(
    ("new", "canary", "batch", "parts"),
    [
        ("abcdefgh", 1, 1, "a bcdefgh"),
        ("abcdefgh", 1, "1%", "a bcdefgh"),
        ("abcdefgh", 0, 1, "abcdefgh"),
        ("abcdefgh", 9, 1, "abcdefgh"),
        ("bdfh", 1, 1, "a bdfh c e g"),
        ("bdfh", 2, 2, "ab dfh ce g"),
        ("a", 1, 3, "a bcd efg h"),
        ("h", 1, 3, "a h bcd efg"),
        # a share of those that could be harmed: c, e, f and g
        ("abdh", 1, "25%", "a bdh c e f g"),
        ("abdh", 1, "50%", "a bdh ce fg"),
        ("abdh", 3, "50%", "abc dh ef g"),
        ("", 1, 3, "a bcd efg h"),
    ],
)
def test_all_that_are_new_go_at_once_after_the_canaries(
    new: str, canary: int, batch: int | str, parts: str
) -> None:
    found = batches("abcdefgh", Rollout(canary=canary, batch=batch), new)
    assert " ".join(map("".join, found)) == parts


@thorough
@given(FLEETS, ROLLOUTS)
def test_every_item_comes_once_and_in_order(items: list[int], rollout: Rollout) -> None:
    assert list(chain.from_iterable(batches(items, rollout))) == items


@thorough
@given(st.lists(st.integers(), max_size=50, unique=True), ROLLOUTS, st.sets(st.integers()))
def test_every_item_comes_once_whatever_is_new(items: list[int], rollout: Rollout, more: set[int]) -> None:
    new = {*items[::3]} | more
    parts = batches(items, rollout, new)
    assert sorted(chain.from_iterable(parts)) == sorted(items)
    # what is new delays nobody, and makes no batch larger
    old = [item for item in items if item not in new]
    largest = max(map(len, batches(old, replace(rollout, canary=0))), default=0)
    assert all(len(part) <= largest or new.issuperset(part) for part in parts[bool(rollout.canary) :])


@thorough
@given(FLEETS, ROLLOUTS)
def test_no_list_is_empty_or_too_long(items: list[int], rollout: Rollout) -> None:
    sizes = [len(part) for part in batches(items, rollout)]
    canaries = min(rollout.canary, len(items))
    if canaries:
        assert sizes.pop(0) == canaries
    if isinstance(rollout.batch, int):
        size = rollout.batch
    else:
        size = ceil(len(items) * int(rollout.batch.rstrip("%")) / 100)
    assert all(found == size for found in sizes[:-1])
    assert all(1 <= found <= size for found in sizes)


@thorough
@given(st.integers(1, 1000), PERCENTAGES)
def test_a_percentage_bounds_the_number_of_batches(count: int, percent: int) -> None:
    parts = batches(range(count), Rollout(canary=0, batch=f"{percent}%"))
    assert len(parts) <= ceil(100 / percent)


def test_flags_that_are_not_given_change_nothing() -> None:
    rollout = Rollout(canary=3, batch=7, max_failures=2, pause=9)
    assert rollout_of(rollout, {}) == rollout


@pytest.mark.parametrize(
    ("flags", "changed"),
    [
        ({"canary": "0"}, {"canary": 0}),
        ({"canary": "1000"}, {"canary": 1000}),
        ({"batch": "5"}, {"batch": 5}),
        ({"batch": "100%"}, {"batch": "100%"}),
        ({"max_failures": "12"}, {"max_failures": 12}),
        ({"canary": "2", "batch": "1", "max_failures": "0"}, {"canary": 2, "batch": 1, "max_failures": 0}),
        ({"canary": 2, "batch": 10, "max_failures": 4}, {"canary": 2, "batch": 10, "max_failures": 4}),
    ],
)
def test_flags_go_over_hosts_toml(flags: dict[str, Any], changed: dict[str, Any]) -> None:
    rollout = Rollout(canary=3, batch=7, max_failures=2, pause=9)
    assert rollout_of(rollout, flags) == replace(rollout, **changed)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ({"canary": "one"}, "--canary 'one': must be a number, such as 1"),
        ({"canary": ""}, "--canary '': must be a number, such as 1"),
        ({"canary": "1.5"}, "--canary '1.5': must be a number, such as 1"),
        ({"canary": "\u0665"}, "--canary '\u0665': must be a number, such as 1"),
        ({"canary": True}, "--canary true: must be a number, such as 1"),
        ({"canary": "-1"}, "--canary '-1': must be from 0 to 1000"),
        ({"max_failures": "1001"}, "--max-failures '1001': must be from 0 to 1000"),
        ({"max_failures": "5%"}, "--max-failures '5%': must be a number, such as 1"),
        (
            {"batch": "a third"},
            "--batch 'a third': must be a number of nodes from 1 to 1000, "
            'or a percentage from "1%" to "100%"',
        ),
    ],
)
def test_a_wrong_flag_is_named_with_what_would_be_right(flags: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        rollout_of(Rollout(), flags)
    assert str(caught.value) == message


@thorough
@given(st.integers(-5, 1005).map(str) | st.text(max_size=20) | spoilt("25%"))
def test_a_flag_takes_what_hosts_toml_takes(text: str) -> None:
    try:
        rollout = parse(with_keys(rollout__batch=text), FILE).rollout
    except SettingsError:
        with pytest.raises(UsageError, match=r"\A--batch .* must be ") as caught:
            rollout_of(Rollout(), {"batch": text})
        assert str(caught.value).isprintable()
        return
    assert rollout_of(Rollout(), {"batch": text}) == rollout
