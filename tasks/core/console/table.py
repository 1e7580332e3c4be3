"""Tables, in which many rows that are alike are one."""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterator, Sequence

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ..folding.alike import MANY, NAMED, listed
from ..folding.changing import near, sizes, skeleton, spread
from .terminal import printable

Row = Sequence[str | Text]
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


def table(
    console: Console,
    columns: Sequence[str],
    rows: Sequence[Row],
    all_rows: bool = False,
    kinds: Sequence[Hashable] = (),
    gives_way: str = "",
) -> None:
    """Prints a table that fits the terminal; in a pipe, the same columns without lines and colours.

    What is no Text is shown as it is: brackets and colons mean nothing to rich there. Of more than 50 rows
    those that are not as most are come first, and those that are alike are one, with the names that their
    first cells have below the table; `all_rows` has each shown. `kinds` says of each row what it has to have
    in common with another to be like it; without, that are all cells but the first, whatever the times are.
    What is far out is never alike: see `near`. Where a terminal is too narrow, the column `gives_way` first.
    """
    if all_rows or len(rows) <= MANY:
        _print(console, columns, rows, gives_way)
        return
    shown = list(_folded(rows, kinds or [_kind(row) for row in rows]))
    _print(console, columns, [row for row, _ in shown], gives_way)
    folded = [(row, names) for row, names in shown if names]
    for row, names in folded:
        others = [other for other, their in folded if len(their) == len(names)]
        line = listed(names).replace(":", f"{_apart(columns, row, others)}:", 1)
        console.print(line, markup=False, highlight=False, soft_wrap=not console.is_terminal)
    if folded:
        console.print("each of them: --all-rows", markup=False, highlight=False)


def _apart(columns: Sequence[str], row: Row, others: Sequence[Row]) -> str:
    """`, STATE failed`: what tells a row from `others`, which begin alike."""
    cells = zip(columns, row, *others, strict=True)
    return "".join(
        f", {column} {cell}" for column, cell, *those in cells if {*map(str, those)} != {str(cell)}
    )


def _kind(row: Row) -> Hashable:
    return tuple(skeleton(str(cell))[0] for cell in row[1:])


def _folded(rows: Sequence[Row], kinds: Sequence[Hashable]) -> Iterator[tuple[Row, list[str]]]:
    """Rows, with the names of those that one stands for; [] where it is one of the table."""
    groups: dict[Hashable, list[Row]] = {}
    for row, kind in zip(rows, kinds, strict=True):
        groups.setdefault(kind, []).append(row)
    groups = {(kind, at): part for kind, all_ in groups.items() for at, part in enumerate(_near(all_))}
    most = max(groups, key=lambda kind: len(groups[kind]))
    others = len(rows) - len(groups[most])
    if len(groups[most]) <= NAMED:  # nothing is alike
        yield from ((row, []) for row in rows)
        return
    for kind in sorted(groups, key=lambda kind: kind == most):
        alike = groups[kind]
        if len(alike) <= NAMED or (kind != most and others <= MANY):
            yield from ((row, []) for row in alike)
        else:
            cells = [_merged(cells) for cells in list(zip(*alike, strict=True))[1:]]
            yield [f"{len(alike)} nodes", *cells], [str(name) for name, *_ in alike]


def _near(rows: Sequence[Row]) -> list[list[Row]]:
    """Rows whose sizes are not far from each other's; a column in which more than sizes differs has none."""
    columns = [
        [skeleton(printable(str(cell))) for cell in column] for column in list(zip(*rows, strict=True))[1:]
    ]
    columns = [column for column in columns if len({text for text, _ in column}) == 1]
    if not columns:
        return [[*rows]]
    return [[rows[at] for at in part] for part in near([sizes(row) for row in zip(*columns, strict=True)])]


def _merged(cells: Sequence[str | Text]) -> str | Text:
    """Cells of one column as one: `3 to 5 d` for 3 d, 4 d and 5 d."""
    texts = {str(cell) for cell in cells}
    if len(texts) == 1:
        return cells[0]
    if len({_NUMBER.sub("#", text) for text in texts}) > 1:
        return "..."
    numbers = zip(*map(_NUMBER.findall, texts), strict=True)
    ranges = iter([spread(same) for same in numbers])
    whole = _NUMBER.sub(lambda _: next(ranges), str(cells[0]))
    return Text(whole, cells[0].style) if isinstance(cells[0], Text) else whole


def _print(console: Console, columns: Sequence[str], rows: Sequence[Row], gives_way: str) -> None:
    if console.is_terminal:
        drawn = Table(box=None, header_style="bold", pad_edge=False)
        texts = [[*map(str, cells)] for cells in zip(columns, *rows, strict=True)]
        wide = sum(max(map(cell_len, cells)) + 2 for cells in texts) - 2 > console.width
        for column, cells in zip(columns, texts, strict=True):
            words = " ".join(cells).split()
            most = max(map(cell_len, words)) if wide and column == gives_way else None
            drawn.add_column(Text(printable(column)), overflow="fold", max_width=most)
        for row in rows:
            drawn.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
        console.print(drawn, highlight=False)
        return
    plain = [[printable(str(cell)) for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
    for cells in plain:
        line = "  ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        console.print(line.rstrip(), markup=False, emoji=False, highlight=False, soft_wrap=True)
