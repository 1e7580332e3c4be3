"""Faults of the way there: host keys, sshd's limits, sudo, login shells."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Ran, run_fab
from tests.faults.book import steady
from tests.faults.conftest import Trial, answers
from tests.lab import faults
from tests.lab.machine import run

pytestmark = pytest.mark.lab

BEFORE = "as it was: nothing was written"


def knowing(trial: Trial, folder: Path, known: str) -> tuple[str, str]:
    """What to replace in hosts.toml, so that known_hosts is `known`."""
    (folder / "known_hosts").write_text(known)
    text = trial.lab.ssh_config.read_text().replace(f"{trial.lab.state}/known_hosts", f"{folder}/known_hosts")
    (folder / "ssh_config").write_text(text)
    return str(trial.lab.ssh_config), f"{folder}/ssh_config"


def refused(trial: Trial, ran: Ran, sign: str) -> str:
    """The line that refuses one node, while the others are deployed to."""
    assert "1 failed, 2 reloaded" in ran.out or "2 reloaded, 1 failed" in ran.out, ran.out + ran.err
    return steady(next(line for line in ran.err.splitlines() if sign in line)).strip()


def test_host_key_changed(trial: Trial, tmp_path: Path) -> None:
    first, second, third = (node.known_host.split(maxsplit=1) for node in trial.lab.nodes)
    known = "".join(f"{' '.join(line)}\n" for line in ((first[0], second[1]), second, third))
    ran = trial.deploy(hosts=trial.hosts_toml(trial.change, knowing(trial, tmp_path, known)))
    assert f"the host key of {trial.lab.nodes[0].address} HAS CHANGED" in ran.err
    line = refused(trial, ran, "HAS CHANGED")
    trial.saw(17, "the host key has changed", BEFORE, ran, line)


def test_host_key_revoked(trial: Trial, tmp_path: Path) -> None:
    key = trial.lab.nodes[1].known_host.split(maxsplit=1)[1]
    known = "".join(f"{node.known_host}\n" for node in trial.lab.nodes)
    mine = knowing(trial, tmp_path, f"{known}@revoked * {key}\n")
    ran = trial.deploy(hosts=trial.hosts_toml(trial.change, mine))
    trial.saw(54, "the host key is revoked in known_hosts", BEFORE, ran, refused(trial, ran, "REVOKED"))


def test_host_certificate(trial: Trial, tmp_path: Path) -> None:
    node, *others = trial.lab.nodes
    names, key = node.known_host.split(maxsplit=1)
    (tmp_path / "host.pub").write_text(f"{key}\n")
    run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{tmp_path}/ca"])
    sign = ["ssh-keygen", "-q", "-s", f"{tmp_path}/ca", "-I", node.name, "-h", "-n", names]
    run([*sign, f"{tmp_path}/host.pub"])
    known = "".join(f"{other.known_host}\n" for other in others)
    known += f"@cert-authority *,!nobody {(tmp_path / 'ca.pub').read_text()}"
    mine = knowing(trial, tmp_path, known)
    new = ("[ssh]", '[ssh]\nhost_keys = "accept-new"')
    with faults.host_certificate(node, (tmp_path / "host-cert.pub").read_text()):
        run(["ssh", "-F", mine[1], "-o", "BatchMode=yes", node.name, "true"])  # OpenSSH is content
        ran = trial.deploy(hosts=trial.hosts_toml(trial.change, mine, new))
    line = refused(trial, ran, "names a certificate authority")
    trial.saw(55, "the host is known by a certificate alone", BEFORE, ran, line)
    assert (tmp_path / "known_hosts").read_text() == known


def test_only_the_rsa_key_is_known(trial: Trial, tmp_path: Path) -> None:
    node, *others = trial.lab.nodes
    with faults.another_host_key(node, "rsa") as key:
        known = "".join(f"{line}\n" for line in (f"{node.address} {key}", *(o.known_host for o in others)))
        hosts = trial.hosts_toml(trial.change, knowing(trial, tmp_path, known))
        assert run_fab("status", hosts=hosts).status == 0


def test_sshd_drops_connections(trial: Trial, tmp_path: Path) -> None:
    node = trial.lab.nodes[0]
    key = node.known_host.split(maxsplit=1)[1]
    with faults.extra_ports(node, 40) as ports, faults.max_startups(node, "2:50:4"):
        names = [{"host": f"root@{node.address}:{port}", "name": f"n{port}"} for port in ports]
        (tmp_path / "known_hosts").write_text("".join(f"[{node.address}]:{port} {key}\n" for port in ports))
        (tmp_path / "ssh_config").write_text(
            f"Host *\n  UserKnownHostsFile {tmp_path}/known_hosts\n"
            f"  IdentityFile {trial.lab.state}/id_ed25519\n"
        )
        listed = ", ".join(f'{{ host = {json.dumps(x["host"])}, name = "{x["name"]}" }}' for x in names)
        forty = trial.hosts_toml(
            ('"lab-node-1", "lab-node-2", "lab-node-3"', listed),
            (str(trial.lab.ssh_config), f"{tmp_path}/ssh_config"),
        )
        ran = trial.deploy(hosts=forty)
    fault = "sshd drops connections (MaxStartups 2:50:4, 40 at once)"
    trial.saw(18, fault, "all are reached in the end", ran, "deploy: 40 unchanged", status=0)


def test_sudo_refused(trial: Trial) -> None:
    ops = trial.hosts_toml(trial.change, ("[ssh]", '[ssh]\nuser = "ops"\nsudo = true'))
    with faults.no_sudo(trial.lab.nodes[2]):
        ran = trial.deploy(hosts=ops)
    hint = "hint: all is run by sh, as root; in its sudoers: ops ALL=(ALL) NOPASSWD: ALL"
    trial.saw(
        19,
        "sudo is refused",
        BEFORE,
        ran,
        "lab-node-3: survey: sudo refused: Sorry, user ops is not allowed",
        hint,
    )
    assert "1 failed, 2 reloaded" in ran.out or "2 reloaded, 1 failed" in ran.out


def test_no_sftp(trial: Trial) -> None:
    with faults.no_sftp(trial.lab.nodes[0]):
        ran = trial.deploy()
    trial.saw(20, "sshd has no sftp", "reloaded: it is not needed", ran, "deploy: 3 reloaded", status=0)


def test_loud_shell(trial: Trial) -> None:
    with faults.loud_shell(trial.lab.nodes[1]):
        ran = trial.deploy()
    fault = "the login shell prints a banner, and is not bash"
    trial.saw(21, fault, "reloaded", ran, "deploy: 3 reloaded", status=0)


def test_no_forwarding(trial: Trial) -> None:
    with faults.no_forwarding(trial.lab.nodes[1]):
        ran = trial.deploy()
        assert run_fab("status", hosts=trial.changed).status == 0
        assert ran.status == 0
        assert ran.out.count("reloaded, an apiserver answers through 127.0.0.1:8443") == 3
        dead = trial.hosts_toml(
            ('"lab-api-1:6443", "lab-api-2:6443", "lab-api-3:6443"', '"lab-api-1:6444", "lab-api-2:6444"')
        )
        ran = trial.deploy("--limit", trial.lab.nodes[1].name, hosts=dead)
        assert (ran.status, "deploy: 1 rolled back" in ran.out) == (1, True), ran.out
    assert answers(trial.lab.nodes[1])
