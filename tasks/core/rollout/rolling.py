"""A step that goes over the fleet a few nodes at a time, and stops when it does harm."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from time import sleep
from typing import TypeVar

from ..config.model import Rollout
from ..results import StepResult
from ..run.run import Run
from ..shell.pool import waiting
from ..ssh.node import Node

T = TypeVar("T")


def batches(items: Sequence[T], rollout: Rollout, new: Collection[T] = ()) -> list[list[T]]:
    """`items` in their order: the canaries, all that are `new`, then batches; none of the lists is empty.

    A percentage in `rollout.batch` is one of all that are not `new`, canaries included, rounded up.
    """
    new = set(new)
    canaries, rest = items[: rollout.canary], items[rollout.canary :]
    wave, others = [item for item in rest if item in new], [item for item in rest if item not in new]
    size = _size(rollout.batch, sum(item not in new for item in items))
    parts = [canaries, wave, *(others[at : at + size] for at in range(0, len(others), size))]
    return [list(part) for part in parts if part]


def _size(batch: int | str, count: int) -> int:
    if isinstance(batch, int):
        return batch
    percent = int(batch.removesuffix("%"))
    return max(1, -(-count * percent // 100))


def rolling(
    r: Run,
    name: str,
    work: Callable[[Node], StepResult[object]],
    nodes: Sequence[Node],
    new: Collection[Node] = (),
) -> None:
    """Does `work` on the canaries, then batch by batch; `r.rollout` says how many, and when to stop.

    Those of `nodes` that are `new` serve nobody yet: unless --batch was given, all go after the canaries.
    Each node is locked and looked at anew when its turn comes, and unlocked when it is over. No batch
    begins after Ctrl-C, after too many failures, or if no canary worked; the summary then has those whose
    turn never came.
    """
    rollout, done = r.rollout, set[str]()
    rounds = batches(nodes, rollout, () if r.batch_given else new)
    for number, batch in enumerate(rounds, 1):
        if number > 1 and rollout.pause:
            sleep(rollout.pause)
        title = f"{name} {number}/{len(rounds)}" if len(rounds) > 1 else name
        done |= {*r.step(name, lambda node: _locked(r, node, work), batch, title, finish=True, patient=True)}
        failures = len(done & {*r.summary.failed})
        no_canary = rollout.canary > 0 and 0 < failures == len(done)
        if r.interrupt.came or failures > rollout.max_failures or no_canary:
            why = "interrupted" if r.interrupt.came else _harm(failures, rollout)
            r.summary.stop([node.label for node in nodes if node.label not in done], why)
            return


def _locked(r: Run, node: Node, work: Callable[[Node], StepResult[object]]) -> StepResult[object]:
    r.lock(node)
    node.invalidate_facts()
    try:
        with waiting():
            node.survey(r.settings.proxy)
        r.interrupt.check()
        return work(node)
    finally:
        r.locks.release(node)


def _harm(failures: int, rollout: Rollout) -> str:
    if failures > rollout.max_failures:
        return f"{failures} failed, and max_failures is {rollout.max_failures}"
    return f"{failures} failed, and no canary worked"
