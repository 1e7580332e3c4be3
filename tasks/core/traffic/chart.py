"""Sessions as people read them: tables, and a bar for each apiserver in a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.text import Text

from ..console.table import Row, table
from .sessions import Sessions

_LONGEST = 20  # columns of a bar


def show(console: Console, seen: Mapping[str, Sessions], total: Sessions, all_rows: bool = False) -> None:
    """The sessions by apiserver, how even they are, and by node and apiserver.

    Nodes are alike that have sessions on the same apiservers, however many those are.
    """
    peers = [(str(peer), count, "cyan") for peer, count in total.counts.items()]
    peers += [(f"{peer} not in hosts.toml", count, "yellow") for peer, count in total.others.items()]
    sums = [[name, str(count), _share(count, total.total)] for name, count, _ in peers]
    columns = ["APISERVER", "SESSIONS", "SHARE"]
    if console.is_terminal and console.encoding.startswith("utf"):
        most = max(count for _, count, _ in peers) or 1
        bars = [Text("█" * -(-count * _LONGEST // most), style) for _, count, style in peers]
        barred: list[Row] = [[*row, bar] for row, bar in zip(sums, bars, strict=True)]
        table(console, [*columns, ""], barred, all_rows=True)
    else:
        table(console, columns, sums, all_rows=True)
    console.print(evenness(total), highlight=False, markup=False)
    one_port = len({apiserver.port for apiserver in total.counts}) == 1
    heads = [apiserver.host if one_port else str(apiserver) for apiserver in total.counts]
    others = ["OTHERS"] if total.others else []
    rows = [[node, *_cells(one, total)] for node, one in seen.items()]
    kinds = [tuple(cell != "0" for cell in cells) for _, *cells in rows]
    table(console, ["NODE", *heads, *others], rows, all_rows, kinds)


def evenness(total: Sessions) -> str:
    """The imbalance in words."""
    if total.imbalance is None:
        return "no sessions: nothing to compare"
    mean = f"the mean of {len(total.counts)} apiservers"
    return f"imbalance {total.imbalance:.2f} (the most / {mean}; 1 is even)"


def _cells(one: Sessions, total: Sessions) -> list[str]:
    """Of one node, how many sessions are on each apiserver; what is not in hosts.toml together."""
    others = [str(sum(one.others.values()))] if total.others else []
    return [*(str(one.counts[apiserver]) for apiserver in total.counts), *others]


def _share(count: int, total: int) -> str:
    return f"{100 * count / total:.0f}%" if total else "-"
