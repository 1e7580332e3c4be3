"""The login: methods and keys in OpenSSH's order, over paramiko's AuthStrategy."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import paramiko
from paramiko.auth_strategy import AuthResult, AuthStrategy

from ..config.model import expanded
from ..errors import StepError
from ..openssh.host import HostConfig
from .agent import Agent, AgentError
from .failure import Outcome, Story
from .given import Given, methods
from .identities import Identity, identities, shown, signers
from .keyfile import KeyFile, KeyFileError, Keyring, read_certificate, signed
from .keys import PublicKey, accepted_algorithms, algorithms
from .userauth import DisconnectedError, Reply, Userauth

_CERTIFICATE = "-cert.pub"
_ROUNDS = 20  # of questions of keyboard-interactive


class Login(AuthStrategy):  # type: ignore[misc]
    """How to log in to one host. `seconds` is how long an agent may take for an answer.

    Raises UsageError: a name in ssh_config that means nothing.
    """

    def __init__(self, config: HostConfig, keyring: Keyring, given: Given, seconds: float) -> None:
        super().__init__(ssh_config=None)
        self.config, self.keyring, self.given, self.seconds = config, keyring, given, seconds
        self.agent = config.identity_agent if given.agent else ""
        names = [expanded(name) for name in given.keys]
        self.named = bool(names) or "identityfile" in config.values
        if "identityfile" in config.values or (given.default_keys and not names):
            names += config.identity_files
        self.files = [Path(str(name).removesuffix(_CERTIFICATE)) for name in dict.fromkeys(names)]
        of_names = [name for name in names if name.name.endswith(_CERTIFICATE)]
        self.certificates = [*config.certificate_files, *of_names]
        self.methods = [*methods(config, given, keyring.ask is not None)]

    def authenticate(self, transport: paramiko.Transport) -> AuthResult:
        """Logs in. Raises StepError: it was refused, with what was tried and what to do."""
        attempt = _Attempt(self, transport)
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
        self._story = Story(login.config.user)
        self._offered: set[PublicKey] = set()
        self._may_ask = not login.config.says("BatchMode")
        if login.config.get("PubkeyAuthentication").lower() in ("no", "false"):
            self._story.others.append("PubkeyAuthentication is off in ssh_config: no key is offered")
        if login.config.get("PKCS11Provider", "none") != "none":
            self._story.others.append("what PKCS11Provider names is used through an agent only: ssh-add -s")

    def run(self) -> None:
        """Goes through the methods until the server is content. Raises StepError."""
        do = {
            "publickey": self._publickey,
            "password": self._password,
            "keyboard-interactive": self._interactive,
        }
        done: set[str] = set()
        reply = self._auth.none()
        while not reply.success:
            self._story.methods = reply.methods or self._story.methods
            open_ones = [name for name in self._story.methods if name not in done]
            name = next((name for name in self._login.methods if name in open_ones), None)
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
        return identities(login.given.pkey, files, certificates, self._held(), exclusive)

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
        return self._login.keyring.private(file, self._login.given.passphrase, self._may_ask)

    def _password(self) -> Reply:
        reply = self._auth.password(self._login.given.password or "")
        if reply.questions is not None:
            self._story.told = "the password has expired: change it with ssh"
            raise self.failure()
        if not (reply.success or reply.partial):
            self._story.told, self._story.wrong = "the password is wrong", True
        return reply

    def _interactive(self) -> Reply:
        reply = self._auth.keyboard_interactive()
        password = self._login.given.password
        for _ in range(_ROUNDS):
            if reply.questions is None:
                break
            answers = []
            for question, visible in reply.questions:
                answer = password if password and not visible else self._asked(question)
                password = None if answer == password else password
                answers.append(answer)
            reply = self._auth.answer(answers)
        if not (reply.success or reply.partial):
            self._story.told = "its questions were not answered as it wants"
        return reply

    def _asked(self, question: str) -> str:
        ask = self._login.keyring.ask if self._may_ask else None
        answer = ask(f"{self._login.config.name}: {question}") if ask else None
        if answer is None:
            self._story.told = f"it asks: {question.strip()}"
            raise self.failure()
        return answer
