"""The errors a user can meet, each a message for people and never a traceback."""

from __future__ import annotations


class KubeNginxError(Exception):
    """What went wrong, in words; `exit_code` is the exit status of `fab`."""

    exit_code = 1


class UsageError(KubeNginxError):
    """A wrong hosts.toml or flag, found before any connection."""

    exit_code = 2


class StepError(KubeNginxError):
    """A step that failed on one host.

    `command` and `status` (None: it never ended) say what was run there, `tail` holds the last lines
    it wrote, `hint` what to do next. `unreachable` is true when the host never answered.
    """

    def __init__(
        self,
        message: str,
        *,
        command: str = "",
        status: int | None = None,
        tail: str = "",
        hint: str = "",
        unreachable: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.command = command
        self.status = status
        self.tail = tail
        self.hint = hint
        self.unreachable = unreachable


class NotStarted(KubeNginxError):  # noqa: N818 - it tells, and is caught where it is told
    """Ctrl-C came before a host's turn did: nothing was done there."""


class Interrupted(KubeNginxError):  # noqa: N818 - as KeyboardInterrupt
    """Ctrl-C, SIGTERM or SIGHUP before a task had begun; `status` is the exit status for it."""

    def __init__(self, status: int) -> None:
        super().__init__("interrupted")
        self.exit_code = status


def last_lines(text: str, count: int = 5) -> str:
    """The last `count` lines of `text` that are not blank."""
    return "\n".join([line.rstrip() for line in text.splitlines() if line.strip()][-count:])


def reason(error: BaseException) -> str:
    """What an exception of Python or paramiko says, without numbers and class names where it can be."""
    text = str(error).strip()
    if text == repr(error):  # as that of a channel that is not opened
        text = " ".join(word for word in error.args if isinstance(word, str))
    return getattr(error, "strerror", None) or text or type(error).__name__
