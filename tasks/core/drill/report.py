"""What a drill showed, as programs are told: typed values and no more."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from ..config.address import Endpoint
from ..results import output
from ..scripts.drill import Fault
from .watching import WatchReport


class Outcome(StrEnum):
    """What became of a kept-alive session."""

    HUNG = "hung"
    ENDED = "ended"
    UNHARMED = "unharmed"


@dataclass(frozen=True, slots=True)
class SessionOutcome:
    """What became of one kept-alive session, whose client connects again when it ends; times in seconds."""

    outcome: Outcome = output("`hung`, `ended` or `unharmed`", key="fate")
    after: float | None = output(
        "from the fault to the first request that failed or had no answer", None, digits=2
    )
    back_after: float | None = output(
        "from the end of the fault to that answer; null: none came", None, digits=2
    )
    gap: float = output("the longest that its client was without an answer", 0.0, digits=2)


@dataclass(frozen=True, slots=True)
class Baseline:
    """The requests on new connections before the fault."""

    requests: int = output("how many there were")
    failed: int = output("how many failed")
    slowest_ms: int = output("milliseconds that the slowest took")
    slow: int = 0


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What was done, and what clients noticed: in JSON under `drill`. Times are in seconds from the fault."""

    apiserver: Endpoint = output("the one that died")
    addresses: tuple[Endpoint, ...] = output("its addresses, as the node resolves them")
    fault: Fault = output(
        "`cut`: its packets vanished; `hang`: it accepted connections, and answered nothing"
    )
    tool: str = output("what did it: `nft` or `iptables`")
    seconds: float = output("for how long it was dead", digits=2)
    ended_by: str = output("`drill`, or `other`: the rules were gone already")
    leftover_removed: bool = output("whether an earlier drill had left its rules there")
    sessions_on_it: int = output("how many sessions of the node's own were on it before")
    baseline: Baseline = output("the requests before the fault")
    requests: int = output("how many there were from the fault on")
    failed: int = output("how many of them failed")
    failed_late: int = output(
        "how many of those began after kube-nginx-watch had ejected it; without that, all of them"
    )
    slow: int = output("how many of them were slow")
    caught: int = output(
        "how many that were under way when the fault came failed or were slow: none can be saved"
    )
    slow_from_ms: int = output("from how many milliseconds on one is slow")
    slowest_ms: int = output("milliseconds that the slowest took")
    first_after: float | None = output("to the beginning of the first that was slow or failed", digits=2)
    recovered_after: float | None = output(
        "to the end of the last that was; null also if more may follow", digits=2
    )
    as_before: bool = output("whether requests were seen to become as they were before")
    sessions: tuple[SessionOutcome, ...] = output("what became of each kept-alive session")
    gap: float = output("the longest that a client of one of them was without an answer", digits=2)
    watch: WatchReport | None = output("what kube-nginx-watch did; null: it does not run there")
    means: str = output("what follows for kubelet, in a sentence")
    last_bad: float | None = None  # the end of the last request that was slow or failed
    error: str = ""  # why the first one failed


@dataclass(frozen=True, slots=True)
class DrillResult:
    """What a drill says of its node."""

    drill: DrillReport = output("what was done, and what clients noticed")
