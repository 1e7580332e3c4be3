"""A walk by hand: make walk SEED=7 SECONDS=3600; its lab comes up for it and goes down after it."""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tasks.core.run.process import own_signals
from tests.lab.lab import Lab
from tests.lab.machine import LabError
from tests.lab.progress import Progress
from tests.lab.roots import SUITES

from .walk import Walk

FOUND, FAILED = 1, 3


def main() -> int:
    """Gives the exit status: 1 if an invariant was broken, 3 if the lab or the walk itself is at fault."""
    own_signals()  # an hour is a case for nohup
    parser = argparse.ArgumentParser(prog="make walk", description=__doc__)
    parser.add_argument("--seed", default="1", help="the same seed, the same moves")
    parser.add_argument("--seconds", type=float, default=3600)
    parser.add_argument("--release", choices=SUITES, default="bookworm", help="which of the lab's nodes")
    parser.add_argument("--node", help="the same by its name, lab-node-1 say")
    parser.add_argument("--lab", help="name of the lab, which is its own [walkSEED]")
    parser.add_argument("--replay", type=Path, help="moves out of a file, one a line, - for standard input")
    parser.add_argument("--moves", help="moves, separated by semicolons")
    parser.add_argument(
        "--keep-going", action="store_true", help="go on with a new node after a broken invariant"
    )
    parser.add_argument("--shorten", action="store_true", help="then find the fewest moves that show each")
    parser.add_argument("--keep-lab", action="store_true", help="leave the lab up, to look at")
    options = parser.parse_args()
    number = SUITES.index(options.release) + 1
    if options.node:
        number = int(options.node.rpartition("-")[2])
    lab = Lab(options.lab or f"walk{options.seed}"[:12], number, progress=Progress(Console(stderr=True)))
    try:
        lab.up()
        return _walk(lab, options)
    except (LabError, OSError) as error:
        print(f"\nnot an invariant, but the lab or the walk itself: {error}", file=sys.stderr)
        return FAILED
    finally:
        if not options.keep_lab:
            lab.down()


def _walk(lab: Lab, options: argparse.Namespace) -> int:
    for other in lab.nodes[:-1]:
        other.stop()
    given = _given(options)
    with tempfile.TemporaryDirectory(prefix="kube-nginx-walk.") as folder:
        walk = Walk(lab, lab.nodes[-1], Path(folder), "replay" if given else options.seed)
        walk.build()
        try:
            walk.go(given or walk.chosen(options.seconds), options.keep_going)
        finally:
            print(f"\n{walk.count} moves, {len(walk.broken)} broken invariants")
            for broken in walk.broken:
                print(f"  move {broken.number}: {broken.invariant}")
        for broken in walk.broken if options.shorten else ():
            print(f"\nshorter: {walk.shortest(broken)}", flush=True)
    return FOUND if walk.broken else 0


def _given(options: argparse.Namespace) -> list[str]:
    text = (options.moves or "").replace(";", "\n")
    if options.replay:
        text = sys.stdin.read() if str(options.replay) == "-" else options.replay.read_text()
    return [line.strip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


if __name__ == "__main__":
    sys.exit(main())
