"""What several runs have come to, such as those of the shards of a fleet."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike, fspath

from invoke import Context

from .core.late import late
from .core.run.flags import task
from .core.shards.words import FilesTask

with late():
    from .core.console import screen, terminal
    from .core.run import opening
    from .core.shards import recap as recaps

__all__ = ["recap"]


@task(
    help={
        "files": "What fab TASK --json wrote: one file, or several, one word each.",
        "json": "One JSON document on stdout, as one run would have written it.",
    },
    klass=FilesTask,
)
def recap(
    c: Context, files: str | PathLike[str] | Sequence[str | PathLike[str]], json: bool = False
) -> dict[str, str]:
    """Put what several runs of a task wrote with --json together; exit status 1 if any of it failed.

    fab recap shard-1.json shard-2.json      the nodes of both, as of one run
    fab recap deploy.json retry.json         of a node in both, the later file counts

    It connects to nothing. A shard of which no file is given counts as failed. A file that is no
    such document is named, with the reason: exit status 2.
    """
    with opening.reporting("recap", json):
        several = [files] if isinstance(files, str | PathLike) else files
        together = recaps.recap_of([fspath(file) for file in several])
        if json:
            terminal.write(together.document())
        console = screen.console_for(json)
        for line in together.lines():
            console.print(line, highlight=False, markup=False, soft_wrap=True)
        if not together.ok:
            raise opening.TaskFailed("\n".join(together.failures()), 1, together.summary.records)
    return {node.name: node.result or ("ok" if node.ok else "failed") for node in together.nodes.values()}
