"""What is told of a login that failed."""

from __future__ import annotations

from pathlib import Path

import pytest

from tasks.core.login.failure import Outcome, Story
from tasks.core.login.identities import Identity
from tasks.core.login.keyfile import KeyFile, KeyFileError, PassphraseError
from tests.test_identities import file, key

FILE = Identity("~/a", key("a"), file("a"))
SHUT = PassphraseError("is encrypted, and no passphrase was given")
WRONG = PassphraseError("is encrypted, and the passphrase is wrong", wrong=True)
OPEN = KeyFile(Path("/k/my key"), problem="is ignored", remedy="chmod 600 '/k/my key'")


def story(**facts: object) -> Story:
    """Of a login as root, to a server that takes keys."""
    known: dict[str, object] = {"methods": ("publickey",)}
    return Story("root", **(known | facts))  # type: ignore[arg-type]


def told(of: Story, farewell: str | None = None) -> list[str]:
    """The lines, and the hint."""
    error = of.failure(farewell)
    assert error.unreachable
    return [*error.message.split("\n  "), error.hint]


def test_nothing_to_offer() -> None:
    first, hint = told(story())
    assert first == "refused the login of root; it takes publickey"
    assert hint == "set ssh.user or ssh.identity in hosts.toml, or IdentityFile in ssh_config"


def test_many_keys_that_were_refused() -> None:
    many = story()
    for number in range(9):
        many.note(Identity(f"k{number}", key(str(number))), Outcome.REFUSED)
    _, refused, _ = told(many)
    assert refused.startswith("it refused k0 (ED25519 SHA256:")
    assert refused.endswith(" and 4 more")
    first, _, hint = told(many, "Too many authentication failures")
    assert first == "refused the login of root: Too many authentication failures"
    assert hint == "have only the right key offered: IdentitiesOnly yes and IdentityFile in ssh_config"


@pytest.mark.parametrize(
    ("outcome", "why", "holds", "line", "hint"),
    [
        (Outcome.TAKEN, SHUT, False, "would be taken, but is encrypted", "give its passphrase: fab --prompt"),
        (Outcome.TAKEN, SHUT, True, "would be taken, but is encrypted", "ssh-add /k/a"),
        (Outcome.TAKEN, WRONG, True, "the passphrase is wrong", "give the right passphrase: fab --prompt"),
        (Outcome.UNREAD, KeyFileError("does not exist"), False, "~/a does not exist", "set ssh.user or"),
        (Outcome.UNFIT, "there is no algorithm", False, "was not offered: there is", "use a key of another"),
    ],
)
def test_a_key_that_was_not_used(
    outcome: Outcome, why: KeyFileError | str, holds: bool, line: str, hint: str
) -> None:
    one = story(holds=holds)
    one.note(FILE, outcome, why)
    _, second, last = told(one)
    assert line in second
    assert second.startswith("~/a")
    assert last.startswith(hint)


def test_what_can_be_typed_counts_most() -> None:
    one = story()
    one.note(FILE, Outcome.REFUSED)
    one.note(Identity("~/my key", None, OPEN), Outcome.UNREAD, "is ignored")
    assert told(one)[-1] == "chmod 600 '/k/my key'"
    one.note(FILE, Outcome.TAKEN, SHUT)
    assert told(one)[-1] == "give its passphrase: fab --prompt-for-passphrase TASK"


def test_an_agent_that_failed() -> None:
    one = story(agent="/run/agent did not answer within 10 s")
    _, second, hint = told(one)
    assert second == "the agent /run/agent did not answer within 10 s"
    assert hint.startswith("have the agent answer")
    one.note(FILE, Outcome.REFUSED)
    assert told(one)[-1].startswith("set ssh.user")


BY_WORD = "give its password: fab --prompt-for-login-password TASK"


@pytest.mark.parametrize(
    ("facts", "first", "hint"),
    [
        ({"methods": ("password",)}, "; it takes password", BY_WORD),
        (
            {"methods": ("gssapi-with-mic", "publickey")},
            "; it takes gssapi-with-mic, publickey (not spoken here: gssapi-with-mic)",
            "set ssh.user",
        ),
        (
            {"passed": ["publickey"], "methods": ("password",)},
            " after publickey; it takes password",
            BY_WORD,
        ),
        (
            {"methods": ("password",), "told": "the password is wrong", "wrong": True},
            ": the password is wrong; it takes password",
            "give the right password: fab --prompt-for-login-password TASK",
        ),
        (
            {"methods": ("keyboard-interactive",), "asks": "Code\n for   you: "},
            ": it asks: Code for you:; it takes keyboard-interactive",
            BY_WORD,
        ),
        (
            {"banner": "Authorised\r\nstaff only\n" + "x" * 200},
            "; it takes publickey; it says: Authorised staff only " + "x" * 138 + "...",
            "set ssh.user",
        ),
    ],
)
def test_the_first_line_and_the_hint(facts: dict[str, object], first: str, hint: str) -> None:
    line, last = told(story(**facts))
    assert line == f"refused the login of root{first}"
    assert last.startswith(hint)


def test_a_server_that_hangs_up() -> None:
    assert told(story(), "")[0] == "refused the login of root: it ended the connection"
    assert told(story(), "bye\nbye")[0] == "refused the login of root: bye bye"
