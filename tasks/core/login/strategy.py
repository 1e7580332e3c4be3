"""The login: methods and keys in OpenSSH's order, over paramiko's AuthStrategy."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from time import monotonic

import paramiko
from paramiko.auth_strategy import AuthResult, AuthStrategy

from ..errors import StepError
from ..gate import PasswordRefusedError
from .agent import Agent, AgentError
from .failure import Outcome, Story
from .given import Login
from .identities import Identity, identities, shown, signers
from .keyfile import KeyFile, KeyFileError, read_certificate, signed
from .keys import PublicKey, accepted_algorithms, algorithms
from .userauth import DisconnectedError, Reply, Userauth

_ROUNDS = 20  # of questions of keyboard-interactive


class Strategy(AuthStrategy):  # type: ignore[misc]
    """Does a login when paramiko has connected."""

    def __init__(self, login: Login) -> None:
        super().__init__(ssh_config=None)
        self.login = login

    def authenticate(self, transport: paramiko.Transport) -> AuthResult:
        """Logs in. Raises StepError: it was refused, with what was tried and what to do."""
        self.login.waited = 0.0
        attempt = _Attempt(self.login, transport)
        with closing(attempt):
            try:
                attempt.run()
            except DisconnectedError as error:
                raise attempt.failure(str(error)) from None
        return AuthResult(strategy=self)


class _Attempt:
    """One login under way."""

    def __init__(self, login: Login, transport: paramiko.Transport) -> None:
        self._login, self._transport = login, transport
        self._auth = Userauth(transport, login.config.user)
        self._agent = Agent(login.agent, login.seconds)
        self._story = Story(login.config.user, others=login.remarks())
        self._offered: set[PublicKey] = set()

    def run(self) -> None:
        """Goes through the methods until the server is content. Raises StepError."""
        do: dict[str, Callable[[], Reply]] = {
            "publickey": self._publickey,
            "password": lambda: self._first(self._by_password),
            "keyboard-interactive": lambda: self._first(self._by_questions),
        }
        done: set[str] = set()
        reply = self._auth.none()
        while not reply.success:
            self._story.methods = reply.methods or self._story.methods
            open_ones = (name for name in self._login.methods if name not in done and self._is_open(name))
            name = next(open_ones, None)
            if name is None:
                raise self.failure()
            done.add(name)
            reply = do[name]()
            if reply.partial:  # what comes next begins anew, as with OpenSSH
                self._story.passed.append(name)
                self._story.notes.clear()
                self._offered.clear()
                done.clear()
            elif name == "password" and not reply.success:
                done.add("keyboard-interactive")  # it would be the same password

    def _is_open(self, name: str) -> bool:
        methods = self._story.methods
        # questions that nobody can answer are asked for where they are all that is missing
        idle = name == "keyboard-interactive" and not (self._login.given.password or self._login.ask)
        return name in methods and not (idle and "publickey" in methods)

    def failure(self, farewell: str | None = None) -> StepError:
        """What is told of it; with what the server said when it ended the connection."""
        self._story.banner = self._auth.said
        return self._story.failure(farewell)

    def close(self) -> None:
        """Leaves the agent."""
        self._agent.close()

    def _publickey(self) -> Reply:
        reply = Reply()
        keys = self._identities()
        for identity in keys:
            reply = self._offer(identity, keys) or reply
            if reply.success or reply.partial:
                break
        return reply

    def _identities(self) -> list[Identity]:
        login, certificates = self._login, []
        for path in login.certificates:
            found = read_certificate(path)
            if isinstance(found, PublicKey):
                certificates.append((path, found))
            else:
                self._story.others.append(f"{shown(path)} {found}")
        files = [login.keyring.file(path) for path in login.files]
        exclusive = login.config.says("IdentitiesOnly")
        last = [file for file in map(login.keyring.file, login.last) if file.is_there]
        return identities(login.given.pkey, files, certificates, self._held(), exclusive, last)

    def _held(self) -> list[PublicKey]:
        if not self._login.agent:
            return []
        try:
            if proof := getattr(self._transport, "proof", None):
                self._agent.bind(proof[0], self._transport.session_id, proof[1])
            keys = self._agent.keys()
        except AgentError as error:
            self._story.agent = str(error)
            return []
        self._story.holds = True
        return keys

    def _offer(self, identity: Identity, keys: list[Identity]) -> Reply | None:
        """What the server says of a key; None if it was not offered."""
        public = self._public(identity)
        if public is None or public in self._offered:
            return None
        self._offered.add(public)
        identity = replace(identity, public=public)
        names = self._algorithms(public)
        if not names:
            self._story.note(identity, Outcome.UNFIT, "there is no signature algorithm that both sides allow")
            return None
        reply = self._auth.would_take(names[0], public.blob)
        if not reply.takes_key:
            self._story.note(identity, Outcome.REFUSED)
            return reply
        try:
            sign = self._signer(identity, keys)
            reply = self._auth.publickey(names[0], public.blob, lambda data: sign(data, names[0]))
        except (AgentError, KeyFileError) as error:
            self._story.note(identity, Outcome.TAKEN, error)
            return None
        if not (reply.success or reply.partial):
            self._story.note(identity, Outcome.TAKEN, f"its signature ({names[0]}) was refused")
        return reply

    def _public(self, identity: Identity) -> PublicKey | None:
        """What is offered; None if nothing can be, which is noted where somebody named the file."""
        file = identity.file
        if identity.public or file is None:
            return identity.public
        try:
            return PublicKey(self._private(file).asbytes())
        except KeyFileError as error:
            if file.is_there or self._login.named:
                self._story.note(identity, Outcome.UNREAD, error)
            return None

    def _algorithms(self, public: PublicKey) -> list[str]:
        sent = self._transport.server_extensions.get("server-sig-algs", b"").decode(errors="replace")
        accepted = accepted_algorithms(self._login.config.get("PubkeyAcceptedAlgorithms"))
        names = algorithms(public, accepted, sent.split(",") if sent else [])
        return [name for name in names if name not in self._login.given.disabled]

    def _signer(self, identity: Identity, keys: list[Identity]) -> Callable[[bytes, str], bytes]:
        """What signs for a key. Raises KeyFileError: nothing can."""
        why: KeyFileError = KeyFileError("no private key of it is known")
        for one in signers(identity, keys):
            held = one.public
            if one.in_agent and held:
                return lambda data, algorithm: self._agent.sign(held, data, algorithm)
            try:
                key = one.given or (self._private(one.file) if one.file else None)
            except KeyFileError as error:
                why = error
                continue
            if key is not None:
                return lambda data, algorithm: signed(key, data, algorithm)
        raise why

    def _private(self, file: KeyFile) -> paramiko.PKey:
        with self._waiting():
            return self._login.keyring.private(file, self._login.given.passphrase, self._login.prompts)

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        began = monotonic()
        try:
            yield
        finally:
            self._login.waited += monotonic() - began

    def _first(self, attempt: Callable[[], Reply]) -> Reply:
        """Sends the password, where one was given, unless it was wrong on another host."""
        if not self._login.given.password:
            return attempt()
        try:
            return self._login.gate.pass_through(self._login.config.name, attempt) or attempt()
        except PasswordRefusedError as error:
            self._story.told, self._story.wrong = error.message, True
            return Reply()

    def _by_password(self) -> Reply:
        reply = self._auth.password(self._login.given.password or "")
        if reply.questions is not None:
            self._story.told = "the password has expired: change it with ssh"
            raise self.failure()
        if not (reply.success or reply.partial):
            raise PasswordRefusedError("the password is wrong")
        return reply

    def _by_questions(self) -> Reply:
        reply = self._auth.keyboard_interactive()
        password, asked = self._login.given.password, False
        for _ in range(_ROUNDS):
            if reply.questions is None:
                break
            answers = []
            for question, visible in reply.questions:
                if password and not visible:
                    answers.append(password)
                    password = None
                else:
                    answers.append(self._asked(question, visible))
                    asked = True
            reply = self._auth.answer(answers)
        if not (reply.success or reply.partial):
            if self._login.given.password and not (asked or password):
                raise PasswordRefusedError("the password is wrong")
            self._story.told = "its questions were not answered as it wants"
        return reply

    def _asked(self, question: str, visible: bool) -> str:
        ask, config = self._login.ask, self._login.config
        with self._waiting():
            answer = ask(f"({config.user}@{config.name}) {question}", visible) if ask else None
        if answer is None:
            self._story.asks = question.strip()
            raise self.failure()
        return answer
