"""Measure how the proxy behaves beside its peers' settings, and write docs/behaviour.md.

It needs root, a lab's real apiservers (built once), the binary (`fab build`) and the extra `dev`. About
28 minutes on two cores on which nothing else runs: python -m benchmarks.behaviour
"""

from __future__ import annotations

import argparse
import asyncio
import datetime
import json
import os
import platform
import resource
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import changes, failures, load, netns, page, starts
from benchmarks.bench import Bench
from benchmarks.configurations import CONFIGURATIONS, DEFAULTS, OURS, VARIANTS, settings_of
from tasks.core.errors import UsageError
from tasks.core.localfiles import write_atomic
from tasks.core.nginx import store
from tasks.core.run.process import own_signals
from tests.lab.lab import Lab
from tests.lab.machine import LabError
from tests.lab.progress import Progress

RESULTS = Path(__file__).with_name("behaviour.json")
PAGE = Path(__file__).parents[1] / "docs" / "behaviour.md"
Row = Callable[[Bench, str], Awaitable[dict[str, Any]]]
BALANCES = tuple(name for name, changes in VARIANTS.items() if "balance" in changes)
WINDOWS = tuple(name for name, changes in VARIANTS.items() if "fail_timeout" in changes)
ROWS: dict[str, tuple[Row, Sequence[str]]] = {
    "first": (starts.first, CONFIGURATIONS),
    "many": (starts.many, CONFIGURATIONS),
    "kill": (partial(failures.one, fault="kill"), CONFIGURATIONS),
    "pause": (partial(failures.one, fault="pause"), CONFIGURATIONS),
    "cut": (partial(failures.one, fault="cut"), CONFIGURATIONS),
    "outage": (failures.outage, CONFIGURATIONS),
    "reload": (changes.reload, CONFIGURATIONS),
    "upgrade": (changes.upgrade, CONFIGURATIONS),
    "cost": (load.cost, (OURS,)),
    "speed": (load.speed, (OURS,)),
    "variant-first": (starts.first, BALANCES),
    "variant-cut": (failures.cut, tuple(VARIANTS)),
    "variant-outage": (failures.outage, (DEFAULTS, *WINDOWS)),
}
"""Each row of measurements, and the configurations for which it is measured."""


def main(arguments: Sequence[str]) -> int:
    """Run as a script; 1: it could not be measured, 2: it was asked for something that there is not."""
    own_signals()
    options = _options(arguments)
    console = Console(stderr=True)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        results = _known(options.json) if options.only or options.resume or options.page_only else {}
        if not options.page_only:
            _measure(options, results, Progress(console))
        missing = [row for row, (_, names) in ROWS.items() if not set(names) <= set(results.get(row, {}))]
        if missing:
            console.print(f"no page: {', '.join(missing)} not measured; --continue does it", highlight=False)
            return 0
        options.page.write_text(page.text(results))
    except KeyboardInterrupt:
        console.print(f"interrupted; --continue goes on from {options.json}")
        return 130
    except UsageError as error:
        console.print(str(error), highlight=False)
        return 2
    except (LabError, OSError, RuntimeError) as error:
        console.print(f"{type(error).__name__}: {error}", highlight=False)
        console.print(f"--continue goes on from {options.json}", highlight=False)
        return 1
    console.print(f"wrote {options.page}")
    return 0


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.behaviour", description=__doc__)
    parser.add_argument("--only", action="append", choices=tuple(ROWS), help="measure this row alone (again)")
    parser.add_argument("--continue", dest="resume", action="store_true", help="measure what is missing")
    parser.add_argument("--page-only", action="store_true", help="measure nothing, write the page")
    parser.add_argument("--json", type=Path, default=RESULTS, metavar="FILE", help="the raw results")
    parser.add_argument("--page", type=Path, default=PAGE, metavar="FILE", help="the page to write")
    parser.add_argument(
        "--lab", default="bench", metavar="NAME", help="the lab to use, or to have for the run"
    )
    parser.add_argument("--quick", action="store_true", help="few and short, to try the script")
    options = parser.parse_args(arguments)
    if options.quick and (options.json == RESULTS or options.page == PAGE):
        parser.error("--quick needs a --json and a --page of its own: its figures are none")
    return options


def _known(path: Path) -> dict[str, Any]:
    with suppress(FileNotFoundError):
        return dict(json.loads(path.read_text()))
    return {}


def _measure(options: argparse.Namespace, results: dict[str, Any], progress: Progress) -> None:
    """Measure what is asked for, and keep the raw results after each measurement."""
    wanted = [
        (row, name)
        for row, (_, names) in ROWS.items()
        for name in names
        if (row in options.only if options.only else name not in results.get(row, {}))
    ]
    binary = store.find(settings_of(OURS), platform.machine())
    if binary is None:
        raise UsageError("the binary of hosts.toml is not built; run: fab build")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    with (
        _lab(options.lab, progress) as lab,
        tempfile.TemporaryDirectory(prefix="kube-nginx-bench.") as folder,
    ):
        bench = Bench(lab, binary.path, Path(folder), options.quick)
        results["environment"] = _environment(binary.version)
        with netns.inside(bench.node.netns):
            asyncio.run(_run(bench, wanted, results, options.json, progress))


async def _run(
    bench: Bench, wanted: Sequence[tuple[str, str]], results: dict[str, Any], path: Path, progress: Progress
) -> None:
    await bench.mend()
    for number, (row, name) in enumerate(wanted, 1):
        with progress.step(f"{number} of {len(wanted)}: {row}, {name}"):
            results.setdefault(row, {})[name] = await ROWS[row][0](bench, name)
        write_atomic(path, f"{json.dumps(results, indent=1)}\n".encode(), 0o644)


@contextmanager
def _lab(name: str, progress: Progress) -> Iterator[Lab]:
    """The lab of this name with real apiservers; one that is not up is there for this run only."""
    lab = Lab(name, apiservers="real", progress=progress)
    was_up = lab.ssh_config.exists()
    try:
        lab.up(None if was_up else 1)
        yield lab
    finally:
        if not was_up:
            lab.down()


def _environment(nginx: str) -> dict[str, Any]:
    """What the figures were measured on."""
    cpu = next(
        line.split(":")[1].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if "model name" in line
    )
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cores": os.cpu_count(),
        "cpu": cpu,
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "kernel": platform.release(),
        "nginx": nginx,
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
