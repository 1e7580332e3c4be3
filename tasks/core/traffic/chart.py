"""Sessions as people read them: bars in a terminal, plain columns in a pipe."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import Console
from rich.text import Text

from ..console.report import table
from .sessions import Sessions

_NOT_OURS = "not in hosts.toml"
_EIGHTHS = " ▏▎▍▌▋▊▉█"
_SHORTEST = 10  # columns of a bar, below which names give way


def show(console: Console, seen: Mapping[str, Sessions], total: Sessions) -> None:
    """The sessions by apiserver, how even they are, and by node and apiserver."""
    rows = [(str(peer), count, "cyan") for peer, count in total.sessions.items()]
    rows += [(f"{peer} {_NOT_OURS}", count, "yellow") for peer, count in total.others.items()]
    if console.is_terminal and console.encoding.startswith("utf"):
        for line in _bars(rows, console.width):
            console.print(line, no_wrap=True, overflow="crop")
    else:
        plain = [(name, str(count), _share(count, total.total)) for name, count, _ in rows]
        table(console, ("APISERVER", "SESSIONS", "SHARE"), plain)
    console.print(evenness(total), highlight=False, markup=False)
    table(console, *_matrix(seen, total))


def evenness(total: Sessions) -> str:
    """The imbalance in words."""
    if total.imbalance is None:
        return "no sessions: nothing to compare"
    mean = f"the mean of {len(total.sessions)} apiservers"
    return f"imbalance {total.imbalance:.2f} (the most / {mean}; 1 is even)"


def _bars(rows: Sequence[tuple[str, int, str]], width: int) -> Iterator[Text]:
    total, most = sum(count for _, count, _ in rows), max(count for _, count, _ in rows)
    digits = len(str(most))
    room = width - digits - 8
    names = min(max(len(name) for name, _, _ in rows), room - _SHORTEST)
    for name, count, style in rows:
        shown = name if len(name) <= names else f"{name[: names - 1]}…"
        line = Text(shown.ljust(names + 1))
        line.append(_bar(count, most, room - names), style)
        line.append(f" {count:>{digits}} {_share(count, total):>4}")
        yield line


def _bar(count: int, most: int, width: int) -> str:
    """A bar of `width` columns; who has any session has a mark."""
    full, rest = divmod(max(round(count * width * 8 / most), 1) if count else 0, 8)
    return ("█" * full + (_EIGHTHS[rest] if rest else "")).ljust(width)


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.0f}%" if total else "-"


def _matrix(seen: Mapping[str, Sessions], total: Sessions) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Node by apiserver; what is not in hosts.toml in one column."""
    one_port = len({apiserver.port for apiserver in total.sessions}) == 1
    heads = [apiserver.host if one_port else str(apiserver) for apiserver in total.sessions]
    rows = [
        (
            node,
            *(str(sessions.sessions[apiserver]) for apiserver in total.sessions),
            *([str(sum(sessions.others.values()))] if total.others else []),
        )
        for node, sessions in seen.items()
    ]
    return ("NODE", *heads, *(["OTHERS"] if total.others else [])), rows
