"""An apiserver dies for one node: by firewall rules, for a while, and the node itself sees to the end."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from time import monotonic

from ..config.address import Endpoint
from ..errors import StepError
from ..scripts.drill import Drill, DrillAction, Drilled, DrillStatus, Fault
from ..ssh.node import Node

_LATER = 5  # seconds after its end that a cut is undone by the node's own timer
_TRIES = 3
_UNIT = "kube-nginx-drill.timer"


class Cut:
    """The packets between `node` and the addresses `servers`; for whoever has the node's lock."""

    def __init__(self, node: Node, servers: Sequence[Endpoint], fault: Fault = Fault.CUT) -> None:
        self.fault = fault
        self._node = node
        self._servers = tuple(servers)
        self._tools = ""
        self._undo = ""
        self._timer = ""
        self._over = 0.0
        self._healed: list[float] = []

    @property
    def tool(self) -> str:
        """The firewall tool that `look` found to work."""
        return "nft" if self._tools.endswith("/nft") else "iptables"

    def look(self) -> bool:
        """Sees whether it can be done, and removes what an earlier drill has left: true if there was any.

        Raises StepError: there is no tool for it.
        """
        result = self._run(DrillAction.LOOK)
        self._tools, self._undo = result.tools, result.undo
        if result.status == DrillStatus.NO_TOOL:
            why = DrillStatus.NO_TOOL
            raise StepError(why.message, status=why, tail=result.stderr, hint=why.hint)
        if result.status:
            what = "what an earlier drill left cannot be removed"
            raise StepError(what, status=result.status, tail=result.stderr, hint=self._by_hand())
        return result.healed

    def begin(self, seconds: float) -> float:
        """Cuts, for `seconds` unless `end` is called before; gives the time (`monotonic`) at which it did.

        A timer on the node that ends it, whatever becomes of us, is armed first. Raises StepError.
        """
        at: list[float] = []
        whole = round(seconds + _LATER)
        self._over = monotonic() + whole
        by = datetime.now() + timedelta(seconds=whole)
        self._timer = f"the node's own timer removes them at {by:%H:%M:%S}; if not: "
        nothing = "and nothing is left of it"  # or `end`, which follows, says so
        try:
            result = self._run(DrillAction.CUT, whole, at)
        except StepError as error:
            raise StepError(f"the cut was not seen to be made, {nothing}: {error.message}") from None
        if result.status:
            message = f"the cut could not be made, {nothing}"
            raise StepError(message, status=result.status, tail=result.stderr)
        return at[0] if at else monotonic()

    def end(self) -> float | None:
        """Removes the rules and the timer, and looks that they are gone.

        Gives the time (`monotonic`) at which they were, None if they were gone already. Raises StepError
        that says how to do it by hand, if they are still there or cannot be looked at.
        """
        for _ in range(_TRIES - 1):
            try:
                return self._end()
            except StepError as error:
                if error.status is not None:
                    raise
        return self._end()

    def left_so(self) -> StepError:
        """How the node is left by whoever cannot wait for `end`."""
        if self._healed or not self._timer:
            return StepError(f"interrupted; {'healed' if self._healed else 'nothing was cut'}")
        left = max(0, round(self._over - monotonic()))
        error = self._left_behind(f"were not seen to be gone; the node heals itself within {left} s")
        error.hint = f"see whether it has, there: systemctl list-timers {_UNIT}; {error.hint}"
        return error

    def _end(self) -> float | None:
        try:
            result = self._run(DrillAction.HEAL, at=self._healed)
        except StepError as error:
            raise self._left_behind(f"could not be looked at again: {error.message}") from None
        if result.status:
            raise self._left_behind("are still there, or were not looked at", result)
        return self._healed[0] if self._healed else None

    def _left_behind(self, what: str, result: Drilled | None = None) -> StepError:
        return StepError(
            f"the firewall rules of the drill {what}",
            status=result.status if result else None,
            tail=result.stderr if result else "",
            hint=self._by_hand(),
        )

    def _by_hand(self) -> str:
        return f"{self._timer}by hand, as root there: {self._undo}" if self._undo else ""

    def _run(self, action: DrillAction, seconds: int = 0, at: list[float] | None = None) -> Drilled:
        """Notes in `at` when it was done."""
        script = Drill(action, self._servers, self._tools, seconds, hang=int(self.fault == Fault.HANG))

        def hear(line: str) -> None:
            if at is not None and script.has_done(line):
                at.append(monotonic())

        return self._node.do(script, hear)
