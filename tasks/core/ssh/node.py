"""One host of the fleet: runs shell text as root, knows its facts, and leaves no half file."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from functools import partial
from hashlib import sha256
from shlex import quote
from threading import Lock as Mutex
from time import time
from typing import Any, TypeVar

import paramiko
from paramiko.agent import AgentRequestHandler

from ..config.model import Proxy
from ..errors import StepError, reason
from ..facts.facts import Facts
from ..scripts.files import Receive, ReceiveAsUser
from ..scripts.lock import Lock
from ..scripts.script import A, Script
from ..scripts.survey import Survey
from ..shell.command import CommandResult
from ..shell.output import BULK, MOST
from ..shell.piped import Piped
from ..shell.remote import RemoteCommand
from .connection import Link

C = TypeVar("C", bound=RemoteCommand)

_MAX_SESSIONS = "set MaxSessions in its sshd_config to 2 or more (sshd has 10 by itself), and reload sshd"


class Node(Link):
    """A host that tasks act on."""

    _facts: Facts | None = None
    _locked: tuple[Piped, Survey] | None = None  # the session of its lock, and what that surveys
    _another: Callable[[], Link]
    _others: list[Link]  # connections besides this one, for sessions that sshd allows it no more
    _sessions: Mutex

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._another, self._others, self._sessions = partial(Link, *args, **kwargs), [], Mutex()

    def create_session(self, timeout: float | None = None) -> paramiko.Channel:
        """A session; where sshd allows a connection no more of them (MaxSessions), on another connection.

        `timeout` is in seconds, None: paramiko's. Raises StepError: sshd allows none, or another connection
        cannot be; and what paramiko raises where a connection breaks.
        """
        with self._sessions:
            for link in (self, *self._others):
                link.open()
                with suppress(paramiko.ChannelException):
                    return self._session_of(link, timeout)
            another = self._another()
            another.delays = self.delays
            try:
                another.open()
                channel = self._session_of(another, timeout)
            except StepError as error:
                message = f"sshd allows one connection no more sessions, and another failed: {error.message}"
                hint = "; ".join(filter(None, (_MAX_SESSIONS, error.hint)))
                raise StepError(message, hint=hint) from None
            except paramiko.ChannelException as error:
                another.close()
                message = f"sshd takes the login, and opens no session for a command: {reason(error)}"
                raise StepError(message, hint=_MAX_SESSIONS) from None
            except BaseException:
                another.close()
                raise
            self._others.append(another)
            return channel

    def _session_of(self, link: Link, timeout: float | None) -> paramiko.Channel:
        channel = link.transport.open_session(timeout=timeout)
        if link.forward_agent:
            link._agent_handler = AgentRequestHandler(channel)  # Fabric's, which closes it
        return channel

    def hang_up(self) -> None:
        """Ends its connections below: see `Link.hang_up`."""
        super().hang_up()
        for link in self._others:
            link.hang_up()

    def close(self) -> None:
        """Closes its connections; what was known of it goes, too, which is much for a thousand nodes."""
        self.invalidate_facts()
        super().close()
        for link in self._others:
            link.close()

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

        `most` is how many bytes it may write, None: any number, of which only the end is kept.
        Raises StepError when it does not end with status 0 (unless `check` is false), does not end
        in time, writes too much, cannot begin, or the connection breaks; its last `tail` lines of
        output are in the error.
        """
        self.open()
        bounds = {"timeout": timeout, "most": most, "each_line": each_line, "tail": tail}
        return self._begin(RemoteCommand, self.create_session, script, root, **bounds).result(check)

    def piped(self, script: str, *, root: bool = True, timeout: float) -> Piped:
        """Begins `script`, whose standard input is the caller's. Raises StepError."""
        self.open()
        open_session = partial(self.create_session, timeout)
        return self._begin(Piped, open_session, script, root, timeout=timeout)

    def _begin(
        self, kind: type[C], open_session: Callable[[], Any], script: str, root: bool, **bounds: Any
    ) -> C:
        sudo, password = root and self.session.ssh.sudo, self.session.sudo_password
        if sudo and password is not None:  # one node tries it first
            self.session.sudo_gate.pass_through(self.label, lambda: self._accepts(password))
        bounds |= {"sudo": sudo, "password": password, "delays": self.delays}
        return kind(open_session, self.user, script, **bounds)

    def _accepts(self, password: str) -> bool:
        """Whether sudo runs a command with the password. Raises StepError."""
        command = RemoteCommand(
            self.create_session, self.user, "true", sudo=True, password=password, timeout=30
        )
        return command.result(check=False).status == 0

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
            seen = self._surveyed(Survey(proxy, tuple(names))).compared(asked, time())
            self.refuse_others_than_root(seen)
            self._facts = seen
        return seen

    def survey_through(self, lock: Piped, survey: Survey) -> None:
        """Has that survey go through the session of the node's lock, for as long as there is one."""
        self._locked = lock, survey

    def _surveyed(self, script: Survey) -> Facts:
        lock, same = self._locked or (None, None)
        if lock is None or script != same or not lock.answers:
            return self.do(script)
        try:
            return script.read(lock.ask(Lock.ASKED, Lock.ANSWERED, script.seconds_allowed))
        except StepError as error:
            error.command = script.text()
            raise

    def refuse_others_than_root(self, seen: Facts) -> None:
        """Raises StepError when the survey was not made as root."""
        if seen.uid != 0:
            raise StepError(
                f"logged in as {self.user}, who is not root",
                hint='set ssh.user = "root", or ssh.sudo = true, in hosts.toml',
            )

    def invalidate_facts(self) -> None:
        """What was known may have changed: the next `survey` looks again."""
        self._facts = None

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

    def fetch(self, path: str) -> bytes:
        """A file's content. Raises StepError."""
        return b64decode(self.sh(f"base64 < {quote(path)}", root=False, most=BULK).stdout)
