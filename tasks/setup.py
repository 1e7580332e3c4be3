"""Where a fleet begins: hosts.toml, out of the runbook's environment.sh or out of answers."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import fabric
from invoke import Context

from .core.config.address import Endpoint
from .core.config.model import Settings, expanded
from .core.config.settings import ENVIRONMENT, FILE_NAME, SettingsError, find
from .core.console import confirm as consent
from .core.console import terminal
from .core.console.command_line import named
from .core.errors import UsageError
from .core.run.flags import task
from .core.run.opening import reporting
from .core.setup import environment, initial
from .core.setup.environment import Environment
from .core.setup.initial import InitialConfig

__all__ = ["init"]

_QUESTIONS = {
    "nodes": "Which nodes get kube-nginx? Such as: 10.0.0.11 root@10.0.0.12:2222 worker-3",
    "apiservers": "Where do the kube-apiservers listen? Such as: 10.0.0.1 10.0.0.2:6443",
}


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
    with reporting("init"), _nothing_written():
        if isinstance(c, fabric.Connection) or c.config.run.dry:
            raise UsageError("init takes no -H and no --dry; --nodes names the nodes, --to another file")
        path = _place(c, to)
        initial.refuse_taken(path)
        _refuse_unasked({"nodes": nodes, "apiservers": apiservers}, from_)
        given = None if from_ is None else environment.read(expanded(from_))
        planned = _draft(given, nodes, apiservers)
        if given and apiservers is None and planned.all_are_apiservers() and not yes:
            _confirm(planned, given)
        settings = initial.create(planned, path)
    terminal.write(named(_summary(settings, planned, _prefix(c, path))))


@contextmanager
def _nothing_written() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise terminal.ending("\nnothing was written", 130) from None


def _hosts_file(c: Context) -> str | None:
    value = c.config.get("kube_nginx", {}).get("hosts_file")
    return str(value) if value else None


def _place(c: Context, to: str | None) -> Path:
    """Where the other tasks look first, or `to`."""
    named = os.environ.get(ENVIRONMENT) or _hosts_file(c) or FILE_NAME
    return expanded(named if to is None else to)


def _prefix(c: Context, path: Path) -> str:
    """What goes before `fab` so that it reads `path`."""
    project = getattr(c.config, "_project_prefix", None)
    try:
        known = find(_hosts_file(c), Path(project) if project else None)
        if known.resolve() == path.resolve():
            return ""
    except SettingsError:
        pass
    return f"{ENVIRONMENT}={shlex.quote(str(path))} "


def _refuse_unasked(flags: dict[str, str | None], from_: str | None) -> None:
    """Raises UsageError if something must be asked and there is nobody to answer."""
    missing = [f"--{key}" for key, value in flags.items() if value is None]
    if missing and from_ is None and not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(
            f"no terminal to ask on: say {' and '.join(missing)}, or --from environment.sh; fab --help init"
        )


def _draft(given: Environment | None, nodes: str | None, apiservers: str | None) -> InitialConfig:
    """Flags count more than `given`, and what neither says is asked. Raises UsageError."""
    listen = given.listen() if given else None
    found = given.nodes() if given and nodes is None else _answer("nodes", nodes, None).nodes
    if given is None or apiservers is not None:
        servers = _answer("apiservers", apiservers, listen).apiservers
        planned = InitialConfig(found, servers)
    else:
        assumed = given.assumed()
        labels = () if assumed else given.labels()
        planned = InitialConfig(found, given.apiservers(), assumed=assumed, labels=labels)
    if given is None:
        return planned
    notes = (given.note(),) if given.note() else ()
    return replace(
        planned, listen=(listen,) if listen else planned.listen, prefix=given.prefix(), notes=notes
    )


def _confirm(planned: InitialConfig, given: Environment) -> None:
    """Goes on when somebody says that each node is an apiserver, too. Raises UsageError."""
    source = "NODE_IPS, as it has no MASTER_IPS" if planned.assumed else "MASTER_IPS"
    what = (
        f"By {given.path} the apiservers are {source}: then all nodes are apiservers, too "
        f"({_some([node.name for node in planned.nodes])})."
    )
    consent.ask(
        terminal.console_for(as_json=True),
        f"{what}\nDoes each of them run a kube-apiserver? If not: --apiservers names those that do.",
        f"{what} There is no terminal to ask on: say --yes if each of them runs a kube-apiserver, "
        "else --apiservers with those that do",
    )


def _answer(key: str, flag: str | None, listen: Endpoint | None) -> Settings:
    """What a flag or, if there is none, a person says. Raises UsageError."""
    if flag is not None:
        return _checked(f"--{key}", key, flag, listen)
    while True:
        terminal.tell(f"{_QUESTIONS[key]}\n{key}: ", end="")
        line = sys.stdin.buffer.readline()
        if not line:
            raise UsageError("\nno answer: nothing was written")
        try:
            return _checked("answer", key, line.decode(errors="replace"), listen)
        except SettingsError as error:
            terminal.tell("\n".join(text.removeprefix("answer: ") for text in error.problems))


def _checked(source: str, key: str, text: str, listen: Endpoint | None) -> Settings:
    given = initial.words(text)
    if key == "nodes":
        return initial.checked(source, nodes=given, listen=listen)
    return initial.checked(source, apiservers=given, listen=listen)


def _summary(settings: Settings, planned: InitialConfig, prefix: str) -> str:
    listen = ", ".join(map(str, settings.proxy.listen))
    lines = [
        f"{settings.path}: written",
        f"  nodes       {_some([node.name for node in settings.nodes])}",
        f"  apiservers  {_some([str(server) for server in settings.apiservers])}",
    ]
    if planned.assumed:
        lines.append("              taken from NODE_IPS: remove those that run no kube-apiserver")
    return "\n".join(
        [
            *lines,
            f"  listens on  {listen} of each node, in {settings.proxy.prefix}",
            *(f"  note        {note}" for note in planned.notes),
            "next:",
            f"  {prefix}fab render          # what will be on the nodes; connects to nothing",
            f"  {prefix}fab build deploy    # compile nginx, bring every node to what the file says",
        ]
    )


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 6 else ""
    return ", ".join(names[:5] if more else names) + more
