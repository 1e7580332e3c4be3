"""Shell text for the nodes: pure functions, POSIX sh and coreutils, every value quoted."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from shlex import quote

from ..config.settings import Proxy
from ..facts.paths import UNIT, UNIT_PATH
from ..facts.tools import needed
from ..release.render import TEMPLATES
from ..shell.command import kill_on_disconnect

NO_FOLDER = 66
"""The exit status of `receive` where there is no folder to put the file into."""

_WHY = f"journalctl -u {UNIT} -n 8 --no-pager -o cat >&2"
_PROPERTIES = (
    "LoadState,UnitFileState,ActiveState,SubState,Result,MainPID,NRestarts,"
    "ActiveEnterTimestamp,ActiveEnterTimestampMonotonic,NeedDaemonReload,DropInPaths,"
    "LimitNOFILE,LimitNOFILESoft,User"
)


def script(*names: str, **given: object) -> str:
    """Scripts of templates/, one after the other, with what they are given as shell variables before them."""
    lines = [f"{key}={quote(str(value))}" for key, value in given.items()]
    texts = [files(TEMPLATES).joinpath(f"{name}.sh").read_text(encoding="utf-8") for name in names]
    return "\n".join([f"# {names[-1]}.sh", *lines, *texts])


def on_node(proxy: Proxy, *names: str, **given: object) -> str:
    """Scripts that need what all of them have in common (templates/common.sh)."""
    return script("common", *names, prefix=proxy.prefix, unit=UNIT, unit_path=UNIT_PATH, **given)


def survey(proxy: Proxy, names: Sequence[str] = ()) -> str:
    """Everything later steps need to know of a node, as lines `kn.KEY=VALUE`; it resolves `names`, too."""
    hosts = " ".join(names)
    given = {"user": proxy.user, "ports": _ports(proxy), "hosts": hosts, "properties": _PROPERTIES}
    return on_node(proxy, "survey", tools=needed(proxy.user), **given)


def _ports(proxy: Proxy) -> str:
    return " ".join(f"{address.port:04X}" for address in proxy.listen)


def sessions(proxy: Proxy, names: Sequence[str]) -> str:
    """The survey, and in lines `kn.peer.ADDRESS=COUNT` with whom the service has sessions."""
    return f"{survey(proxy, names)}\n{script('sessions')}"


def peers(proxy: Proxy) -> str:
    """What `sessions` says, without the survey."""
    return on_node(proxy, "sessions", ports=_ports(proxy))


def drill(action: str, flows: str, lock: str, tools: str = "", seconds: int = 0) -> str:
    """Cuts the node off from the addresses in `flows`, or heals it: see templates/drill.sh."""
    return script("flock", "drill", action=action, flows=flows, lock=lock, tools=tools, seconds=seconds)


def mkdir(proxy: Proxy) -> str:
    """The three directories, and the service's own user where there is one."""
    return on_node(proxy, "prepare", "mkdir", user=proxy.user)


def tidy(proxy: Proxy) -> str:
    """Removes what a run that was cut off has left behind; only for whoever has the node's lock."""
    return on_node(proxy, "tidy")


def receive(destination: str, size: int, sha256: str, mode: str, owner: str = "0:0") -> str:
    """Takes `size` bytes from standard input and renames them over `destination`; nothing is half written.

    The temporary file is beside the destination, so that the rename is atomic and the file gets that
    folder's SELinux label. It is made anew: `>` would write to where a link leads that waits under its name.
    """
    folder, name = destination.rsplit("/", 1)
    chown = f'chown {owner} "$new"; ' if owner else ""
    return (
        f"new={quote(f'{folder}/.{name}.part')}; to={quote(destination)}\n"
        f"[ -d {quote(folder)} ] || "
        f"{{ echo {quote(f'{folder} does not exist')} >&2; exit {NO_FOLDER}; }}\n"
        f"trap 'rm -f \"$new\"' EXIT\n"
        f'rm -rf "$new"; ( set -C; head -c {size} > "$new" )\n'
        'sum=$(sha256sum < "$new" | cut -c1-64)\n'
        f'if [ "$sum" != {sha256} ]; then\n'
        f'  echo "the upload of $to arrived with sha256 $sum, not {sha256}" >&2\n'
        f"  df -hP {quote(folder)} >&2; exit 65\nfi\n"
        f'set -e; chmod {mode} "$new"; {chown}[ ! -d "$to" ] || [ -L "$to" ] || rmdir "$to"\n'
        'mv -fT "$new" "$to"'
    )


def systemctl(verb: str) -> str:
    """`systemctl VERB kube-nginx`; when it fails, the end of the journal is on stderr."""
    return f"systemctl {verb} {UNIT} && exit 0; status=$?\n{_WHY}; exit $status"


def daemon_reload() -> str:
    """Has systemd read the unit files; says whether ours had changed since it last did."""
    return (
        f"systemctl show -p NeedDaemonReload {UNIT} | grep -q =yes && changed=1 || changed=0\n"
        f"systemctl show -p LoadState {UNIT} | grep -q not-found && [ -e {UNIT_PATH} ] && changed=1\n"
        'systemctl daemon-reload && echo "kn.changed=$changed"'
    )


def journal(lines: int, follow: bool) -> str:
    """The unit's journal: the last `lines` lines, and whatever comes then."""
    command = f"journalctl -q -u {UNIT} -n {lines} --no-pager -o short-iso"
    return kill_on_disconnect(f"{command} -f") if follow else command


def uninstall(proxy: Proxy) -> str:
    """Removes the unit and what was shipped; a file of somebody else's keeps its folder."""
    return on_node(proxy, "uninstall")
