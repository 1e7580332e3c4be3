"""What a drill did to the clients: from their requests to numbers, a table and words. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..config.settings import Proxy
from .clients import Request

_SLOWER = 0.1  # seconds over the slowest request before the cut, from which on one is slow
_HANGS = 1.0  # seconds without an answer, from which on a session hung
HUNG, ENDED, UNHARMED = "hung", "ended", "unharmed"


@dataclass(frozen=True, slots=True)
class Side:
    """The requests on new connections before the cut, or from then on. `slowest` is in seconds."""

    requests: int
    failed: int
    slow: int
    slowest: float


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a kept-alive session: HUNG, ENDED or UNHARMED.

    `after`: seconds from the cut to the first request that failed or had no answer. `back`: seconds from
    the end of the cut to that answer, None if none came while it was looked at.
    """

    what: str
    after: float | None = None
    back: float | None = None


@dataclass(frozen=True, slots=True)
class Damage:
    """All that was seen; times in seconds. `calm`: whether requests were seen to become as before the cut.

    `limit`: what takes longer is slow. `first` and `last`: from the cut to the beginning of the first request
    that was slow or failed, and to the end of the last one; `error` is why the first one failed.
    `caught`: how many that were under way when the cut came were slow or failed. No proxy of TCP could save
    them, since their connections stood.
    """

    before: Side
    after: Side
    limit: float
    first: float | None
    last: float | None
    caught: int
    fates: tuple[Fate, ...]
    error: str
    calm: bool

    @property
    def recovered(self) -> float | None:
        """From the cut to the end of the last bad request; None without one, and where others may follow."""
        return self.last if self.calm else None

    def count(self, what: str) -> int:
        """How many sessions have this fate."""
        return sum(fate.what == what for fate in self.fates)


def slow_from(requests: Sequence[Request], cut: float) -> float:
    """From how many seconds on a request is slow, by those that were over before the cut."""
    return max((r.seconds for r in _before(requests, cut)), default=0.0) + _SLOWER


def is_bad(request: Request, limit: float) -> bool:
    """Whether a request failed, or takes longer than `limit` seconds."""
    return bool(request.error) or request.seconds > limit


def assess(requests: Sequence[Request], limit: float, cut: float, healed: float, calm: bool) -> Damage:
    """Sorts the requests by the times of `monotonic` at which the cut began and ended."""
    new = _new(requests)
    before = _before(requests, cut)
    after = [r for r in new if r.began >= cut]
    caught = [r for r in new if r.began < cut and r not in before]
    bad = [r for r in after if is_bad(r, limit)]
    numbers = sorted({r.session for r in requests if r.session is not None})
    return Damage(
        _side(before, limit),
        _side(after, limit),
        limit,
        min(r.began for r in bad) - cut if bad else None,
        max(r.began + r.seconds for r in bad) - cut if bad else None,
        sum(is_bad(r, limit) for r in caught),
        tuple(
            _fate([r for r in requests if r.session == number], cut, healed, max(limit, _HANGS))
            for number in numbers
        ),
        next((r.error for r in after if r.error), ""),
        calm,
    )


def _new(requests: Sequence[Request]) -> list[Request]:
    return [r for r in requests if r.session is None]


def _before(requests: Sequence[Request], cut: float) -> list[Request]:
    return [r for r in _new(requests) if r.ended is not None and r.ended < cut]


def _side(requests: Sequence[Request], limit: float) -> Side:
    failed = sum(bool(r.error) for r in requests)
    slow = sum(is_bad(r, limit) for r in requests) - failed
    return Side(len(requests), failed, slow, max((r.seconds for r in requests), default=0.0))


def _fate(requests: Sequence[Request], cut: float, healed: float, patience: float) -> Fate:
    for request in requests:
        ended = request.ended
        if ended is not None and ended < cut:
            continue
        if request.error and ended is not None:
            return Fate(ENDED, ended - cut)
        # whatever else was late on a busy machine did not wait for the end of the cut
        if request.began < healed and (ended is None or ended >= healed) and request.seconds > patience:
            return Fate(HUNG, max(0.0, request.began - cut), None if ended is None else ended - healed)
    return Fate(UNHARMED)


def as_data(damage: Damage) -> dict[str, Any]:
    """For programs: times in seconds from the cut, but those that end in _ms."""
    return {
        "baseline": {
            "requests": damage.before.requests,
            "failed": damage.before.failed,
            "slowest_ms": _ms(damage.before.slowest),
        },
        "requests": damage.after.requests,
        "failed": damage.after.failed,
        "slow": damage.after.slow,
        "caught": damage.caught,
        "slow_from_ms": _ms(damage.limit),
        "slowest_ms": _ms(damage.after.slowest),
        "first_after": _rounded(damage.first),
        "recovered_after": _rounded(damage.recovered),
        "as_before": damage.calm,
        "sessions": [
            {"fate": fate.what, "after": _rounded(fate.after), "back_after": _rounded(fate.back)}
            for fate in damage.fates
        ],
    }


def rows(damage: Damage) -> list[tuple[str, str, str]]:
    """For people: what, before the cut, from the cut on."""
    before, after = damage.before, damage.after
    return [
        ("requests", str(before.requests), str(after.requests)),
        ("failed", str(before.failed), str(after.failed)),
        (f"slow (over {_ms(damage.limit)} ms)", str(before.slow), str(after.slow)),
        ("slowest", f"{_ms(before.slowest)} ms", f"{_ms(after.slowest)} ms"),
        ("first slow or failed", "", _moment(damage.first)),
        ("last slow or failed", "", _moment(damage.last)),
        ("as before the cut", "", ("yes" if damage.calm else "not while it was looked at")),
    ]


def of_connections(damage: Damage) -> list[str]:
    """What became of connections that stood when the cut came, in lines."""
    lines = []
    if damage.caught:
        lines.append(
            f"requests under way at the cut that failed or were slow, as is to be expected: {damage.caught}"
        )
    for what, words in ((HUNG, _hung), (ENDED, _ended), (UNHARMED, lambda _: "noticed nothing")):
        if found := [fate for fate in damage.fates if fate.what == what]:
            lines.append(f"{len(found)} of {len(damage.fates)} kept-alive sessions {words(found)}")
    return lines


def _hung(found: Sequence[Fate]) -> str:
    back = [fate.back for fate in found if fate.back is not None]
    again = f"; {len(back)} of them answered again {max(back):.1f} s after its end" if back else ""
    return (
        f"hung for the whole cut, from {_first(found):.1f} s after its beginning on: "
        f"a client notices by its own time limit{again}"
    )


def _ended(found: Sequence[Fate]) -> str:
    return f"ended {_first(found):.1f} s after the cut: a client notices at once"


def _first(found: Sequence[Fate]) -> float:
    return min(fate.after for fate in found if fate.after is not None)


def means(damage: Damage, proxy: Proxy, on_it: int) -> str:
    """What follows for kubelet and all other clients of this node's proxy, in words."""
    if damage.after.failed:
        new = f"new connections failed though another apiserver lived (first: {damage.error})"
    elif damage.after.slow:
        new = (
            f"every new connection reaches another apiserver, {damage.after.slow} of "
            f"{damage.after.requests} only after nginx had tried the dead one "
            f"(connect_timeout {proxy.connect_timeout}, until max_fails {proxy.max_fails} "
            f"within fail_timeout {proxy.fail_timeout})"
        )
    else:
        new = "new connections notice nothing"
    if not on_it and not damage.count(HUNG):
        return f"for kubelet: {new}"
    return (
        f"for kubelet: {new}; sessions that are on the dead one hang, since no packet says that it is gone, "
        "until kubelet's own HTTP/2 ping gives up (by default 30 s of silence and 15 s for an answer)"
    )


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 2)


def _moment(seconds: float | None) -> str:
    return "-" if seconds is None else f"after {seconds:.1f} s"
