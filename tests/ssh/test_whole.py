"""Cases of `whole`, on real sshds."""

import pytest

from tests.ssh import whole
from tests.ssh.bench import Bench
from tests.ssh.case import Case
from tests.ssh.trial import hold, trials

pytestmark = pytest.mark.lab


@pytest.mark.parametrize(("case", "path"), trials(whole.CASES))
def test_whole(bench: Bench, case: Case, path: str) -> None:
    hold(bench, case, path)
