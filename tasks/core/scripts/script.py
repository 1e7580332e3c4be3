"""What all scripts are: a dataclass of their parameters, which makes shell text and reads its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from enum import IntEnum
from typing import Any, ClassVar, Generic, TypeVar, cast

from ..answer import flag, read_answer
from ..config.model import Proxy
from ..errors import StepError
from ..facts.paths import UNIT, UNIT_PATH
from ..shell.command import CommandResult, failure
from ..shell.output import MOST
from ..templates import shell_script

A = TypeVar("A")


class Status(IntEnum):
    """The exit statuses by which a script says what went wrong.

    `message` is "" where the last lines of stderr say it better.
    """

    message: str
    hint: str

    def __new__(cls, value: int, message: str = "", hint: str = "") -> Status:
        member = int.__new__(cls, value)
        member._value_ = value
        member.message, member.hint = message, hint
        return member


@dataclass(frozen=True)
class Script(Generic[A]):
    """A script of templates/: fields of text and numbers, and tuples of them, become shell variables.

    `files` go one after the other, `answer` is the dataclass that its lines make, None: it answers by its
    exit status alone, and `statuses` are those that mean something. `changes` is whether facts of before may
    be wrong afterwards, `tail` how many of its last lines an error shows.
    """

    files: ClassVar[tuple[str, ...]]
    answer: ClassVar[Any] = None
    statuses: ClassVar[tuple[type[Status], ...]] = ()
    root: ClassVar[bool] = True
    changes: ClassVar[bool] = False
    tail: ClassVar[int] = 5
    output_limit: ClassVar[int] = MOST
    seconds_allowed: ClassVar[float] = 90

    @property
    def time_limit(self) -> float | None:
        """Seconds that it may take; None: it goes on, and writes, for as long as somebody listens."""
        return self.seconds_allowed

    @property
    def standard_input(self) -> bytes | None:
        """What it is sent; None if it reads nothing."""
        return None

    @property
    def title(self) -> str:
        """The first line of the text, by which errors name it."""
        return f"{self.files[-1]}.sh"

    def derived(self) -> Mapping[str, object]:
        """The shell variables that are no fields of it."""
        return {}

    def variables(self) -> dict[str, object]:
        """All that it is given."""
        given = {item.name: getattr(self, item.name) for item in fields(self)}
        return {name: value for name, value in given.items() if _is_plain(value)} | dict(self.derived())

    def text(self) -> str:
        """The script as POSIX sh."""
        return shell_script(self.files, self.variables(), self.title)

    def read(self, result: CommandResult) -> A:
        """What it has answered. Raises StepError: its exit status is that of no answer."""
        if error := self.error(result):
            raise error
        return self.parse(result)

    def error(self, result: CommandResult) -> StepError | None:
        """What its exit status means, if it is not 0."""
        if not result.status:
            return None
        known = [member for kind in self.statuses for member in kind if member == result.status]
        if known and known[0].message:
            tail = result.last_lines(self.tail)
            return StepError(known[0].message, status=result.status, tail=tail, hint=known[0].hint)
        error = failure(self.text(), result, self.tail)
        error.hint = known[0].hint if known else ""
        return error

    def parse(self, result: CommandResult) -> A:
        """The answer; it may have a field of what it wrote besides, and of its exit status."""
        more = {"stderr": result.stderr, "status": str(result.status)}
        return cast("A", self.answer and read_answer(self.answer, result.values | more))


def _is_plain(value: object) -> bool:
    return all(isinstance(word, str | int) for word in (value if isinstance(value, tuple) else [value]))


@dataclass(frozen=True)
class Changed:
    """Whether there was anything to do."""

    changed: bool = flag("changed")


class CommonStatus(Status):
    """How templates/common.sh ends."""

    SYSTEMD_HANGS = 69


@dataclass(frozen=True)
class OnNode(Script[A]):
    """A script that begins with what those for nodes have in common (templates/common.sh)."""

    statuses: ClassVar[tuple[type[Status], ...]] = (CommonStatus,)
    proxy: Proxy
    unit_path: str = field(default=UNIT_PATH, kw_only=True)

    def variables(self) -> dict[str, object]:
        """With those of common.sh."""
        return {"prefix": self.proxy.prefix, "unit": UNIT, **super().variables()}
