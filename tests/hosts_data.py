"""Valid data of a hosts.toml, to be spoilt by a test."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tasks.core.config.settings import SettingsError, parse

FILE = Path("hosts.toml")
SUM = "0123456789abcdef" * 4


def with_keys(**dotted: Any) -> dict[str, Any]:
    """Valid data with `section__key` set; a value of None removes the key."""
    data: dict[str, Any] = {"nodes": ["node-1"], "apiservers": ["10.0.0.1"]}
    for name, value in dotted.items():
        section, _, key = name.rpartition("__")
        table = data.setdefault(section, {}) if section else data
        table[key] = value
        if value is None:
            del table[key]
    return data


def problems(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The lines of the SettingsError that `data` raises."""
    with pytest.raises(SettingsError) as caught:
        parse(data, FILE)
    assert str(caught.value) == "\n".join(caught.value.problems)
    assert all(line.startswith("hosts.toml: ") for line in caught.value.problems)
    assert all(line.isprintable() for line in caught.value.problems)
    return caught.value.problems
