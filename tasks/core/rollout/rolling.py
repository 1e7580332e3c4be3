"""A step that goes over the fleet a few nodes at a time, and stops when it does harm."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import sleep

from invoke import Context

from ..config.check import whole
from ..config.settings import Rollout
from ..results import StepResult
from ..run.opening import run
from ..run.steps import Run
from ..ssh.node import Node
from .batches import batches, overridden


@contextmanager
def orderly(
    c: Context,
    task: str,
    *,
    limit: str | None = None,
    json: bool = False,
    canary: str | None = None,
    batch: str | None = None,
    max_failures: str | None = None,
    wait: str = "0",
    **more: object,
) -> Iterator[tuple[Run, Rollout, int]]:
    """Opens the run of a task that is `rolling`, and says what its flags make of rollout and of patience.

    `more` are other flags that belong to the line which repeats the task. Raises UsageError, as `run` does.
    """
    flags = as_given(canary, batch, max_failures, wait) | more
    with run(c, task, limit=limit, json=json, flags=flags) as r:
        rollout = overridden(r.settings.rollout, canary=canary, batch=batch, max_failures=max_failures)
        yield r, rollout, seconds("--wait", wait)


def rolling(
    r: Run,
    name: str,
    work: Callable[[Node], StepResult[object]],
    nodes: Sequence[Node],
    rollout: Rollout,
    wait: int = 0,
) -> None:
    """Does `work` on the canaries, then batch by batch; `rollout` says how many, and when to stop.

    Each node is locked (after up to `wait` seconds) and looked at anew when its turn comes, and unlocked
    when it is over. No batch begins after Ctrl-C, after too many failures, or if no canary worked. Those
    whose turn never came are in `r.left`.
    """
    r.counting = True
    rounds = batches(nodes, rollout)
    failures = 0
    for number, batch in enumerate(rounds, 1):
        if number > 1 and rollout.pause:
            sleep(rollout.pause)
        title = f"{name} {number}/{len(rounds)}" if len(rounds) > 1 else name
        r.step(name, lambda node: _locked(r, node, work, wait), batch, title, finish=True)
        failures += len(set(r.failed) & {node.label for node in batch})
        done = {record.host for record in r.records if record.step == name}
        no_canary = rollout.canary > 0 and 0 < failures == len(done)
        if r.interrupted or failures > rollout.max_failures or no_canary:
            r.left += [node.label for node in nodes if node.label not in done]
            r.why_left = "interrupted" if r.interrupted else _harm(failures, rollout)
            return


def _locked(r: Run, node: Node, work: Callable[[Node], StepResult[object]], wait: int) -> StepResult[object]:
    r.lock(node, wait)
    node.invalidate_facts()
    try:
        node.survey(r.settings.proxy)
        r.go_on()
        return work(node)
    finally:
        r.unlock(node)


def _harm(failures: int, rollout: Rollout) -> str:
    if failures > rollout.max_failures:
        return f"{failures} failed, and max_failures is {rollout.max_failures}"
    return f"{failures} failed, and no canary worked"


def as_given(canary: str | None, batch: str | None, max_failures: str | None, wait: str) -> dict[str, object]:
    """The flags of a rollout, for the line that repeats it."""
    waits = None if str(wait) == "0" else wait
    return {"canary": canary, "batch": batch, "max-failures": max_failures, "wait": waits}


def seconds(flag: str, text: str) -> int:
    """The value of a flag that is a number of seconds. Raises UsageError."""
    return whole(flag, text, 86400, "a number of seconds")
