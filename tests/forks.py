"""`fab` in a process of its own for each call, as a user has it; only what it imports is read once.

Run as a script with the number of an open socket, it imports the library, then forks for each call.
A call may have a terminal. Tests of that start, and of signals, run `python -m fabric` instead.
"""

from __future__ import annotations

import atexit
import fcntl
import gc
import json
import os
import pkgutil
import signal
import socket
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from tempfile import TemporaryFile
from typing import NoReturn, cast

PACKAGES = "tasks", "tests.lab"
MOST = 1 << 17  # bytes of a call: its arguments and its environment


class Server:
    """A process without a terminal that forks for calls of `fab`, in turn; it ends with this one."""

    def __init__(self, root: Path, enter: Sequence[str] = ()) -> None:
        """`enter` is a command that runs another one, in other namespaces say."""
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            number = theirs.fileno()
            command = [*enter, sys.executable, "-m", "tests.forks", str(number)]
            self._process = subprocess.Popen(command, cwd=root, pass_fds=[number], start_new_session=True)

    def run(
        self, arguments: list[str], stdin: str, cwd: Path, environment: dict[str, str], timeout: float
    ) -> tuple[int, str, str]:
        """Exit status, standard output and error of `fab ARGUMENTS`.

        timeout is in seconds. If it has not ended by then it is killed: subprocess.TimeoutExpired, with all
        that it wrote.
        """
        with TemporaryFile("w+") as given, TemporaryFile("w+") as out, TemporaryFile("w+") as err:
            given.write(stdin)
            given.seek(0)
            files = [file.fileno() for file in (given, out, err)]
            pid = self.begin(files, arguments, cwd, environment)
            self._socket.settimeout(timeout)
            late = False
            try:
                status = self.end()
            except BaseException as error:
                os.kill(pid, signal.SIGKILL)
                self._socket.settimeout(None)
                status, late = self.end(), isinstance(error, TimeoutError)
                if not late:
                    raise
            self._socket.settimeout(None)
            for file in (out, err):
                file.seek(0)
            if late:
                raise subprocess.TimeoutExpired(["fab", *arguments], timeout, out.read() + err.read())
            return status, out.read(), err.read()

    def begin(
        self, files: Sequence[int], arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]
    ) -> int:
        """Starts `fab ARGUMENTS` with these for its standard streams, and returns its PID; `end` is next."""
        call = json.dumps([arguments, str(cwd), dict(environment)]).encode()
        socket.send_fds(self._socket, [call], files)
        return int(self._socket.recv(MOST))

    def end(self) -> int:
        """Waits for the end of what was begun; its exit status."""
        return int(self._socket.recv(MOST))


def serve(calls: socket.socket) -> None:
    """Fork for each call until nobody calls any more; returns in the process that is to be `fab`."""
    for name in PACKAGES:
        for module in pkgutil.walk_packages(import_module(name).__path__, f"{name}."):
            import_module(module.name)
    del sys.modules["tasks"]  # what it does where it is imported by `fab` is for each call
    gc.freeze()
    while True:
        call, files, _, _ = socket.recv_fds(calls, MOST, 3)
        if not call:
            sys.exit()
        if not (pid := os.fork()):
            calls.close()
            become(files, *json.loads(call))
            return
        for file in files:
            os.close(file)
        calls.send(b"%d" % pid)
        _, status = os.waitpid(pid, 0)
        calls.send(b"%d" % os.waitstatus_to_exitcode(status))


def become(files: list[int], arguments: list[str], cwd: str, environment: dict[str, str]) -> None:
    """Be as if this process had been started so."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    if os.isatty(0):
        os.setsid()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)
        cast(TextIOWrapper, sys.stdout).reconfigure(line_buffering=True)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["fab", *arguments]
    sys.path[:1] = [cwd, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]


def _told(error: BaseException) -> object:
    """Have an exception told as Python does; the status."""
    try:
        sys.excepthook(type(error), error, error.__traceback__)
    except SystemExit as end:
        return end.code
    return 1


def to_its_end(run: Callable[[], object]) -> NoReturn:
    """Run it, and end as Python does, but for taking apart all that was imported, which takes longest."""
    status: object = None
    try:
        run()
    except SystemExit as end:
        status = end.code
    except BaseException as error:
        status = _told(error)
    threading._shutdown()  # type: ignore[attr-defined] # waits for threads
    atexit._run_exitfuncs()
    if not isinstance(status, int | None):
        print(status, file=sys.stderr)
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status or 0)


if __name__ == "__main__":
    from fabric.main import program

    serve(socket.socket(fileno=int(sys.argv[1])))
    to_its_end(program.run)
