"""Measure how the proxy behaves beside its peers' settings, and write docs/behaviour.md.

It needs root, a lab's real apiservers (built once), the binary (`fab build`) and the extra `dev`. About
50 minutes on two cores on which nothing else runs: python -m benchmarks.behaviour

The faults for which there is kube-nginx-watch, beside HAProxy (apt-get install haproxy), are measured alone
in 20 minutes by: python -m benchmarks.behaviour --silence
"""

from __future__ import annotations

import argparse
import asyncio
import json
import platform
import resource
import signal
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from rich.console import Console

from benchmarks import alternatives, load, machine, measure, page, proxy, silence
from benchmarks.alternatives import ALTERNATIVES, HAPROXY
from benchmarks.bench import Bench
from benchmarks.configurations import CONFIGURATIONS, DEFAULTS, OURS, VARIANTS, settings_of
from tasks.core.localfiles import write_atomic
from tasks.core.nginx import store
from tests.lab.lab import Lab
from tests.lab.progress import Progress

Row = Callable[[Bench, str], Awaitable[dict[str, Any]]]
BALANCES = tuple(name for name, changes in VARIANTS.items() if "balance" in changes)
WINDOWS = tuple(name for name, changes in VARIANTS.items() if "fail_timeout" in changes)
ROWS: dict[str, tuple[Row, Sequence[str]]] = {
    "first": (partial(measure.starts, starts=300, sessions=1), CONFIGURATIONS),
    "many": (partial(measure.starts, starts=1, sessions=300), CONFIGURATIONS),
    "kill": (partial(measure.one, fault="kill"), CONFIGURATIONS),
    "pause": (partial(measure.one, fault="pause"), CONFIGURATIONS),
    "cut": (partial(measure.one, fault="cut"), CONFIGURATIONS),
    "outage": (measure.outage, CONFIGURATIONS),
    "reload": (measure.reload, CONFIGURATIONS),
    "upgrade": (measure.upgrade, CONFIGURATIONS),
    "cost": (load.cost, (OURS,)),
    "speed": (load.speed, (OURS,)),
    "variant-first": (partial(measure.starts, starts=300, sessions=1), BALANCES),
    "variant-cut": (measure.cut, tuple(VARIANTS)),
    "variant-outage": (measure.outage, (DEFAULTS, *WINDOWS)),
    **{fault: (partial(silence.one, fault=fault), ALTERNATIVES) for fault in silence.FAULTS},
    "all": (silence.all_of_them, ALTERNATIVES),
    "flaps": (silence.flaps, ALTERNATIVES),
}
"""Each row of measurements, and the configurations for which it is measured."""
SILENCE = (*silence.FAULTS, "all", "flaps")


def main(arguments: Sequence[str]) -> None:
    """Run as a script."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.behaviour", description=__doc__)
    parser.add_argument("--only", action="append", choices=tuple(ROWS), help="measure this row alone (again)")
    parser.add_argument(
        "--silence", dest="only", action="store_const", const=[*SILENCE], help=f"measure {', '.join(SILENCE)}"
    )
    parser.add_argument("--continue", dest="resume", action="store_true", help="measure what is missing")
    parser.add_argument(
        "--quick", type=Path, metavar="FOLDER", help="few and short, to try it; it writes there"
    )
    parser.add_argument(
        "--lab", default="bench", metavar="NAME", help="the lab to use, or to have for the run"
    )
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # its lab goes down
    written, raw = options.quick / "behaviour.md" if options.quick else page.PAGE, page.RESULTS
    raw = options.quick / raw.name if options.quick else raw
    again = options.only or options.resume
    results: dict[str, Any] = json.loads(raw.read_text()) if again and raw.exists() else {}
    wanted = [
        (row, name)
        for row, (_, names) in ROWS.items()
        for name in names
        if (row in options.only if options.only else name not in results.get(row, {}))
    ]
    if HAPROXY in (name for _, name in wanted) and not alternatives.haproxy_version():
        sys.exit("HAProxy is missing; apt-get install haproxy")
    if wanted:
        with opened(options.lab, quick=bool(options.quick)) as bench, proxy.inside(bench.node.netns):
            results["environment"] = machine.described() | {
                "nginx": settings_of(OURS).build.version,
                "haproxy": alternatives.haproxy_version(),
            }
            asyncio.run(bench.mend())
            asyncio.run(_run(bench, wanted, results, raw))
    if missing := [row for row, (_, names) in ROWS.items() if set(names) - results.get(row, {}).keys()]:
        sys.exit(f"no page: {', '.join(missing)} not measured; --continue does it")
    written.write_text(page.text(results))


async def _run(bench: Bench, wanted: Sequence[tuple[str, str]], results: dict[str, Any], raw: Path) -> None:
    """Measure, and keep the raw results after each measurement."""
    for number, (row, name) in enumerate(wanted, 1):
        with Progress(Console(stderr=True)).step(f"{number} of {len(wanted)}: {row}, {name}"):
            results.setdefault(row, {})[name] = await ROWS[row][0](bench, name)
        write_atomic(raw, f"{json.dumps(results, indent=1)}\n".encode(), 0o644)


@contextmanager
def opened(name: str, *, quick: bool) -> Iterator[Bench]:
    """The lab of this name with real apiservers; one that is not up is there for this run only."""
    binary = store.find(settings_of(OURS), platform.machine())
    if binary is None or store.find_watch(settings_of(OURS), platform.machine()) is None:
        sys.exit("the binaries of hosts.toml are not built; run: fab build")
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    lab = Lab(name, apiservers="real", progress=Progress(Console(stderr=True)))
    was_up = lab.ssh_config.exists()
    try:
        lab.up(None if was_up else 1)
        with tempfile.TemporaryDirectory(prefix="kube-nginx-bench.") as folder:
            yield Bench(lab, binary.path, Path(folder), quick)
    finally:
        if not was_up:
            lab.down()


if __name__ == "__main__":
    main(sys.argv[1:])
