"""What the service is on a node, beside the content of its files: places, modes, owners, processes. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ..config.model import Proxy
from ..facts.paths import UNIT, UNIT_PATH, WATCH, WATCH_UNIT, binary_path, conf_path
from .facts import Facts

BINARY, CONF = "kube-nginx", "kube-nginx.conf"
NAMES = (BINARY, CONF, UNIT)
MODES = {BINARY: "755", CONF: "644", UNIT: "644", WATCH: "755", WATCH_UNIT: "644"}


def paths(proxy: Proxy) -> dict[str, str]:
    """Where each file of a release is when it is in use."""
    return {BINARY: binary_path(proxy), CONF: conf_path(proxy), UNIT: UNIT_PATH}


def folders(proxy: Proxy, user_id: str) -> dict[str, str]:
    """The folders of the service, with the number of the user to whom each is to belong; "": not known."""
    logs = user_id if proxy.user else "0"
    inside = dict.fromkeys(("conf", "sbin", "releases"), "0") | {"logs": logs}
    return {proxy.prefix: "0"} | {f"{proxy.prefix}/{name}": owner for name, owner in inside.items()}


def runs_ours(facts: Facts, proxy: Proxy) -> bool:
    """Whether the main process runs the binary under the prefix, or what that was until it was replaced."""
    runs = facts.process.executable if facts.process else ""
    return runs.removesuffix(" (deleted)") == paths(proxy)[BINARY]


def around(facts: Facts, proxy: Proxy, files: Collection[str] = ()) -> list[str]:
    """What is not right beside the content of the files, and can be put right unnoticed by clients.

    Of `files`, names of those that are replaced anyway, nothing is said.
    """
    why = [f"the user {proxy.user} is missing"] if proxy.user and not facts.user_id else []
    if proxy.prefix not in facts.directories:
        return [*why, f"{proxy.prefix} is missing"]
    for path, owner in folders(proxy, facts.user_id).items():
        folder = facts.directories.get(path)
        if folder is None:
            why.append(f"{path} is missing")
        elif folder.mode != "755":
            why.append(f"{path} has mode {folder.mode}, not 755")
        elif owner and folder.owner != owner:
            why.append(f"{path} belongs to {folder.owner}, not to {owner}")
    for name, path in paths(proxy).items():
        file = facts.files.get(path)
        if name in files or file is None or file.has(MODES[name]):
            continue
        wrong = f"mode {file.mode}, not {MODES[name]}" if file.owner == "0" else f"owner {file.owner}, not 0"
        why.append(f"{name} has {wrong}")
    if facts.process and not facts.process.named and runs_ours(facts, proxy):
        why.append("nginx.pid does not name its main process")
    if UNIT not in files and facts.unread:
        why.append("systemd has not read the unit as it is now")
    return why


def user(facts: Facts, proxy: Proxy) -> Iterator[str]:
    """Whether the service runs as somebody else than hosts.toml says."""
    wanted = facts.user_id if proxy.user else "0"
    if facts.process and wanted and facts.process.owner not in (wanted, ""):
        yield f"it runs as user {facts.process.owner}, and {proxy.user or 'root'} is {wanted}"


def processes(facts: Facts) -> Iterator[str]:
    """What keeps the processes of the unit from serving as the configuration says."""
    if facts.process is None:
        return
    if not facts.process.workers:
        yield "it has no worker process"
    for pid in facts.process.beside:
        yield f"another process of it accepts connections, too (PID {pid})"
    for pid in facts.process.stopped:
        yield f"a process of it is stopped (PID {pid})"


def notes(facts: Facts, proxy: Proxy) -> Iterator[str]:
    """What works, and is worth knowing: told beside the plan."""
    limits = [facts.unit.get(name, "") for name in ("LimitNOFILE", "LimitNOFILESoft")]
    limit = min((int(text) for text in limits if text.isdecimal()), default=proxy.worker_connections)
    if facts.loaded_unit and limit < proxy.worker_connections:
        yield (
            f"the unit allows {limit} open files (LimitNOFILE), fewer than proxy.worker_connections, "
            f"{proxy.worker_connections}{_by_drop_ins(facts)}"
        )
    if facts.journal == "none":
        yield "journald stores nothing there (Storage=none), so that fab logs stays empty"


def _by_drop_ins(facts: Facts) -> str:
    return f"; see {' '.join(facts.drop_ins)}" if facts.drop_ins else ""


UNSUPERVISED = ("masked", "no unit")


def unit_state(facts: Facts) -> Iterator[str]:
    """What is wrong with the unit, or has been added to it, in a word or two each."""
    if facts.masked:
        yield "masked"
    elif facts.state == "not installed" and UNIT_PATH not in facts.files:
        return
    elif UNIT_PATH not in facts.files:
        yield "no unit"
    elif facts.unread or facts.unloadable:
        yield facts.unloadable or "unit not read"
    if facts.drop_ins:
        yield "drop-in"
