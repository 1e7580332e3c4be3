"""Faults of what is shipped: binaries that do not run there, bytes that change, a bad configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import Ran, run_fab
from tests.faults.conftest import Binaries, Trial, answers, current
from tests.lab import faults
from tests.lab.machine import run

pytestmark = pytest.mark.lab

BEFORE = "as it was: its release was not put in place"
BACK = "rolled back; the old process never stopped"
LATER = "it came up, but within 3 s: its process ended"
REST = "not started: lab-node-2, lab-node-3: 1 failed, and max_failures is 0"


def deploy(trial: Trial, monkeypatch: pytest.MonkeyPatch, cache: dict[str, str], hosts: Path) -> Ran:
    """A deploy of what is in another cache."""
    with monkeypatch.context() as patch:
        for name, value in cache.items():
            patch.setenv(name, value)
        return trial.deploy(hosts=hosts)


def test_another_architecture(trial: Trial, binaries: Binaries, monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytearray(binaries.good.read_bytes())
    content[18:20] = b"\xb7\x00"  # e_machine of ELF: aarch64
    foreign = binaries.folder / "foreign"
    foreign.write_bytes(content)
    ran = deploy(trial, monkeypatch, binaries.cache(foreign), trial.plain)
    line = "lab-node-1, lab-node-2, lab-node-3: survey: the binary is for aarch64, the node is x86_64"
    trial.saw(10, "a binary of another architecture", BEFORE, ran, line)


def test_too_new_for_the_libc(trial: Trial, binaries: Binaries, monkeypatch: pytest.MonkeyPatch) -> None:
    dynamic = binaries.compiled("dynamic", "-DLIFE=3600")
    needed = run(["sh", "-c", f"objdump -T {dynamic} | grep -o 'GLIBC_2[.0-9]*' | sort -uV | tail -n 1"])
    glibc = needed.stdout.strip().removeprefix("GLIBC_")
    assert glibc == "2.34"
    with monkeypatch.context() as patch:
        for name, value in binaries.cache(dynamic, glibc).items():
            patch.setenv(name, value)
        ran = trial.deploy("--limit", "lab-node-1", hosts=trial.plain)  # Debian 11
    line = "lab-node-1: survey: the binary needs glibc 2.34, and the node has 2.31"
    hint = "hint: build on the oldest distribution of the fleet (build.hosts), or build.static = true"
    trial.saw(11, "a binary that is too new for the node's libc", BEFORE, ran, line, hint)


def test_a_byte_is_flipped_on_the_way(
    trial: Trial, binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    short_lived = binaries.compiled("short-lived", "-static", "-DLIFE=0")
    with faults.flipped_byte(trial.lab.nodes[1]), monkeypatch.context() as patch:
        for name, value in binaries.cache(short_lived).items():
            patch.setenv(name, value)
        ran = trial.deploy("--limit", "lab-node-2", hosts=trial.plain)
    digest = "| kube-nginx arrived on the node with sha256 …, not …"
    line = "lab-node-2: stage: checksum mismatch after upload"
    trial.saw(12, "a byte of the binary is flipped on the way", BEFORE, ran, line, digest)


def test_a_listen_address_that_the_node_does_not_have(trial: Trial) -> None:
    there = 'listen = ["127.0.0.1:8443", "198.51.100.7:8443"]'
    ran = trial.deploy(hosts=trial.hosts_toml(("[build]", f"[proxy]\n{there}\n\n[build]")))
    line = "lab-node-1, lab-node-2, lab-node-3: stage: nginx refuses the new release there"
    trial.saw(13, "a configuration that passes here and fails there", BEFORE, ran, line)
    assert "bind() to 198.51.100.7:8443 failed (99: Cannot assign requested address)" in ran.err


@pytest.mark.parametrize(
    ("number", "life", "fault", "why"),
    [
        (14, 0, "a new binary that crashes at its start", "its process ended"),
        (15, 2, "a new binary that starts and dies after two seconds", LATER),
    ],
)
def test_a_new_binary_that_dies(
    trial: Trial,
    binaries: Binaries,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    life: int,
    fault: str,
    why: str,
) -> None:
    before = [(node.enter("systemctl show -p MainPID kube-nginx"), current(node)) for node in trial.lab.nodes]
    binary = binaries.compiled(f"life{life}", "-static", f"-DLIFE={life}")
    cache = binaries.cache(binary)
    slower = trial.hosts_toml(("[build]", "[rollout]\nsettle = 3\n\n[build]"))  # the default
    ran = deploy(trial, monkeypatch, cache, slower)
    line = f"lab-node-1: activate: rolled back: the new binary did not take over: {why}"
    trial.saw(number, fault, BACK, ran, line, REST, "deploy: 1 rolled back, 2 not started")
    after = [(node.enter("systemctl show -p MainPID kube-nginx"), current(node)) for node in trial.lab.nodes]
    assert after == before
    assert answers(trial.lab.nodes[0])


def test_a_node_that_had_nothing_is_left_stopped(
    trial: Trial, binaries: Binaries, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = trial.lab.nodes[0]
    assert trial.deploy("--limit", "lab-node-1", hosts=trial.plain).status == 0
    assert run_fab("uninstall", "--yes", "--limit", "lab-node-1", hosts=trial.plain).status == 0
    cache = binaries.cache(binaries.compiled("life0", "-static", "-DLIFE=0"))
    ran = deploy(trial, monkeypatch, cache, trial.plain)
    assert "rolled back: the service did not start; nothing ran there before, so it is stopped" in ran.err
    state = node.enter("systemctl show -p ActiveState,UnitFileState kube-nginx; ls /etc/systemd/system")
    assert "ActiveState=inactive" in state
    assert "kube-nginx.service" not in state
