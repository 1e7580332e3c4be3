"""What is brought to a node, beside what runs there, before it changes over."""

from __future__ import annotations

from ..config.model import Settings
from ..facts.facts import Facts
from ..facts.paths import watch_paths
from ..release.release import Release, paths
from ..scripts.files import Stage
from ..ssh.node import Node


def stage(node: Node, release: Release, settings: Settings, facts: Facts) -> None:
    """Brings a release to the node, beside what runs there, and tests it there as the service's user.

    Raises StepError: other bytes arrived, no room, or nginx refuses the configuration there.
    """
    there = {path: file.sha256 for path, file in facts.files.items()}
    where = paths(settings.proxy) | watch_paths(settings.proxy)
    kept = next((facts.kept[which] for which, name in facts.releases.items() if name == release.name), {})
    missing = frozenset(
        name
        for name, (_, digest) in release.shipped.items()
        if digest not in (there.get(where[name]), kept.get(name))
    )
    node.do(Stage(settings.proxy, release, missing))
