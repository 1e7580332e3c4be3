"""What paramiko does not publish, and a login needs."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import paramiko
import pytest
from paramiko.kex_curve25519 import KexCurve25519

from tasks.core import transport
from tasks.core.login import userauth

PLACES = {
    "_handler_table": paramiko.Transport.run,
    "_auth_trigger": paramiko.Transport,
    "_kex_info": paramiko.Transport,
    "_preferred_kex": paramiko.Transport,
    "_preferred_ciphers": paramiko.Transport,
    "_parse_disconnect": paramiko.Transport.run,
    "_parse_debug": paramiko.Transport.run,
    "_verify_key": KexCurve25519,
    "_host_keys": paramiko.SSHClient.connect,
    "_system_host_keys": paramiko.SSHClient.connect,
    "_next_channel": paramiko.Transport.open_channel,
    "_parse_channel_open_failure": paramiko.Transport.__init__,
}
"""Where paramiko has each."""


@pytest.mark.parametrize("name", PLACES)
def test_paramiko_has_it(name: str) -> None:
    assert name in inspect.getsource(PLACES[name]), (
        f"paramiko {paramiko.__version__} has no {name} any more, without which nobody can log in: "
        "see the docstrings of tasks/core/transport.py and login/userauth.py, and do as it now does"
    )
    assert name in f"{userauth.__doc__}{transport.__doc__}"


def test_it_is_used_in_two_modules_alone() -> None:
    core = Path(userauth.__file__).parent.parent
    used = {
        file.name
        for file in core.rglob("*.py")
        if re.search(rf"(\.|def )({'|'.join(PLACES)}|_send_message)\b", file.read_text())
    }
    assert used == {"transport.py", "userauth.py"}
