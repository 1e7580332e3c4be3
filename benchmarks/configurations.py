"""The configurations that are compared: ours and its variants, the runbook's, and two peers'."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tasks.core.config import model
from tasks.core.config.address import APISERVER_PORT
from tasks.core.config.settings import Settings, parse
from tasks.core.release import render

HOSTS = Path(__file__).parents[1] / "hosts.toml"
OURS = "recommended"
PEERS = ("runbook", "kubeasz", "kubespray")
CONFIGURATIONS = (OURS, *PEERS)
DEFAULTS = "defaults"
# What the defaults were chosen among.
CHOICES: Mapping[str, Sequence[Any]] = {
    "connect_timeout": ("500ms", "1s"),
    "max_fails": (1, 2, 3),
    "fail_timeout": ("1s", "2s", "3s", "10s"),
    "balance": ("random two least_conn", "least_conn", "round robin", "random"),
}


def variant(setting: str, value: Any) -> str:
    """The name of ours with one setting changed, or of the defaults if that is the default."""
    return DEFAULTS if getattr(model.Proxy(), setting) == value else f"{setting} {value}"


VARIANTS: Mapping[str, Mapping[str, Any]] = {DEFAULTS: {}} | {
    variant(setting, value): {setting: value}
    for setting, values in CHOICES.items()
    for value in values
    if variant(setting, value) != DEFAULTS
}
# Their own templates' events and stream blocks; addresses and port are the lab's.
KUBEASZ = """\
worker_processes 1;
events {{
    worker_connections 3000;
}}
stream {{
    upstream backend {{
{servers}
    }}
    server {{
        listen 127.0.0.1:8443;
        proxy_connect_timeout 1s;
        proxy_pass backend;
    }}
}}
"""
KUBESPRAY = """\
worker_processes 1;
worker_shutdown_timeout 10s;
events {{
    multi_accept on;
    use epoll;
    worker_connections 16384;
}}
stream {{
    upstream kube_apiserver {{
        least_conn;
{servers}
    }}
    server {{
        listen 127.0.0.1:8443;
        proxy_pass kube_apiserver;
        proxy_timeout 10m;
        proxy_connect_timeout 1s;
    }}
}}
"""


@dataclass(frozen=True, slots=True)
class Configuration:
    """A kube-nginx.conf; fail_timeout in seconds."""

    text: str
    fail_timeout: float

    def without(self, server: str) -> Configuration:
        """The same without an apiserver."""
        lines = self.text.splitlines(keepends=True)
        return replace(self, text="".join(line for line in lines if f"server {server}:" not in line))

    def on_port(self, port: int) -> Configuration:
        """The same, but to another port of the apiservers."""
        return replace(self, text=self.text.replace(f":{APISERVER_PORT}", f":{port}"))

    def with_connections(self, number: int) -> Configuration:
        """The same with other worker_connections."""
        return replace(
            self, text=re.sub(r"worker_connections \d+", f"worker_connections {number}", self.text)
        )


def configuration(name: str, servers: Sequence[str], folder: Path) -> Configuration:
    """The configuration of this name, or variant of ours, for servers (addresses) in a prefix folder."""
    if name == "kubeasz":
        return Configuration(KUBEASZ.format(servers=_lines(servers, " max_fails=2 fail_timeout=3s")), 3)
    if name == "kubespray":
        return Configuration(KUBESPRAY.format(servers=_lines(servers, "")), 10)
    settings = settings_of("runbook" if name == "runbook" else OURS)
    changes = VARIANTS.get(name, {})
    settings = replace(settings, proxy=replace(settings.proxy, prefix=str(folder), **changes))
    names = dict(zip((server.host for server in settings.apiservers), servers, strict=True))
    text = render.conf(settings, {name: (address,) for name, address in names.items()})
    return Configuration(text, float(settings.proxy.fail_timeout.removesuffix("s")))


def settings_of(profile: str) -> Settings:
    """The checkout's hosts.toml with a profile."""
    return parse({**tomllib.loads(HOSTS.read_text()), "profile": profile}, HOSTS)


def _lines(servers: Sequence[str], options: str) -> str:
    return "\n".join(f"        server {server}:{APISERVER_PORT}{options};" for server in servers)
