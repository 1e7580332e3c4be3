"""The network of the table, once for all of its cases."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.conftest import alone
from tests.lab.machine import prepare, why_not
from tests.lab.progress import Progress
from tests.ssh.bench import Bench
from tests.ssh.bench import bench as up


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """The network and the keys."""
    reason = why_not()
    if reason and os.environ.get("CI") == "true":
        pytest.fail(f"CI must run the table, and it cannot: {reason}")
    if reason:
        pytest.skip(reason)
    with alone():
        prepare(Progress())
    with up(tmp_path_factory.mktemp("ssh")) as table:
        yield table
