"""What paramiko does not publish, and a login needs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import paramiko
import pytest
from paramiko.kex_curve25519 import KexCurve25519

from tasks.core.login import userauth

PLACES = {
    "_handler_table": paramiko.Transport.run,
    "_auth_trigger": paramiko.Transport,
    "_parse_disconnect": paramiko.Transport.run,
    "_verify_key": KexCurve25519,
}
"""Where paramiko has each."""


@pytest.mark.parametrize("name", PLACES)
def test_paramiko_has_it(name: str) -> None:
    assert name in inspect.getsource(PLACES[name]), (
        f"paramiko {paramiko.__version__} has no {name} any more, without which nobody can log in: "
        "see the docstring of tasks/core/login/userauth.py, and do there as paramiko now does"
    )
    assert name in (userauth.__doc__ or "")


def test_it_is_used_in_one_module_alone() -> None:
    core = Path(userauth.__file__).parent.parent
    used = {
        file.name
        for file in core.rglob("*.py")
        if re.search(rf"(\.|def )({'|'.join(PLACES)}|_send_message)\b", file.read_text())
    }
    assert used == {"userauth.py"}
