"""Cases of `fleets`, on real sshds."""

import pytest

from tests.ssh import fleets
from tests.ssh.bench import Bench
from tests.ssh.case import Case
from tests.ssh.trial import hold, trials

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(("case", "path"), trials(fleets.CASES))
def test_fleets(bench: Bench, case: Case, path: str) -> None:
    hold(bench, case, path)
