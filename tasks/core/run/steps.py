"""A run: steps over hosts, in which a host that fails drops out and the recap says so."""

from __future__ import annotations

import os
import shlex
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from time import monotonic
from types import FrameType
from typing import Any

from ..config.settings import Settings
from ..console import command_line as called
from ..console import recap, report, terminal
from ..console.report import Record
from ..errors import KubeNginxError, NotBegun, StepError
from ..results import StepResult
from ..shell.pool import together
from ..shell.remote import Piped
from ..ssh.fleet import Fleet
from ..ssh.node import Node
from . import lock

_MOMENT = 0.8  # seconds after Ctrl-C, for what can be finished by then


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
        self.console = terminal.console_for(as_json)
        self.reporter = report.reporter_for(self.console)
        self.left: list[str] = []
        self.why_left = ""
        self.summary: dict[str, Any] = {}
        self.counting = False
        self.interrupted = False
        self._signal = signal.SIGINT
        self.me = lock.holder(called.name_of(task))
        self._locks: dict[str, Piped] = {}
        self._heartbeat: lock.Heartbeat | None = None
        self._one_at_a_time = threading.Lock()
        self._finishing = False
        self._unreachable_hint = hint
        self._again = again

    def step(
        self,
        name: str,
        work: Callable[[Any], StepResult[object]],
        hosts: Sequence[Any] | None = None,
        title: str = "",
        finish: bool = False,
        left_so: Callable[[Any], StepError] | None = None,
        given_up: Callable[[], bool] | None = None,
    ) -> None:
        """Does `work(host)` in parallel on those of `hosts` (None: all) that have not failed yet.

        `finish` lets hosts that have begun finish after Ctrl-C; no other begins. With `left_so`, which
        says how a host is left then, they have a moment for it only. `given_up` says when nothing more of
        the step is wanted.
        """
        hosts = [host for host in self.alive if hosts is None or host in hosts]
        if not hosts:
            return
        crew = Fleet.from_connections(hosts)
        crew.parallel = self.fleet.parallel
        began: dict[str, float] = {}

        def timed(host: Any) -> StepResult[object] | None:
            if self.interrupted:
                return None
            began[host.label] = monotonic()
            try:
                return work(host)
            except NotBegun:
                return None

        self._finishing = finish
        try:  # Ctrl-C may come while the bar is being drawn
            self.reporter.step_begins(name, [host.label for host in hosts], title)
            for host, result in crew.each(timed, self._out_of_time if left_so else given_up):
                if result is not None:
                    self._note(host, name, result, monotonic() - began.pop(host.label))
            for host in hosts:
                if left_so and host.label in began:
                    self._note(host, name, left_so(host), monotonic() - began[host.label])
        finally:
            self._finishing = False
            self.reporter.step_ends()

    def lock(self, node: Node, wait: int = 0) -> None:
        """Keeps other commands from working on `node` until this one ends or `unlock` is called.

        Raises StepError that says who is at work there, when that does not end in `wait` seconds, and
        NotBegun after Ctrl-C.
        """
        self.go_on()
        if node.label not in self._locks:
            self._locks[node.label] = lock.acquire(node, self.me, wait, lambda: self.interrupted)
            with self._one_at_a_time:
                self._heartbeat = self._heartbeat or lock.Heartbeat(self._locks)

    def go_on(self) -> None:
        """For what is about to begin on a host. Raises NotBegun after Ctrl-C."""
        if self.interrupted:
            raise NotBegun

    def unlock(self, node: Node) -> None:
        """Lets others work on `node`."""
        if held := self._locks.pop(node.label, None):
            held.release(lock.PATIENCE)

    def _out_of_time(self) -> bool:
        return self.interrupted and monotonic() > self._interrupted + _MOMENT

    def on_interrupt(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C, SIGTERM or SIGHUP: nothing more begins; the second one leaves at once, and the nodes finish
        by themselves."""
        if self.interrupted:
            left = "\nleft; what has begun on a node finishes there by itself: fab status\n"
            with suppress(OSError):  # the terminal may be gone
                os.write(2, called.named(left).encode())
            os._exit(128 + number)
        self.interrupted, self._interrupted, self._signal = True, monotonic(), signal.Signals(number)
        if not self._finishing:
            raise KeyboardInterrupt
        terminal.tell("\nfinishing what has begun; Ctrl-C again leaves at once")

    def leave(self) -> None:
        """What was not done when Ctrl-C came."""
        over = {r.host for r in self.records if "result" in r.outcome.data or r.step == self.task}
        self.left = [host.label for host in self.alive if host.label not in over]
        self.why_left = "interrupted"

    def close(self) -> None:
        """Lets go of every lock."""
        if self._heartbeat:
            self._heartbeat.stop()
        patience = lock.HURRY if self.interrupted else lock.PATIENCE
        together(list(self._locks.values()), lambda held: held.release(patience))
        self._locks.clear()

    def _note(self, host: Any, step: str, result: StepResult[object] | BaseException, seconds: float) -> None:
        if isinstance(result, BaseException):
            error = result if isinstance(result, StepError) else _unexpected(result)
            result = StepResult("failed", error.message, error=error)
        slow = host.delays.long_ones()
        if slow and result.error and slow not in result.error.hint:
            result.error.hint = "; ".join(filter(None, (result.error.hint, slow)))
        if result.state == "failed":
            self.alive.remove(host)
        record = Record(host.label, step, result, seconds, slow)
        self.records.append(record)
        self.reporter.done(record)

    @property
    def failed(self) -> list[str]:
        """The hosts that failed, in the fleet's order."""
        bad = {record.host for record in self.records if record.outcome.state == "failed"}
        return [host.label for host in self.fleet if host.label in bad]

    @property
    def status(self) -> int:
        """The exit status that a shell gives to what ends by the signal that came."""
        return 128 + self._signal

    def recap(self) -> None:
        """Tells what became of the hosts, and what to do next.

        Raises invoke.Exit: status 130 after Ctrl-C (SIGTERM: 143, SIGHUP: 129), 1 if a host failed or was
        left.
        """
        hosts, results = [host.label for host in self.fleet], self._results()
        if self.as_json:
            terminal.write(recap.document(self.task, self.records, hosts, results, self.summary))
        if results:
            counted = Counter(results[host] for host in hosts if host in results)
            counts = ", ".join(f"{count} {result}" for result, count in counted.items())
            self.console.print(f"{self.task}: {counts}", highlight=False, markup=False)
        if self.failed or self.left:
            raise terminal.ending("\n".join(self._failures()), self.status if self.interrupted else 1)
        if self.interrupted:
            raise terminal.ending("interrupted", self.status)

    def _results(self) -> dict[str, str]:
        """What became of each host, for tasks that say so; a failure outweighs what was said before it."""
        seen = {r.host: r.outcome.data["result"] for r in self.records if "result" in r.outcome.data}
        if not seen and not self.counting and not self.left:
            return {}
        failed = {r.host: r.outcome.data.get("result", "failed") for r in self.records if r.error}
        return seen | failed | dict.fromkeys(self.left, recap.NOT_BEGUN)

    def _done(self) -> Iterator[str]:
        """The hosts whose turn came and that are changed now."""
        results = self._results()
        for result in dict.fromkeys(result for result in results.values() if result in recap.CHANGED):
            yield f"{result}: {', '.join(host for host, what in results.items() if what == result)}"

    def _failures(self) -> Iterator[str]:
        order = [host.label for host in self.fleet]
        yield "" if self._results() else f"\n{self.task}: {len(self.failed)} of {len(self.fleet)} failed"
        yield from recap.grouped(sorted(self.records, key=lambda record: order.index(record.host)))
        if self._unreachable_hint and any(r.error and r.error.unreachable for r in self.records):
            yield f"  to do: {self._unreachable_hint}"
        if self.left:
            yield from self._done()
            yield f"not begun: {', '.join(self.left)}: {self.why_left}"
        names = shlex.quote(",".join(host for host in order if host in {*self.failed, *self.left}))
        yield f"then again: {self._again.format(task=called.name_of(self.task), names=names)}"


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
