"""A bounded number of threads over many items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar, cast

T = TypeVar("T")
R = TypeVar("R")

_LOOK = 0.1  # seconds between two looks whether Ctrl-C came, or the rest is given up


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


def fan_out(
    items: Sequence[T],
    work: Callable[[T], R],
    parallel: int,
    given_up: Callable[[], bool] | None = None,
) -> Iterator[tuple[T, R | BaseException]]:
    """Yields each item with what `work` returned or raised, as they finish, until the rest is `given_up`.

    At most `parallel` run at a time. The threads are daemons, as those of concurrent.futures are not, so
    Ctrl-C is never held up by a host that does not answer.
    """
    todo = deque(items)
    done: SimpleQueue[tuple[T, R | BaseException]] = SimpleQueue()

    def worker() -> None:
        with suppress(IndexError):  # nothing is left
            while True:
                item = todo.popleft()
                try:
                    done.put((item, work(item)))
                except BaseException as error:  # handed over to the caller's thread
                    done.put((item, error))

    for count in range(min(parallel, len(items))):
        try:
            Thread(target=worker, daemon=True).start()
        except RuntimeError:  # no more can be had: those that run do the work
            if not count:
                worker()
            break
    left = len(items)
    while left:
        try:
            ended = done.get(timeout=_LOOK)  # a signal just before a wait without end would not be seen
        except Empty:
            if given_up and given_up():
                return
            continue
        left -= 1
        yield ended
