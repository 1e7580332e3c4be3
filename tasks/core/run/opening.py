"""Opens and ends the run of a task or of a chain of tasks."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import fabric
import invoke

from ..console import command_line as called
from ..console import recap, report, terminal
from ..errors import KubeNginxError, UsageError
from ..ssh.fleet import Fleet, fleet_of, session_of
from ..ssh.node import Node
from . import process
from .steps import Run

_current: ContextVar[Run | None] = ContextVar("kube_nginx_run", default=None)


@contextmanager
def run(
    c: invoke.Context,
    task: str,
    *,
    limit: str | None = None,
    json: bool = False,
    quiet: bool = False,
    hosts: Callable[[], Sequence[Any]] | None = None,
    flags: Mapping[str, object] | None = None,
) -> Iterator[Run]:
    """Opens the run of a task; inside a chain's run, joins it.

    `hosts` gives other hosts than the fleet's; `quiet` leaves all output to the task. `flags` are those
    that belong to the line which repeats the task.
    Raises invoke.Exit: status 2 for wrong settings or flags, 1 when a host failed.
    """
    outer = _current.get()
    if outer is not None:
        yield outer
        return
    process.begin()
    with terminal.working(), _refusing(task, json):
        this = _begun(c, task, limit, json, hosts, flags or {})
        if quiet:
            this.reporter = report.Silent()
        with process.listening(this.on_interrupt), _left(this):
            token = _current.set(this)
            try:
                yield this
            finally:
                _current.reset(token)
                this.close()
        if quiet and this.interrupted:
            raise invoke.Exit(code=this.status)
        this.recap()


def _begun(
    c: invoke.Context,
    task: str,
    limit: str | None,
    json: bool,
    hosts: Callable[[], Sequence[Any]] | None,
    flags: Mapping[str, object],
) -> Run:
    called.refuse_two_documents()
    if c.config.run.dry:
        raise UsageError("--dry would still connect and write; see fab diff, fab render, fab status")
    session = session_of(c)
    settings = session.settings
    fleet = Fleet.from_connections(list(hosts())) if hosts else fleet_of(c, limit)
    fleet.parallel = settings.rollout.parallel
    nodes = [host for host in fleet if isinstance(host, Node)]
    process.allow_files(len(nodes), sum(isinstance(node.gateway, str) for node in nodes))
    for node in nodes:
        node.invalidate_facts()
    for warning in session.new_warnings():
        terminal.tell(warning)
    hint = str(c.config.get("kube_nginx", {}).get("unreachable_hint", ""))
    again = "fab -H {names} {task}" if isinstance(c, fabric.Connection) else "fab {task} --limit {names}"
    again = "fab {task}" if hosts else again
    return Run(task, settings, fleet, json, hint, again + "".join(_as_typed(flags)))


def _as_typed(flags: Mapping[str, object]) -> Iterator[str]:
    """The flags that were given, as they are typed."""
    for name, value in flags.items():
        if value not in (None, False):
            yield f" --{name}" if value is True else f" --{name} {shlex.quote(str(value))}"


@contextmanager
def _left(this: Run) -> Iterator[None]:
    """After Ctrl-C, the run knows what was not done."""
    with suppress(KeyboardInterrupt):
        yield
    if this.interrupted and not this.left:
        this.leave()


@contextmanager
def _refusing(task: str, json: bool = False) -> Iterator[None]:
    """Turns an error of ours into a message and an exit status; for --json also into its document."""
    try:
        yield
    except KubeNginxError as error:
        message = called.named(str(error))
        if json or called.asks_for_json():
            terminal.write(recap.refusal(task, message))
        raise terminal.ending(message, error.exit_code) from None


@contextmanager
def reporting(task: str) -> Iterator[None]:
    """Turns an error of ours into a message and an exit status, for tasks that need no fleet."""
    process.begin()
    with terminal.working(), _refusing(task):
        called.refuse_two_documents()
        yield
