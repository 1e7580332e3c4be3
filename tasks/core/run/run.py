"""A step over hosts, in parallel: one that fails drops out, and the others go on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from time import monotonic
from typing import Any, TypeVar

from ..config.model import Rollout, Settings
from ..console.report import Reporter
from ..console.screen import Output
from ..console.summary import Record, Summary
from ..errors import KubeNginxError, NotStarted, StepError
from ..results import State, StepResult
from ..shell.pool import waiting
from ..ssh.fleet import Fleet
from ..ssh.node import Node
from .interrupt import Interrupt
from .lines import Lines
from .locks import Locks

T = TypeVar("T")


@dataclass
class Run:
    """A task at work on a fleet. `wait`: how many seconds another's lock on a node is waited for.

    `alone`: no other task of the command line may want the connections. `batch_given`: by --batch.
    `lines` tells programs of each node.
    """

    settings: Settings
    fleet: Fleet
    console: Output
    reporter: Reporter
    summary: Summary
    interrupt: Interrupt
    locks: Locks
    rollout: Rollout
    wait: int = 0
    as_json: bool = False
    alone: bool = False
    batch_given: bool = False
    lines: Lines | None = None

    @property
    def alive(self) -> list[Any]:
        """The hosts that have not failed yet."""
        failed = {*self.summary.failed}
        return [host for host in self.fleet if host.label not in failed]

    def step(
        self,
        name: str,
        work: Callable[[Any], StepResult[T]],
        hosts: Sequence[Any] | None = None,
        title: str = "",
        finish: bool = False,
        left_behind: Callable[[Any], StepError] | None = None,
        given_up: Callable[[], bool] | None = None,
        over: Callable[[StepResult[T]], bool] | None = None,
        patient: bool = False,
    ) -> dict[str, StepResult[T]]:
        """Does `work(host)` on those of `hosts` (None: all) that have not failed yet; gives what each found.

        `finish` lets hosts that have begun finish after Ctrl-C; no other starts. With `left_behind`, which
        says how a host is left then, they have a moment for it only. Once `given_up`, none is waited for.
        A node whose work is `over` by what was found needs its connection no more. Of a `patient` step, hosts
        that are only waited for make room for others: see `pool.waiting`.
        """
        wanted = None if hosts is None else set(hosts)
        crew = Fleet.from_connections([host for host in self.alive if wanted is None or host in wanted])
        crew.parallel = self.fleet.parallel
        if not crew:
            return {}
        found: dict[str, StepResult[T]] = {}
        started: dict[str, float] = {}

        def timed(host: Any) -> StepResult[T]:
            self.interrupt.check()
            started[host.label] = monotonic()
            self.reporter.begins(host.label)
            result = work(host)
            if over and self.alone and over(result):
                host.close()
            return result

        self.interrupt.finishing = finish
        try:  # Ctrl-C may come while the bar is being drawn
            self.reporter.step_begins(name, [host.label for host in crew], title)
            enough = self.interrupt.overdue if left_behind else given_up
            for host, result in crew.each(timed, enough, patient):
                if not isinstance(result, NotStarted):
                    seconds = monotonic() - started.pop(host.label)
                    found[host.label] = self._note(name, host, result, seconds)
            for host in crew:
                if left_behind and host.label in started:
                    self._note(name, host, left_behind(host), monotonic() - started[host.label])
        finally:
            self.interrupt.finishing = False
            self.reporter.step_ends()
        return {host.label: found[host.label] for host in crew if host.label in found}

    def lock(self, node: Node) -> None:
        """Keeps other commands from working on `node` until the end. Raises as `Locks.acquire` does."""
        self.interrupt.check()
        with waiting():
            self.locks.acquire(node, self.wait)

    def _note(
        self, step: str, host: Any, result: StepResult[T] | BaseException, seconds: float
    ) -> StepResult[T]:
        if isinstance(result, BaseException):
            error = copy(result) if isinstance(result, StepError) else _unexpected(result)
            result = StepResult(State.FAILED, error.message, error=error)
        slow = host.delays.long_ones()
        if slow and result.error and slow not in result.error.hint:
            result.error.hint = "; ".join(filter(None, (result.error.hint, slow)))
        address = f"{host.host}:{host.port}" if isinstance(host, Node) else ""
        record = Record(host.label, step, result, seconds, slow, address)
        self.summary.records.append(record)
        self.reporter.done(record)
        if self.lines:
            self.lines.note(record)
        return result


def _unexpected(error: BaseException) -> StepError:
    if isinstance(error, KubeNginxError):
        return StepError(str(error))
    if isinstance(error, OSError) and error.filename:
        return StepError(f"{error.filename}: {error.strerror}", hint="can you read and write there?")
    if isinstance(error, MemoryError) or "start new thread" in str(error):
        hint = "lower rollout.parallel in hosts.toml, or allow more: ulimit -u, ulimit -v"
        return StepError("this machine gives no more threads or memory", hint=hint)
    return StepError(
        f"{type(error).__name__}: {error}", hint="this is a fault of kube-nginx: please report it"
    )
