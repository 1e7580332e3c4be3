"""Where a fleet begins: hosts.toml, out of environment.sh, an inventory, a cluster, or answers."""

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
    from .core.setup import dialogue, environment, initial, source

__all__ = ["init"]


@task(
    help={
        "from": "environment.sh or an Ansible inventory, which are read, not run; or the word kubectl.",
        "nodes": "The nodes, separated by commas; no question is asked.",
        "apiservers": "The kube-apiservers, likewise; port 6443 if left out.",
        "to": "Write this file, not the hosts.toml that the other tasks would read.",
        "kubeconfig": "With --from kubectl: the kubeconfig, else kubectl's own.",
        "context": "With --from kubectl: the context in it.",
        "nodes-group": "Of an inventory: the nodes' groups [kube_node].",
        "apiservers-group": "Of an inventory: the apiservers' groups [kube_control_plane, kube_master].",
        "yes": "Do not ask, though all nodes of environment.sh would be apiservers, too.",
    }
)
def init(
    c: Context,
    from_: str | None = None,
    nodes: str | None = None,
    apiservers: str | None = None,
    to: str | None = None,
    kubeconfig: str | None = None,
    context: str | None = None,
    nodes_group: str | None = None,
    apiservers_group: str | None = None,
    yes: bool = False,
) -> None:
    """Write a first hosts.toml: asks, or reads environment.sh, an Ansible inventory, a cluster.

    fab init                                 asks for nodes and apiservers
    fab init --nodes a,b --apiservers x,y    asks nothing
    fab init --from environment.sh           the nodes are NODE_IPS and NODE_NAMES, the
                                             apiservers MASTER_IPS, else NODE_IPS, too;
                                             the proxy listens on KUBE_APISERVER, and
                                             its folder is KUBE_NGINX_DIR
    fab init --from hosts.ini                an Ansible inventory, in INI, YAML, or as
                                             ansible-inventory --list writes it
    fab init --from kubectl                  all nodes by their InternalIP, apiservers by
                                             the EndpointSlices of default/kubernetes

    It says what it took from where, and what it left out; docs/init.md has more. But
    for kubectl it connects to nothing, and it never overwrites a file. With --from,
    --nodes and --apiservers count more than what is found. It asks, or wants --yes,
    when all nodes of environment.sh would be apiservers, too.
    """
    with opening.reporting("init"), _nothing_written():
        if isinstance(c, fabric.Connection) or c.config.run.dry:
            raise UsageError("init takes no -H and no --dry; --nodes names the nodes, --to another file")
        hosts_file, _ = files.configured(c.config)
        usual = os.environ.get(files.ENVIRONMENT) or hosts_file or files.FILE_NAME
        path = model.expanded(usual if to is None else to)
        initial.refuse_taken(path)
        flags = source.Flags(kubeconfig, context, nodes_group, apiservers_group)
        if from_ is None:
            flags.refuse("kubeconfig", "context", "nodes_group", "apiservers_group")
            dialogue.refuse_unasked(nodes, apiservers)
        given = None if from_ is None else source.read(from_, flags)
        config = dialogue.initial_config(given, nodes, apiservers)
        if isinstance(given, environment.Environment) and apiservers is None and not yes:
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
