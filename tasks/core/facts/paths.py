"""Where what is shipped lies on a node."""

from __future__ import annotations

from ..config.model import Proxy

UNIT = "kube-nginx.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"
WATCH, WATCH_UNIT = "kube-nginx-watch", "kube-nginx-watch.service"


def binary_path(proxy: Proxy) -> str:
    """Where the binary is on a node (runbook: "rename the binary to kube-nginx")."""
    return f"{proxy.prefix}/sbin/kube-nginx"


def conf_path(proxy: Proxy) -> str:
    """Where the configuration is on a node."""
    return f"{proxy.prefix}/conf/kube-nginx.conf"


def watch_paths(proxy: Proxy) -> dict[str, str]:
    """Where each file of the watch is on a node."""
    return {WATCH: f"{proxy.prefix}/sbin/{WATCH}", WATCH_UNIT: f"/etc/systemd/system/{WATCH_UNIT}"}
