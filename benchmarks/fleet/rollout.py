"""Measure a rollout whose nodes mostly wait: `fab reload` of light hosts, each of which takes its time.

It may take as long as of hosts that need no time, and of each round that time and 2 s. --write adds it to
docs/performance.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import asdict
from math import ceil

from benchmarks.fleet import hosts as fleets
from benchmarks.fleet import measure, page
from benchmarks.fleet.goals import Rolled
from benchmarks.fleet.hosts import Hosts
from tests.lab.machine import LabError

ANSWERS = {
    "lock.sh": "kn.locked=1\n",
    "lock.sh.holds": "",
    "activate.sh": "kn.was_active=1\nkn.was_enabled=1\nkn.result=done\n",
}


def main(arguments: Sequence[str]) -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet.rollout", description=__doc__)
    parser.add_argument("--nodes", type=int, default=200, help="how many hosts")
    parser.add_argument("--parallel", type=int, default=32, help="rollout.parallel")
    parser.add_argument("--batch", type=int, default=25, metavar="PERCENT", help="rollout.batch")
    parser.add_argument("--settle", type=float, default=3, metavar="SECONDS", help="how long a node takes")
    parser.add_argument("--write", action="store_true", help="add it to docs/performance.md")
    options = parser.parse_args(arguments)
    measure.adopt()
    try:
        with fleets.light(options.nodes, 0) as hosts:
            rollout = f'[rollout]\nparallel = {options.parallel}\nbatch = "{options.batch}%"\n'
            with (hosts.folder / "hosts.toml").open("a") as file:
                file.write(rollout)
            for name, text in ANSWERS.items():
                (hosts.folder / "home" / name).write_text(text)
            at_once, waiting = (reload(hosts, seconds) for seconds in (0.0, options.settle))
    except LabError as error:
        sys.exit(str(error))
    rounds = 1 + ceil((options.nodes - 1) / ceil(options.nodes * options.batch / 100))
    seen = Rolled(options.nodes, rounds, options.settle, asdict(at_once), asdict(waiting))
    print(f"{'':24} {'wall s':>7} {'ms/node':>8} {'threads':>8} {'files':>6}")
    for name, cost in (("nodes that need no time", at_once), (f"{options.settle:g} s each", waiting)):
        each = cost.cpu / options.nodes * 1000
        print(f"{name:24} {cost.wall:7.1f} {each:8.1f} {cost.threads:8} {cost.files:6}")
    print(f"{seen.allowance}: {seen.most:.1f} s")
    if options.write:
        page.keep(lambda kept: kept.setdefault("rollouts", {}).update({str(seen.nodes): asdict(seen)}))


def reload(hosts: Hosts, seconds: float) -> measure.Cost:
    """What `fab reload` costs where each node takes so many seconds. Raises LabError: it failed."""
    (hosts.folder / "home" / "activate.sh.delay").write_text(f"{seconds:g}")
    command = [*hosts.prefix, sys.executable, "-m", "fabric", "reload"]
    ended = measure.run(command, hosts.env, hosts.folder)
    if ended.status or f"reload: {len(hosts.addresses)} reloaded" not in ended.out:
        raise LabError("\n".join(ended.out.splitlines()[-20:]))
    return ended.cost


if __name__ == "__main__":
    main(sys.argv[1:])
