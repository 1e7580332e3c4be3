"""Scripts for tests: one of each, the functions that several share, facts out of a survey's lines."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.core.config.address import Endpoint
from tasks.core.config.model import Build, Proxy, Rollout
from tasks.core.facts.facts import Facts
from tasks.core.facts.paths import UNIT, UNIT_PATH
from tasks.core.nginx.build_commands import (
    Configure,
    Inspect,
    MakeInstall,
    Tools,
    Unpack,
    WorkFolder,
)
from tasks.core.nginx.watch import InspectWatch, MakeWatch
from tasks.core.release.release import release
from tasks.core.scripts.activate import Activate
from tasks.core.scripts.drill import Drill, DrillAction, LookAtWatch
from tasks.core.scripts.files import Mkdir, Receive, ReceiveAsUser, Stage, Tidy, Uninstall
from tasks.core.scripts.lock import Lock
from tasks.core.scripts.reach import Check, SshConnection
from tasks.core.scripts.script import Script
from tasks.core.scripts.service import DaemonReload, Journal, LastLines, Systemctl
from tasks.core.scripts.survey import Peers, Survey, SurveyAndPeers, SurveyAndUsers
from tasks.core.shell.command import CommandResult
from tasks.core.templates import shell_script


def functions(prefix: object, *files: str, unit_path: object = UNIT_PATH, **given: object) -> str:
    """The text of templates/common.sh and of `files`, after what they are given."""
    return shell_script(("common", *files), {"prefix": prefix, "unit": UNIT, "unit_path": unit_path, **given})


def facts(text: str) -> Facts:
    """What is known from these lines of a survey."""
    return Survey(Proxy()).parse(CommandResult(0, text))


def every() -> Iterator[Script[Any]]:
    """One of each class of scripts, for nodes and for build hosts."""
    proxy, build, there = Proxy(), Build(), Endpoint("198.18.0.1", 6443)
    brought = release("1.30.6", "", b"binary", "conf", "unit")
    yield Survey(proxy, ("api-1",))
    yield SurveyAndPeers(proxy, ("api-1",))
    yield SurveyAndUsers(proxy, (Endpoint("api-1", 6443),))
    yield Peers(proxy)
    yield Drill(DrillAction.LOOK, (there,))
    yield LookAtWatch()
    yield Check((Endpoint("api-1", 6443),), 3)
    yield SshConnection()
    yield Mkdir(proxy)
    yield Tidy(proxy)
    yield Receive("/folder/a.conf", b"content", "0644")
    yield ReceiveAsUser("/folder/a.conf", b"content", "0644", "")
    yield Stage(proxy, brought, frozenset(brought.contents))
    yield Uninstall(proxy)
    yield Systemctl("start")
    yield DaemonReload()
    yield Journal(20, follow=True)
    yield LastLines(8)
    yield Lock("me", 0)
    yield Activate(proxy, Rollout(), "me", "reload", brought.name)
    yield WorkFolder("/work", "nginx.tar.gz")
    yield Unpack(build, "/work")
    yield Tools(static=False)
    yield Configure(build, "/work")
    yield MakeInstall(build, "/work", "x86_64")
    yield MakeInstall(build, "/work", "x86_64", connected=True)
    yield Inspect("/work/kube-nginx")
    yield MakeWatch("/work", "x86_64")
    yield InspectWatch("/work/kube-nginx-watch")
