"""What somebody may do to a node between two tasks, as shell text: see BEFORE for what it is given."""

from __future__ import annotations

from shlex import quote

from .world import UNIT, World

BEFORE = f"""\
P=PREFIX U=/etc/systemd/system/{UNIT} S={UNIT}
B=$P/sbin/kube-nginx C=$P/conf/kube-nginx.conf R=$P/releases
master() {{ ps -eo pid=,args= | sed -n 's/^ *\\([0-9]*\\) nginx: master.*/\\1/p' | tail -n 1; }}
worker() {{ ps -eo pid=,args= | sed -n 's/^ *\\([0-9]*\\) nginx: worker.*/\\1/p' | tail -n 1; }}
send() {{ [ -z "$2" ] || kill "-$1" "$2" 2>/dev/null || true; }}
aside() {{ rm -rf /root/aside; [ ! -e "$1" ] || mv "$1" /root/aside; }}
again() {{ [ ! -f "$1" ] || {{ cp -a "$1" "$1.walk" && {{ $2; }} && mv -f "$1.walk" "$1"; }}; }}
real() {{ [ -d "$1" ] && [ ! -L "$1" ]; }}
moved() {{ ! real "$1" || {{ mkdir -p /data; rm -rf "$2"; mv "$1" "$2" && ln -s "$2" "$1"; }}; }}
both() {{ for pid in "$2" "$3"; do send "$1" "$pid"; done; }}
dropped_in() {{ mkdir -p $U.d; printf '[Service]\\nEnvironment=A=b\\n' > $U.d/walk.conf; }}
sessions() {{ ps -eo pid=,args= | sed -n 's/^ *\\([0-9]*\\) sshd[a-z-]*: root.*/\\1/p'; }}
"""

FILES = {
    "conf-edited": "again $C 'sed -i s/max_fails=[0-9]*/max_fails=9/ '$C.walk",
    "conf-invalid": "again $C 'sed -i $anonsense; '$C.walk",
    "conf-empty": "again $C 'truncate -s 0 '$C.walk",
    "conf-removed": "rm -rf $C",
    "conf-reowned": "chown -R nobody $C 2>/dev/null || true",
    "conf-600": "chmod 600 $C 2>/dev/null || true",
    "conf-folder": "rm -rf $C; mkdir -p $C",
    "conf-elsewhere": "[ ! -f $C ] || { mv $C /root/linked.conf && ln -s /root/linked.conf $C; }",
    "binary-edited": "again $B 'eval echo x >>'$B.walk",
    "binary-cut": "again $B 'truncate -s 1000 '$B.walk",
    "binary-removed": "rm -rf $B",
    "binary-reowned": "chown nobody $B 2>/dev/null || true",
    "binary-644": "chmod 644 $B 2>/dev/null || true",
    "binary-folder": "rm -rf $B; mkdir -p $B",
    "unit-edited": "again $U 'sed -i s/^RestartSec=.*/RestartSec=6/ '$U.walk",
    "unit-invalid": "again $U 'sed -i s/^ExecStart=.*/ExecStart=relative/ '$U.walk",
    "unit-removed": "rm -rf $U",
    "unit-gone": "rm -rf $U; systemctl daemon-reload",
    "unit-600": "chmod 600 $U 2>/dev/null || true",
    "unit-link": "[ ! -f $U ] || { mv $U /root/$S && ln -s /root/$S $U; }",
    "unit-folder": "rm -rf $U; mkdir -p $U",
}
FOLDERS = {
    **{f"{name}-gone": f"rm -rf $P/{name}" for name in ("conf", "sbin", "logs", "releases")},
    **{f"{name}-700": f"chmod 700 $P/{name} || true" for name in ("conf", "sbin", "logs", "releases")},
    **{f"{name}-000": f"chmod 000 $P/{name} || true" for name in ("conf", "sbin", "logs", "releases")},
    "prefix-700": "chmod 700 $P || true",
    "prefix-gone": "rm -rf $P/* $P",
    "logs-reowned": "chown nobody $P/logs || true",
    "sbin-reowned": "chown nobody $P/sbin || true",
    "current-gone": "rm -rf $R/current",
    "current-folder": "rm -rf $R/current; mkdir -p $R/current",
    "current-dangling": "ln -sfn nothing $R/current || true",
    "previous-gone": "rm -rf $R/previous",
    "release-cut": "f=$(ls $R/*/kube-nginx.conf 2>/dev/null | head -n 1); [ -z $f ] || truncate -s 9 $f",
    "prefix-link": "moved $P /data/prefix",
    "conf-link": "moved $P/conf /data/conf",
    "sbin-link": "moved $P/sbin /data/sbin",
}
PROCESSES = {
    "pid-gone": "rm -rf $P/logs/nginx.pid",
    "pid-of-worker": "w=$(worker); [ -z $w ] || [ ! -f $P/logs/nginx.pid ] || echo $w > $P/logs/nginx.pid",
    "pid-nonsense": "[ ! -f $P/logs/nginx.pid ] || echo nonsense > $P/logs/nginx.pid",
    "master-killed": "send KILL $(master)",
    "master-terminated": "send TERM $(master)",
    "master-quit": "send QUIT $(master)",
    "worker-killed": "send KILL $(worker)",
    "worker-stopped": "send STOP $(worker)",
    "worker-quit": "send QUIT $(worker)",
    "both-stopped-and-on": "m=$(master) w=$(worker); both STOP $m $w; sleep 0.1; both CONT $m $w",
    "workers-away": "send WINCH $(master)",
    "second-master": "send USR2 $(master)",
    "second-master-alone": "m=$(master); send USR2 $m; sleep 0.5; send QUIT $m",
    "reopened": "send USR1 $(master)",
}
SERVICE = {
    "stopped": "systemctl stop $S || true",
    "started": "systemctl start $S || true",
    "restarted": "systemctl restart $S || true",
    "reloaded": "systemctl reload $S || true",
    "disabled": "systemctl disable $S 2>/dev/null || true",
    "killed": "systemctl kill -s KILL $S 2>/dev/null || true",
    "masked-and-not": "aside $U; systemctl mask $S; systemctl unmask $S; "
    "[ ! -e /root/aside ] || mv -T /root/aside $U; systemctl daemon-reload",
    "drop-in": "dropped_in",
    "drop-in-read": "dropped_in; systemctl daemon-reload",
    "drop-in-gone": "rm -rf $U.d",
    "daemon-reloaded": "systemctl daemon-reload",
    "user-gone": "[ -z OWNER ] || userdel --force OWNER 2>/dev/null || true",
    "edit-taken-and-undone": "[ ! -f $C ] || { cp -a $C /root/good; "
    "again $C 'sed -i 0,/max_fails=/{/max_fails=/d} '$C.walk; "
    "systemctl reload $S; sleep 0.3; mv -f /root/good $C; } || true",
    "lock-folder": "rm -rf /run/kube-nginx*; mkdir -p /run/kube-nginx.lock /run/kube-nginx/action",
    "leftovers": "mkdir -p $R/0123456789.part; : > $P/conf/.kube-nginx.conf.fresh; "
    ": > $P/sbin/.kube-nginx.part; : > /etc/systemd/system/.$S.fresh; true",
}
DAMAGE = {**FILES, **FOLDERS, **PROCESSES, **SERVICE}
SELDOM = "prefix-gone", "prefix-link", "conf-link", "sbin-link"

# What only a human may undo: what a task finds in place, and how it goes away again.
AWAY = "systemctl stop squatter holder 2>/dev/null; systemctl reset-failed squatter holder 2>/dev/null; true"
LOCK = (
    "mkdir -p -m 700 /run/kube-nginx; "
    "systemd-run -q --unit=holder sh -c 'exec flock /run/kube-nginx/lock sleep 999'; sleep 0.3"
)
PAUSED = "send STOP $(master)"
STUFFED = "aside $C; mkdir -p $C/of-somebody"
EMPTIED = "rm -rf $C; [ ! -e /root/aside ] || mv -T /root/aside $C"
FILED = "aside $R; : > $R"
UNFILED = "rm -rf $R; [ ! -e /root/aside ] || mv -T /root/aside $R"
RESUMED = (
    "for pid in $(ps -eo pid=,args= | sed -n 's/^ *\\([0-9]*\\) nginx: .*/\\1/p'); do send CONT $pid; done"
)
WIPE = f"""\
systemctl unmask {UNIT} 2>/dev/null; systemctl disable --now {UNIT} squatter holder 2>/dev/null
{RESUMED}
for pid in $(ps -eo pid=,args= | sed -n 's/^ *\\([0-9]*\\) nginx: .*/\\1/p'); do kill -KILL $pid; done
rm -rf /run/kube-nginx* /opt/k8s /opt/proxies /data /root/aside /root/good /root/linked.conf /root/$S
rm -rf /etc/systemd/system/*kube-nginx* /etc/systemd/system/.kube-nginx* /etc/systemd/system/*.wants/{UNIT}
systemctl daemon-reload; systemctl reset-failed 2>/dev/null
userdel --force kube-nginx 2>/dev/null; userdel --force other 2>/dev/null; true
"""


def do(world: World, script: str) -> str:
    """Runs shell text on the node, as somebody who is root there, and gives what it printed."""
    before = BEFORE.replace("PREFIX", quote(world.spec.prefix))
    return world.node.enter(before + script.replace("OWNER", world.spec.user or "''"))


def wipe(world: World) -> None:
    """Has the node be as if kube-nginx had never been there, and all apiservers answer."""
    do(world, WIPE)
    for name in world.servers:
        world.server(name, "up")
