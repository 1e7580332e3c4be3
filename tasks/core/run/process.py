"""What a process inherits is set, not taken as found: streams, signals, the user's name, open files."""

from __future__ import annotations

import gc
import os
import pwd
import resource
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from ..console import terminal
from ..errors import UsageError

Handler = Callable[[int, FrameType | None], None]

_MARGIN = 64
"""Files besides connections: our own, those of libraries, pipes to programs."""

_NEW = 10_000
"""Objects that are made, and still there, before garbage is looked for among them; with Python it is 700."""


def collect_rarely() -> None:
    """For the process of `fab`: what is there stays, and next to nothing that comes becomes garbage."""
    gc.freeze()
    gc.set_threshold(_NEW)


def keep_compiled() -> None:
    """Python keeps what it compiles, unless it was told not to, as Invoke tells it whenever `fab` begins."""
    sys.dont_write_bytecode = bool(sys.flags.dont_write_bytecode)


def begin() -> None:
    """Sees to streams, signals, and that this user has a name, if only a number."""
    terminal.guard()
    own_signals()
    if not any(os.environ.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")):
        try:
            os.environ["LOGNAME"] = pwd.getpwuid(os.getuid()).pw_name
        except KeyError:
            os.environ["LOGNAME"] = str(os.getuid())


def own_signals() -> None:
    """Has signals do here, and in what is started, what they usually do; only the main thread can.

    A SIGHUP that is ignored (nohup) goes on to be here. A SIGCHLD must not be: the exit status of what is
    started would be lost.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    usual: dict[signal.Signals, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGQUIT: signal.SIG_DFL,
        signal.SIGHUP: _passed_over,
        signal.SIGTERM: signal.SIG_DFL,
        signal.SIGCHLD: signal.SIG_DFL,
    }
    for number, action in usual.items():
        if signal.getsignal(number) == signal.SIG_IGN:
            signal.signal(number, action)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*usual})


def _passed_over(number: int, frame: FrameType | None) -> None:
    """Unlike one that is ignored, a signal that comes here has its effect on what is started."""


@contextmanager
def listening(handler: Handler) -> Iterator[None]:
    """Has Ctrl-C, SIGTERM and SIGHUP (unless it is passed over) go to `handler`; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]
    wanted = [number for number in numbers if signal.getsignal(number) is not _passed_over]
    before = {number: signal.signal(number, handler) for number in wanted}
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, signal.SIG_DFL if old is None else old)


def allow_files(hosts: int, commands: int) -> None:
    """Sees that as many hosts can be connected to at once, to `commands` of them through a ProxyCommand.

    Raises UsageError: the hard limit of open files is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    agent = bool(os.environ.get("SSH_AUTH_SOCK"))
    need = _MARGIN + hosts * (1 + agent) + commands  # each has a file for what it says
    most = hard if hard != resource.RLIM_INFINITY else need
    if need > most:
        raise UsageError(
            f"{hosts} nodes need {need} open files at once, and this process may have {hard}: "
            f"raise its hard limit (ulimit -Hn {need}, as root), or take fewer nodes at a time with --limit"
        )
    if need > soft != resource.RLIM_INFINITY:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
