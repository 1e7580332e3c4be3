"""What is forked ends as a Python does that was started."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.conftest import ROOT


def ran(code: str) -> tuple[int, str, str]:
    """Exit status, standard output and the last line of standard error."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr.strip().rpartition("\n")[2]


@pytest.mark.parametrize(
    "code",
    [
        "print(1)",
        "import sys; print(1); sys.exit()",
        "import sys; sys.exit(3)",
        "import sys; sys.exit('no')",
        "print(1); 1 / 0",
        "import atexit; atexit.register(print, 2); print(1)",
        "import threading as t, time; t.Thread(target=lambda: (time.sleep(0.1), print(2))).start(); print(1)",
    ],
)
def test_it_ends_as_python_does(code: str) -> None:
    forked = f"from tests.forks import to_its_end; to_its_end(lambda: exec({code!r}, {{}}))"
    assert ran(forked) == ran(code)
