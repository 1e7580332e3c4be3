"""Measure what a fleet costs on the machine that runs `fab`, beside other tools.

Light hosts are loopback addresses of one sshd that answers with a kept text, in namespaces of its own (root,
cc, openssh-server); real hosts are the lab's. --write adds what was measured to docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.fleet import hosts as fleets
from benchmarks.fleet import measure, page
from benchmarks.fleet.contenders import LIGHT, REAL, Contender
from benchmarks.fleet.hosts import Hosts
from tests.lab.machine import LabError

Runs = dict[str, list[measure.Cost]]
WARM = 2
"""Hosts of a first run of each contender, which is not measured: it compiles what Python reads."""


def main(arguments: Sequence[str]) -> None:
    """Run as a script."""
    names = [*dict.fromkeys(contender.name for contender in (*LIGHT, *REAL))]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.fleet", description=__doc__)
    parser.add_argument("--nodes", type=int, required=True, help="how many hosts")
    parser.add_argument("--hosts", choices=("light", "real"), default="light")
    parser.add_argument("--delay", type=float, default=0, metavar="SECONDS", help="before light hosts answer")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each, in turn")
    parser.add_argument("--only", metavar="NAME,...", help=f"of: {'; '.join(names)}")
    parser.add_argument(
        "--lab", default="bench", metavar="NAME", help="of real hosts; else there for the run"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write each run there")
    parser.add_argument("--write", action="store_true", help="add it to docs/performance.md")
    options = parser.parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    wanted = [one.strip() for one in options.only.split(",")] if options.only else names
    if unknown := [name for name in wanted if name not in names]:
        parser.error(f"--only {', '.join(unknown)}: there are {'; '.join(names)}")
    every = LIGHT if options.hosts == "light" else REAL
    contenders = [contender for contender in every if contender.name in wanted]
    versions = {one.package: one.prepare() for one in contenders if one.package}
    measure.adopt()
    try:
        if options.hosts == "light":
            with fleets.light(WARM, 0) as hosts:
                rounds(contenders, hosts, 1)
            fleet = fleets.light(options.nodes, options.delay)
        else:
            fleet = fleets.real(options.nodes, options.lab)
        with fleet as hosts:
            runs = rounds(contenders, hosts, options.rounds)
    except LabError as error:
        sys.exit(str(error))
    print(table(runs, options.nodes))
    each = {name: [asdict(cost) for cost in costs] for name, costs in runs.items()}
    if options.json:
        options.json.write_text(json.dumps(each, indent=1) + "\n")
    if options.write:
        write(page.key(options.hosts, options.nodes, options.delay), each, versions)
    if out := [contender.name for contender in contenders if contender.name not in runs]:
        sys.exit(f"left out: {', '.join(out)}; see above")


def write(key: str, runs: dict[str, list[dict[str, float]]], versions: dict[str, str]) -> None:
    """Adds results to those that are kept, and writes the page."""
    openssh = subprocess.run(["ssh", "-V"], check=True, capture_output=True, text=True).stderr.split("_")[1]
    own = {"Fabric": version("fabric"), "paramiko": version("paramiko"), "OpenSSH": openssh.split(",")[0]}

    def add(kept: dict[str, Any]) -> None:
        kept["versions"] |= own | versions
        kept["runs"][key] = kept["runs"].get(key, {}) | runs

    page.keep(add)


def rounds(contenders: Sequence[Contender], hosts: Hosts, count: int) -> Runs:
    """Each in turn, so often; one that has not reached all hosts is told, and left out."""
    runs: Runs = {contender.name: [] for contender in contenders}
    for number in range(count):
        for contender in contenders:
            if contender.name not in runs:
                continue
            ended, missing = once(contender, hosts)
            if ended.status or missing:
                last = "\n".join(ended.out.splitlines()[-20:])
                unseen = f"status {ended.status}, {len(missing)} hosts not seen"
                print(f"{contender.name}: {unseen}: left out\n{last}", file=sys.stderr)
                del runs[contender.name]
                continue
            runs[contender.name].append(ended.cost)
            print(f"{number + 1}/{count} {contender.name}: {ended.cost}", file=sys.stderr)
    return runs


def once(contender: Contender, hosts: Hosts) -> tuple[measure.Ended, set[str]]:
    """One run, and the hosts that have not answered. Raises LabError where real ones do not serve then."""
    if contender.anew:
        hosts.fab("uninstall", "--yes")
    ended = measure.run([*hosts.prefix, *contender.command(hosts)], hosts.env, hosts.folder)
    missing = set(hosts.addresses) - contender.answered(ended.out, hosts)
    if not (hosts.prefix or ended.status or missing):
        hosts.fab("status")
    return ended, missing


def table(runs: Runs, nodes: int) -> str:
    """The medians, for a terminal."""
    lines = [f"{'':22} {'ms/node':>8} {'MB':>6} {'threads':>8} {'files':>6} {'wall s':>7}"]
    for name, costs in runs.items():
        cpu, memory, wall = (
            statistics.median(getattr(cost, key) for cost in costs) for key in ("cpu", "memory", "wall")
        )
        threads, files = (max(getattr(cost, key) for cost in costs) for key in ("threads", "files"))
        lines.append(
            f"{name:22} {cpu / nodes * 1000:8.1f} {memory / 1e6:6.0f} {threads:8} {files:6} {wall:7.1f}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main(sys.argv[1:])
