"""One host of the fleet: runs shell text as root, knows its facts, and leaves no half file."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from hashlib import sha256
from shlex import quote
from time import time
from typing import Any

import invoke
import paramiko

from ..config.settings import Proxy
from ..errors import StepError, reason
from . import commands, survey
from .facts import Facts
from .host import Ended, ended_as, failure, runner_options, too_late
from .link import Link
from .piped import Piped


class Node(Link):
    """A host that tasks act on."""

    _facts: Facts | None = None

    def sh(
        self,
        script: str,
        *,
        root: bool = True,
        timeout: float | None = 90,
        each_line: Callable[[str], None] | None = None,
        check: bool = True,
        tail: int = 5,
    ) -> Ended:
        """Runs a POSIX sh script, as root unless `root` is false; `timeout` is in seconds.

        Raises StepError when it does not end with status 0 (unless `check` is false), does not end
        in time, or the connection breaks; its last `tail` lines of output are in the error.
        """
        self.open()
        kwargs = runner_options(timeout, each_line)
        try:
            result = self._run_as(commands.shell(script), root and self.session.ssh.sudo, kwargs)
        except invoke.exceptions.CommandTimedOut as error:
            raise too_late(script, error, tail) from None
        except (invoke.exceptions.ThreadException, paramiko.SSHException, OSError, EOFError) as error:
            raise StepError(f"the connection broke: {_reason(error)}", command=script) from None
        ended = ended_as(result)
        if ended.status < 0:
            raise StepError("the connection broke while the command ran", command=script)
        if check and ended.status:
            raise self._failure(script, ended, tail)
        return ended

    def _run_as(self, command: str, sudo: bool, kwargs: dict[str, Any]) -> Any:
        if not sudo:
            return self.run(command, **kwargs)
        if self.config.sudo.password is None:
            return self.run(f"env LC_ALL=C sudo -n {command}", **kwargs)
        gate = self.session.sudo_gate
        gate.pass_through(self.label, lambda: self._with_password("true", hide=True, warn=True, timeout=30))
        return self._with_password(command, **kwargs)

    def _with_password(self, command: str, **kwargs: Any) -> Any:
        """What Fabric's own `sudo` does, in English: a refusal is known by its words."""
        sudo = self.config.sudo
        answer = invoke.FailingResponder(
            pattern=re.escape(sudo.prompt), response=f"{sudo.password}\n", sentinel="Sorry, try again.\n"
        )
        line = f"env LC_ALL=C sudo -S -p {quote(sudo.prompt)} {command}"
        return self.run(line, **{"in_stream": False, "watchers": [answer], **kwargs})

    def _failure(self, script: str, ended: Ended, tail: int) -> StepError:
        """Why a command failed; a refusal of sudo, which repeats the whole command, in one line."""
        refusal = next(iter(ended.stderr.strip().splitlines()), "")
        if self.session.ssh.sudo and refusal.startswith(("sudo:", "Sorry, user ")):
            return StepError(
                f"sudo refused: {refusal.partition(' to execute ')[0]}",
                status=ended.status,
                hint=f"let {self.user} use sudo without a password, or fab --prompt-for-sudo-password",
            )
        return failure(script, ended, tail)

    def survey(self, proxy: Proxy, names: Sequence[str] = ()) -> Facts:
        """The node's facts, read in one round trip and kept until `forget`.

        `names` are host names that the node is to resolve; what is kept is read anew if it lacks one.
        Raises StepError when the login is not root's and hosts.toml does not ask for sudo.
        """
        seen = self._facts
        if seen is None or not seen.addresses.keys() >= set(names):
            self.open()
            asked = time()
            told = self.sh(commands.survey(proxy, names), timeout=30).stdout
            seen = survey.parse(told, asked, time())
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

    def forget(self) -> None:
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
            self.forget()
        return True

    def _permits(self, path: str, mode: str) -> bool:
        """Puts owner and mode of a file right, and no more; false where there is a link in its place."""
        file = quote(path)
        return self.sh(f"[ ! -L {file} ] && chown 0:0 {file} && chmod {mode} {file}", check=False).status == 0

    def send(self, content: bytes, path: str, mode: str, root: bool = True) -> None:
        """Uploads to a temporary name, checks the sha256 on the host, renames over `path`.

        Raises StepError: the folder is missing, not writable or full, or other bytes arrived.
        """
        digest = sha256(content).hexdigest()
        script = commands.receive(path, len(content), digest, mode, "0:0" if root else "")
        try:
            self.feed(script, content, root=root)
        except StepError as error:
            if error.status == commands.NO_FOLDER:
                error.hint = "make it first: fab mkdir --limit {nodes}"
            raise

    def feed(
        self, script: str, content: bytes, *, root: bool = True, timeout: float = 30, tail: int = 5
    ) -> Ended:
        """Runs `script` with `content` as its standard input. Raises StepError as `sh` does."""
        piped = self.piped(script, root=root, timeout=timeout)
        try:
            piped.send(content)
            ended = piped.ended()
        finally:
            piped.close()
        if ended.status:
            raise self._failure(script, ended, tail)
        return ended

    def piped(self, script: str, *, root: bool = True, timeout: float) -> Piped:
        """Begins `script`, whose standard input is the caller's. Raises StepError."""
        self.open()
        sudo = root and self.session.ssh.sudo
        password = self.config.sudo.password
        if sudo and password is not None:
            self.sh("true")  # lets one node try the password first
        return Piped(self.transport, script, sudo=sudo, password=password, timeout=timeout)

    def fetch(self, path: str) -> bytes:
        """A file's content. Raises StepError."""
        return b64decode(self.sh(f"base64 < {quote(path)}", root=False).stdout)


def _reason(error: BaseException) -> str:
    if isinstance(error, invoke.exceptions.ThreadException):
        error = error.exceptions[0].value  # its own text is a traceback
    return reason(error)
