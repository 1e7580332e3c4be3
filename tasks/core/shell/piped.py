"""A command on a host whose standard input is ours, byte for byte."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from time import monotonic

from ..errors import StepError
from .command import CommandResult
from .output import MOST, Output
from .remote import BROKE, GONE, RemoteCommand


class Piped(RemoteCommand):
    """One whose standard input is ours, byte for byte. `timeout` is for each wait: no pause may be longer."""

    _late, _not_opened = "no answer", BROKE
    _asked = False

    def until(self, word: str, given_up: Callable[[], bool] | None = None) -> None:
        """Waits for a line that begins with `word`.

        Raises StepError if none comes, NotStarted when `given_up` says that nobody waits any more.
        """
        deadline = monotonic() + self._timeout
        # whole ones; splitlines would also end one where a name has U+2028, say
        while not any(line.startswith(word) for line in self._out.own.split("\n")[:-1]):
            if not self._read(deadline, given_up):
                ended = self.ended()
                message = f"ended with status {ended.status}"
                raise StepError(
                    message, command=self._script, status=ended.status, tail=ended.last_lines(self._tail)
                )

    def ask(self, question: bytes, end: str, seconds: float) -> CommandResult:
        """Sends `question`; what the script then writes, up to a line of `end` and a status, in `seconds`.

        Lines that say no `kn.KEY=VALUE` are taken for its stderr.

        Raises StepError if that does not come: `answers` is false from then on, as it may still come.
        """
        self._out, self._timeout, self._asked = Output(MOST), seconds, True
        self.send(question)
        self.until(end)
        said, _, status = f"\n{self._out.own}".partition(f"\n{end}")
        self._asked = False
        lines = said.split("\n")[1:]
        aside = "".join(f"{line}\n" for line in lines if not line.startswith("kn."))
        return CommandResult(int(status.partition("\n")[0]), "".join(f"{line}\n" for line in lines), aside)

    @property
    def answers(self) -> bool:
        """Whether it goes on, and owes no answer."""
        return not (self._asked or self._channel.closed or self._channel.exit_status_ready())

    def _last_lines(self) -> str:
        return ""

    def beat(self) -> None:
        """One byte, to say that we are still there; a broken connection is for others to notice."""
        with suppress(*GONE):
            self._channel.settimeout(1)
            self._channel.send(b".")

    def ended(self) -> CommandResult:
        """Ends its standard input and waits for it. Raises StepError."""
        with self._explained(BROKE):
            self._channel.shutdown_write()
        return self._wait(monotonic() + self._timeout)

    def release(self, grace_period: float) -> None:
        """Ends its standard input, and waits for so many seconds, at the most, until it has ended."""
        with suppress(*GONE):
            self._channel.shutdown_write()
            self._channel.status_event.wait(grace_period)
        self.close()
