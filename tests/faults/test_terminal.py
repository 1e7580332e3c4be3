"""The person at the terminal: what a node says does nothing there; signals end a deploy as Ctrl-C does."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.conftest import run_fab, run_fab_on_terminal
from tests.faults.conftest import PREFIX, Trial, ended, until
from tests.lab.nodes import Node

pytestmark = pytest.mark.lab

TEXT = r"\033]0;x\007.\302\233.\342\200\256"  # as printf takes it: another title, and what C1 and bidi have
OBEYED = {"\x1b", "\x07", "\x9b", "\u202e"}
SHOWN = r"\x1b]0;x\x07.\x9b.\u202e"
SHOUT = "/usr/local/bin/shout"
SCRIPT = f"""\
#!/bin/sh
printf '{TEXT}\\n' >&2
[ -e /run/shouted ] || {{ touch /run/shouted; exit 1; }}
"""
DROP_IN = "/etc/systemd/system/kube-nginx.service.d"


@contextmanager
def shouting(node: Node) -> Iterator[None]:
    """The unit writes such text when it starts, and fails the first time; its drop-in is named so, too."""
    node.enter(
        f"cat > {SHOUT} <<'END'\n{SCRIPT}END\nchmod 755 {SHOUT}; rm -f /run/shouted; mkdir -p {DROP_IN}"
    )
    node.enter(f'printf "[Service]\\nExecStartPre=+{SHOUT}\\n" > "{DROP_IN}/$(printf "{TEXT}").conf"')
    node.enter("systemctl daemon-reload")
    try:
        yield
    finally:
        node.enter(f"rm -rf {DROP_IN} {SHOUT} /run/shouted; systemctl daemon-reload")


def test_text_that_a_terminal_would_obey(trial: Trial) -> None:
    node = trial.lab.nodes[2]
    only = ("--limit", node.name)
    with shouting(node):
        ran = trial.deploy("--force", *only)
        node.enter(f'printf "# {TEXT}\\n" >> {PREFIX}/conf/kube-nginx.conf')
        told = {task: run_fab(task, *only, hosts=trial.plain) for task in ("logs", "diff", "status")}
        document = run_fab("diff", "--json", *only, hosts=trial.plain)
        seen = run_fab_on_terminal(["diff", *only], "", trial.plain).out
    for one in (ran, document, *told.values()):
        assert not OBEYED & set(one.out + one.err)
    assert SHOWN in told["diff"].out
    assert DROP_IN in told["diff"].out
    assert "# \x1b]0;x\x07.\x9b.\u202e" in document.json["nodes"][0]["diffs"]["kube-nginx.conf"]
    assert not (OBEYED - {"\x1b"}) & set(seen)  # colours are ours
    assert SHOWN in seen
    fault = "what the service writes would change the terminal, and it does not start"
    trial.saw(57, fault, "rolled back: what served before serves", ran, f"| {SHOWN}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_deploy_in_activation(trial: Trial, number: signal.Signals) -> None:
    node = trial.lab.nodes[0]
    pid = node.enter("systemctl show -p MainPID kube-nginx")
    slower = trial.hosts_toml(("[build]", "[rollout]\nsettle = 4\n\n[build]"))
    with trial.begun("--force", hosts=slower) as process:
        until(lambda: node.enter("systemctl show -p MainPID kube-nginx") != pid)
        process.send_signal(number)
        ran = ended(process)
    assert "deploy: 1 restarted, 2 not started" in ran.out
    assert "retry: fab deploy --limit lab-node-2,lab-node-3" in ran.err
    end = "the node whose turn it was finishes; no other begins"
    line = "not started: lab-node-2, lab-node-3: interrupted"
    if number == signal.SIGTERM:
        trial.saw(56, "`fab` is ended by SIGTERM", end, ran, line, status=143)
    assert (ran.status, line in ran.err) == (128 + number, True)
