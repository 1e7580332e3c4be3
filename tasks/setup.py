"""Where a fleet begins: hosts.toml, out of the runbook's environment.sh or out of answers."""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import fabric
from invoke import Context

from .core.console import terminal
from .core.errors import UsageError
from .core.late import late
from .core.run.flags import task

with late():
    from .core.config import model
    from .core.config import settings as files
    from .core.console import command_line
    from .core.run import opening
    from .core.setup import dialogue, environment, initial

__all__ = ["init"]


@task(
    help={
        "from": "The runbook's environment.sh; it is read, not run.",
        "nodes": "The nodes, separated by commas; no question is asked.",
        "apiservers": "The kube-apiservers, likewise; port 6443 if left out.",
        "to": "Write this file, not the hosts.toml that the other tasks would read.",
        "yes": "Do not ask, though all nodes of environment.sh would be apiservers, too.",
    }
)
def init(
    c: Context,
    from_: str | None = None,
    nodes: str | None = None,
    apiservers: str | None = None,
    to: str | None = None,
    yes: bool = False,
) -> None:
    """Write a first hosts.toml: asks, or reads environment.sh.

    fab init                                 asks for nodes and apiservers
    fab init --nodes a,b --apiservers x,y    asks nothing
    fab init --from environment.sh           the nodes are NODE_IPS and NODE_NAMES, the
                                             apiservers MASTER_IPS, else NODE_IPS, too;
                                             the proxy listens on KUBE_APISERVER, and
                                             its folder is KUBE_NGINX_DIR

    It connects to nothing and never overwrites a file. With --from, --nodes and
    --apiservers count more than what the file says. It asks, or wants --yes, when
    all nodes of the file would be apiservers, too.
    """
    with opening.reporting("init"), _nothing_written():
        if isinstance(c, fabric.Connection) or c.config.run.dry:
            raise UsageError("init takes no -H and no --dry; --nodes names the nodes, --to another file")
        hosts_file, _ = files.configured(c.config)
        usual = os.environ.get(files.ENVIRONMENT) or hosts_file or files.FILE_NAME
        path = model.expanded(usual if to is None else to)
        initial.refuse_taken(path)
        if from_ is None:
            dialogue.refuse_unasked(nodes, apiservers)
        given = None if from_ is None else environment.read(model.expanded(from_))
        config = dialogue.initial_config(given, nodes, apiservers)
        if given and apiservers is None and not yes:
            dialogue.confirm_apiservers(config, given)
        settings = initial.create(config, path)
    terminal.write(command_line.named(dialogue.summary(settings, config, _prefix(c, path))))


@contextmanager
def _nothing_written() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise terminal.ending("\nnothing was written", 130) from None


def _prefix(c: Context, path: Path) -> str:
    """What goes before `fab` so that it reads `path`."""
    with suppress(files.SettingsError):
        if files.find(*files.configured(c.config)).resolve() == path.resolve():
            return ""
    return f"{files.ENVIRONMENT}={shlex.quote(str(path))} "
