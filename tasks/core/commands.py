"""Shell text for the nodes: pure functions, POSIX sh and coreutils, every value quoted."""

from __future__ import annotations

from shlex import quote

from .settings import Proxy

UNIT = "kube-nginx.service"
UNIT_PATH = f"/etc/systemd/system/{UNIT}"

_WHY = f"journalctl -u {UNIT} -n 8 --no-pager -o cat >&2"
_PREAMBLE = "set -u; umask 022; LC_ALL=C; PATH=$PATH:/usr/sbin:/sbin; export LC_ALL PATH\n"
_PROPERTIES = (
    "LoadState,UnitFileState,ActiveState,SubState,Result,MainPID,NRestarts,"
    "ActiveEnterTimestamp,ActiveEnterTimestampMonotonic,NeedDaemonReload"
)


def binary_path(proxy: Proxy) -> str:
    """Where the binary is on a node (runbook: "rename the binary to kube-nginx")."""
    return f"{proxy.prefix}/sbin/kube-nginx"


def conf_path(proxy: Proxy) -> str:
    """Where the configuration is on a node."""
    return f"{proxy.prefix}/conf/kube-nginx.conf"


def shell(script: str) -> str:
    """`script` as one command for whatever login shell the user has there."""
    return f"sh -c {quote(_PREAMBLE + script)}"


def leashed(script: str) -> str:
    """`script` in a process group that ends when our side of the connection does.

    sshd leaves a command running when its channel closes; all that the command can notice is the
    end of its standard input.
    """
    return (
        f"exec 3<&0; setsid sh -c {quote(script)} </dev/null 3<&- & job=$!\n"
        '( cat <&3 >/dev/null; kill -TERM "-$job" ) >/dev/null 2>&1 & watch=$!\n'
        'wait "$job"; status=$?; kill "$watch" 2>/dev/null; exit "$status"'
    )


def survey(proxy: Proxy) -> str:
    """Everything later steps need to know of a node, as lines `kn.KEY=VALUE`."""
    files = " ".join(quote(f) for f in (binary_path(proxy), conf_path(proxy), UNIT_PATH))
    user = f'say user "$(id -u {quote(proxy.user)} 2>/dev/null)"\n' if proxy.user else ""
    return (
        'say() { printf \'kn.%s=%s\\n\' "$1" "$2"; }\n'
        'say arch "$(uname -m)"; say uid "$(id -u)"\n'
        f"{user}"
        f"cd {quote(proxy.prefix)} 2>/dev/null && for d in conf logs sbin; do\n"
        '  [ -d "$d" ] && say "dir.$d" "$(stat -c %u "$d")"\ndone\n'
        f"for f in {files}; do\n"
        '  [ -f "$f" ] && say "file.$f" "$(sha256sum < "$f" | cut -c1-64) $(stat -c %a "$f")"\ndone\n'
        f"systemctl show -p {_PROPERTIES} {UNIT} | sed 's/^/kn.unit./'\n"
        f"pid=$(systemctl show -p MainPID {UNIT}); pid=${{pid#MainPID=}}\n"
        'if [ "${pid:-0}" -gt 0 ]; then\n'
        '  say exe "$(readlink "/proc/$pid/exe")"; say running "$("/proc/$pid/exe" -v 2>&1)"\n'
        "  ls -l /proc/$pid/fd | sed -n 's/.*socket:\\[\\([0-9]*\\)\\]$/kn.socket.\\1=1/p'\nfi\n"
        "say uptime \"$(cut -d' ' -f1 /proc/uptime)\"\n"
        "cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | grep ' 0A ' |\n"
        '  while read -r _ local _ _ _ _ _ _ _ inode _; do say "listen.$local" "$inode"; done; :'
    )


def mkdir(proxy: Proxy) -> str:
    """The three directories, and the service's own user where there is one."""
    directories = " ".join(quote(f"{proxy.prefix}/{d}") for d in ("conf", "logs", "sbin"))
    script = f"set -e; mkdir -p {directories}\n"
    if proxy.user:
        user = quote(proxy.user)
        script = (
            f"set -e; id -u {user} >/dev/null 2>&1 || useradd --system --user-group --no-create-home"
            f" --home-dir /nonexistent --shell /usr/sbin/nologin {user}\n{script}"
            f"chown {user}:{user} {quote(proxy.prefix + '/logs')}\n"
        )
    return script


def install(upload: str, destination: str, sha256: str, mode: str, owner: str = "0:0") -> str:
    """Checks an uploaded file and renames it over `destination`; nothing is ever half written.

    An upload outside the destination's folder (a user with sudo cannot write there) is first copied
    into it, so that the rename is atomic and the file gets that folder's SELinux label.
    """
    folder, name = destination.rsplit("/", 1)
    staged = f"{folder}/.{name}.{upload.rsplit('.', 1)[-1]}"
    chown = f'chown {owner} "$new"; ' if owner else ""
    there = (
        f"[ -d {quote(folder)} ] || "
        f"{{ echo {quote(f'{folder} does not exist; make it first: fab mkdir')} >&2; exit 66; }}\n"
    )
    copy = "" if staged == upload else 'cat "$up" > "$new"; rm -f "$up"\n'
    return (
        f"up={quote(upload)}; new={quote(staged)}; to={quote(destination)}\n"
        f'trap \'rm -f "$up" "$new"\' EXIT\nset -e\n{there}{copy}'
        'sum=$(sha256sum < "$new" | cut -c1-64)\n'
        f'if [ "$sum" != {sha256} ]; then\n'
        f'  echo "the upload of $to arrived with sha256 $sum, not {sha256}" >&2\n'
        f"  df -hP {quote(folder)} >&2; exit 65\nfi\n"
        f'chmod {mode} "$new"; {chown}mv -f "$new" "$to"'
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


def reload(seconds: int = 5) -> str:
    """Reloads, then waits up to `seconds` for a worker that was not there before.

    `nginx -s reload` exits 0 even when the master then refuses the new configuration.
    """
    workers = 'grep -l "^PPid:[[:space:]]*$pid$" /proc/[0-9]*/status 2>/dev/null'
    return (
        f"pid=$(systemctl show -p MainPID {UNIT}); pid=${{pid#MainPID=}}\n"
        f"before=$({workers})\n"
        f"systemctl reload {UNIT} || {{ echo 'nginx did not take the new configuration' >&2\n"
        f"  {_WHY}; exit 1; }}\n"
        f"tries={seconds * 10}\n"
        'while [ "$tries" -gt 0 ]; do\n'
        f"  for worker in $({workers}); do\n"
        '    case " $(echo $before) " in *" $worker "*) ;; *) exit 0 ;; esac\n  done\n'
        "  sleep 0.1; tries=$((tries - 1))\ndone\n"
        f'echo "nginx did not take the new configuration within {seconds} s" >&2\n'
        f"{_WHY}; exit 1"
    )


def journal(lines: int, follow: bool) -> str:
    """The unit's journal: the last `lines` lines, and whatever comes then."""
    command = f"journalctl -q -u {UNIT} -n {lines} --no-pager -o short-iso"
    return leashed(f"{command} -f") if follow else command


def uninstall(proxy: Proxy) -> str:
    """Removes the unit and what was shipped; a file of somebody else's keeps its folder."""
    prefix = quote(proxy.prefix)
    return (
        f"if [ ! -e {UNIT_PATH} ] && [ ! -d {prefix}/sbin ] && [ ! -d {prefix}/conf ]; then\n"
        "  echo kn.changed=0; exit 0\nfi\n"
        f"if [ -e {UNIT_PATH} ]; then\n"
        f"  systemctl stop {UNIT} || exit; systemctl disable {UNIT} || exit\n"
        f"  rm -f {UNIT_PATH} && systemctl daemon-reload || exit\n"
        f"  systemctl reset-failed {UNIT} 2>/dev/null\nfi\n"
        f"rm -f /etc/systemd/system/*.wants/{UNIT}\n"
        f"rm -rf {prefix}/conf {prefix}/logs {prefix}/sbin || exit\n"
        f"rmdir {prefix} 2>/dev/null || {{ [ ! -e {prefix} ] || echo kn.kept=1; }}\n"
        "echo kn.changed=1"
    )
