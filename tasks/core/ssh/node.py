"""One host of the fleet: runs shell text as root, knows its facts, and leaves no half file."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from contextlib import closing
from hashlib import sha256
from shlex import quote
from time import monotonic, time
from typing import Any

import invoke
import paramiko

from ..config.settings import Proxy
from ..errors import StepError, reason
from ..facts.facts import Facts
from ..scripts.files import Receive, ReceiveAsUser
from ..scripts.script import A, Script
from ..scripts.survey import Survey
from ..shell.bounded import BULK, MOST
from ..shell.command import CommandResult, failure, framed
from ..shell.frame import BEGINS, SUDO
from ..shell.host import ended_as, not_begun, runner_options, too_late, too_much
from ..shell.piped import Piped
from .connection import Link


class Node(Link):
    """A host that tasks act on."""

    _facts: Facts | None = None

    def sh(
        self,
        script: str,
        *,
        root: bool = True,
        timeout: float | None = 90,
        most: int | None = MOST,
        each_line: Callable[[str], None] | None = None,
        check: bool = True,
        tail: int = 5,
    ) -> CommandResult:
        """Runs a POSIX sh script, as root unless `root` is false; `timeout` is in seconds.

        `most` is how much it may write, None: any amount, of which only the end is kept.
        Raises StepError when it does not end with status 0 (unless `check` is false), does not end
        in time, writes too much, cannot begin, or the connection breaks; its last `tail` lines of
        output are in the error.
        """
        self.open()
        sudo, kwargs = root and self.session.ssh.sudo, runner_options(timeout, most, each_line)
        try:
            result = self._run_as(framed(script), sudo, kwargs)
        except invoke.exceptions.CommandTimedOut as error:
            late: Any = error.result
            self.delays.began(late.seen, timeout)
            raise too_late(script, error, tail) from None
        except invoke.exceptions.ThreadException as error:
            raise too_much(script, error, tail) from None
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise StepError(f"the connection broke: {reason(error)}", command=script) from None
        if result.return_code < 0:
            raise StepError("the connection broke while the command ran", command=script)
        if BEGINS not in result.seen:
            raise not_begun(self.user, result.return_code, result.stdout + result.stderr, sudo)
        self.delays.began(result.seen)
        ended = ended_as(result)
        if check and ended.status:
            raise failure(script, ended, tail)
        return ended

    def _run_as(self, command: str, sudo: bool, kwargs: dict[str, Any]) -> Any:
        if not sudo:
            return self.run(command, **kwargs)
        if self.config.sudo.password is None:
            return self.run(f"{SUDO} -n {command}", **kwargs)
        self._prove_password()
        return self._with_password(command, **kwargs)

    def _prove_password(self) -> None:
        """Lets one node try the password first. Raises StepError: sudo refused it."""
        gate = self.session.sudo_gate
        gate.pass_through(self.label, lambda: self._with_password("true", hide=True, warn=True, timeout=30))

    def _with_password(self, command: str, **kwargs: Any) -> Any:
        """What Fabric's own `sudo` does, in English: a refusal is known by its words."""
        sudo = self.config.sudo
        answer = invoke.FailingResponder(
            pattern=re.escape(sudo.prompt), response=f"{sudo.password}\n", sentinel="Sorry, try again.\n"
        )
        line = f"{SUDO} -S -p {quote(sudo.prompt)} {command}"
        return self.run(line, **{"in_stream": False, "watchers": [answer], **kwargs})

    def do(self, script: Script[A], each_line: Callable[[str], None] | None = None) -> A:
        """Runs a script; its answer. Raises StepError as `sh` does, or with what its exit status means."""
        try:
            if (content := script.standard_input) is not None:
                piped = self.piped(script.text(), root=script.root, timeout=script.seconds_allowed)
                with closing(piped):
                    piped.send(content)
                    ended = piped.ended()
            else:
                limit = script.time_limit
                limits: Any = {"timeout": limit, "most": script.output_limit if limit else None}
                more: Any = {"root": script.root, "each_line": each_line, "tail": script.tail}
                ended = self.sh(script.text(), check=False, **limits, **more)
        finally:
            if script.changes:
                self.invalidate_facts()
        return script.read(ended)

    def survey(self, proxy: Proxy, names: Sequence[str] = ()) -> Facts:
        """The node's facts, read in one round trip and kept until `invalidate_facts`.

        `names` are host names that the node is to resolve; what is kept is read anew if it lacks one.
        Raises StepError when the login is not root's and hosts.toml does not ask for sudo.
        """
        seen = self._facts
        if seen is None or not seen.addresses.keys() >= set(names):
            self.open()
            asked = time()
            seen = self.do(Survey(proxy, tuple(names))).compared(asked, time())
            self.refuse_others_than_root(seen)
            object.__setattr__(self, "_facts", seen)
        return seen

    def refuse_others_than_root(self, seen: Facts) -> None:
        """Raises StepError when the survey was not made as root."""
        if seen.uid != 0:
            raise StepError(
                f"logged in as {self.user}, who is not root",
                hint='set ssh.user = "root", or ssh.sudo = true, in hosts.toml',
            )

    def invalidate_facts(self) -> None:
        """What was known may have changed: the next `survey` looks again."""
        object.__setattr__(self, "_facts", None)

    def ship(self, content: bytes, path: str, mode: str, known: Facts) -> bool:
        """Puts a file in place, owned by root; true if it was not there already, byte for byte.

        Raises StepError, as `send` does.
        """
        file = known.files.get(path)
        right = file is not None and file.sha256 == sha256(content).hexdigest()
        if file and right and file.has(mode.lstrip("0")):
            return False
        try:
            if not (right and self._permits(path, mode)):
                self.send(content, path, mode)
        finally:
            self.invalidate_facts()
        return True

    def _permits(self, path: str, mode: str) -> bool:
        """Puts owner and mode of a file right, and no more; false where there is a link in its place."""
        file = quote(path)
        return self.sh(f"[ ! -L {file} ] && chown 0:0 {file} && chmod {mode} {file}", check=False).status == 0

    def send(self, content: bytes, path: str, mode: str, root: bool = True) -> None:
        """Uploads to a temporary name, checks the sha256 on the host, renames over `path`.

        Raises StepError: the folder is missing, not writable or full, or other bytes arrived.
        """
        self.do(Receive(path, content, mode) if root else ReceiveAsUser(path, content, mode, owner=""))

    def piped(self, script: str, *, root: bool = True, timeout: float) -> Piped:
        """Begins `script`, whose standard input is the caller's. Raises StepError."""
        self.open()
        sudo = root and self.session.ssh.sudo
        password = self.config.sudo.password
        if sudo and password is not None:
            self._prove_password()
        seen: dict[str, float] = {}
        began = monotonic()
        try:
            return Piped(self.transport, script, sudo=sudo, password=password, timeout=timeout, seen=seen)
        finally:
            self.delays.began(seen, monotonic() - began)

    def fetch(self, path: str) -> bytes:
        """A file's content. Raises StepError."""
        return b64decode(self.sh(f"base64 < {quote(path)}", root=False, most=BULK).stdout)
