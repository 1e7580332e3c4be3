"""A lab of real systemd hosts on one Linux machine: nodes with sshd, and apiservers.

Everything of a lab carries its name, so several labs live side by side: see `lab.Lab`.
"""
