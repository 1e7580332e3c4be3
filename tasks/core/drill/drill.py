"""One apiserver dies for one node, for a while: cut off or hung, measured, healed."""

from __future__ import annotations

from functools import partial

from ..config.address import Endpoint
from ..console.prompt import confirm
from ..console.table import table
from ..errors import StepError, UsageError
from ..results import State, StepResult
from ..run.run import Run
from ..scripts.drill import Fault
from ..ssh.node import Node
from ..traffic import sessions
from ..traffic.cut import Cut
from ..traffic.target import Target, require_another_way, target_on
from .clients import Clients
from .measurement import BASELINE, GRACE_PERIOD, NOTHING, RECOVERED, Measurement
from .report import DrillReport, DrillResult
from .sorting import can_eject, drill_report, unexpected
from .watching import Watching
from .words import rows, sentences

_SECONDS = range(5, 301)
_LEFTOVER = "an earlier drill had left its rules there; they were removed first"
_GONE = "the rules were gone already when we came to remove them"
_WAS = {Fault.CUT: "was dead", Fault.HANG: "hung"}
_SEE_WHY = "see why: fab logs --limit {nodes}; is what runs there what hosts.toml says: fab diff"
_NO_WATCH = "nginx alone cannot pass by one that hangs, and no kube-nginx-watch ejected it"
_NOT_RECOVERED = f"but requests are not as before {GRACE_PERIOD} s after the end"


class Drill:
    """`apiserver` dies for the one node of `r`, by `fault`, for so many `seconds`."""

    def __init__(self, r: Run, apiserver: Endpoint, seconds: int, fault: Fault) -> None:
        self._run = r
        self._fault = fault
        self._apiserver = apiserver
        self._seconds = seconds
        self._target: Target
        self._cut: Cut | None = None
        self.report: DrillReport | None = None

    def refuse_unusual(self, limit: str | None) -> None:
        """Raises UsageError: it would last too long or too short, or `limit` names several nodes."""
        if self._seconds not in _SECONDS:
            raise UsageError(f"--seconds {self._seconds}: from {_SECONDS[0]} to {_SECONDS[-1]}")
        if len(self._run.fleet) != 1:
            named = f"--limit {limit}" if limit else "-H"
            raise UsageError(f"a drill is for one node, and {named} names {len(self._run.fleet)}")

    def survey(self, node: Node) -> StepResult[Target]:
        """Looks whether there is anything to be tried. Raises StepError."""
        self._target = found = target_on(node, self._run.settings, self._apiserver)
        return StepResult(State.OK, f"{found.on_it} of {found.sessions} sessions are on it")

    def ask_first(self, yes: bool) -> None:
        """Asks, unless the node is in a test network for certain, or was not surveyed. Raises UsageError."""
        for node in self._run.alive:
            if not (yes or self._target.for_tests):
                what = f"{self._apiserver} for {self._seconds} s"
                would = f"cuts {node.label}, and all that uses its host network, off from {what}"
                if self._fault == Fault.HANG:
                    would = (
                        f"keeps all answers of {what} from {node.label}, and all that uses its host network"
                    )
                certain = "and that is not in a test network for certain: say --yes to do it unasked"
                confirm(self._run.console, f"This {would}.", f"drill {would}, {certain}")

    def apply(self, node: Node) -> StepResult[DrillResult]:
        """Cuts, measures, heals; whatever happens, the node is healed before this ends, or by itself.

        Raises StepError: nothing was cut, since that could harm or show nothing; or a step failed.
        """
        r, target = self._run, self._target
        r.lock(node)
        cut = self._cut = Cut(node, target.addresses, self._fault)
        self._progress(node, "seeing whether it may be cut", 0)
        leftover = cut.look()
        if leftover:
            r.console.print(_LEFTOVER, markup=False)
        require_another_way(node, r.settings, target.apiserver, target.others, target.resolved)
        with (
            Clients(node.transport, r.settings.proxy.listen[0], self._wanted()) as clients,
            Watching(node, target.addresses) as watching,
        ):
            progress, count = partial(self._progress, node), partial(self._counts, node)
            measured = Measurement(clients, self._seconds, progress, lambda: r.interrupt.came, count).run(cut)
            watch = watching.report(measured.began, measured.ended)
            self.report = drill_report(
                target, measured, r.settings.proxy, cut.tool, leftover, self._fault, watch
            )
        return self._outcome(self.report)

    def show(self) -> None:
        """For people, what was measured, if it was."""
        console = self._run.console
        if self.report:
            heads = ("NEW CONNECTIONS", "BEFORE", f"FROM THE {self._fault.upper()} ON")
            table(console, heads, rows(self.report))
            for line in sentences(self.report):
                console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)

    def left_behind(self, node: Node) -> StepError:
        """How the node is left when it does not answer in time after Ctrl-C."""
        return self._cut.left_so() if self._cut else StepError(NOTHING)

    def _wanted(self) -> int:
        """So many sessions that one of them is on the apiserver, as a rule."""
        return min(max(2 * len(self._run.settings.apiservers), 4), 10)

    def _counts(self, node: Node) -> tuple[int, int]:
        """How many sessions of the node are on the apiserver, and on the one of the others that has most."""
        seen = sessions.count(node, self._run.settings, self._target.resolved)
        others = [count for server, count in seen.counts.items() if server != self._apiserver]
        return seen.counts[self._apiserver], max(others, default=0)

    def _progress(self, node: Node, what: str, done: float) -> None:
        whole = BASELINE + self._seconds + round(RECOVERED)
        self._run.reporter.progress(node.label, what, min(int(done), whole), whole)

    def _outcome(self, report: DrillReport) -> StepResult[DrillResult]:
        result = DrillResult(report)
        gone = f"{report.apiserver} {_WAS[report.fault]} for {report.seconds:.1f} s"
        failed = f"{report.failed} of {report.requests} requests failed"
        if why := unexpected(report):
            error = StepError(f"{gone}: {failed}: {why}", hint=_SEE_WHY)
            return StepResult(State.FAILED, error.message, error=error, value=result)
        interrupted = self._run.interrupt.came
        early = ", then it was interrupted" if interrupted else ""
        healed = "healed" if report.ended_by == "drill" else _GONE
        text = f"{gone}{early}: {failed}, {report.slow} were slow; {healed}"
        if not (report.as_before or interrupted):
            return StepResult(State.WARNING, f"{text}, {_NOT_RECOVERED}", value=result)
        if report.failed and not can_eject(report):
            return StepResult(State.WARNING, f"{text}; {_NO_WATCH}", value=result)
        return StepResult(State.OK, text, value=result)
