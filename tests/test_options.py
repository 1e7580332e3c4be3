"""Each of Fabric's own options and settings is obeyed, or refused before any connection."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import fabric
import pytest
from fabric.main import program
from invoke import Context

from tasks.core.errors import UsageError
from tasks.core.ssh.fleet import Connections, fleet_of
from tasks.core.ssh.options import FLAGS, OBEYED, REFUSED, options_of
from tests.conftest import ROOT, Ran, run_fab

FABFILE = """\
import json
from invoke import task
from tasks import ns
from tasks.core.ssh.fleet import fleet_of
from tasks.core.run.opening import reporting

@task
def show(c):
    with reporting("show"):
        (node,) = fleet_of(c)
    kwargs = node.connect_kwargs
    print(json.dumps({
        "user": node.user, "host": node.host, "port": node.port, "timeout": node.connect_timeout,
        "login": kwargs["auth_timeout"], "keys": kwargs["key_filename"], "gateway": node.gateway or "",
        "secrets": [kwargs.get("password"), kwargs.get("passphrase"), node.config.sudo.password],
    }))

ns.add_task(show)
"""
HOSTS = 'nodes = ["worker-1"]\napiservers = ["10.0.1.1"]\n[ssh]\n'

BEFORE_ANY_TASK = [
    *("collection", "complete", "config", "debug", "help", "list", "list-agent-keys", "list-depth"),
    *("list-format", "no-dedupe", "print-completion-script", "search-root", "version", "write-pyc"),
]
"""Flags that Fabric has obeyed when a task begins; the settings of --config are among those below."""

OBEYED_FLAGS: Mapping[str, tuple[list[str], str, dict[str, object]]] = {
    "hosts": (["-H", "ops@worker-1:2222"], "", {"user": "ops", "port": 2222}),
    "identity": (["-i", "key", "-i", "other"], "", {"keys": ["key", "other"]}),
    "prompt-for-login-password": (["--prompt-for-login-password"], "x\n", {"secrets": ["x", None, None]}),
    "prompt-for-passphrase": (["--prompt-for-passphrase"], "x\n", {"secrets": [None, "x", None]}),
    "prompt-for-sudo-password": (["--prompt-for-sudo-password"], "x\n", {"secrets": [None, None, "x"]}),
    "ssh-config": (["-S", "ssh_config"], "", {"user": "admin", "port": 2200, "timeout": 7}),
    "connect-timeout": (["-t", "3"], "", {"timeout": 3, "login": 3}),
    "hide": (["--hide", "both"], "", {}),
}
REFUSED_FLAGS = {
    "connect-timeout": (
        ["-t", "0"],
        "-t/--connect-timeout (connect_kwargs.timeout): 0 must be from 1 to 600",
    ),
    "command-timeout": (["-T", "3"], "-T/--command-timeout (timeouts.command): each step has its own time"),
    "dry": (["--dry"], "--dry (run.dry): it would still connect and write; see fab diff"),
    "echo": (["--echo"], "-e/--echo (run.echo): see fab diff"),
    "pty": (["--pty"], "-p/--pty (run.pty): no command has a terminal"),
    "warn-only": (["-w"], "-w/--warn-only (run.warn): a node that fails drops out"),
}


IDLE = {
    "inline_ssh_env": "no variables are sent",
    "run.echo_format": "nothing is echoed",
    "run.echo_stdin": "no command reads a terminal",
    "run.fallback": "no command has a terminal",
    "run.hide": "what commands write is always hidden",
    "run.in_stream": "no command reads what is typed",
    "run.replace_env": "no variables are sent",
    "runners.remote_shell": "no shell is opened",
    "sudo.prompt": "sudo asks without a word",
    "tasks.auto_dash_names": "Fabric's own: how tasks are found and run",
    "tasks.collection_name": "likewise",
    "tasks.dedupe": "likewise",
    "tasks.executor_class": "likewise",
    "tasks.ignore_unknown_help": "likewise",
    "tasks.search_root": "likewise",
}
"""Settings that hold whatever their value is, and why."""


def leaves(data: Mapping[str, Any], above: str = "") -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{above}{key}.")
        else:
            yield above + key


def test_all_flags_are_known() -> None:
    names = [max(argument.names, key=len) for argument in (*program.core_args(), *program.task_args())]
    assert sorted(names) == sorted({*BEFORE_ANY_TASK, *OBEYED_FLAGS, *REFUSED_FLAGS})


def test_all_settings_are_known() -> None:
    assert sorted(leaves(fabric.Config.global_defaults())) == sorted([*OBEYED, *IDLE, *REFUSED])
    assert set(FLAGS) < set(REFUSED)


def nested(name: str, value: object) -> dict[str, Any]:
    head, _, rest = name.partition(".")
    return {head: nested(rest, value) if rest else value}


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_is_refused(name: str) -> None:
    with pytest.raises(UsageError) as caught:
        options_of(fabric.Config(overrides=nested(name, {"a": "b"} if name == "run.env" else "x")))
    assert name in str(caught.value)
    assert str(caught.value).endswith(REFUSED[name])


@pytest.mark.parametrize("name", REFUSED)
def test_a_setting_that_says_what_is_so_anyway(name: str) -> None:
    value: Any = fabric.Config.global_defaults()
    for part in name.split("."):
        value = value[part]
    options_of(fabric.Config(overrides=nested(name, value)))
    options_of(fabric.Config(overrides={"sudo": {"user": "root"}}))


@pytest.mark.parametrize("name", IDLE)
def test_a_setting_that_means_nothing_here(name: str) -> None:
    options_of(fabric.Config(overrides=nested(name, "x")))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        (
            "connect_kwargs",
            {"username": "me"},
            "connect_kwargs.username (Fabric's setting): set ssh.user in hosts",
        ),
        ("connect_kwargs", {"sock": 1}, "set ssh.gateway in hosts.toml, or ProxyCommand"),
        ("connect_kwargs", {"gss_auht": True}, "connect_kwargs.gss_auht (Fabric's setting): paramiko "),
        ("connect_kwargs", {"timeout": 0}, "-t/--connect-timeout (connect_kwargs.timeout): 0 must be from 1"),
        ("connect_kwargs", {"timeout": "soon"}, "'soon' must be an integer"),
        (
            "connect_kwargs",
            {"key_filename": "/none/key"},
            "-i/--identity (connect_kwargs.key_filename): /none/key:",
        ),
        ("authentication.identities", ["/none/key"], "/none/key: no such file"),
        (
            "gateway",
            fabric.Connection("jump"),
            "gateway (Fabric's setting): must be the text of a ProxyCommand;",
        ),
        ("ssh_config_path", "/none", "ssh_config_path (Fabric's setting): '/none' is no file"),
        ("port", 70000, "port (Fabric's setting): 70000 must be from 1 to 65535"),
        ("user", "-oX", "user (Fabric's setting): '-oX' a user is"),
        ("timeouts.connect", -1, "timeouts.connect (Fabric's setting): -1 must be from 1 to 600"),
    ],
)
def test_a_value_that_cannot_be_obeyed(name: str, value: object, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        options_of(fabric.Config(overrides=nested(name, value), lazy=True))
    assert words in str(caught.value)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project whose hosts.toml sets nothing of SSH, and an ssh_config that is nobody's default."""
    (tmp_path / "fabfile.py").write_text(FABFILE)
    (tmp_path / "hosts.toml").write_text(HOSTS)
    (tmp_path / "ssh_config").write_text("Host worker-1\n  User admin\n  Port 2200\n  ConnectTimeout 7\n")
    for name in ("key", "other"):
        (tmp_path / name).write_text("")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KUBE_NGINX_HOSTS", raising=False)
    with Connections():
        yield tmp_path


@pytest.mark.parametrize(
    ("name", "value", "attribute", "seen"),
    [
        ("authentication.identities", ["key"], "connect_kwargs.key_filename", ["key"]),
        ("connect_kwargs", {"banner_timeout": 99}, "connect_kwargs.banner_timeout", 99),
        ("connect_kwargs", {"timeout": 99}, "connect_timeout", 99),
        ("forward_agent", True, "forward_agent", True),
        ("gateway", "nc %h %p", "gateway", "nc worker-1 22"),
        ("load_ssh_configs", False, "port", 22),
        ("port", "2222", "port", 2222),
        ("ssh_config_path", "ssh_config", "port", 2200),
        ("sudo.password", "x", "config.sudo.password", "x"),
        ("timeouts.connect", "8", "connect_timeout", 8),
        ("user", "ops", "user", "ops"),
    ],
)
def test_a_setting_that_is_obeyed(
    folder: Path, name: str, value: object, attribute: str, seen: object
) -> None:
    config = fabric.Config()
    config.load_collection(nested(name, value))  # the weakest of all levels
    (found,) = fleet_of(Context(config))
    for part in attribute.split("."):
        found = found[part] if isinstance(found, dict) else getattr(found, part)
    assert found == seen


def test_hosts_toml_counts_more_than_a_setting(folder: Path) -> None:
    (folder / "empty").write_text("")
    (folder / "hosts.toml").write_text(
        f'{HOSTS}user = "me"\nport = 2201\nconfig = "empty"\nconnect_timeout = 10\nidentity = "key"\n'
    )
    settings = {"user": "ops", "port": 2222, "ssh_config_path": "ssh_config", "timeouts": {"connect": 8}}
    (node,) = fleet_of(Context(fabric.Config(overrides=settings)))
    assert (node.user, node.port, node.connect_timeout) == ("me", 2201, 10)
    assert node.connect_kwargs["key_filename"] == [str(folder / "key")]


def test_an_ssh_config_counts_more_than_a_setting(folder: Path) -> None:
    (folder / "hosts.toml").write_text(f'{HOSTS}config = "ssh_config"\n')
    settings = {"user": "ops", "port": 2222, "timeouts": {"connect": 8}}
    (node,) = fleet_of(Context(fabric.Config(overrides=settings)))
    assert (node.user, node.port, node.connect_timeout) == ("admin", 2200, 7)


def test_other_settings_open_other_connections(folder: Path) -> None:
    ports = []
    for port in (2201, 2202):
        (node,) = fleet_of(Context(fabric.Config(overrides={"port": port})))
        ports.append(node.port)
    assert ports == [2201, 2202]


def test_settings_are_obeyed_beside_what_a_caller_gave(folder: Path) -> None:
    settings = {"user": "ops", "port": 2222, "authentication": {"identities": ["key"]}, "gateway": "nc %h %p"}
    config = fabric.Config(overrides=settings)
    (node,) = fleet_of(fabric.Connection("worker-1", config=config, connect_kwargs={"key_filename": "other"}))
    assert (node.user, node.port, node.gateway) == ("ops", 2222, "nc worker-1 2222")
    assert node.connect_kwargs["key_filename"] == ["key", "other"]
    (node,) = fleet_of(fabric.Connection("worker-1", user="me", port=22, config=config, gateway=False))
    assert (node.user, node.port, node.gateway) == ("me", 22, False)


def test_what_a_caller_gave_its_connection(folder: Path) -> None:
    given = fabric.Connection("worker-1", connect_timeout=4, forward_agent=True)
    (node,) = fleet_of(given)
    assert (node.connect_timeout, node.forward_agent) == (4, True)
    (node,) = fleet_of(fabric.Connection("worker-1", connect_kwargs={"timeout": 5}))
    assert (node.connect_timeout, "timeout" in node.connect_kwargs) == (5, False)
    with pytest.raises(UsageError, match=r"connect_kwargs.hostname .*-H"):
        fleet_of(fabric.Connection("worker-1", connect_kwargs={"hostname": "x"}))


def fab(folder: Path, *arguments: str, typed: str = "", **more: str) -> Ran:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("KUBE_NGINX", "FABRIC"))}
    return run_fab(*arguments, stdin=typed, cwd=folder, env=kept | {"PYTHONPATH": str(ROOT)} | more)


def shown(ran: Ran) -> dict[str, Any]:
    assert ran.status == 0, ran.err
    found: dict[str, Any] = json.loads(ran.out)
    return found


@pytest.mark.parametrize("name", OBEYED_FLAGS)
def test_a_flag_that_is_obeyed(folder: Path, name: str) -> None:
    arguments, typed, expected = OBEYED_FLAGS[name]
    seen = shown(fab(folder, *arguments, "show", typed=typed))
    assert {key: seen[key] for key in expected} == expected


def test_flags_count_more_than_all_else(folder: Path) -> None:
    (folder / "ignored").write_text("Host *\n  User ignored\n")
    (folder / "fabric.yaml").write_text("user: ignored\ntimeouts: {connect: 8}\nssh_config_path: ignored\n")
    (folder / "hosts.toml").write_text(f'{HOSTS}config = "ignored"\nconnect_timeout = 10\nport = 2222\n')
    seen = shown(fab(folder, "-S", "ssh_config", "-t", "3", "show"))
    assert (seen["user"], seen["port"], seen["timeout"]) == ("admin", 2222, 3)
    seen = shown(fab(folder, "-H", "ignored@worker-1:22", "-S", "ssh_config", "-t", "3", "show"))
    assert (seen["user"], seen["port"], seen["timeout"]) == ("ignored", 22, 3)


def test_fabric_yaml_and_the_environment(folder: Path) -> None:
    (folder / "fabric.yaml").write_text("timeouts: {connect: 8}\nssh_config_path: ssh_config\n")
    (folder / "ssh_config").write_text("Host worker-1\n  User admin\n")
    seen = shown(fab(folder, "show", FABRIC_PORT="2223"))
    assert (seen["user"], seen["port"], seen["timeout"]) == ("admin", 2223, 8)
    ran = fab(folder, "status", FABRIC_TIMEOUTS_COMMAND="3")
    assert ran.status == 2
    assert "timeouts.command" in ran.err


@pytest.mark.parametrize("name", REFUSED_FLAGS)
@pytest.mark.parametrize("task", ["show", "render"])
def test_a_flag_that_is_refused(folder: Path, name: str, task: str) -> None:
    arguments, words = REFUSED_FLAGS[name]
    ran = fab(folder, *arguments, task)
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err
