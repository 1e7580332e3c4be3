"""Records what the scripts answer on the lab's nodes: fab lab.up, then python -m tests.answers.

Writes tests/answers/RELEASE/SCRIPT.txt anew: exit status, standard output, standard error. What belongs to
the moment (times, PIDs) is left as it is. kube-nginx is deployed by it, and removed in the end.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from shlex import quote
from typing import Any, TypeVar

from invoke import Context

from tasks import deploy
from tasks.core.config.address import Endpoint
from tasks.core.config.model import LOCAL, Rollout, Settings
from tasks.core.errors import StepError
from tasks.core.nginx import build_commands, fetch, store
from tasks.core.release import servers
from tasks.core.scripts.activate import Activate
from tasks.core.scripts.drill import Drill, DrillAction
from tasks.core.scripts.files import Mkdir, Receive, Tidy, Uninstall
from tasks.core.scripts.lock import Lock
from tasks.core.scripts.reach import Check, SshConnection
from tasks.core.scripts.script import Script
from tasks.core.scripts.service import DaemonReload, Journal, Systemctl
from tasks.core.scripts.survey import Peers, SurveyAndPeers, SurveyAndUsers
from tasks.core.shell.command import CommandResult
from tasks.core.ssh.fleet import fleet_of, settings_of
from tasks.core.ssh.node import Node

A = TypeVar("A")
ANSWERS = Path(__file__).parent / "answers"
ERRORS = "--- stderr\n"
_OF_THE_LAB = re.compile(r"(lowerdir|upperdir|workdir)=[^,\n]*")
_HEADER = re.compile(r"# .*\n(?:# .*\n)*# status (-?\d+)\n")


def recorded(path: Path) -> CommandResult:
    """What was recorded there."""
    header = _HEADER.match(text := path.read_text())
    assert header, path
    stdout, _, stderr = text[header.end() :].partition(ERRORS)
    return CommandResult(int(header[1]), stdout, stderr)


def record(release: str, script: Script[Any], result: CommandResult) -> None:
    """Keeps an answer, under the name of the script's class, and of its action if it has several."""
    name = re.sub(r"(?<!^)(?=[A-Z])", "_", type(script).__name__).lower()
    action = getattr(script, "action", "") or getattr(script, "verb", "")
    path = ANSWERS / release / f"{'-'.join(filter(None, (name, action)))}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    header = f"# recorded on {release} by python -m tests.answers\n# status {result.status}\n"
    path.write_text(header + _OF_THE_LAB.sub(r"\1=...", f"{result.stdout}{ERRORS}{result.stderr}"))


def main() -> None:
    """Over the whole fleet of hosts.toml."""
    original = Node.do
    releases: dict[str, str] = {}

    def do(node: Node, script: Script[A], each_line: Callable[[str], None] | None = None) -> A:
        def read(result: CommandResult) -> A:
            record(releases[node.label], script, result)
            return type(script).read(script, result)

        object.__setattr__(script, "read", read)
        return original(node, script, each_line)

    c = Context()
    settings = settings_of(c)
    for node in fleet_of(c):
        releases[node.label] = node.sh(". /etc/os-release; echo $ID-$VERSION_ID", root=False).stdout.strip()
    setattr(Node, "do", do)  # noqa: B010
    deploy(c)
    for node in fleet_of(c):
        _scripts(node, settings, releases[node.label])
        if not node.sh("command -v cc readelf", root=False, check=False).status:
            _build(node, settings)
        node.do(Uninstall(settings.proxy))


def _scripts(node: Node, settings: Settings, release: str) -> None:
    proxy, names = settings.proxy, tuple(servers.names(settings.apiservers))
    facts, _ = node.do(SurveyAndPeers(proxy, names))
    node.do(Peers(proxy))
    _users(node, settings)
    behind = servers.resolved(settings.apiservers, facts.addresses)
    node.do(Check((*settings.apiservers, Endpoint("198.18.255.254", 1)), 2))
    node.do(SshConnection())
    node.do(DaemonReload())
    node.do(Journal(5))
    node.do(Systemctl("enable"))
    node.do(Mkdir(proxy))
    node.do(Tidy(proxy))
    node.do(Receive("/root/received", b"content", "0644"))
    first, second = Lock("first", 0), Lock("second", 0)
    held = node.piped(first.text(), timeout=first.time_limit)
    held.until(first.HAS)
    record(release, second, node.piped(second.text(), timeout=second.time_limit).ended())
    listen = proxy.listen
    node.do(Activate(proxy, Rollout(settle=1), "first", "restart", listen=listen, listened=listen))
    looked = node.do(Drill(DrillAction.LOOK, behind[:1]))
    if not looked.status:
        node.do(Drill(DrillAction.CUT, behind[:1], looked.tools, 60))
    node.do(Drill(DrillAction.HEAL, behind[:1], looked.tools))
    held.release(2)


def _users(node: Node, settings: Settings) -> None:
    """What is said of a kubelet that uses the service, and whose kubeconfig says another thing by now."""
    config, unit = "/root/kubelet.kubeconfig", "recorded-kubelet"
    node.send(b"clusters:\n- cluster:\n    server: https://198.18.0.1:6443\n", config, "0600")
    connect = "exec 3<>/dev/tcp/127.0.0.1/8443; echo >/run/connected; read x <&3"
    node.sh("cp /bin/bash /root/kubelet; rm -f /run/connected")
    node.sh(
        f"systemd-run --collect --unit={unit} /root/kubelet -c {quote(connect)} kubelet --kubeconfig={config}"
    )
    try:
        node.sh("until [ -e /run/connected ]; do sleep 0.1; done", timeout=30)
        node.do(SurveyAndUsers(settings.proxy, settings.apiservers))
    finally:
        node.sh(f"systemctl stop {unit}; rm -f /root/kubelet {config}", check=False)


def _build(node: Node, settings: Settings) -> None:
    build, place, folder = settings.build, "/root/work", store.folder(settings)
    assert LOCAL in settings.build.hosts
    fetch.fetch(build, folder)
    tarball = fetch.tarball_path(build, folder)
    node.do(build_commands.WorkFolder(place, tarball.name))
    node.send(fetch.read(build, folder), f"{place}/{tarball.name}", "0644", root=False)
    node.do(build_commands.WorkFolder(place, tarball.name))
    node.do(build_commands.Unpack(build, place))
    node.do(build_commands.Tools(build.static))
    for script in (
        build_commands.Configure(build, place),
        build_commands.MakeInstall(build, place, "x86_64"),
    ):
        node.sh(script.text(), root=False, timeout=script.time_limit, most=script.output_limit)
    binary = f"{place}/binaries/{build_commands.key(build, 'x86_64')}/kube-nginx"
    node.do(build_commands.Inspect(binary))


if __name__ == "__main__":
    try:
        main()
    except StepError as error:
        raise SystemExit(f"{error.message}\n{error.tail}") from None
