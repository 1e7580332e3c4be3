"""Logging in by what people know: passwords, questions, and more than one thing."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import paramiko
import pytest

from tasks.core.errors import StepError
from tasks.core.shell.pool import fan_out
from tasks.core.ssh.connection import Link
from tests.sshd import listening
from tests.sshds import USER, Client, Sshd, keygen
from tests.test_login_prompts import People, typed

PASSWORD, CODE = "open sesame", "271828"
BY_PASSWORD = "fab --prompt-for-login-password TASK"


class Door(paramiko.ServerInterface):  # type: ignore[misc]
    """Lets in whoever has done each of `steps`, such as "publickey"; of "password,keyboard-interactive" one.

    Questions are PAM's: a password, and with `asks_code` then a code. `sent` are all passwords that came.
    """

    def __init__(self, steps: Sequence[str], sent: list[str], asks_code: bool) -> None:
        self.steps, self.sent, self.asks_code = [*steps], sent, asks_code
        self.keys = self.rounds = 0

    def get_allowed_auths(self, username: str) -> str:
        return self.steps[0] if self.steps else ""

    def check_channel_request(self, kind: str, chanid: int) -> int:
        return int(paramiko.OPEN_SUCCEEDED)  # in which no command is run

    def check_auth_password(self, username: str, password: str) -> int:
        self.sent.append(password)
        return self._done("password", password == PASSWORD)

    def check_auth_publickey(self, username: str, key: paramiko.PKey) -> int:
        if "publickey" not in self.get_allowed_auths(""):
            return int(paramiko.AUTH_FAILED)
        self.keys += 1  # the first is the question whether it would do
        return self._done("publickey", True) if self.keys == 2 else int(paramiko.AUTH_SUCCESSFUL)

    def check_auth_interactive(self, username: str, submethods: str) -> object:
        self.rounds = 0
        return paramiko.InteractiveQuery("", "", ("Password: ", False))

    def check_auth_interactive_response(self, responses: list[str]) -> object:
        self.rounds += 1
        if self.rounds == 1:
            self.sent += responses
            if self.asks_code and responses == [PASSWORD]:
                return paramiko.InteractiveQuery("", "", ("Verification code: ", True))
        return self._done("keyboard-interactive", responses in ([PASSWORD], [CODE]))

    def _done(self, method: str, right: bool) -> int:
        if not right or method not in self.get_allowed_auths(""):
            return int(paramiko.AUTH_FAILED)
        del self.steps[0]
        return int(paramiko.AUTH_PARTIALLY_SUCCESSFUL if self.steps else paramiko.AUTH_SUCCESSFUL)


class House:
    """A server with such a door, as people reach it."""

    def __init__(self, folder: Path, port: int, sent: list[str]) -> None:
        self.port, self.sent = port, sent
        self._client = Client(Sshd(folder, port), folder, f"IdentityFile {folder}/key")

    def links(self, count: int = 1, **kwargs: Any) -> list[Link]:
        """Connections that are to be, of one fleet."""
        first = self._client.link(**kwargs)
        return [first, *(self._client.link(first.session, **kwargs) for _ in range(count - 1))]


Houses = Callable[..., House]


@pytest.fixture
def houses(tmp_path: Path) -> Iterator[Houses]:
    keygen(tmp_path / "key")
    host_key, sent = paramiko.ECDSAKey.generate(), list[str]()
    doors: list[Callable[[], Door]] = []

    def serve(connection: socket.socket) -> None:
        transport = paramiko.Transport(connection)
        transport.add_server_key(host_key)
        transport.start_server(server=doors[-1](), event=threading.Event())
        transport.join()

    def make(*steps: str, asks_code: bool = False) -> House:
        doors.append(lambda: Door(steps, sent, asks_code))
        return House(tmp_path, port, sent)

    with listening(serve) as port:
        yield make


def result(link: Link) -> StepError | None:
    """How a login ended."""
    with closing(link):
        try:
            link.open()
        except StepError as error:
            return error
    return None


@pytest.mark.parametrize(
    "steps",
    [
        ["password"],
        ["keyboard-interactive"],
        ["password,keyboard-interactive"],
        ["publickey", "password"],
        ["publickey", "keyboard-interactive"],
        ["password", "publickey"],
        ["keyboard-interactive", "publickey", "password"],
    ],
    ids=" then ".join,
)
def test_a_password_that_is_right(houses: Houses, steps: list[str]) -> None:
    house = houses(*steps)
    (link,) = house.links(password=PASSWORD)
    assert result(link) is None
    assert {*house.sent} == {PASSWORD}


@pytest.mark.parametrize("steps", [["password"], ["keyboard-interactive"], ["publickey", "password"]])
def test_a_password_that_is_wrong_is_sent_once(houses: Houses, steps: list[str]) -> None:
    house = houses(*steps)
    errors = [error for _, error in fan_out(house.links(16, password="guessed"), result, 16)]
    assert house.sent == ["guessed"]
    after = " after publickey" if "publickey" in steps else ""
    told = f"refused the login of {USER}{after}: the password is wrong (tried once, on node)"
    assert {str(error) for error in errors} == {f"{told}; it takes {steps[-1]}"}
    assert {getattr(error, "hint", "") for error in errors} == {f"give the right password: {BY_PASSWORD}"}


def test_a_password_that_is_right_is_sent_to_each(houses: Houses) -> None:
    house = houses("password")
    links = house.links(16, password=PASSWORD)
    assert [error for _, error in fan_out(links, result, 16)] == [None] * 16
    assert house.sent == [PASSWORD] * 16


def test_without_a_password(houses: Houses) -> None:
    error = result(*houses("password").links())
    assert error
    assert (error.message, error.hint) == (
        f"refused the login of {USER}; it takes password",
        f"give its password: {BY_PASSWORD}",
    )


@pytest.mark.parametrize("kwargs", [{"password": PASSWORD}, {}], ids=["with", "without"])
def test_what_a_server_asks_is_asked_on(houses: Houses, kwargs: dict[str, Any]) -> None:
    house = houses("publickey", "keyboard-interactive", asks_code=True)
    (link,) = house.links(**kwargs)
    asked: list[tuple[str, bool]] = []

    def ask(question: str, visible: bool) -> str:
        asked.append((question, visible))
        return CODE if "code" in question else PASSWORD

    link.session.keyring.ask_for_server = ask
    assert result(link) is None
    about_password = [] if kwargs else [(f"({USER}@node) Password: ", False)]
    assert asked == [*about_password, (f"({USER}@node) Verification code: ", True)]
    assert link.login.waited > 0


def test_what_nobody_answers_is_told(houses: Houses) -> None:
    house = houses("publickey", "keyboard-interactive", asks_code=True)
    with_password, without = (result(*house.links(password=password)) for password in (PASSWORD, None))
    assert with_password
    assert without
    told = f"refused the login of {USER} after publickey: it asks: %s; it takes keyboard-interactive"
    assert with_password.message == told % "Verification code:"
    assert without.message == told % "Password:"
    assert without.hint == (
        f"give its password: {BY_PASSWORD}; or answer on a terminal, one node at a time: --limit NODE"
    )


def test_a_wrong_code_does_not_make_the_password_wrong(houses: Houses) -> None:
    house = houses("keyboard-interactive", asks_code=True)
    (link,) = house.links(password=PASSWORD)
    answers = iter(["1", CODE])
    link.session.keyring.ask_for_server = lambda question, visible: next(answers)
    error = result(link)
    assert error
    assert "its questions were not answered as it wants" in error.message
    assert result(link) is None


def test_one_node_may_ask_on_a_terminal_and_two_may_not(houses: Houses, tmp_path: Path) -> None:
    house, folder = houses("keyboard-interactive", asks_code=True), tmp_path / "people"
    folder.mkdir()
    people = People(Sshd(folder, house.port), folder)
    asks = f"({USER}@n1) "
    one = typed(people.fleet(1), ["status"], asks, f"{PASSWORD}\n".encode(), f"{CODE}\n".encode())
    assert (one.out.count(asks), house.sent) == (2, [PASSWORD])
    assert f"{asks}Verification code: {CODE}" in one.out
    assert "refused the login" not in one.out
    two = typed(people.fleet(2), ["status"], asks)
    assert (two.status, asks in two.out, house.sent) == (1, False, [PASSWORD])
    assert "it asks: Password:" in two.out
