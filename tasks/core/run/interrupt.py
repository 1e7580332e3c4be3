"""Ctrl-C, SIGTERM, SIGHUP: nothing more starts, what has started finishes; the second one leaves at once."""

from __future__ import annotations

import signal
from time import monotonic
from types import FrameType

from ..console import command_line, terminal
from ..errors import NotStarted

_MOMENT = 0.8  # seconds after Ctrl-C, for what can be finished by then
_LEFT = "\nleft; what has begun on a node finishes there by itself: fab status"


class Left(BaseException):
    """The second Ctrl-C. It passes by whatever handles the first."""


class Interrupt:
    """Whether one came, or two (`twice`). While a step is `finishing`, its hosts end what they have begun."""

    def __init__(self) -> None:
        self.finishing = self.twice = False
        self._came: float | None = None
        self._signal = signal.SIGINT

    @property
    def came(self) -> bool:
        """Whether nothing more is to start."""
        return self._came is not None

    @property
    def status(self) -> int:
        """The exit status that a shell gives to what ends by the signal that came."""
        return 128 + self._signal

    def overdue(self) -> bool:
        """Whether it came longer ago than what still works may take."""
        return self._came is not None and monotonic() > self._came + _MOMENT

    def check(self) -> None:
        """For what is about to start on a host. Raises NotStarted."""
        if self.came:
            raise NotStarted

    def forgive(self) -> None:
        """It was how a person ends what has no other end."""
        self._came = None

    def handle(self, number: int, frame: FrameType | None = None) -> None:
        """The handler of the signals. Raises KeyboardInterrupt, and Left the second time."""
        self.twice, self._signal = self.came, signal.Signals(number)
        if self.twice:
            terminal.tell(command_line.named(_LEFT))
            raise Left
        self._came = monotonic()
        if not self.finishing:
            raise KeyboardInterrupt
        terminal.tell("\nfinishing what has begun; Ctrl-C again leaves at once")
