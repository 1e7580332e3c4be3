"""How often, and for how long, a connection is tried again."""

from __future__ import annotations

import copy
import threading
import weakref
from collections.abc import Callable, MutableMapping
from pathlib import Path

import fabric
import paramiko
import pytest

from tasks.core.config.address import NodeSpec
from tasks.core.config.model import Settings, Ssh
from tasks.core.errors import StepError
from tasks.core.shell.pool import fan_out
from tasks.core.ssh import connection as link
from tasks.core.ssh.connection import Link
from tasks.core.ssh.options import Options
from tasks.core.ssh.session import Session
from tests.sshd import Sshd, listening

BANNER = paramiko.SSHException("Error reading SSH protocol banner")
REFUSED = paramiko.ssh_exception.NoValidConnectionsError({("127.0.0.1", 22): ConnectionRefusedError("no")})
LOGIN = {"password": "any", "allow_agent": False, "look_for_keys": False}

Links = Callable[..., Link]


@pytest.fixture
def links(tmp_path: Path) -> Links:
    """Makes connections to a port of 127.0.0.1."""
    config = tmp_path / "ssh_config"
    config.write_text(f"UserKnownHostsFile {tmp_path}/known_hosts\nGlobalKnownHostsFile /nonexistent\n")

    def make(port: int = 22, connect_timeout: int = 10) -> Link:
        spec = NodeSpec("node", "127.0.0.1", port=port)
        ssh = Ssh(config=config, host_keys="accept-new", connect_timeout=connect_timeout)
        settings = Settings(None, "recommended", (spec,), (), ssh=ssh)
        return Link(spec, Session(settings, Options(), fabric.Config()), connect_kwargs=LOGIN)

    return make


def test_many_at_once_get_through_a_narrow_door(links: Links) -> None:
    sshd = Sshd(slots=4)
    with listening(sshd.serve) as port:
        crowd = [links(port, connect_timeout=60) for _ in range(40)]
        met = [result for _, result in fan_out(crowd, Link.open, len(crowd))]
        opened = [one.is_connected for one in crowd]
        for one in crowd:
            one.close()
    assert met == [None] * 40
    assert all(opened)
    assert sshd.dropped.is_set()


def test_whoever_reads_from_a_socket_is_who_closes_it(links: Links) -> None:
    """A thread that is about to read would wait for whatever gets the socket's number next."""
    closers = []
    closed = threading.Event()
    with listening(Sshd().serve) as port:
        one = links(port)
        one.open()
        reader = one.transport
        close, read = reader.packetizer.close, reader.packetizer.read_message

        def noted() -> None:
            closers.append(threading.current_thread())
            closed.set()
            close()

        def slow() -> object:
            try:
                return read()
            except EOFError:
                closed.wait(0.5)  # whoever does not wait for the reader closes it now
                raise

        reader.packetizer.close, reader.packetizer.read_message = noted, slow
        reader.global_request("keepalive@example", wait=True)
        one.close()
    assert closers == [reader]
    assert not reader.is_alive()


@pytest.mark.usefixtures("no_collection")
def test_nothing_stays_of_a_connection_that_was_closed(links: Links) -> None:
    with listening(Sshd().serve) as port:
        one = links(port)
        classes = len(MutableMapping.__subclasses__())
        one.open()
        gone = weakref.ref(one.transport)
        one.close()
        assert gone() is None
        assert len(MutableMapping.__subclasses__()) == classes  # paramiko makes two to look for a host's key
        one.open()
        assert one.is_connected
        one.close()


def test_a_link_changes_no_setting_that_others_share(links: Links) -> None:
    one = links()
    before = copy.deepcopy(dict(one.session.config))
    two = Link(one.session.settings.nodes[0], one.session, connect_kwargs=LOGIN)
    two.inline_ssh_env = False
    assert dict(one.session.config) == before


def test_a_login_that_takes_too_long_says_why_that_may_be(links: Links) -> None:
    sshd = Sshd(slots=1)
    with listening(sshd.serve) as port, pytest.raises(StepError) as caught:
        links(port, connect_timeout=1).open()
    sshd.dropped.set()
    assert caught.value.message.endswith("did not answer the login within 1 s")
    assert "UseDNS no" in caught.value.hint
    assert caught.value.unreachable


class Clock:
    """Time that passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(link, "sleep", clock.sleep)
    monkeypatch.setattr(link, "monotonic", lambda: clock.now)
    return clock


def failing(monkeypatch: pytest.MonkeyPatch, *errors: Exception) -> None:
    """Each try fails with the next error; the last one stays."""
    coming = iter(errors)

    def connect(self: Link) -> None:
        raise next(coming, errors[-1])

    monkeypatch.setattr(Link, "_connect", connect)


@pytest.mark.parametrize(
    ("error", "connect_timeout", "seconds"),
    [
        (BANNER, 10, 10),
        (ConnectionResetError(104, "Connection reset by peer"), 10, 10),
        (REFUSED, 10, 3),
        (REFUSED, 2, 2),
        (paramiko.AuthenticationException("no"), 10, 0),
        (TimeoutError("timed out"), 10, 0),
        (paramiko.ssh_exception.NoValidConnectionsError({("::1", 22): OSError(113, "No route")}), 10, 0),
    ],
)
def test_how_long_what_is_tried_again(
    links: Links,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    connect_timeout: int,
    seconds: float,
) -> None:
    failing(monkeypatch, error)
    with pytest.raises(StepError):
        links(connect_timeout=connect_timeout).open()
    assert clock.now == pytest.approx(seconds)


def test_another_error_ends_it(links: Links, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, BANNER, BANNER, paramiko.AuthenticationException("no"))
    with pytest.raises(StepError, match="refused the login"):
        links().open()
    assert len(clock.pauses) == 2


def test_the_pauses_grow_and_are_random(links: Links, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[tuple[float, float]] = []

    def draw(low: float, high: float) -> float:
        drawn.append((low, high))
        return high / 2

    monkeypatch.setattr(link, "uniform", draw)
    failing(monkeypatch, BANNER)
    with pytest.raises(StepError):
        links(connect_timeout=4).open()
    assert drawn[:6] == [(0, 0.2), (0, 0.4), (0, 0.8), (0, 1.6), (0, 2.0), (0, 2.0)]
    assert clock.pauses[:6] == [0.1, 0.2, 0.4, 0.8, 1.0, 1.0]
