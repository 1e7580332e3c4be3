"""What `fab init` asks and says: questions where neither a flag nor environment.sh has the answer."""

from __future__ import annotations

import sys

from ..config.address import Endpoint
from ..config.model import Settings
from ..config.settings import SettingsError
from ..console import prompt, screen, terminal
from ..errors import UsageError
from .environment import Environment
from .initial import InitialConfig, checked, some
from .source import Source

_QUESTIONS = {
    "nodes": "Which nodes get kube-nginx? Such as: 10.0.0.11 root@10.0.0.12:2222 worker-3",
    "apiservers": "Where do the kube-apiservers listen? Such as: 10.0.0.1 10.0.0.2:6443",
}


def refuse_unasked(nodes: str | None, apiservers: str | None) -> None:
    """Raises UsageError if something must be asked and there is nobody to answer."""
    flags = {"--nodes": nodes, "--apiservers": apiservers}
    missing = [flag for flag, value in flags.items() if value is None]
    if missing and not (sys.stdin and sys.stdin.isatty()):
        raise UsageError(
            f"no terminal to ask on: say {' and '.join(missing)}, or --from environment.sh; fab --help init"
        )


def initial_config(given: Source | None, nodes: str | None, apiservers: str | None) -> InitialConfig:
    """Flags count more than `given`, and what neither says is asked. Raises UsageError."""
    if given is None:
        found = _answer("nodes", nodes, None).nodes
        return InitialConfig(found, _answer("apiservers", apiservers, None).apiservers)
    listen = given.listen()
    return given.config(
        None if nodes is None else _answer("nodes", nodes, listen).nodes,
        None if apiservers is None else _answer("apiservers", apiservers, listen).apiservers,
    )


def confirm_apiservers(config: InitialConfig, given: Environment) -> None:
    """Where each node would be an apiserver, too, goes on when somebody says so. Raises UsageError."""
    if not config.all_are_apiservers():
        return
    source = "NODE_IPS, as it has no MASTER_IPS" if config.assumed else "MASTER_IPS"
    what = (
        f"By {given.path} the apiservers are {source}: then all nodes are apiservers, too "
        f"({some(node.name for node in config.nodes)})."
    )
    prompt.confirm(
        screen.console_for(as_json=True),
        f"{what}\nDoes each of them run a kube-apiserver? If not: --apiservers names those that do.",
        f"{what} There is no terminal to ask on: say --yes if each of them runs a kube-apiserver, "
        "else --apiservers with those that do",
    )


def summary(settings: Settings, config: InitialConfig, prefix: str) -> str:
    """What was written and what comes next; `prefix` goes before `fab` so that it reads the file."""
    listen = ", ".join(map(str, settings.proxy.listen))
    lines = [
        f"{settings.path}: written",
        f"  nodes       {some(node.name for node in settings.nodes)}",
        f"  apiservers  {some(map(str, settings.apiservers))}",
        *(["              taken from NODE_IPS: remove those that run no kube-apiserver"] * config.assumed),
        f"  listens on  {listen} of each node, in {settings.proxy.prefix}",
        *(f"  taken       {line}" for line in config.taken),
        *(f"  note        {note}" for note in config.notes),
        "next:",
        f"  {prefix}fab check           # which node reaches which apiserver; nothing need be installed yet",
        f"  {prefix}fab render          # what will be on the nodes; connects to nothing",
        f"  {prefix}fab build deploy    # compile nginx, bring every node to what the file says",
    ]
    return "\n".join(lines)


def _answer(key: str, flag: str | None, listen: Endpoint | None) -> Settings:
    """Settings of what a flag or, if there is none, a person says. Raises UsageError."""
    proxy = {"proxy": {"listen": [str(listen)]}} if listen else {}
    if flag is not None:
        return checked(f"--{key}", **{key: words(flag)}, **proxy)
    while True:
        terminal.tell(f"{_QUESTIONS[key]}\n{key}: ", end="")
        line = sys.stdin.buffer.readline()
        if not line:
            raise UsageError("\nno answer: nothing was written")
        try:
            return checked("answer", **{key: words(line.decode(errors="replace"))}, **proxy)
        except SettingsError as error:
            terminal.tell("\n".join(text.removeprefix("answer: ") for text in error.problems))


def words(text: str) -> list[str]:
    """What was written in one line, with blanks or commas in between."""
    return text.replace(",", " ").split()
