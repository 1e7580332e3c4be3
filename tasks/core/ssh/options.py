"""Fabric's own options and settings (fabric.yaml, FABRIC_*, -S, -t, ...): each is obeyed or refused.

What hosts.toml sets counts more than a setting and less than a flag of the command line.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from traceback import walk_stack
from typing import Any

import fabric
import fabric.main
import invoke
import paramiko

from ..config.address import parse_user
from ..config.model import expanded
from ..config.validation import Check, integer, parsed, shown, string
from ..errors import UsageError


def _number(high: int, why: str = "") -> Check[int]:
    def check(value: object) -> int:
        text = isinstance(value, str) and re.fullmatch("[0-9]{1,5}", value)  # of an environment variable
        return integer(1, high, why)(int(text[0]) if text else value)

    return check


def _file(value: object) -> str:
    if not expanded(name := string(value)).is_file():
        raise ValueError("is no file")
    return name


def _command(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be the text of a ProxyCommand; for a jump host set ssh.gateway in hosts.toml")
    return string(value)


OBEYED: Mapping[str, Check[Any]] = {
    "authentication.identities": lambda value: value,
    "connect_kwargs": lambda value: value,
    "forward_agent": bool,
    "gateway": _command,
    "load_ssh_configs": bool,
    "port": _number(65535),
    "ssh_config_path": _file,
    "sudo.password": lambda value: value,
    "timeouts.connect": _number(600, " (seconds)"),
    "user": parsed(parse_user),
}
"""Settings that connections are made by, with what their values must be."""

_ONE_WAY = "the scripts of kube-nginx are run in the one way that they are written for; leave it out"
REFUSED = {
    **dict.fromkeys(
        ("run.asynchronous", "run.disown", "run.encoding", "run.shell", "run.watchers"), _ONE_WAY
    ),
    **dict.fromkeys(("run.watchers", "runners.local", "runners.remote"), _ONE_WAY),
    **dict.fromkeys(("run.err_stream", "run.out_stream"), "write fab TASK > FILE, 2> FILE, or --json"),
    "authentication.strategy_class": "set ssh.identity in hosts.toml, IdentityFile in ssh_config, or give -i",
    "run.dry": "it would still connect and write; see fab diff, fab render, fab status",
    "run.echo": "see fab diff and fab render; a step that fails shows its command",
    "run.env": "no variables are sent; set them on the hosts, in /etc/environment",
    "run.pty": "no command has a terminal; for a sudo that wants one: Defaults !requiretty in sudoers",
    "run.warn": "a node that fails drops out and the others go on; how many may fail: rollout.max_failures",
    "sudo.user": "all that is done on nodes is done as root; ssh.user in hosts.toml is who logs in",
    "timeouts.command": "each step has its own time; set rollout.timeout or check.timeout in hosts.toml",
}
"""Settings that must keep Fabric's default, and what to do instead."""

FLAGS = {
    "run.dry": "--dry",
    "run.echo": "-e/--echo",
    "run.pty": "-p/--pty",
    "run.warn": "-w/--warn-only",
    "timeouts.command": "-T/--command-timeout",
}
_LEVELS = ("_collection", "_system", "_user", "_project", "_env", "_runtime", "_overrides", "_modifications")
"""Where Invoke keeps what was set, the weakest first; its defaults are below them."""

_INSTEAD = {
    "hostname": "name the host with -H or in hosts.toml",
    "port": "set ssh.port in hosts.toml",
    "sock": "set ssh.gateway in hosts.toml, or ProxyCommand in ssh_config",
    "username": "set ssh.user in hosts.toml",
}


@dataclass(frozen=True, slots=True)
class Options:
    """What is set for connections besides hosts.toml; None where nothing is.

    `ssh_config` and `timeout` are those of the command line (-S, -t), in seconds.
    """

    ssh_config: Path | None = None
    timeout: int | None = None
    settings: Mapping[str, Any] = field(default_factory=dict)
    connect_kwargs: Mapping[str, Any] = field(default_factory=dict)

    def get(self, name: str) -> Any:
        """A setting's value, as one of OBEYED; None if it is not set."""
        return self.settings.get(name)


def options_of(config: invoke.Config) -> Options:
    """What the command line, fabric.yaml and the environment say. Raises UsageError: what is not obeyed."""
    problems = [*_refused(config)]
    settings: dict[str, Any] = {}

    def take(name: str, value: Any, called: str) -> Any:
        try:
            return OBEYED[name](value)
        except ValueError as error:
            given = f"{shown(value)} " if isinstance(value, str | int | float) else ""
            problems.append(f"{called}: {given}{error}")

    for name in OBEYED:
        if (value := _set(config, name)) is not None and name != "connect_kwargs":
            settings[name] = take(name, value, f"{name} (Fabric's setting)")
    kwargs = dict(config.get("connect_kwargs") or {})
    timeout = kwargs.pop("timeout", flag("connect-timeout"))  # Fabric drops a 0
    by_flag = "timeout" in (getattr(config, "_overrides", {}).get("connect_kwargs") or {})
    if timeout is not None:
        timeout = take("timeouts.connect", timeout, "-t/--connect-timeout (connect_kwargs.timeout)")
    kwargs["key_filename"] = key_files(kwargs.get("key_filename"), settings.get("authentication.identities"))
    problems += unfit(kwargs)
    missing = (key for key in kwargs["key_filename"] if not expanded(key).is_file())
    problems += (f"-i/--identity (connect_kwargs.key_filename): {key}: no such file" for key in missing)
    if problems:
        raise UsageError("\n".join(problems))
    if timeout and not by_flag:
        settings["timeouts.connect"] = timeout
    return Options(_ssh_config_flag(config), timeout if by_flag else None, settings, kwargs)


def _refused(config: invoke.Config) -> Iterator[str]:
    defaults = fabric.Config.global_defaults()
    for name, instead in REFUSED.items():
        value = _set(config, name)
        if value is None or value == _at(defaults, name) or (name, value) == ("sudo.user", "root"):
            continue
        called = f"{FLAGS[name]} ({name})" if name in FLAGS else f"{name} (Fabric's setting)"
        yield f"{called}: {instead}"


def unfit(kwargs: Mapping[str, Any]) -> Iterator[str]:
    """What paramiko's connect() would not take of `connect_kwargs`."""
    known = inspect.signature(paramiko.SSHClient.connect).parameters
    for name in kwargs:
        if name in _INSTEAD or name not in known:
            why = _INSTEAD.get(name, f"paramiko {paramiko.__version__} has none")
            yield f"connect_kwargs.{name} (Fabric's setting): {why}"


def key_files(*given: Any) -> list[str]:
    """The names of key files, each once; what is given is a name, several, or none."""
    each = (names if isinstance(names, list | tuple) else [names] if names else [] for names in given)
    return list(dict.fromkeys(str(name) for names in each for name in names))


def _set(config: invoke.Config, name: str) -> Any:
    """The value of a setting that somebody set; None if nobody did."""
    values = (_at(getattr(config, level, None) or {}, name) for level in reversed(_LEVELS))
    return next((value for value in values if value is not None), None)


def _at(data: Mapping[str, Any], name: str) -> Any:
    for part in name.split("."):
        data = data.get(part) if isinstance(data, Mapping) else None  # type: ignore[assignment]
    return data


def flag(name: str) -> Any:
    """What stands on the command line of `fab`; None if nothing does, or if another program runs."""
    core = getattr(fabric.main.program, "core", None)
    return core[0].args[name].value if core else None


def hosts_together(c: object) -> list[str]:
    """The words of -H, if there are several and `c` is what fab itself has called a task with.

    fab calls such a task once for each host; a task of ours then acts on all of them when it is called first.
    One that another task calls as a function acts on the host that it is given.
    """
    words = str(flag("hosts") or "").split(",")
    called = [frame for frame, _ in walk_stack(None) if frame.f_code is invoke.Task.__call__.__code__]
    by_fab = isinstance(c, fabric.Connection) and len(called) == 1  # a pre-task has no host
    return words if by_fab and len(words) > 1 else []


def _ssh_config_flag(config: invoke.Config) -> Path | None:
    """-S; Fabric keeps it in the config, but for where the setting ssh_config_path is put in its place."""
    kept = getattr(config, "_runtime_ssh_path", None)
    if kept and kept == config.get("ssh_config_path"):
        kept = flag("ssh-config")
    return expanded(str(kept)) if kept else None
