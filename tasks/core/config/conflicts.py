"""What cannot be together in a hosts.toml, though each value is right by itself.

A rule yields keys, dotted, and what is wrong with them; `RULES` has the keys that must be right for that.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import permutations, product
from pathlib import PurePosixPath

from . import rules
from .address import REACHED_AT, NodeSpec, loops
from .model import REMOTE_WORK_DIR, Settings
from .validation import Problems, shown

Conflicts = Iterator[tuple[str, str]]


def collect(settings: Settings, problems: Problems) -> None:
    """Adds all conflicts in `settings`."""
    for rule in [rule for rule, keys in RULES.items() if problems.sound(*keys)]:
        for key, text in rule(settings):
            problems.add(key, text)


def between_nodes(nodes: Mapping[str, NodeSpec], default_port: int) -> dict[str, str]:
    """What two nodes must not share, as --limit and -H would not know which is meant, by their places."""
    places: dict[tuple[str, int], str] = {}
    names: dict[str, str] = {}
    found: dict[str, str] = {}
    for place, node in nodes.items():
        first = places.setdefault((node.host.lower(), node.port or default_port), place)
        named = names.setdefault(node.name.lower(), place)
        if first != place:
            found[place] = f"is the host and port of {first} again ({shown(node.host)}); remove one"
        elif named != place:
            found[place] = f"has the name of {named}, {_another(node)}"
    return found | dict(_borrowed_names({place: nodes[place] for place in nodes if place not in found}))


def _borrowed_names(nodes: Mapping[str, NodeSpec]) -> Conflicts:
    hosts: dict[str, list[str]] = {}
    for place, node in nodes.items():
        hosts.setdefault(node.host.lower(), []).append(place)
    groups = {group.lower(): place for place, node in nodes.items() for group in node.groups}
    for place, node in nodes.items():
        name = node.name.lower()
        if others := [other for other in hosts.get(name, ()) if other != place]:
            yield place, f"has the host of {others[0]} for its name, {_another(node)}"
        elif name in groups:
            yield place, f"has the name of a group of {groups[name]}, {_another(node)}"


def _another(node: NodeSpec) -> str:
    return f'{shown(node.name)}; give it another: {{ host = "{node.host}", name = "..." }}'


def _sums(settings: Settings) -> Conflicts:
    version, given = settings.build.version, settings.build.sha256
    known = rules.PINS.get(version, given)
    if given != known:
        yield "build.sha256", f"is not the sum of nginx {version}: given {given}, known {known}"
    elif not given:
        yield (
            "build.sha256",
            f"missing, and nginx {version} is not among the versions whose sum is known "
            f"({', '.join(rules.PINS)}): set build.sha256 to the output of sha256sum "
            f"nginx-{version}.tar.gz for a tarball whose PGP signature "
            "(https://nginx.org/en/pgp_keys.html) you have checked",
        )


def _settling(settings: Settings) -> Conflicts:
    settle, timeout = settings.rollout.settle, settings.rollout.timeout
    if settle >= timeout:
        yield (
            "rollout.settle",
            f"{settle} must be less than rollout.timeout, {timeout}: within that time "
            "a process has to have lived this long; lower settle or raise timeout",
        )


def _too_many(settings: Settings) -> Conflicts:
    for key, count, most, why in (
        ("apiservers", len(settings.apiservers), 50, "the memory zone of 64k is full"),
        ("proxy.listen", len(settings.proxy.listen), 8, "each takes a worker connection"),
    ):
        if count > most:
            yield key, f"has {count} entries; at most {most} are possible: {why}"


def _loops(settings: Settings) -> Conflicts:
    for server, own in product(settings.apiservers, settings.proxy.listen):
        if loops(server, own):
            yield (
                "apiservers",
                f"{server} is the proxy's own listener {own}, so that it would connect to "
                "itself; name the apiserver's address, or change proxy.listen",
            )


def _covered_listeners(settings: Settings) -> Conflicts:
    for wide, other in permutations(settings.proxy.listen, 2):
        same_family = (":" in wide.host) == (":" in other.host)
        if wide.host in REACHED_AT and same_family and wide.port == other.port:
            yield (
                "proxy.listen",
                f"{wide} is {other}, too: all addresses of a node with port {wide.port}, so that nginx "
                f'listens on {wide} alone; write one of them: "{wide}" or "{other}"',
            )


def _taken_ports(settings: Settings) -> Conflicts:
    """Wildcard listeners on a port that an apiserver on one of the nodes has already."""
    for wide in (one for one in settings.proxy.listen if one.host in REACHED_AT):
        servers = {server.host: server for server in settings.apiservers if server.port == wide.port}
        for node in settings.nodes:
            if server := servers.get(node.host.lower()) or servers.get(node.name.lower()):
                yield (
                    "proxy.listen",
                    f"{wide} is all addresses of a node with port {wide.port}, and on {node.name} the "
                    f"apiserver {server} has that port; choose another one, such as 127.0.0.1:8443",
                )
                break


def _privileged_ports(settings: Settings) -> Conflicts:
    user = settings.proxy.user
    for own in settings.proxy.listen:
        if user and own.port < 1024:
            yield (
                "proxy.listen",
                f"{own}: only root may listen below port 1024, and the proxy runs as "
                f'{user}; choose a port from 1024 on, or write user = ""',
            )


def _since(key: str, start: str, since: rules.Version, instead: str, settings: Settings) -> Conflicts:
    """A value of the proxy's that begins so, and that only a newer nginx knows."""
    value, version = getattr(settings.proxy, key), settings.build.version
    if value and value.startswith(start) and rules.number(version) < since:
        yield (
            f"proxy.{key}",
            f"{shown(value)} needs nginx {rules.dotted(since)} or newer, and build.version is "
            f'{version}; write "{instead}" or choose a newer version',
        )


def _folders(settings: Settings) -> Conflicts:
    work_dir, prefix = settings.build.work_dir or REMOTE_WORK_DIR, settings.proxy.prefix
    why = ""
    if PurePosixPath(work_dir).is_relative_to(prefix):
        why = f"holds the work folder {work_dir}, which uninstall would remove with it"
    elif PurePosixPath(prefix).is_relative_to(work_dir):
        why = f"is in the work folder {work_dir}, where nginx is compiled"
    if why:
        yield "proxy.prefix", f"{shown(prefix)} {why}; choose folders that are not inside each other"


_balance = partial(_since, "balance", "random", rules.RANDOM_SINCE, "least_conn")
_shutdown = partial(_since, "worker_shutdown_timeout", "", rules.SHUTDOWN_TIMEOUT_SINCE, "")

RULES: dict[Callable[[Settings], Conflicts], tuple[str, ...]] = {
    _sums: ("build.version", "build.sha256"),
    _settling: ("rollout.settle", "rollout.timeout"),
    _too_many: ("proxy.listen",),
    _loops: ("proxy.listen",),
    _covered_listeners: ("proxy.listen",),
    _taken_ports: ("proxy.listen",),
    _privileged_ports: ("proxy.listen", "proxy.user"),
    _balance: ("build.version", "proxy.balance"),
    _shutdown: ("build.version", "proxy.worker_shutdown_timeout"),
    _folders: ("build.work_dir", "proxy.prefix"),
}
