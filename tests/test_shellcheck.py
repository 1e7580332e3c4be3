"""shellcheck finds nothing in any script as it is sent, after what it is given and what it builds on."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn, cast

import pytest

from tasks.core.config.settings import Endpoint, Proxy, Settings
from tasks.core.facts.facts import Facts
from tasks.core.nginx import build_commands
from tasks.core.probes import fallback
from tasks.core.release.release import release
from tasks.core.results import Result
from tasks.core.rollout.activation import Activation, Order
from tasks.core.rollout.plan import Action
from tasks.core.rollout.staging import stage
from tasks.core.run import lock
from tasks.core.scripts import commands
from tasks.core.ssh.node import Node
from tasks.core.traffic.cut import Cut

from .test_run import begun

ROOT = Path(__file__).parent.parent
PROXY = Proxy()
SETTINGS = Settings(None, "recommended", (), (), proxy=PROXY)


class Sent(Exception):  # noqa: N818 - it tells, and is caught where it is told
    """A script was to go to a node."""


class Recorder:
    """A node to which nothing goes."""

    def sh(self, script: str, *_: object, **__: object) -> NoReturn:
        raise Sent(script)

    feed = piped = sh

    def invalidate_facts(self) -> None:
        """There is nothing to forget."""


def sent(use: Callable[[Node], object]) -> str:
    """The script that `use` sends to a node."""
    with pytest.raises(Sent) as caught:
        use(cast(Node, Recorder()))
    return str(caught.value)


def scripts() -> Iterator[tuple[str, str]]:
    """All that are sent to nodes and to build hosts, by what they do."""
    proxy, build = SETTINGS.proxy, SETTINGS.build
    yield "survey", commands.survey(proxy, ["api-1"])
    yield "sessions", commands.sessions(proxy, ["api-1"])
    yield "peers", commands.peers(proxy)
    yield "drill", sent(lambda node: Cut(node, [Endpoint("198.18.0.1", 6443)]).look())
    yield "mkdir", commands.mkdir(proxy)
    yield "tidy", commands.tidy(proxy)
    yield "receive", commands.receive("/folder/file", 1, "0" * 64, "0644")
    yield "systemctl", commands.systemctl("start")
    yield "daemon-reload", commands.daemon_reload()
    yield "logs", commands.journal(20, follow=False)
    yield "logs --follow", commands.journal(20, follow=True)
    yield "uninstall", commands.uninstall(proxy)
    yield "lock", sent(lambda node: lock.acquire(node, "me", 0))
    made = release("1.30.6", "", b"binary", "conf", "unit")
    yield "stage", sent(lambda node: stage(node, made, SETTINGS, Facts()))
    order = Order(Action.RELOAD, Result.RELOADED, made.name)
    yield "activate", sent(lambda node: Activation(begun("a"), node)._script(order, Facts()))
    yield "check", fallback.command([Endpoint("api-1", 6443)], 3)
    yield "place", build_commands.place("/work", "nginx.tar.gz")
    yield "unpack", build_commands.unpack(build, "/work")
    yield "tools", build_commands.tools(build)
    yield "configure", build_commands.configure(build, "/work")
    yield "make-install", build_commands.make_install(build, "/work", "x86_64")
    yield "inspect", build_commands.inspect("/work/kube-nginx")
    yield "build-lab", (ROOT / "tests" / "lab" / "kubernetes.sh").read_text()


SCRIPTS = dict(scripts())


def found(shell: str, text: str) -> str:
    """What shellcheck has to say of a script."""
    program = Path(sys.executable).with_name("shellcheck")
    command = [str(program), f"--shell={shell}", "--format=gcc", "-"]
    done = subprocess.run(command, input=text, cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def plain(text: str) -> str:
    """A script that is one word of the command that is sent, which goes on without us, by itself."""
    return shlex.split(text)[3] if text.startswith("setsid ") else text


@pytest.mark.parametrize("name", SCRIPTS)
def test_clean(name: str) -> None:
    assert found("sh", plain(SCRIPTS[name])) == ""


def test_every_template_is_sent() -> None:
    for template in sorted((ROOT / "templates").glob("*.sh")):
        assert any(template.read_text() in text for text in map(plain, SCRIPTS.values())), template


def test_the_one_of_ci() -> None:
    assert found("bash", (ROOT / ".ci" / "run").read_text()) == ""


def test_it_would_find_something() -> None:
    assert "SC2086" in found("sh", "rm $1\n")
