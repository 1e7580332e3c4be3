"""judge.c, called from Python: time is a parameter."""

import ctypes
from dataclasses import dataclass, field
from pathlib import Path

from tests.watch.field import compile_watch

ANSWERED, REFUSED, NO_CONNECTION, NO_HELLO = range(4)
EJECT, LET_IN = range(2)
NEVER = -(2**63) // 4
MAX = 64


class Judged(ctypes.Structure):
    """`struct judged`."""

    _fields_ = (
        ("ejected", ctypes.c_bool),
        ("silent", ctypes.c_bool),
        *((name, ctypes.c_int) for name in ("last", "reason", "open", "unanswered", "good", "sessions")),
        ("ejections", ctypes.c_uint),
        *((name, ctypes.c_int64) for name in ("asked", "begun", "good_begun", "answered", "took")),
        *((name, ctypes.c_int64) for name in ("heard", "sent", "ejected_at", "let_in_at", "hold")),
    )


class Struct(ctypes.Structure):
    """`struct judge`."""

    _fields_ = (("count", ctypes.c_int), ("of", Judged * MAX))


class Change(ctypes.Structure):
    """`struct change`."""

    _fields_ = (("which", ctypes.c_int), ("act", ctypes.c_int), ("lasted", ctypes.c_int64))


def library(folder: Path) -> ctypes.CDLL:
    """Compile the sources to a library; with main it is as good."""
    loaded = ctypes.CDLL(str(compile_watch(folder / "watch.so", "-shared", "-fPIC")))
    loaded.judge_next.restype = ctypes.c_int64
    return loaded


@dataclass
class Judge:
    """A judge of some apiservers, and the clock that it is told."""

    loaded: ctypes.CDLL
    count: int
    now: int = 1_000_000
    struct: Struct = field(default_factory=Struct)
    open: list[tuple[int, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin with nothing known."""
        self.struct.count = self.count
        for judged in self.of:
            self.loaded.judged_begin(ctypes.byref(judged))

    @property
    def of(self) -> list[Judged]:
        """What is believed of each."""
        return [self.struct.of[i] for i in range(self.count)]

    @property
    def ejected(self) -> set[int]:
        """Who is ejected."""
        return {i for i, judged in enumerate(self.of) if judged.ejected}

    def next(self, which: int) -> int:
        """When to ask it."""
        return int(self.loaded.judge_next(ctypes.byref(self.struct), which))

    def ask(self, which: int) -> None:
        """Begin a question."""
        self.loaded.judge_asked(ctypes.byref(self.struct), which, ctypes.c_int64(self.now))
        self.open.append((which, self.now))

    def end(self, question: tuple[int, int], how: int) -> None:
        """End one of the open questions."""
        self.open.remove(question)
        which, begun = question
        times = ctypes.c_int64(begun), ctypes.c_int64(self.now)
        self.loaded.judge_ended(ctypes.byref(self.struct), which, *times, how)

    def see(self, which: int, sessions: int = 0, sent: int = NEVER, heard: int = NEVER) -> None:
        """Take a look at sessions into account."""
        times = ctypes.c_int64(sent), ctypes.c_int64(heard)
        self.loaded.judge_sessions(ctypes.byref(self.struct), which, sessions, *times)

    def late(self) -> None:
        """Notice that the watch itself was late."""
        self.open.clear()
        self.loaded.judge_late(ctypes.byref(self.struct))

    def decide(self) -> list[tuple[int, int]]:
        """Give the changes: who, and what."""
        changes = (Change * (2 * MAX))()
        count = self.loaded.judge_decide(ctypes.byref(self.struct), ctypes.c_int64(self.now), changes)
        return [(changes[i].which, changes[i].act) for i in range(count)]
