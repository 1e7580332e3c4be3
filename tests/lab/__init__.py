"""A lab of real systemd hosts on one Linux machine: nodes with sshd, and apiservers.

Everything of a lab carries its name, so several labs live side by side: see `Lab`.
"""

from tests.lab.lab import Lab
from tests.lab.machine import LabError, why_not

__all__ = ["Lab", "LabError", "why_not"]
