"""A bounded number of threads over many items."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def fan_out(
    items: Sequence[T], work: Callable[[T], R], parallel: int
) -> Iterator[tuple[T, R | BaseException]]:
    """Yields each item with what `work` returned or raised, as they finish.

    At most `parallel` run at a time. The threads are daemons, so Ctrl-C is never held up by a host
    that does not answer.
    """
    todo: SimpleQueue[T] = SimpleQueue()
    done: SimpleQueue[tuple[T, R | BaseException]] = SimpleQueue()
    for item in items:
        todo.put(item)

    def worker() -> None:
        while True:
            try:
                item = todo.get_nowait()
            except Empty:
                return
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
    for _ in items:
        yield done.get()
