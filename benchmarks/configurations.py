"""The configurations that are compared: ours and its variants, the runbook's, and two peers'."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from tasks.core.config import model
from tasks.core.config.address import APISERVER_PORT
from tasks.core.config.model import Settings
from tasks.core.config.settings import parse
from tasks.core.release import render

HOSTS = Path(__file__).parents[1] / "hosts.toml"
OURS = "recommended"
CONFIGURATIONS = (OURS, "runbook", "kubeasz", "kubespray")
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
events {{ worker_connections 3000; }}
stream {{
    upstream backend {{
{servers}
    }}
    server {{ listen 127.0.0.1:8443; proxy_connect_timeout 1s; proxy_pass backend; }}
}}
"""
KUBESPRAY = """\
worker_processes 1;
worker_shutdown_timeout 10s;
events {{ multi_accept on; use epoll; worker_connections 16384; }}
stream {{
    upstream kube_apiserver {{
        least_conn;
{servers}
    }}
    proxy_timeout 10m;
    server {{ listen 127.0.0.1:8443; proxy_connect_timeout 1s; proxy_pass kube_apiserver; }}
}}
"""
PEERS = {"kubeasz": (KUBEASZ, " max_fails=2 fail_timeout=3s"), "kubespray": (KUBESPRAY, "")}


def configuration(name: str, servers: Sequence[str], folder: Path) -> str:
    """The kube-nginx.conf of this name, or variant of ours, for servers (addresses) in a prefix folder."""
    if name in PEERS:
        text, options = PEERS[name]
        return text.format(servers="\n".join(f"server {one}:{APISERVER_PORT}{options};" for one in servers))
    settings = settings_of("runbook" if name == "runbook" else OURS)
    proxy = replace(settings.proxy, prefix=str(folder), **VARIANTS.get(name, {}))
    settings = replace(settings, proxy=proxy, apiservers=settings.apiservers[: len(servers)])
    hosts = (server.host for server in settings.apiservers)
    return render.conf(settings, {host: (one,) for host, one in zip(hosts, servers, strict=True)})


def settings_of(profile: str) -> Settings:
    """The checkout's hosts.toml with a profile."""
    return parse({**tomllib.loads(HOSTS.read_text()), "profile": profile}, HOSTS)


def fail_timeout(text: str) -> float:
    """That of a configuration's servers, in seconds; nginx's own is 10."""
    found = re.search(r"fail_timeout=(\d+)s", text)
    return float(found[1]) if found else 10.0
