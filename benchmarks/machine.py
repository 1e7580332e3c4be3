"""What figures were measured on."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path


def described() -> dict[str, str | int | None]:
    """The machine, the day, and the Python."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "cpu": next(line.split(":")[1].strip() for line in lines if "model name" in line),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
