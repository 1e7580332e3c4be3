"""In which order nodes are activated: the canaries, then batch after batch."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar

from ..config import rules
from ..config.check import Check, shown
from ..config.model import Rollout
from ..errors import UsageError

T = TypeVar("T")

_NUMBER = re.compile(r"-?[0-9]{1,18}")


def batches(items: Sequence[T], rollout: Rollout) -> list[list[T]]:
    """`items` in their order, cut into the canaries and then batches; none of the lists is empty.

    A percentage in `rollout.batch` is one of all `items`, canaries included, rounded up.
    """
    canaries, rest = items[: rollout.canary], items[rollout.canary :]
    size = _size(rollout.batch, len(items))
    parts = [canaries, *(rest[at : at + size] for at in range(0, len(rest), size))]
    return [list(part) for part in parts if part]


def overridden(
    rollout: Rollout,
    *,
    canary: str | None = None,
    batch: str | None = None,
    max_failures: str | None = None,
) -> Rollout:
    """`rollout` with the values of --canary, --batch and --max-failures; None: the flag was not given.

    Raises UsageError where hosts.toml would not take the value either.
    """
    return replace(
        rollout,
        canary=_flag("--canary", canary, _counted(rules.canary), rollout.canary),
        batch=_flag("--batch", batch, rules.batch, rollout.batch),
        max_failures=_flag(
            "--max-failures", max_failures, _counted(rules.max_failures), rollout.max_failures
        ),
    )


def _size(batch: int | str, count: int) -> int:
    if isinstance(batch, int):
        return batch
    percent = int(batch.removesuffix("%"))
    return max(1, -(-count * percent // 100))


def _flag(name: str, value: str | None, check: Check[T], default: T) -> T:
    if value is None:
        return default
    try:
        return check(value)
    except ValueError as error:
        raise UsageError(f"{name} {shown(value)}: {error}") from None


def _counted(check: Check[int]) -> Check[int]:
    def parse(value: object) -> int:
        # Another fabfile may well pass a number where Invoke passes its text.
        if not _NUMBER.fullmatch(str(value)):
            raise ValueError("must be a number, such as 1")
        return check(int(str(value)))

    return parse
