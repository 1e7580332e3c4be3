"""What is told of a login that failed: as much of `ssh -v` as fits in three lines, and one hint."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from enum import Enum
from shlex import quote

from ..errors import StepError
from .given import SPOKEN
from .identities import Identity
from .keyfile import PassphraseError

_MOST = 5  # keys that are named
_SAID = 160  # characters of a banner or a question
_OTHER_KEY = "set ssh.user or ssh.identity in hosts.toml, or IdentityFile in ssh_config"
_BY_WORD = "give its password: fab --prompt-for-login-password TASK"
_QUESTION = f"{_BY_WORD}; or answer on a terminal, one node at a time: --limit NODE"
_NO_AGENT = (
    "have the agent answer (SSH_AUTH_SOCK, or IdentityAgent in ssh_config), or name a key: IdentityFile"
)
_ONE_KEY = "have only the right key offered: IdentitiesOnly yes and IdentityFile in ssh_config"
_FAREWELL_OF_TRIES = "too many"


class Outcome(Enum):
    """What became of a key; the ones that say most come first."""

    TAKEN = "would be taken, but"
    UNREAD = ""
    UNFIT = "was not offered:"
    REFUSED = "was refused"


@dataclass(frozen=True)
class Note:
    """A key, what became of it, and why."""

    identity: Identity
    outcome: Outcome
    why: BaseException | str = ""

    def __str__(self) -> str:
        name = str(self.identity) if self.outcome in (Outcome.TAKEN, Outcome.UNFIT) else self.identity.source
        return " ".join(filter(None, (name, self.outcome.value, str(self.why))))


@dataclass
class Story:
    """One login as it goes on. `agent` says what its agent did not do, `holds` whether it told its keys.

    `told` is what became of the password, `wrong` that the server did not take it; `asks` is a question of
    the server's that nobody answered.
    """

    user: str
    methods: tuple[str, ...] = ()
    notes: list[Note] = field(default_factory=list)
    passed: list[str] = field(default_factory=list)
    others: list[str] = field(default_factory=list)
    agent: str = ""
    holds: bool = False
    banner: str = ""
    told: str = ""
    wrong: bool = False
    asks: str = ""

    def note(self, identity: Identity, outcome: Outcome, why: BaseException | str = "") -> None:
        """Keeps what became of a key."""
        self.notes.append(Note(identity, outcome, why))

    def failure(self, farewell: str | None = None) -> StepError:
        """The login as it ended; with a `farewell` the server ended the connection ("" without a word)."""
        lines = [self._first(farewell), self._refused(), "; ".join(self._unused())]
        return StepError(
            "\n  ".join(line for line in lines if line), hint=self._hint(farewell), unreachable=True
        )

    def _first(self, farewell: str | None) -> str:
        what = f"refused the login of {self.user}"
        if self.passed:
            what += f" after {' and '.join(self.passed)}"
        if farewell is not None:
            what += f": {_one_line(farewell) or 'it ended the connection'}"
        if self.told or self.asks:
            what += f": {self.told or f'it asks: {_one_line(self.asks)}'}"
        if self.methods and farewell is None:
            alien = [name for name in self.methods if name not in SPOKEN]
            speaks = f" (not spoken here: {', '.join(alien)})" if alien else ""
            what += f"; it takes {', '.join(self.methods)}{speaks}"
        return f"{what}; it says: {_one_line(self.banner)}" if self.banner.strip() else what

    def _refused(self) -> str:
        refused = [str(note.identity) for note in self._with(Outcome.REFUSED)]
        more = f" and {len(refused) - _MOST} more" if len(refused) > _MOST else ""
        return f"it refused {', '.join(refused[:_MOST])}{more}" if refused else ""

    def _unused(self) -> Iterator[str]:
        found = [note for outcome in list(Outcome)[:3] for note in self._with(outcome)]
        yield from map(str, found[:_MOST])
        yield from self.others
        if self.agent:
            yield f"the agent {self.agent}"

    def _hint(self, farewell: str | None) -> str:
        if farewell is not None and (_FAREWELL_OF_TRIES in farewell.lower() or len(self.notes) > 1):
            return _ONE_KEY
        remedies = (self._remedy(note) for note in (*self._with(Outcome.TAKEN), *self._with(Outcome.UNREAD)))
        if hint := next(filter(None, remedies), ""):
            return hint
        spoken = [name for name in self.methods if name in SPOKEN]
        if self.wrong or self.asks:
            return _QUESTION if self.asks else "give the right password: fab --prompt-for-login-password TASK"
        if spoken and (self.passed or "publickey" not in spoken) and not self.told:
            return _BY_WORD
        if self._with(Outcome.UNFIT) and not self._with(Outcome.REFUSED):
            return "use a key of another kind, such as ed25519, or PubkeyAcceptedAlgorithms in ssh_config"
        return _NO_AGENT if self.agent and not self._with(Outcome.REFUSED) else _OTHER_KEY

    def _remedy(self, note: Note) -> str:
        file = note.identity.file
        if isinstance(note.why, PassphraseError) and file:
            if note.why.wrong:
                return "give the right passphrase: fab --prompt-for-passphrase TASK"
            add = f"ssh-add {quote(str(file.path))}"
            return add if self.holds else "give its passphrase: fab --prompt-for-passphrase TASK"
        if file and file.remedy:
            return file.remedy
        return ""

    def _with(self, outcome: Outcome) -> list[Note]:
        return [note for note in self.notes if note.outcome == outcome]


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SAID else f"{line[:_SAID]}..."
