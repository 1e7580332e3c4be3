"""What is brought to a node, beside what runs there, before it changes over."""

from __future__ import annotations

import re

from ..config.settings import Settings
from ..errors import StepError
from ..facts.facts import Facts
from ..release.release import MODES, Release, found
from ..scripts import commands
from ..ssh.node import Node

_UNSTAGED = {
    65: (
        "checksum mismatch after upload",
        "nothing was changed; is the disk full, or the network bad?",
    ),
    67: ("nginx refuses the new release there", "nothing was changed; correct hosts.toml, or build again"),
}
"""By the exit status of templates/stage.sh: what is told, and what is to be done."""

# nginx's lines without time and PID are the same on every node, and told once
_STAMP = re.compile(r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (?=\[)|(?<=\] )\d+#\d+: ")


def stage(node: Node, release: Release, settings: Settings, facts: Facts) -> None:
    """Brings a release to the node, beside what runs there, and tests it there as the service's user.

    Raises StepError: other bytes arrived, no room, or nginx refuses the configuration there.
    """
    proxy, there = settings.proxy, found(facts, settings.proxy)
    kept = next((facts.kept[which] for which, name in facts.releases.items() if name == release.name), {})
    needed = {
        name: content
        for name, content in release.contents.items()
        if release.sums[name] not in (there.get(name), kept.get(name))
    }
    parts = [
        f"{name} {MODES[name]} {release.sums[name]} {len(needed.get(name, b''))}" for name in release.contents
    ]
    names = "prepare", "tidy", "stage"
    script = commands.on_node(proxy, *names, user=proxy.user, release=release.name, parts="\n".join(parts))
    try:
        node.feed(f"exec 3<&0\n{script}", b"".join(needed.values()))
    except StepError as error:
        message, hint = _UNSTAGED.get(error.status or 0, (error.message, error.hint))
        tail = _STAMP.sub("", error.tail)
        raise StepError(message, status=error.status, tail=tail, hint=hint) from None
    finally:
        node.invalidate_facts()
