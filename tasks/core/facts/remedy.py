"""What brings the service up on a node, from what a survey saw there: pure."""

from __future__ import annotations

import re
from shlex import quote

from ..config.address import Endpoint
from ..config.model import Proxy
from ..facts.paths import UNIT_PATH, binary_path, conf_path
from .facts import Facts, Holder

UNMASK = "somebody wanted it so; if that is over: systemctl unmask kube-nginx on the node"


def brings_up(facts: Facts, proxy: Proxy) -> str:
    """What to do so that the service runs and has its listeners; "" where nothing of that is missing."""
    task = _task(facts, proxy)
    if facts.masked:
        return f"{UNMASK}; then fab deploy --limit {{nodes}}"
    for address in proxy.listen:
        holder = facts.holder(address)
        if holder and not facts.listens(address):
            task = "deploy"  # which also ends a kube-nginx that is not the unit's, and takes another address
            if holder.executable.removesuffix("?(deleted)") != binary_path(proxy):
                return f"{frees(holder)}; then fab deploy --limit {{nodes}}"
    return task and f"fab {task} --limit {{nodes}}"


def _task(facts: Facts, proxy: Proxy) -> str:
    """The least disruptive task that can work: `start` and `restart` only run what is there."""
    conf = facts.texts.get(conf_path(proxy), "")
    there = {binary_path(proxy), conf_path(proxy), UNIT_PATH} <= set(facts.files)
    loaded = facts.unit.get("LoadState") == "loaded"
    fails = not facts.active and facts.unit.get("ActiveState") != "inactive"  # as it is, it does not come up
    if not there or not loaded or fails or not all(_configured(conf, address) for address in proxy.listen):
        return "deploy"
    if not facts.active:
        return "start"
    return "" if all(map(facts.listens, proxy.listen)) else "restart"


def _configured(conf: str, address: Endpoint) -> bool:
    return re.search(rf"^[ \t]*listen[ \t]+{re.escape(str(address))}[ \t;]", conf, re.M) is not None


def frees(holder: Holder) -> str:
    """What makes a process that has a listen address let go of it, or does without."""
    if holder.name == "kube-apiserver":
        other = "give that another --secure-port, or kube-nginx another proxy.listen"
        return f"the node is itself an apiserver; {other}"
    if not holder.pid:
        return "find out who it is; on the node: ss -ltnp"
    if holder.pid == 1:
        return "it is for a socket unit; on the node: systemctl list-sockets; or choose another proxy.listen"
    service = holder.unit.endswith(".service")
    end = f"systemctl stop {quote(holder.unit)}" if service else f"end PID {holder.pid}"
    return f"on the node: {end}; or choose another proxy.listen"
