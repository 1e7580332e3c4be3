"""Opens and ends the run of a task, or of a chain of tasks: settings, fleet, locks, signals."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import datetime
from typing import Any

import fabric
import invoke

from ..console import command_line, prompt, report, screen, summary, terminal
from ..console.summary import Record, Summary
from ..errors import Interrupted, KubeNginxError, UsageError
from ..localfiles import words_of
from ..ssh.fleet import Fleet, fleet_of, session_of
from ..ssh.node import Node
from ..ssh.options import flag
from ..ssh.session import Session
from . import locks, process
from .flags import LINES, Json, given, rollout_of, seconds
from .interrupt import Interrupt, Left
from .lines import Lines
from .locks import Locks
from .run import Run

_current: ContextVar[Run | None] = ContextVar("kube_nginx_run", default=None)


class TaskFailed(invoke.Exit):
    """How a task ends in which a host failed or was not started; `records` has what was found."""

    def __init__(self, message: str, code: int, records: Sequence[Record]) -> None:
        super().__init__(terminal.printable(message), code)
        self.records = tuple(records)


@contextmanager
def run(
    c: invoke.Context,
    task: str,
    *,
    limit: str | None = None,
    shard: str | None = None,
    json: Json = None,
    quiet: bool = False,
    counts: bool = False,
    hosts: Callable[[], Sequence[Any]] | None = None,
    **flags: Any,
) -> Iterator[Run]:
    """Opens the run of a task; inside a chain's run, joins it.

    `hosts` gives other hosts than the fleet's; `quiet` leaves all output to the task; `counts`: it says of
    each node what became of it. `flags` are those of a rollout, and others that belong to the line which
    repeats the task.
    Raises invoke.Exit: status 2 for wrong settings or flags; TaskFailed: 1 when a host failed or was not
    started, 130 after Ctrl-C (SIGTERM: 143, SIGHUP: 129).
    """
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    part = limit or (_typed_hosts(c) if isinstance(c, fabric.Connection) and not hosts else "")
    with reporting(task, json, shard or "", part):
        if c.config.run.dry:
            raise UsageError("--dry would still connect and write; see fab diff, fab render, fab status")
        if json not in (None, False, True, LINES):
            raise UsageError(f"--json={json}: --json is one document, --json={LINES} a line for each node")
        interrupt = Interrupt()
        with process.listening(interrupt.handle):
            try:  # Ctrl-C may come while the locks are let go of
                with _beginning(interrupt):
                    this = _opened(c, task, limit, shard, json, hosts, flags, interrupt)
                this.summary.counts, this.summary.limit = counts, part
                if quiet:
                    this.reporter = report.Silent()
                if shard and not this.fleet:
                    this.console.print(f"{task}: no node is in shard {shard}: nothing to do", markup=False)
                token = _current.set(this)
                try:
                    with _asking(this, session_of(c)):
                        yield this
                finally:
                    _current.reset(token)
                    if not interrupt.twice:  # the end of the connections frees them
                        this.locks.close()
            except KeyboardInterrupt:
                if not interrupt.came:
                    raise
            except Left:
                raise invoke.Exit(code=interrupt.status) from None
        finish(this, quiet)


def _opened(
    c: invoke.Context,
    task: str,
    limit: str | None,
    shard: str | None,
    json: Json,
    hosts: Callable[[], Sequence[Any]] | None,
    flags: dict[str, Any],
    interrupt: Interrupt,
) -> Run:
    settings = session_of(c).settings
    fleet = Fleet.from_connections(list(hosts())) if hosts else fleet_of(c, limit and words_of(limit), shard)
    fleet.parallel = settings.rollout.parallel
    nodes = [host for host in fleet if isinstance(host, Node)]
    process.allow_files(len(nodes), sum(isinstance(node.gateway, str) for node in nodes))
    for node in nodes:
        node.invalidate_facts()
    again = "fab -H {names} {task}" if isinstance(c, fabric.Connection) else "fab {task} --limit {names}"
    again = "fab {task}" if hosts else again
    hint = str(c.config.get("kube_nginx", {}).get("unreachable_hint", ""))
    console = screen.console_for(bool(json))
    names = [host.label for host in fleet]
    again += "".join(_as_typed(flags))
    now = datetime.now().astimezone().isoformat(timespec="seconds")
    done = Summary(task, names, again, hint, fleet.typed, shard=shard or "", began=now)
    return Run(
        settings,
        fleet,
        console,
        report.reporter_for(console, len(fleet)),
        done,
        interrupt,
        Locks(locks.holder(command_line.name_of(task)), lambda: interrupt.came, settings.proxy),
        rollout_of(settings.rollout, flags),
        seconds("--wait", flags.get("wait", "0")),
        bool(json),
        command_line.is_one_task(),
        batch_given=flags.get("batch") is not None,
        lines=Lines(done, terminal.write) if json == LINES else None,
    )


def _typed_hosts(c: fabric.Connection) -> str:
    """What -H was given; of a caller's own Connection, its host."""
    return str(flag("hosts") or c.original_host)


@contextmanager
def _beginning(interrupt: Interrupt) -> Iterator[None]:
    """Until there is a run that Ctrl-C could stop. Raises Interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted(interrupt.status) from None


@contextmanager
def _asking(this: Run, session: Session) -> Iterator[None]:
    """Has logins ask for passphrases on a terminal, and with one host what its server wants to know."""
    if not prompt.can_ask():
        yield
        return
    keyring = session.keyring
    # the reporter may become another one
    asked = prompt.Prompt(lambda: this.reporter.paused(), lambda: this.interrupt.came)  # noqa: PLW0108
    keyring.ask, keyring.ask_for_server = asked.ask, asked.ask if len(this.fleet) == 1 else None
    try:
        yield
    finally:
        asked.close()
        keyring.ask = keyring.ask_for_server = None


def _as_typed(flags: dict[str, Any]) -> Iterator[str]:
    """The flags that were given, as they are typed."""
    for name, value in given(flags):
        yield f" --{name}" if value is True else f" --{name} {shlex.quote(str(value))}"


def finish(this: Run, quiet: bool) -> None:
    """Tells what became of the hosts, and what to do next. Raises TaskFailed."""
    done, interrupt = this.summary, this.interrupt
    if interrupt.came:
        if quiet:
            raise TaskFailed("", interrupt.status, done.records)
        done.interrupted()
    if this.lines:
        this.lines.end()
    elif this.as_json:
        terminal.write(done.document())
    if counted := done.counted():
        this.console.print(counted, highlight=False, markup=False)
    if done.failed or done.not_started:
        code = interrupt.status if interrupt.came else 1
        raise TaskFailed("\n".join(done.failures()), code, done.records)
    if interrupt.came:
        raise TaskFailed("interrupted", interrupt.status, done.records)


@contextmanager
def reporting(task: str, json: Json = None, shard: str = "", limit: str = "") -> Iterator[None]:
    """Turns an error of ours into a message and an exit status; stdout that is full is one."""
    process.begin()
    with terminal.working():
        try:
            command_line.refuse_two_documents()
            yield
        except KubeNginxError as error:
            message = command_line.named(str(error))
            if form := json or command_line.asks_for_json():
                terminal.write(summary.refusal(task, message, form == LINES, shard, limit))
            raise terminal.ending(message, error.exit_code) from None
