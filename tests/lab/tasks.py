"""The lab on the command line: fab lab.up, lab.down, lab.status, lab.shell."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Concatenate, ParamSpec

from invoke.collection import Collection
from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import task

from tasks.core.late import late

with late("rich", "tests.lab"):
    from rich import console as consoles
    from rich import table as tables

    from tests.lab import kubernetes, machine
    from tests.lab import lab as labs
    from tests.lab import progress as progresses

if TYPE_CHECKING:
    from tests.lab.lab import Lab
    from tests.lab.servers import Server

P = ParamSpec("P")
NAME = {"name": "name of the lab, if there is more than one [$KUBE_NGINX_LAB, or lab]"}


def _human(
    function: Callable[Concatenate[Context, P], None],
) -> Callable[Concatenate[Context, P], None]:
    """Turn an error into one line and exit code 1."""

    @functools.wraps(function)
    def wrapper(context: Context, /, *args: P.args, **kwargs: P.kwargs) -> None:
        try:
            function(context, *args, **kwargs)
        except (machine.LabError, OSError) as error:
            raise Exit(str(error), 1) from error

    return wrapper


@task(
    help={
        "nodes": "how many nodes [as many as there are, or 3]",
        "apiservers": "real: etcd and kube-apiservers, which are built once; or stand-in [as there are]",
        **NAME,
    }
)
@_human
def up(
    context: Context, nodes: str | None = None, name: str | None = None, apiservers: str | None = None
) -> None:
    """Start the lab of real hosts on this machine, or mend it."""
    progress = progresses.Progress(consoles.Console())
    lab = labs.Lab(name, apiservers=apiservers, progress=progress)
    lab.up(_number(nodes))
    count, kind = len(lab.nodes), "real" if lab.is_real else "stand-in"
    progress.say(f"up: {count} node{'s'[: count > 1]}, {len(lab.apiservers)} {kind} apiservers")
    progress.say(f"ssh -F {lab.ssh_config} {lab.nodes[0].name}")


@task
@_human
def build(context: Context) -> None:
    """Build kube-apiserver and kubectl from Debian's source package, unless this machine has them."""
    progress = progresses.Progress(consoles.Console())
    machine.prepare(progress)
    progress.say(str(kubernetes.build(progress)))


@task(help=NAME)
@_human
def down(context: Context, name: str | None = None) -> None:
    """Stop the lab and remove all of it but the cached roots."""
    progress = progresses.Progress(consoles.Console())
    labs.Lab(name, progress=progress).down()
    progress.say("down")


@task(help=NAME)
@_human
def status(context: Context, name: str | None = None) -> None:
    """Show the lab's hosts; exit code 1 unless all are up."""
    lab = labs.Lab(name)
    table = tables.Table("host", "system", "address", "state")
    for node in lab.nodes:
        table.add_row(node.name, node.suite, node.address, node.system_state())
    for server in lab.servers:
        table.add_row(server.name, "", server.address, _server_state(server))
    consoles.Console().print(table)
    if not lab.is_up():
        raise machine.LabError(_not_up(lab))


@task(help={"node": "the node's name [lab-node-1]", **NAME})
@_human
def shell(context: Context, node: str | None = None, name: str | None = None) -> None:
    """Log in to a node of the lab."""
    lab = labs.Lab(name)
    names = [known.name for known in lab.nodes]
    host = node or names[0]
    if not lab.ssh_config.exists():
        raise machine.LabError(_not_up(lab))
    if host not in names:
        raise machine.LabError(f"no node {host} in lab {lab.name}: it has {', '.join(names)}")
    os.execvp("ssh", ["ssh", "-F", str(lab.ssh_config), host])


def _number(text: str | None) -> int | None:
    try:
        return int(text) if text else None
    except ValueError:
        raise machine.LabError(f"not a number of nodes: {text}") from None


def _not_up(lab: Lab) -> str:
    return f"lab {lab.name} is not up: fab lab.up --name {lab.name}"


def _server_state(server: Server) -> str:
    if not server.is_alive():
        return "off"
    return "ready" if server.is_ready() else "not ready"


ns = Collection("lab", build, up, down, status, shell)
