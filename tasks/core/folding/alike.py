"""What many nodes have alike is told once: how many they are, and the names of the first."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

from .changing import CHANGES, OWN, SIZE, fingerprints, near, sizes, skeleton, spread

NAMED = 5
"""How many nodes are named where they are counted."""
MANY = 50
"""So many nodes have a line each; of more, those that are alike have one together."""


def listed(names: Sequence[str]) -> str:
    """`a, b`; of more than five also how many: `17 nodes: a, b, c, d, e and 12 more`."""
    if len(names) <= NAMED:
        return ", ".join(names)
    return f"{len(names)} nodes: {', '.join(names[:NAMED])} and {len(names) - NAMED} more"


def told(text: str, names: Sequence[str]) -> str:
    """`a, b: text`; of more than five nodes `text: 17 nodes: a, b, c, d, e and 12 more`."""
    first, *more = text.split("\n")
    whole = f"{first}: {listed(names)}" if len(names) > NAMED else f"{listed(names)}: {first}"
    return "\n".join([whole, *more])


def alike(said: Iterable[tuple[str, str, Sequence[str]]]) -> Iterator[tuple[list[str], list[str]]]:
    """Of nodes, their addresses (HOST:PORT or "") and what they said: each thing once, with its nodes.

    What is the same is one; so is, of more than five nodes, what differs in no more than the node's own name
    and address, and in what `skeleton` leaves out. Such a place is then "..." or `3 to 5`, where no size is
    far out; fingerprints of keys, which somebody has to compare, follow in lines of their own. What most
    nodes said comes first.
    """
    same: dict[tuple[str, ...], list[tuple[str, str]]] = {}
    for node, address, texts in said:
        same.setdefault(tuple(texts), []).append((node, address))
    groups: dict[tuple[str, ...], list[_Said]] = {}
    for texts, nodes in same.items():
        seen = [skeleton(_without_own(text, nodes)) for text in texts]
        kind = tuple(text for text, _ in seen)
        changing = [changes for _, changes in seen]
        groups.setdefault(kind, []).extend(_Said(node, texts, changing) for node, _ in nodes)
    parts = chain.from_iterable(_parts(kind, members) for kind, members in groups.items())
    yield from sorted(parts, key=lambda part: -len(part[1]))


def _parts(kind: tuple[str, ...], members: Sequence[_Said]) -> Iterator[tuple[list[str], list[str]]]:
    if len(members) > NAMED:
        parts = near([sizes(zip(kind, one.changing, strict=True)) for one in members])
        if len(parts) > 1:
            for part in parts:
                yield from _parts(kind, [members[at] for at in part])
            return
        merged = [_merged(text, members, at) for at, text in enumerate(kind)]
        yield merged, [one.node for one in members]
        return
    for texts in dict.fromkeys(one.texts for one in members):
        yield [*texts], [one.node for one in members if one.texts == texts]


class _Said(NamedTuple):
    node: str
    texts: tuple[str, ...]
    changing: Sequence[tuple[str, ...]]


def _without_own(text: str, nodes: Sequence[tuple[str, str]]) -> str:
    """`text` without the name and address of each node that says it; what is only one's is not its own."""
    text = re.sub(f"[{OWN}{CHANGES}{SIZE}]", "?", text)
    texts = {_without_names(text, node, address) for node, address in nodes}
    return texts.pop() if len(texts) == 1 else text


def _without_names(text: str, node: str, address: str) -> str:
    host, _, port = address.rpartition(":")
    short = node.partition(".")[0]
    own = {node, address, host, f"[{host}]:{port}", short if re.search("[a-z]", short) else ""} - {""}
    if not any(name in text for name in own):
        return text
    names = "|".join(re.escape(name) for name in sorted(own, key=len, reverse=True))
    return re.sub(rf"(?<![\w.{{-])(?:{names})(?![\w-]|\.\w)", OWN, text)


def _merged(kind: str, members: Sequence[_Said], at: int) -> str:
    """The text that all have at this place; or with what stands for what is not the same in all."""
    if len({one.texts[at] for one in members}) == 1:
        return members[0].texts[at]
    places: Iterator[set[str]] = iter(
        [{*values} for values in zip(*(one.changing[at] for one in members), strict=True)]
    )

    def put(match: re.Match[str]) -> str:
        values = next(places)
        if len(values) == 1:
            return values.pop()
        return spread(values) if match[0] == SIZE else "..."

    whole = re.sub(f"[{CHANGES}{SIZE}]", put, kind.replace(OWN, "..."))
    return "\n".join([whole, *_fingerprints(members, at)])


def _fingerprints(members: Sequence[_Said], at: int) -> Iterator[str]:
    """A line for each of the first nodes, where not all have the same; and how many more there are."""
    if len({fingerprints(one.texts[at]) for one in members}) > 1:
        yield from (f"  {one.node}: {', '.join(fingerprints(one.texts[at]))}" for one in members[:NAMED])
        yield f"  and {len(members) - NAMED} more: --json has them"
