"""What is brought to a node, beside what runs there, before it changes over."""

from __future__ import annotations

from ..config.model import Settings
from ..facts.facts import Facts
from ..release.release import Release, found
from ..scripts.files import Stage
from ..ssh.node import Node


def stage(node: Node, release: Release, settings: Settings, facts: Facts) -> None:
    """Brings a release to the node, beside what runs there, and tests it there as the service's user.

    Raises StepError: other bytes arrived, no room, or nginx refuses the configuration there.
    """
    there = found(facts, settings.proxy)
    kept = next((facts.kept[which] for which, name in facts.releases.items() if name == release.name), {})
    sums = release.sums.items()
    missing = frozenset(name for name, digest in sums if digest not in (there.get(name), kept.get(name)))
    node.do(Stage(settings.proxy, release, missing))
