"""Channels through a jump host, and ProxyCommands: what is written to them, and how they end."""

from __future__ import annotations

import shlex
import socket
from threading import Thread
from typing import Any

import paramiko
import pytest
from paramiko.common import cMSG_CHANNEL_CLOSE, cMSG_CHANNEL_DATA, cMSG_CHANNEL_EOF

from tasks.core.ssh.dial import Hop, Proxy


class Below(paramiko.Transport):  # type: ignore[misc]
    """The connection to the jump host, which keeps what a channel writes to it; it may be gone."""

    def __init__(self, gone: bool = False) -> None:
        super().__init__(socket.socket())
        self.sent: list[bytes] = []
        self.gone = gone

    def _send_user_message(self, message: paramiko.Message) -> None:
        if self.gone:
            raise EOFError
        self.sent.append(message.asbytes()[:1])


def channel(below: Below) -> Any:
    made = paramiko.Channel(7)
    made._set_transport(Hop(below))
    made._set_window(1 << 20, 1 << 15)
    made._set_remote_channel(3, 1 << 20, 1 << 15)
    return made


def test_nothing_follows_the_close() -> None:
    below = Below()
    hop = channel(below)
    hop.send(b"SSH-2.0-x\r\n")
    # what another thread had at hand when the channel was closed
    late = [paramiko.Message(kind + b"\0\0\0\3") for kind in (cMSG_CHANNEL_DATA, cMSG_CHANNEL_EOF)]
    hop.close()
    for message in late:
        hop.transport._send_user_message(message)
    assert below.sent == [cMSG_CHANNEL_DATA, cMSG_CHANNEL_EOF, cMSG_CHANNEL_CLOSE]


def test_the_close_of_a_channel_whose_jump_host_is_gone_is_no_error() -> None:
    hop = channel(Below(gone=True))
    with pytest.raises(EOFError):
        hop.send(b"x")
    hop.close()
    assert hop.closed


@pytest.mark.parametrize(
    "command", ["trap '' TERM; cat; sleep 60", "kill -STOP $$; cat", "cat | (trap '' TERM; sleep 60)"]
)
def test_a_proxy_command_ends_whatever_it_does(command: str) -> None:
    proxy = Proxy(f"sh -c {shlex.quote('echo why >&2; ' + command)}")
    ended = Thread(target=proxy.close, daemon=True)
    ended.start()
    ended.join(20)
    assert not ended.is_alive()
