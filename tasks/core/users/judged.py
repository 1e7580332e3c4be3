"""Who uses a node's kube-nginx, and who goes past it: judged. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ..config.address import REACHED_AT, Endpoint, is_address, parse_host, parse_port
from ..config.model import Settings
from ..release.servers import Addresses, resolved
from ..results import State, output
from .found import Kubeconfig, KubeProcess, Users, printable

_URL = re.compile(r"(?:(https?)://)?(\[[^\]]*\]|[^:/\[\]]+)(?::([0-9]+))?(?:[/?#].*)?")
_PORTS = {
    "https": 443,
    "http": 80,
}  # where client-go connects if none is written; without a scheme it is http
_CONTAINER = (
    "it is in a container: change what that gets it from, such as ConfigMap kube-proxy of kube-system"
)


@dataclass(frozen=True, slots=True)
class KubeCheck:
    """A kubelet or kube-proxy."""

    name: str = output("`kubelet` or `kube-proxy`")
    pid: int | None = output("of its process; null: it does not run, and what follows is of its unit")
    sessions: int = output("how many it has with kube-nginx")
    straight: Mapping[Endpoint, int] = output("how many it has with apiservers of hosts.toml directly")
    kubeconfig: str | None = output("the path of its kubeconfig; null: not known")
    servers: Mapping[int, str] = output("what each `server:` in that says, by the number of its line")
    past: bool = output("whether it goes past kube-nginx, or would once it is started")


@dataclass(frozen=True, slots=True)
class UsersCheck:
    """Who uses a node's kube-nginx."""

    state: State = output("`ok` or `warning`")
    word: str = output("what fits a table")
    warnings: tuple[str, ...] = output("who goes past kube-nginx, and what to change, in sentences")
    notes: tuple[str, ...] = output("what there is to say besides")
    sessions: int = output("how many sessions processes of the node have with kube-nginx")
    kube: tuple[KubeCheck, ...] = output("each kubelet and kube-proxy")
    others: Mapping[str, int] = output("how many the others have, by the name of the process")
    hostname: str = output("the node's own name")
    names: Mapping[Endpoint, tuple[str, ...]] = field(default_factory=dict)  # of a listener in kubeconfigs


def users_check(users: Users, settings: Settings, addresses: Addresses) -> UsersCheck:
    """What the users of a node mean; names lead to these `addresses` there."""
    judge = _Judge(settings, addresses)
    warnings: list[str] = []
    notes: list[str] = []
    checks: list[KubeCheck] = []
    for process in users.kube:
        sentence, past = judge.sentence(process)
        if sentence:
            (warnings if past and process.pid else notes).append(sentence)
        checks.append(judge.checked(process, past))
    if users.others:
        first = sorted(_first(users.others, 5))  # by name, as of many nodes it is told once
        who = ", ".join(f"{name} ({_sessions(count)})" for name, count in first)
        more = len(users.others) - 5
        notes.append(f"also {who}{f' and {more} more' if more > 0 else ''}")
    return UsersCheck(
        state=State.WARNING if warnings else State.OK,
        word="past" if warnings else _word(users),
        warnings=tuple(dict.fromkeys(warnings)),
        notes=tuple(dict.fromkeys(notes)),
        sessions=users.sessions,
        kube=tuple(checks),
        others=users.others,
        hostname=users.hostname,
        names=judge.names(users),
    )


def _word(users: Users) -> str:
    """Those who have sessions, Kubernetes' first; or who does not run."""
    running = [process for process in users.kube if process.pid]
    names = dict.fromkeys([*(process.name for process in running if process.sessions), *users.others])
    if not running:
        return f"no kubelet{f' +{len(names)}' if names else ''}"
    first, *more = names or ["none"]
    return f"{first} +{len(more)}" if more else first


def _first(counts: Mapping[str, int], most: int) -> Sequence[tuple[str, int]]:
    return [*counts.items()][:most]


def _sessions(count: int) -> str:
    return f"{count} session{'s' if count != 1 else ''}"


class _Judge:
    def __init__(self, settings: Settings, addresses: Addresses) -> None:
        self._listen = settings.proxy.listen
        self._apiservers = settings.apiservers
        self._addresses = addresses
        self._known = {*resolved(settings.apiservers, addresses)}

    def checked(self, process: KubeProcess, past: bool) -> KubeCheck:
        """The same for programs."""
        config = process.kubeconfig
        return KubeCheck(
            name=process.name,
            pid=process.pid or None,
            sessions=process.sessions,
            straight=self._straight(process),
            kubeconfig=config.path if config else None,
            servers={line: printable(url) for line, url in config.servers.items()} if config else {},
            past=past,
        )

    def sentence(self, process: KubeProcess) -> tuple[str, bool]:
        """What there is to say of it, and whether it goes past kube-nginx."""
        name, config, straight = process.name, process.kubeconfig, self._straight(process)
        wrong = self._elsewhere(config) if config else {}
        if config and wrong:
            where = " and ".join(dict.fromkeys(_where(url) for url in wrong.values()))
            begin = f"{name} goes to {where} directly"
            if not process.pid:
                begin = f"{name} does not run, and would go to {where} directly"
            elif process.sessions and not straight:
                begin = f"{name} will go to {where} directly once it is restarted"
            return f"{begin}: {_says(config, wrong)}; {self._to_change(config, wrong, process)}", True
        if straight:
            has = " and ".join(f"{_sessions(count)} with {peer}" for peer, count in straight.items())
            why = f"which kubeconfig {name} uses is not known"
            if config and config.servers:
                why = f"{_says(config, config.servers)}: systemctl restart {name} if that was changed lately"
            return f"{name} has {has} directly; {why}", True
        if process.pid and not process.sessions:
            return f"{name} runs, and has no session with kube-nginx", False
        return "", False

    def names(self, users: Users) -> Mapping[Endpoint, tuple[str, ...]]:
        """For which names the certificate has to hold, by listener: those that kubeconfigs have for it."""
        hosts: dict[Endpoint, list[str]] = {}
        for url in (url for p in users.kube if p.kubeconfig for url in p.kubeconfig.servers.values()):
            server = _parsed(url)
            for listener in self._listeners(server) if server else ():
                hosts.setdefault(listener, []).append(server.host if server else "")
        return {listener: tuple(dict.fromkeys(names)) for listener, names in hosts.items()}

    def _straight(self, process: KubeProcess) -> Mapping[Endpoint, int]:
        """By the apiservers of hosts.toml: of other peers on their ports nothing is known."""
        found: dict[Endpoint, int] = {}
        for peer, count in process.straight.items():
            of = next((a for a in self._apiservers if peer in resolved([a], self._addresses)), None)
            if of:
                found[of] = found.get(of, 0) + count
        return found

    def _elsewhere(self, config: Kubeconfig) -> Mapping[int, str]:
        """The lines of its servers, where none is a listener, and all are known."""
        servers = {line: (url, _parsed(url)) for line, url in config.servers.items()}
        if any(
            server is None or self._listeners(server) or self._unknown(server)
            for _, server in servers.values()
        ):
            return {}
        return {line: url for line, (url, _) in servers.items()}

    def _unknown(self, server: Endpoint) -> bool:
        return not is_address(server.host) and not self._addresses.get(server.host)

    def _listeners(self, server: Endpoint) -> Sequence[Endpoint]:
        """Those to which a server of a kubeconfig leads."""
        there = resolved([server], self._addresses)
        return [listener for listener in self._listen if any(self._is(at, listener) for at in there)]

    def _is(self, there: Endpoint, listener: Endpoint) -> bool:
        if there.port != listener.port:
            return False
        # one on all addresses has that of the node, whatever it is
        return there.host == listener.host or (listener.host in REACHED_AT and there not in self._known)

    def _to_change(self, config: Kubeconfig, wrong: Mapping[int, str], process: KubeProcess) -> str:
        listener = self._listen[0]
        wanted = f"https://{Endpoint(REACHED_AT.get(listener.host, listener.host), listener.port)}"
        lines = " and ".join(f"line {line}" for line in wrong)
        then = f", then: systemctl restart {process.name}" if process.pid else ""
        then = f"; {_CONTAINER}" if process.contained else then
        return f"{lines} there should be server: {wanted}{then}"


def _says(config: Kubeconfig, servers: Mapping[int, str]) -> str:
    return (
        f"its kubeconfig {config.path} says {' and '.join(dict.fromkeys(map(printable, servers.values())))}"
    )


def _where(url: str) -> str:
    return str(_parsed(url) or printable(url))


def _parsed(url: str) -> Endpoint | None:
    """Where a client with this `server:` connects; None if that is no address."""
    if not (match := _URL.fullmatch(url)):
        return None
    scheme, host, port = match.groups()
    try:
        return Endpoint(
            parse_host(host.strip("[]")).lower(), parse_port(port) if port else _PORTS[scheme or "http"]
        )
    except ValueError:
        return None


def sentences(check: UsersCheck) -> Iterator[tuple[State, str]]:
    """What is told of it."""
    yield from ((State.WARNING, text) for text in check.warnings)
    yield from ((State.OK, text) for text in check.notes)
