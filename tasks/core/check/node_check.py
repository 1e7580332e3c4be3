"""What one node met, and what that makes of it: the data of `fab check`, for people and programs. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from ..config.address import Endpoint
from ..errors import StepError
from ..facts.facts import Facts
from ..probes.classify import EndpointCheck, worst
from ..release.servers import Addresses
from ..results import State, output
from ..trust.advisories import Advisory, affecting
from ..users.judged import UsersCheck
from ..watch.seen import WatchSeen, WatchState
from .drift import Drift

_REFUSES = (
    "see why: fab status --limit {nodes}, fab logs --limit {nodes}; when all apiservers were down, nginx "
    "refuses clients until proxy.fail_timeout has passed"
)
_STRANGERS = "is [check] ca in hosts.toml that of this cluster, and is it still valid?"
_LIST = "are these the addresses of the apiservers, do they run, and does a firewall stand between?"
_FIREWALL = "do the apiservers run, and does a firewall stand between them and the node?"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenerCheck(EndpointCheck):
    """What a node meets through one listener of its proxy."""

    led_to: tuple[Endpoint, ...] = output("of the apiservers, those to which the proxy led")


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyCheck(ListenerCheck):
    """What a node meets through its proxy: of the listeners, the one that is worst."""

    listeners: Mapping[Endpoint, ListenerCheck] = output("the same of each listener")


@dataclass(frozen=True, slots=True)
class NodeCheck:
    """What one node met."""

    way: bool | None = output("whether any way leads to an apiserver that serves; null: not known")
    clock_seconds: float | None = output("by how many seconds its clock is ahead of this machine's", digits=1)
    apiservers: Mapping[Endpoint, EndpointCheck] = output("what it meets at each apiserver")
    through: ProxyCheck | None = output("what it meets through its kube-nginx")
    drift: tuple[Drift, ...] | None = output("what is there, but not in hosts.toml")
    watch: WatchSeen | None = output("kube-nginx-watch", None)
    version: str = output("nginx's version that runs there, or else is installed; empty: neither", "")
    advisories: tuple[Advisory, ...] = output("nginx's advisories that are known of that version", ())
    users: UsersCheck | None = output("who uses its kube-nginx, and who goes past it", None)
    addresses: Addresses = field(default_factory=dict)  # to which it resolves names
    installed: bool = False
    error: StepError | None = None  # why it cannot work: its proxy does not answer, or there is no way

    @property
    def met(self) -> dict[str, EndpointCheck]:
        """All that was met, by how it is called."""
        listeners = self.through.listeners if self.through else {}
        return {
            **{str(apiserver): check for apiserver, check in self.apiservers.items()},
            **{f"through {listener}": check for listener, check in listeners.items()},
        }

    @property
    def lame(self) -> bool:
        """Whether the watch is there and does not work."""
        return self.watch is not None and self.watch.state == WatchState.NOT_RUNNING

    @property
    def state(self) -> State:
        """FAILED if the node cannot work, WARNING if anything is bad."""
        if self.error:
            return State.FAILED
        past = self.users is not None and self.users.warnings
        told = self.drift or self.lame or past
        bad = told or any(check.state != State.OK for check in self.met.values())
        return State.WARNING if bad else State.OK


UNSEEN = NodeCheck(None, None, {}, None, None)
"""Of a node that failed before anything was seen."""


def node_check(
    facts: Facts,
    apiservers: Mapping[Endpoint, EndpointCheck],
    listeners: Mapping[Endpoint, ListenerCheck],
    drift: tuple[Drift, ...] = (),
    remedy: str = "",
    watch: WatchSeen | None = None,
    users: UsersCheck | None = None,
) -> NodeCheck:
    """`remedy` is what to do where it is the service that is missing."""
    ways = {check.way for check in (*apiservers.values(), *listeners.values())}
    worst_listener = worst([*listeners.values()])
    return NodeCheck(
        way=True if True in ways else None if None in ways else False,
        clock_seconds=facts.clock,
        apiservers=apiservers,
        through=ProxyCheck(**values_of(worst_listener), listeners=listeners),
        drift=drift,
        watch=watch,
        version=(version := facts.version or facts.installed),
        advisories=affecting(version),
        users=users,
        addresses=facts.addresses,
        installed=facts.state != "not installed",
        error=_error(apiservers, listeners, remedy, facts.state == "not installed"),
    )


def values_of(check: EndpointCheck) -> dict[str, Any]:
    """Its fields, for one of a class that has more."""
    return {item.name: getattr(check, item.name) for item in fields(check)}


def _error(
    apiservers: Mapping[Endpoint, EndpointCheck],
    listeners: Mapping[Endpoint, EndpointCheck],
    remedy: str,
    absent: bool,
) -> StepError | None:
    silent = {listener: check for listener, check in listeners.items() if check.way is False}
    names = " and ".join(map(str, silent))
    lost = all(check.way is False for check in apiservers.values())
    if lost and not any(check.way for check in listeners.values()):
        neither = f", neither directly nor through {names}" if silent else ""
        strangers = all(check.result.distrust for check in apiservers.values())
        usual = _STRANGERS if strangers else _LIST if absent else _FIREWALL
        hint = usual if absent else remedy or usual  # a deploy does not change who answers directly
        return StepError(f"no way to any ready apiserver{neither}", hint=hint)
    if not silent:
        return None
    why = "; ".join(dict.fromkeys(check.detail for check in silent.values()))
    if absent:
        answer = sum(check.way is not False for check in apiservers.values())
        direct = f"directly: {answer} of {len(apiservers)} apiservers answer"
        return StepError(f"through {names}: {why}; {direct}", hint=remedy or _REFUSES)
    return StepError(f"no ready apiserver answers through {names}: {why}", hint=remedy or _REFUSES)
