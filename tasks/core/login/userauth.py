"""The authentication protocol of RFC 4252, from the client's side, over a paramiko.Transport.

paramiko's own asks for no key before it signs, and keeps from us which methods a server would take and
why it hangs up. A security key would have to be touched, and a passphrase typed, for keys that nobody takes.

Names that paramiko does not publish are used here and in core.transport alone, since there is no public way:
_handler_table  of an auth_handler: what a Transport gives the replies to
_auth_trigger   tells a Transport that the user is in, when compression may begin
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any

import paramiko

from ..transport import Transport
from .keys import string

_SERVICE_REQUEST, _SERVICE_ACCEPT = 5, 6
_REQUEST, _FAILURE, _SUCCESS, _BANNER = 50, 51, 52, 53
_OK_OR_QUESTIONS, _ANSWERS = 60, 61  # SSH_MSG_USERAUTH_PK_OK, or one of keyboard-interactive
_LOOK = 1.0  # seconds between two looks whether the connection is still there
Questions = Sequence[tuple[str, bool]]
"""Of keyboard-interactive: each with whether the answer may be seen."""


@dataclass(frozen=True)
class Reply:
    """What the server said; `methods` are those that can continue, `partial` that one of several is done."""

    success: bool = False
    methods: tuple[str, ...] = ()
    partial: bool = False
    takes_key: bool = False
    questions: Questions | None = None


class DisconnectedError(paramiko.AuthenticationException):  # type: ignore[misc]
    """The server ended the connection while we logged in; its text is what it said, "" if nothing."""


class Userauth:
    """One login of `user`: a question and its reply at a time. It stands where paramiko has its AuthHandler.

    Each raises paramiko.AuthenticationException: no reply within the transport's auth_timeout;
    DisconnectedError; or whatever else ended the connection.
    """

    def __init__(self, transport: Transport, user: str) -> None:
        self.transport = weakref.proxy(transport)
        self.username = user
        self.authenticated = False
        self.banner: bytes | None = None
        self._method = ""
        self._replies: SimpleQueue[Reply | None] = SimpleQueue()
        self._service = False
        transport.auth_handler = self

    def none(self) -> Reply:
        """Asks for what the server would take; some take this."""
        return self._request("none")

    def would_take(self, algorithm: str, blob: bytes) -> Reply:
        """Asks whether a public key is one that can log in."""
        return self._request("publickey", b"\0", string(algorithm.encode()), string(blob))

    def publickey(self, algorithm: str, blob: bytes, sign: Callable[[bytes], bytes]) -> Reply:
        """Logs in with a key."""
        rest = (b"\1", string(algorithm.encode()), string(blob))
        signed = string(self.transport.session_id) + self._message("publickey", *rest)
        return self._request("publickey", *rest, string(sign(signed)))

    def password(self, password: str) -> Reply:
        """Logs in with a password."""
        return self._request("password", b"\0", string(password.encode()))

    def keyboard_interactive(self) -> Reply:
        """Has the server ask its questions."""
        return self._request("keyboard-interactive", string(b""), string(b""))

    def answer(self, answers: Sequence[str]) -> Reply:
        """The answers to the questions that it asked last."""
        count = len(answers).to_bytes(4, "big")
        parts = b"".join(string(answer.encode()) for answer in answers)
        return self._exchange(bytes((_ANSWERS,)) + count + parts)

    def is_authenticated(self) -> bool:
        """Whether the user is logged in: paramiko asks."""
        return self.authenticated

    def get_username(self) -> str:
        """The user who logs in: paramiko asks."""
        return self.username

    def abort(self) -> None:
        """The connection is gone: paramiko's thread says so."""
        self._replies.put(None)

    @property
    def said(self) -> str:
        """The banner that the server sent, "" if none."""
        return (self.banner or b"").decode(errors="replace")

    def _request(self, method: str, *rest: bytes) -> Reply:
        self._method = method
        if not self._service:
            self._service = True
            self._exchange(bytes((_SERVICE_REQUEST,)) + string(b"ssh-userauth"))
        return self._exchange(self._message(method, *rest))

    def _message(self, method: str, *rest: bytes) -> bytes:
        names = (self.username.encode(), b"ssh-connection", method.encode())
        return bytes((_REQUEST,)) + b"".join(map(string, names)) + b"".join(rest)

    def _exchange(self, data: bytes) -> Reply:
        until = monotonic() + (self.transport.auth_timeout or 30)
        with suppress(OSError, EOFError):  # paramiko's thread finds out why
            self.transport.packetizer.send_message(paramiko.Message(data))
        while self.transport.is_active() or not self._replies.empty():
            left = until - monotonic()
            if left <= 0:
                raise paramiko.AuthenticationException("Authentication timeout.")
            try:
                reply = self._replies.get(timeout=min(left, _LOOK))
            except Empty:
                continue
            if reply is None:
                break
            return reply
        error, farewell = self.transport.get_exception(), self.transport.farewell
        if farewell or error is None or isinstance(error, EOFError):
            raise DisconnectedError(farewell)
        raise error

    @property
    def _handler_table(self) -> dict[int, Callable[[Any], None]]:
        return {
            _SERVICE_ACCEPT: lambda m: self._replies.put(Reply()),
            _FAILURE: self._failed,
            _SUCCESS: self._succeeded,
            _BANNER: self._read_banner,
            _OK_OR_QUESTIONS: self._asked,
        }

    def _read_banner(self, m: paramiko.Message) -> None:
        self.banner = m.get_string()

    def _failed(self, m: paramiko.Message) -> None:
        methods = tuple(m.get_string().decode(errors="replace").split(","))
        self._replies.put(Reply(methods=methods, partial=m.get_boolean()))

    def _succeeded(self, m: paramiko.Message) -> None:
        self.authenticated = True
        self.transport._auth_trigger()
        self._replies.put(Reply(success=True))

    def _asked(self, m: paramiko.Message) -> None:
        if self._method == "publickey":
            self._replies.put(Reply(takes_key=True))
            return
        for _ in range(3):  # title, instructions, language
            m.get_string()
        count = min(m.get_int(), 64)
        prompts = [(m.get_string().decode(errors="replace"), m.get_boolean()) for _ in range(count)]
        self._replies.put(Reply(questions=prompts))
