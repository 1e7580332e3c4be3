"""A bounded number of threads over many items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import Empty, SimpleQueue
from threading import Condition, Thread, get_ident, local
from time import monotonic
from typing import Any, Generic, TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")

LATE = 1.0  # seconds after which a host that works counts as one that is waited for
MOST_BEGUN = 8
"""Of those that wait and work together, as many times `parallel`: each has a thread and a connection."""
_LOOK = 0.1  # seconds between two looks whether Ctrl-C came, the rest is given up, or somebody only waits
_here = local()


def together(items: Sequence[T], work: Callable[[T], R]) -> list[R]:
    """What `work` returns for each, of all at once. Raises what it raised."""
    if len(items) == 1:
        return [work(items[0])]
    found = dict(fan_out(range(len(items)), lambda at: work(items[at]), len(items)))
    results = [found[at] for at in range(len(items))]
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return cast("list[R]", results)


@contextmanager
def waiting(after: float = LATE) -> Iterator[None]:
    """A block in which a host is waited for: once that has taken `after` seconds, another may begin.

    Its work then goes on when less than `parallel` are at work: many may have been waited for.
    It means something within the work of a `fan_out` that is `patient` only.
    """
    crew: _Crew[Any, Any] | None = getattr(_here, "crew", None)
    if crew is None or not crew.leave(after):
        yield
        return
    try:
        yield
    finally:
        crew.come_back()


def fan_out(
    items: Sequence[T],
    work: Callable[[T], R],
    parallel: int,
    given_up: Callable[[], bool] | None = None,
    patient: bool = False,
) -> Iterator[tuple[T, R | BaseException]]:
    """Yields each item with what `work` returned or raised, as they finish, until the rest is `given_up`.

    No item begins while `parallel` are at work; if it is `patient`, those that are `waiting` do not count,
    up to MOST_BEGUN.
    The threads are daemons, as those of concurrent.futures are not, so Ctrl-C is never held up by a host that
    does not answer.
    """
    crew = _Crew(items, work, parallel, patient)
    left = len(items)
    while left:
        crew.hire()
        try:
            ended = crew.done.get(timeout=_LOOK)  # a signal just before a wait without end would not be seen
        except Empty:
            if given_up and given_up():
                return
            continue
        left -= 1
        yield ended


class _Crew(Generic[T, R]):
    """The threads of a `fan_out`, and what is still to be done."""

    def __init__(self, items: Sequence[T], work: Callable[[T], R], parallel: int, patient: bool) -> None:
        self.done: SimpleQueue[tuple[T, R | BaseException]] = SimpleQueue()
        self._todo = deque(items)
        self._work = work
        self._parallel = parallel
        self._patient = patient
        self._waits: dict[int, float] = {}  # threads, and when each counts no more
        self._coming_back = 0
        self._threads = 0
        self._changed = Condition()

    def hire(self) -> None:
        """Begins threads for as many items as may begin now."""
        while taken := self._take(new=1):
            try:
                Thread(target=self._serve, args=taken, daemon=True).start()
            except RuntimeError:  # no more can be had: those that run do the work
                if self._threads == 1:
                    self._serve(*taken)
                    return
                with self._changed:
                    self._threads -= 1
                    self._todo.appendleft(*taken)
                return

    def _serve(self, item: T) -> None:
        if self._patient:
            _here.crew = self
        taken = [item]
        while taken:
            try:
                self.done.put((taken[0], self._work(taken[0])))
            except BaseException as error:  # handed over to the caller's thread
                self.done.put((taken[0], error))
            taken = self._take(new=0)

    def _take(self, new: int) -> list[T]:
        """The next item, if this thread, or a `new` one, may begin it now; without one, this thread ends."""
        with self._changed:
            self._changed.notify_all()
            room = self._parallel - self._at_work() >= new and not self._coming_back
            room = room and self._threads + new <= self._parallel * MOST_BEGUN
            if self._todo and room:
                self._threads += new
                return [self._todo.popleft()]
            self._threads -= 1 - new
            return []

    def leave(self, after: float) -> bool:
        """This thread waits, and counts no more in so many seconds; false if it did so before."""
        with self._changed:
            if get_ident() in self._waits:
                return False
            self._waits[get_ident()] = monotonic() + after
            self._changed.notify_all()
            return True

    def come_back(self) -> None:
        """It goes on as soon as it may; before others begin."""
        with self._changed:
            self._coming_back += 1
            while self._waits[get_ident()] <= monotonic() and self._at_work() >= self._parallel:
                self._changed.wait(_LOOK)
            self._coming_back -= 1
            del self._waits[get_ident()]

    def _at_work(self) -> int:
        now = monotonic()
        return self._threads - sum(since <= now for since in self._waits.values())
