"""Reads what the survey of a node told."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from ipaddress import ip_address

from ..facts.facts import Facts, File, Folder, Holder, Process
from ..facts.sockets import from_kernel
from ..facts.tools import lacking, vital
from ..shell.command import parse_output

_SERVICE = re.compile(r"[\w:.@\\][\w:.@\\-]*\.service", re.ASCII)


def parse(text: str, asked: float = 0.0, answered: float = 0.0) -> Facts:
    """Reads what the survey told. Raises StepError where the node lacks what a survey is made with.

    `asked` and `answered` are this machine's time before and after the survey, in seconds since the epoch;
    without them nothing is known of the node's clock.
    """
    lines = parse_output(text)
    values = dict(lines)

    def below(prefix: str) -> dict[str, str]:
        return {k[len(prefix) :]: v for k, v in lines if k.startswith(prefix)}

    missing = tuple(below("missing."))
    if unread := vital(missing):
        raise lacking(unread)
    # what was in use or went away during the survey gives half a line: as good as none
    whole = [(path, text.split()) for path, text in below("file.").items()]
    return Facts(
        arch=values.get("arch", ""),
        uid=int(values.get("uid") or -1),
        user_id=values.get("user", ""),
        systemd=values.get("systemd") == "1",
        libc=values.get("libc", ""),
        free=int(values.get("free") or 0) * 1024,
        mounts=below("mount."),
        directories={path: Folder(v[0], v[1][-3:].rjust(3, "0")) for path, v in _pairs(below("dir."))},
        instead=below("instead."),
        unsafe=below("unsafe."),
        journal=values.get("journal", ""),
        files={path: _file(*v) for path, v in whole if len(v) == 5},
        texts={path: b64decode(v).decode(errors="replace") for path, v in below("text.").items()},
        releases=below("release."),
        kept={which: below(f"kept.{which}.") for which in below("release.")},
        listens_in=below("listens."),
        recorded=below("recorded."),
        leftovers=tuple(below("leftover.")),
        unit=below("unit."),
        outsider=int(values.get("outsider") or 0),
        new_drop_ins=tuple(below("drop_in.")),
        process=_process(values, below) if values.get("pid") else None,
        uptime=float(values.get("uptime") or 0),
        installed=_version(values.get("installed", "")),
        addresses={name: _addresses(found) for name, found in below("address.").items()},
        resolver=values.get("resolver") != "missing",
        missing=missing,
        clock=_ahead(values, asked, answered) if answered else 0.0,
        listening={from_kernel(text): _holder(owner) for text, owner in below("listen.").items()},
    )


def _pairs(values: Mapping[str, str]) -> Iterator[tuple[str, list[str]]]:
    return ((key, text.split()) for key, text in values.items() if len(text.split()) == 2)


def _file(sha256: str, mode: str, owner: str, changed: str, modified: str) -> File:
    return File(sha256, mode, owner, float(changed), float(modified))


def _process(values: Mapping[str, str], below: Callable[[str], Mapping[str, str]]) -> Process:
    workers = below("worker.")
    booted = float(values["now"]) - float(values["uptime"])

    def wall(ticks: str) -> float:
        return booted + int(ticks or 0) / int(values.get("ticks") or 100)

    return Process(
        pid=int(values["pid"]),
        executable=values.get("exe", ""),
        sha256=values.get("running_sum", ""),
        version=_version(values.get("running", "")),
        started=wall(values.get("started", "")),
        identity=f"{values.get('boot', '')}:{values['pid']}:{values.get('started', '')}",
        workers={int(pid): wall(ticks) for pid, ticks in workers.items() if ticks},
        worker_identities=frozenset(f"{pid}:{ticks}" for pid, ticks in workers.items() if ticks),
        owner=values.get("owner", ""),
        beside=tuple(map(int, below("beside."))),
        stopped=tuple(map(int, below("stopped."))),
        named=values.get("pid_file") == "1",
        detached=values.get("detached") == "1",
    )


def _version(text: str) -> str:
    return text.rpartition("nginx/")[2]


def _addresses(text: str) -> tuple[str, ...]:
    """Those that nginx can connect to, IPv4 first; for a link-local one it would need a zone."""
    found = {ip_address(word) for word in text.split() if _is_address(word)}
    plain = {getattr(ip, "ipv4_mapped", None) or ip for ip in found}
    usable = [ip for ip in plain if ip.version == 4 or not ip.is_link_local]
    return tuple(map(str, sorted(usable, key=lambda ip: (ip.version, int(ip)))))


def _is_address(word: str) -> bool:
    try:
        return "%" not in str(ip_address(word))
    except ValueError:
        return False


def _ahead(values: Mapping[str, str], asked: float, answered: float) -> float:
    """Of all differences of the clocks with which the survey lay between the two times, the smallest."""
    began, ended = float(values.get("now") or asked), float(values.get("end") or answered)
    return min(max(0.0, ended - answered), began - asked)


def _holder(text: str) -> Holder | None:
    if text == "ours":
        return None
    fields = text.split(" ")
    if len(fields) != 4 or not all(fields) or not fields[0].isdecimal():
        return Holder(0, "", "", "unknown")
    pid, unit, executable, name = fields
    return Holder(int(pid), unit if _SERVICE.fullmatch(unit) else "", executable, name)
