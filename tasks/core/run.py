"""A run: steps over hosts, in which a host that fails drops out and the recap says so."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from time import monotonic
from typing import Any

import fabric
import invoke

from . import report
from .errors import KubeNginxError, StepError, UsageError
from .fleet import Fleet, fleet_of, settings_of, warnings_of
from .node import Node
from .report import Outcome, Record
from .settings import Settings


class Run:
    """One task, or one chain of tasks, over a fleet."""

    def __init__(
        self, task: str, settings: Settings, fleet: Fleet, as_json: bool, hint: str, again: str
    ) -> None:
        self.task = task
        self.settings = settings
        self.fleet = fleet
        self.as_json = as_json
        self.records: list[Record] = []
        self.alive = list(fleet)
        self.console = report.console_for(as_json)
        self.reporter = report.reporter_for(self.console)
        self._unreachable_hint = hint
        self._again = again

    def step(self, name: str, work: Callable[[Any], Outcome]) -> None:
        """Does `work(host)` on every host that has not failed yet, in parallel."""
        if not self.alive:
            return
        self.reporter.step_begins(name, [host.label for host in self.alive])
        crew = Fleet.from_connections(self.alive)
        crew.parallel = self.fleet.parallel
        began: dict[str, float] = {}

        def timed(host: Any) -> Outcome:
            began[host.label] = monotonic()
            return work(host)

        try:
            for host, result in crew.each(timed):
                self._note(host, name, result, monotonic() - began[host.label])
        finally:
            self.reporter.step_ends()

    def _note(self, host: Any, step: str, result: Outcome | BaseException, seconds: float) -> None:
        if isinstance(result, BaseException):
            error = result if isinstance(result, StepError) else _unexpected(result)
            result = Outcome("failed", error.message, error=error)
        if result.state == "failed":
            self.alive.remove(host)
        record = Record(host.label, step, result, seconds)
        self.records.append(record)
        self.reporter.done(record)

    @property
    def failed(self) -> list[str]:
        """The hosts that failed, in the fleet's order."""
        bad = {record.host for record in self.records if record.outcome.state == "failed"}
        return [host.label for host in self.fleet if host.label in bad]

    def recap(self) -> None:
        """Tells failures and what to do next. Raises invoke.Exit with status 1 if a host failed."""
        if self.as_json:
            hosts = [host.label for host in self.fleet]
            report.write(report.document(self.task, self.records, hosts))
        if self.failed:
            raise invoke.Exit("\n".join(self._failures()), code=1)

    def _failures(self) -> Iterator[str]:
        yield f"\n{self.task}: {len(self.failed)} of {len(self.fleet)} failed"
        order = [host.label for host in self.fleet]
        yield from report.grouped(sorted(self.records, key=lambda record: order.index(record.host)))
        if self._unreachable_hint and any(r.error and r.error.unreachable for r in self.records):
            yield f"  to do: {self._unreachable_hint}"
        names = shlex.quote(",".join(self.failed))
        yield f"then again: {self._again.format(task=self.task, names=names)}"


FLEET_HELP = {
    "limit": "Only these nodes: names, hosts, groups or globs, separated by commas.",
    "json": "One JSON document on stdout, all else on stderr.",
}
UNMASK = "somebody wanted it so; if that is over: systemctl unmask kube-nginx on the node"
_current: ContextVar[Run | None] = ContextVar("kube_nginx_run", default=None)


def _unexpected(error: BaseException) -> StepError:
    if isinstance(error, KubeNginxError):
        return StepError(str(error))
    if isinstance(error, OSError) and error.filename:
        return StepError(f"{error.filename}: {error.strerror}", hint="can you read and write there?")
    return StepError(
        f"{type(error).__name__}: {error}", hint="this is a fault of kube-nginx: please report it"
    )


@contextmanager
def run(
    c: invoke.Context,
    task: str,
    *,
    limit: str | None = None,
    json: bool = False,
    quiet: bool = False,
    hosts: Callable[[], Sequence[Any]] | None = None,
) -> Iterator[Run]:
    """Opens the run of a task; inside a chain's run, joins it.

    `hosts` gives other hosts than the fleet's; `quiet` leaves all output to the task.
    Raises invoke.Exit: status 2 for wrong settings or flags, 1 when a host failed.
    """
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    try:
        if c.config.run.dry:
            raise UsageError("--dry would still connect and write; see fab render, fab status")
        settings = settings_of(c)
        fleet = Fleet.from_connections(list(hosts())) if hosts else fleet_of(c, limit)
        fleet.parallel = settings.rollout.parallel
        for host in fleet:
            if isinstance(host, Node):
                host.forget()
        hint = str(c.config.get("kube_nginx", {}).get("unreachable_hint", ""))
        again = "fab -H {names} {task}" if isinstance(c, fabric.Connection) else "fab {task} --limit {names}"
        this = Run(task, settings, fleet, json, hint, "fab {task}" if hosts else again)
        for warning in warnings_of(c):
            print(warning, file=sys.stderr)
        if quiet:
            this.reporter = report.Silent()
        token = _current.set(this)
        try:
            yield this
        finally:
            _current.reset(token)
        this.recap()
    except KubeNginxError as error:
        if json:
            report.write(report.refusal(task, str(error)))
        raise invoke.Exit(str(error), code=error.exit_code) from None


@contextmanager
def told() -> Iterator[None]:
    """Turns an error of ours into a message and an exit status, for tasks that need no fleet."""
    try:
        yield
    except KubeNginxError as error:
        raise invoke.Exit(str(error), code=error.exit_code) from None
