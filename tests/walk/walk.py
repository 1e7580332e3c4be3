"""A whole walk: move after move, what was broken told so that it can be replayed."""

from __future__ import annotations

import itertools
import random
import re
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.machine import LabError
from tests.lab.nodes import Node

from . import damage
from .moves import Chooser, Moves
from .rules import BrokenError
from .truth import Eyes
from .world import MIRRORS, Spec, World

FIRST = "run deploy"


@dataclass
class Broken:
    """An invariant that did not hold: after which moves since the node was new, and what was seen."""

    seed: str
    number: int
    moves: list[str]
    invariant: str
    seen: str

    def is_like(self, other: Broken) -> bool:
        """Whether it is most likely the same fault."""
        return self.moves[-1] == other.moves[-1] and _gist(self) == _gist(other)

    def __str__(self) -> str:
        lines = "".join(f"    {move}\n" for move in self.moves)
        return (
            f"seed {self.seed}, move {self.number}; on a node that had nothing, replay:\n{lines}"
            f"broken: {self.invariant}\nseen: {self.seen}\n"
        )


def _gist(broken: Broken) -> str:
    first = broken.seen.splitlines()[:1]
    return re.sub(r"[0-9a-f]{6,}|\d+", "", f"{broken.invariant} {first}")[:150]


@dataclass
class Walk:
    """A walk over one node; `say` is told every move and every broken invariant."""

    lab: Lab
    node: Node
    folder: Path
    seed: str = "replay"
    quiet: bool = False
    broken: list[Broken] = field(default_factory=list)
    count: int = 0

    def __post_init__(self) -> None:
        self.world = World(self.lab, self.node, self.folder)
        self.eyes = Eyes(self.world)
        self.moves = Moves(self.world, self.eyes)
        self.chooser = Chooser(random.Random(self.seed), self.world)
        self.since: list[str] = []

    def build(self) -> None:
        """Builds each version that the walk deploys. Raises LabError."""
        for version, profile in itertools.product(MIRRORS, ("recommended", "runbook")):
            self.world.spec = Spec(version=version, profile=profile)
            self.world.write()
            if (ran := self.world.fab("build")).status:
                raise LabError(f"nginx {version} cannot be built: {ran.text[-500:]}")
        self.world.spec = Spec()
        self.world.write()

    def begin_anew(self) -> None:
        """Has a node that had nothing get the first deploy of a walk."""
        damage.wipe(self.world)
        self.world.spec, self.world.cut = Spec(), False
        self.world.write()
        self.since = []
        self._do(FIRST)

    def go(self, moves: Iterable[str], keep_going: bool) -> None:
        """Carries out the moves, which may be chosen as it goes.

        Ends at the first broken invariant, or goes on with a new node. Raises LabError if the lab, not what
        is walked over, is at fault.
        """
        begins = True
        for move in itertools.chain([FIRST], moves):
            try:
                if begins:
                    self.begin_anew()
                begins = False
                if self.count or move != FIRST:
                    self._do(move)
            except BrokenError as error:
                self.broken.append(Broken(self.seed, self.count, [*self.since], error.invariant, error.seen))
                self._say(f"\n{self.broken[-1]}")
                begins = True
                if not keep_going or self.since == [FIRST]:  # a node that had nothing cannot be deployed to
                    return
            self.count += 1

    def shortest(self, broken: Broken) -> Broken:
        """The same fault after fewer moves: ever smaller parts are left out, while it is still seen."""
        size = len(broken.moves) // 2
        while size:
            at = 1
            while at < len(broken.moves) - 1:
                fewer = broken.moves[1:at] + broken.moves[min(at + size, len(broken.moves) - 1) :]
                again = Walk(self.lab, self.node, self.folder, "replay", quiet=True)
                again.go(fewer, keep_going=False)
                if again.broken and again.broken[0].is_like(broken):
                    broken = replace(again.broken[0], seed=broken.seed, number=broken.number)
                else:
                    at += size
            size //= 2
        return broken

    def chosen(self, seconds: float) -> Iterator[str]:
        """Moves by chance, until the time is over."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield self.chooser.choose()

    def _do(self, move: str) -> None:
        self.since.append(move)
        began = time.monotonic()
        self._say(f"{self.count:4} {move}", end="", flush=True)
        try:
            self.moves.do(move)
        except (BrokenError, LabError):
            raise
        except Exception as error:
            raise LabError(f"the walk itself is at fault, at {move!r}:\n{traceback.format_exc()}") from error
        finally:
            self._say(f"  {time.monotonic() - began:.1f} s", flush=True)

    def _say(self, text: str, end: str = "\n", flush: bool = False) -> None:
        if not self.quiet:
            print(text, end=end, flush=flush, file=sys.stdout)
