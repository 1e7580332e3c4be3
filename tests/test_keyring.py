"""Key files of many logins at once: each is read, decrypted and asked for once."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from pathlib import Path

import paramiko
import pytest

from tasks.core.errors import NotStarted
from tasks.core.login.keyfile import KeyFile, KeyFileError, Keyring, PassphraseError
from tasks.core.shell.pool import fan_out
from tests.sshds import keygen

PASSPHRASE = "open sesame"
MANY = 32


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return keygen(tmp_path / "key", passphrase=PASSPHRASE)


class Person:
    """Types one answer after the other; None: Ctrl-D."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = deque(answers)
        self.asked: list[str] = []

    def ask(self, question: str, visible: bool) -> str | None:
        assert not visible
        self.asked.append(question)
        return self.answers.popleft()


def found_by_many(keyring: Keyring, path: Path, passphrase: str | None = None) -> Sequence[object]:
    """What each of 32 threads gets, with three prompts."""

    def one(number: int) -> paramiko.PKey:
        return keyring.private(keyring.file(path), passphrase, 3)

    return [found for _, found in fan_out(range(MANY), one, MANY)]


def test_a_passphrase_is_asked_for_once(path: Path) -> None:
    keyring, person = Keyring(), Person("guessed", PASSPHRASE)
    keyring.ask = person.ask
    found = found_by_many(keyring, path)
    assert person.asked == [f"Enter passphrase for key '{path}': "] * 2
    assert isinstance(found[0], paramiko.Ed25519Key)
    assert [*map(id, found)] == [id(found[0])] * MANY


def test_three_wrong_answers_are_one_error(path: Path) -> None:
    keyring, person = Keyring(), Person("a", "b", "c")
    keyring.ask = person.ask
    found = found_by_many(keyring, path)
    assert len(person.asked) == 3
    assert {str(error) for error in found} == {"is encrypted, and the passphrase is wrong"}
    assert all(isinstance(error, PassphraseError) and error.wrong for error in found)


@pytest.mark.parametrize("answer", ["", None])
def test_no_answer_is_asked_for_no_more(path: Path, answer: str | None) -> None:
    keyring, person = Keyring(), Person(answer)
    keyring.ask = person.ask
    assert {str(error) for error in found_by_many(keyring, path)} == {
        "is encrypted, and no passphrase was given"
    }


def test_a_given_one_that_is_wrong_is_tried_once(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keyring, person, tried = Keyring(), Person(), list[str | None]()
    keyring.ask = person.ask
    load = KeyFile.load

    def counted(file: KeyFile, word: str | None) -> paramiko.PKey:
        tried.append(word)
        return load(file, word)

    monkeypatch.setattr(KeyFile, "load", counted)
    assert {str(error) for error in found_by_many(keyring, path, "guessed")} == {
        "is encrypted, and the passphrase is wrong"
    }
    assert tried == ["guessed"]
    assert isinstance(found_by_many(keyring, path, PASSPHRASE)[0], paramiko.PKey)


def test_ctrl_c_is_no_answer(path: Path) -> None:
    keyring = Keyring()

    def ask(question: str, visible: bool) -> str:
        raise NotStarted

    keyring.ask = ask
    assert {type(error) for error in found_by_many(keyring, path)} == {NotStarted}
    keyring.ask = Person(PASSPHRASE).ask
    assert isinstance(found_by_many(keyring, path)[0], paramiko.PKey)


def test_a_key_without_passphrase_is_not_asked_for(tmp_path: Path) -> None:
    keyring = Keyring()
    keyring.ask = Person().ask
    key = keygen(tmp_path / "key")
    assert isinstance(found_by_many(keyring, key)[0], paramiko.PKey)
    with pytest.raises(KeyFileError, match="does not exist"):
        keyring.private(keyring.file(tmp_path / "none"), None, 3)
