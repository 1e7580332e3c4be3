"""`fab` where nothing is as one expects it: no traceback, no hang, and a message that names what is wrong."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, run_fab
from tests.faults.conftest import until

pytestmark = pytest.mark.start
FAB = f"{sys.executable} -m fabric -r {ROOT}"
MANY = "7" * 5000
NOBODY = (
    "env -u HOME -u USER -u LOGNAME -u LNAME -u USERNAME unshare -U --map-user=12345 --map-group=12345 --"
)
UNREACHED = "worker-1, worker-2: status: cannot connect to 127.0.0.1:1: Connection refused"

ROWS: dict[str, tuple[str, int, str]] = {
    # what is run, with which exit status it ends, and what is on stdout or stderr
    "as usual": ("$FAB status", 1, UNREACHED),
    # the user and the environment
    "no name": (f"{NOBODY} $FAB status", 1, UNREACHED),
    "no name, -H": (f"{NOBODY} $FAB -H worker-1 status", 1, "worker-1: status: cannot connect"),
    "no home": (f"{NOBODY} $FAB verify", 1, "~/.cache/kube-nginx: this user has no home for it: set HOME or"),
    "no home, nothing built": (f"{NOBODY} $FAB diff", 1, "~/.cache/kube-nginx: this user has no home for it"),
    "no variables": ("env -i KUBE_NGINX_HOSTS=hosts.toml $FAB status", 1, UNREACHED),
    "home that is not there": ("HOME=/nonexistent $FAB status", 1, UNREACHED),
    "home that is relative": ("HOME=here $FAB verify", 1, "here/.cache/kube-nginx: this user has no home"),
    "many variables": (f"N={MANY * 20}; export N; $FAB status", 1, UNREACHED),
    "folder that is gone": (
        "mkdir gone; cd gone; rmdir ../gone; KUBE_NGINX_HOSTS=$OLDPWD/hosts.toml $FAB status",
        1,
        UNREACHED,
    ),
    "0 columns": ("COLUMNS=0 LINES=0 $FAB status", 1, "NODE      STATE     SINCE"),
    "no number of columns": ("COLUMNS=² LINES=x $FAB status", 1, "NODE      STATE     SINCE"),
    "no end of columns": (f"COLUMNS={MANY} $FAB status", 1, "NODE      STATE     SINCE"),
    # streams
    "stdin closed": ("$FAB status <&-", 1, UNREACHED),
    "stdin closed, question": ("$FAB uninstall <&-", 2, "say --yes to do it unasked"),
    "stdin closed, questions": ("$FAB init --to new.toml <&-", 2, "no terminal to ask on"),
    "stdin closed, password": (
        "$FAB --prompt-for-sudo-password status <&-",
        2,
        "there is no terminal to ask on",
    ),
    "stdout closed": ("$FAB status >&-", 1, UNREACHED),
    "stdout closed, JSON": ("$FAB status --json >&-", 1, UNREACHED),
    "stdout closed, document": ("$FAB render >&-", 0, ""),
    "stdout closed, list": ("$FAB --list >&-", 0, ""),
    "stdout full": (
        "$FAB status >/dev/full",
        1,
        "stdout: No space left on device: what belongs there is lost",
    ),
    "stdout full, refused": ("$FAB uninstall >/dev/full", 2, "say --yes to do it unasked"),
    "stdout full, JSON": ("$FAB status --json >/dev/full", 1, "stdout: No space left on device"),
    "stdout full, document": ("$FAB render >/dev/full", 1, "stdout: No space left on device"),
    "stdout full, list": ("$FAB --list >/dev/full", 1, "stdout: No space left on device"),
    "reader gone": ("$FAB render | head -1; exit ${PIPESTATUS[0]}", 0, "# kube-nginx.conf"),
    "reader gone, list": ("$FAB --list | head -1; exit ${PIPESTATUS[0]}", 0, "Available tasks"),
    "reader gone, JSON": ("$FAB status --json | true; exit ${PIPESTATUS[0]}", 1, UNREACHED),
    "stderr closed": ("$FAB status 2>&-", 1, "worker-1  not seen"),
    "stderr closed, refused": ("$FAB uninstall --json 2>&-", 2, '"ok": false'),
    "stderr full": ("$FAB status 2>/dev/full", 1, "worker-1  not seen"),
    "stderr full, refused": ("$FAB uninstall 2>/dev/full", 2, ""),
    "stderr gone": ("{ $FAB uninstall 2>&3 | true; exit ${PIPESTATUS[0]}; } 3>&1", 2, ""),
    "all closed": ("$FAB status <&- >&- 2>&-", 1, ""),
    "latin-1": ("PYTHONIOENCODING=latin-1 $FAB status --limit 漢", 2, r"--limit \u6f22: no node"),
    "ASCII": (
        "LC_ALL=C PYTHONUTF8=0 PYTHONCOERCECLOCALE=0 $FAB status --limit 漢",
        2,
        "no node, host or group",
    ),
    "ASCII, document": (
        "PYTHONIOENCODING=ascii:strict $FAB init --to 漢.toml --nodes a --apiservers b",
        0,
        r"\u6f22.toml: written",
    ),
    # numbers
    "--wait 5,000 digits": (f"$FAB restart --wait {MANY}", 2, "--wait '7777"),
    "--wait other digits": (
        "$FAB restart --wait ٣",
        2,
        "--wait '٣': must be a number of seconds from 0 to 86400",
    ),
    "--wait negative": ("$FAB restart --wait=-1", 2, "--wait '-1': must be a number of seconds"),
    "--lines 5,000 digits": (f"$FAB logs --lines {MANY}", 2, "--lines '7777"),
    "--lines huge": ("$FAB logs --lines 99999999999", 2, "--lines '99999999999': must be a number from 0"),
    "--watch 5,000 digits": (f"$FAB check --watch {MANY}", 2, "--watch '7777"),
    "--watch not a number": ("$FAB check --watch nan", 2, "--watch 'nan': seconds are wanted"),
    "--canary 5,000 digits": (f"$FAB deploy --canary {MANY}", 2, "--canary '7777"),
    "--batch other digits": ("$FAB restart --batch ٣%", 2, "--batch '٣%': must be a number of nodes"),
    "--seconds 5,000 digits": (f"$FAB drill --apiserver 10.0.1.1 --seconds {MANY}", 2, "--seconds '7777"),
    "-t other digits": (
        "FABRIC_TIMEOUTS_CONNECT=٣ $FAB status",
        2,
        "timeouts.connect (Fabric's setting): '٣' must be",
    ),
    "-H port": ("$FAB -H worker-1:99999 status", 2, "-H worker-1:99999: a port is a number from 1 to 65535"),
    "-H no port": ("$FAB -H worker-1:x status", 2, "-H worker-1:x: a port is a number from 1 to 65535"),
    "-H no host": ("$FAB -H @ status", 2, "-H @: a host is a name of"),
    "hosts.toml 5,000 digits": (
        f"sed -i 's/timeout = 1/timeout = {MANY}/' hosts.toml; $FAB status",
        2,
        "hosts.toml: not TOML",
    ),
    # files
    "hosts.toml a FIFO": (
        "mkfifo x; KUBE_NGINX_HOSTS=x $FAB status",
        2,
        "x: cannot be read: is no regular file",
    ),
    "hosts.toml a folder": ("KUBE_NGINX_HOSTS=. $FAB status", 2, "cannot be read: Is a directory"),
    "hosts.toml without end": (
        "KUBE_NGINX_HOSTS=/dev/zero $FAB status",
        2,
        "/dev/zero: cannot be read: is no regular",
    ),
    "hosts.toml of 100 MB": (
        "truncate -s 100M x; KUBE_NGINX_HOSTS=x $FAB status",
        2,
        "x: cannot be read: has more than 16 MB",
    ),
    "hosts.toml not UTF-8": (
        r"printf '\377\376' >x; KUBE_NGINX_HOSTS=x $FAB status",
        2,
        "x: byte 0: not UTF-8",
    ),
    "hosts.toml with a BOM": (
        r"(printf '\357\273\277'; cat hosts.toml) >x; KUBE_NGINX_HOSTS=x $FAB status",
        1,
        UNREACHED,
    ),
    "hosts.toml of another name": (
        r"KUBE_NGINX_HOSTS=$(printf '\351') $FAB status",
        2,
        r"\udce9: not found, though KUBE_NGINX_HOSTS",
    ),
    "environment.sh a FIFO": ("mkfifo x; $FAB init --from x --to y", 2, "x: is empty"),
    "environment.sh without end": (
        "$FAB init --from /dev/zero --to y",
        2,
        "--from /dev/zero: cannot be read: is no regular",
    ),
    "environment.sh from a pipe": (
        "echo NODE_IPS=10.0.0.1 | $FAB init --from /dev/stdin --to y --yes",
        0,
        "y: written",
    ),
    "inventory a folder": ("$FAB init --from . --to y", 2, "--from .: is a folder; name the file in it"),
    "inventory a program": (
        "$FAB init --from /bin/sh --to y",
        2,
        "/bin/sh: is binary, and no text",
    ),
    "inventory of 100 MB": (
        "truncate -s 100M x; $FAB init --from x --to y",
        2,
        "--from x: cannot be read: has more than 16 MB",
    ),
    "inventory nobody may read": (
        f"touch x; chmod 0 x; {NOBODY} $FAB init --from $PWD/x --to y",
        2,
        "x: cannot be read: Permission denied",
    ),
    "inventory that is escapes": (
        r"printf '[kube_node]\n\033[31m\n' >x; $FAB init --from x --to y",
        2,
        r"\x1b[31m",
    ),
    "kubectl without an end": (
        "printf '#!/bin/sh\nyes' >kubectl; chmod +x kubectl; PATH=$PWD:$PATH $FAB init --from kubectl --to y",
        2,
        "kubectl get nodes --output=json --request-timeout=30s: wrote more than 256 MB",
    ),
    "to another name": (r"$FAB render --to $(printf '\351')", 0, r"\udce9/kube-nginx.conf"),
    "ssh_config a FIFO": ("mkfifo x; $FAB -S x status", 2, "x: is no regular file"),
    "ssh_config a folder": ("$FAB -S . status", 2, ".: Is a directory"),
    "ssh_config not there": (
        "$FAB -S /nonexistent status",
        2,
        "fab: /nonexistent: No such file or directory",
    ),
    "ssh_config of 100 MB": (
        "truncate -s 100M ssh_config; $FAB status",
        2,
        "ssh_config: has more than 64 MB",
    ),
    "ssh_config with a bad Port": (
        "echo Port abc >>ssh_config; $FAB status",
        2,
        "ssh_config:5: Port abc: Bad port 'abc'",
    ),
    "the same, -H": (
        "echo Port=abc >>ssh_config; $FAB -S ssh_config -H worker-1 status",
        2,
        "ssh_config:5: Port=abc: Bad port 'abc'",
    ),
    "ssh_config with a bad timeout": (
        "echo ConnectTimeout x >>ssh_config; $FAB status",
        2,
        "ssh_config:5: ConnectTimeout x: invalid time value",
    ),
    "ssh_config with what is no setting": (
        "echo x >>ssh_config; $FAB status",
        2,
        "ssh_config:5: x: ",
    ),
    "ssh_config with half a quote": (
        "echo 'ProxyCommand \"x' >>ssh_config; $FAB status",
        2,
        'ssh_config:5: ProxyCommand "x: invalid quotes',
    ),
    "ssh_config without canonical domains": (
        "echo CanonicalizeHostname yes >>ssh_config; $FAB status",
        1,
        UNREACHED,
    ),
    "ssh_config forwards the agent": ("echo ForwardAgent true >>ssh_config; $FAB status", 1, UNREACHED),
    "ssh_config forwards the agent, -H": (
        "echo ForwardAgent true >>ssh_config; $FAB -S ssh_config -H worker-1 status",
        2,
        "ssh_config:5: ForwardAgent true: must be yes or no for fab -H",
    ),
    "ssh_config without a proxy": ("echo ProxyCommand none >>ssh_config; $FAB status", 1, UNREACHED),
    "identity a FIFO": ('mkfifo x; echo identity=\\"$PWD/x\\" >>hosts.toml; $FAB status', 1, "x is no file"),
    "identity not there": ("$FAB -i /nonexistent status", 2, "/nonexistent: no such file"),
    "-f not there": ("$FAB -f /nonexistent.yaml status", 1, UNREACHED),
    "-f of no known kind": ("touch x; $FAB -f x status", 2, "fab: UnknownFileType"),
    "-c not there": ("$FAB -c nonexistent status", 1, "Can't find any collection named 'nonexistent'"),
    # what there is of room and of numbers
    "no room for files": (
        "ulimit -f 0; $FAB render --to x",
        1,
        "cannot write x/kube-nginx.conf: File too large",
    ),
    "no room for hosts.toml": (
        "ulimit -f 0; $FAB init --to x --nodes a --apiservers b",
        1,
        "x: cannot be written: File too large",
    ),
    "no folder can be made": (
        "$FAB render --to /proc/x",
        1,
        "cannot write /proc/x/kube-nginx.conf: No such file",
    ),
    "cache not there": (
        "XDG_CACHE_HOME=/proc $FAB download",
        1,
        "cannot keep nginx-1.30.6.tar.gz in /proc/kube-nginx",
    ),
    "cache no folder": ("XDG_CACHE_HOME=/dev/null $FAB diff", 2, "/dev/null is no folder"),
    "too few open files": (
        "ulimit -n 60; $FAB status",
        2,
        "this process may have 60: raise its hard limit (ulimit -Hn 66",
    ),
    "no room for threads": ("ulimit -s 4000000; ulimit -v 3000000; $FAB status", 1, UNREACHED),
    "cache full": (
        "mkdir m c; truncate -s 1M m/nginx-1.30.6.tar.gz; sed -i s,/nonexistent/,$PWD/m/, hosts.toml; "
        "unshare -Urm sh -c 'mount -t tmpfs -o size=64k none c; XDG_CACHE_HOME=$PWD/c $FAB download'",
        1,
        "cannot keep nginx-1.30.6.tar.gz in",
    ),
    "disk read-only": (
        "unshare -Urm sh -c 'mount --bind . . && mount -o remount,bind,ro . && cd $PWD && $FAB init --to x "
        "--nodes a --apiservers b'",
        1,
        "x: cannot be written: Read-only file system",
    ),
    "the year 1970": (
        f"cc -shared -fPIC -o clock.so {ROOT}/tests/lab/clock.c; "
        "CLOCK_OFF=-$(date +%s) LD_PRELOAD=$PWD/clock.so $FAB status",
        1,
        UNREACHED,
    ),
    "terminal of no size": (
        "TERM=xterm script -qec 'stty rows 0 cols 0; unset COLUMNS LINES; $FAB status' /dev/null",
        1,
        "2 failed",
    ),
    # signals
    "signals ignored": ("env --ignore-signal=HUP,INT,TERM,PIPE,CHLD $FAB status", 1, UNREACHED),
    "the ends of children ignored": (
        "XDG_CACHE_HOME=$PWD env --ignore-signal=CHLD $FAB configure",
        1,
        "local: configure: $PWD/kube-nginx/nginx-1.30.6/configure does not exist",
    ),
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "ssh_config").write_text("Host worker-*\n  HostName 127.0.0.1\n  Port 1\nHost *\n")
    (tmp_path / "hosts.toml").write_text(
        'nodes = ["worker-1", "worker-2"]\napiservers = ["10.0.1.1"]\n'
        '[build]\nmirrors = ["file:///nonexistent/"]\n'
        '[ssh]\nconfig = "ssh_config"\nconnect_timeout = 1\n'
    )
    return tmp_path


@pytest.mark.parametrize("name", ROWS)
def test_no_traceback_and_no_hang(place: Path, name: str) -> None:
    script, status, words = ROWS[name]
    environment = {**os.environ, "KUBE_NGINX_HOSTS": str(place / "hosts.toml"), "FAB": FAB}
    if re.fullmatch(r"\$FAB [^<>|&;$(){}\\]*", script):  # nothing but arguments
        ran = run_fab("-r", str(ROOT), *shlex.split(script)[1:], cwd=place, env=environment)
        assert (ran.status, words in ran.out + ran.err) == (status, True), ran.err
        return
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=place,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=60,
        check=False,
    )
    out, err = done.stdout.decode(), done.stderr.decode()
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert words.replace("$PWD", str(place)) in out + err
    assert done.returncode == status, err


@pytest.mark.parametrize(
    ("nohup", "sent", "status"),
    [
        (False, ["INT"], 130),
        (False, ["TERM"], 143),
        (False, ["HUP"], 129),
        (True, ["HUP", "TERM"], 143),  # the first one has no effect
        (True, ["INT"], 130),
    ],
)
def test_a_signal_while_nodes_do_not_answer(place: Path, nohup: bool, sent: list[str], status: int) -> None:
    begun = place / "begun"
    command = f"sh -c 'touch {begun}; exec sleep 60'"
    (place / "ssh_config").write_text(f"Host worker-*\n  ProxyCommand {command}\n")
    hosts = place / "hosts.toml"
    hosts.write_text(hosts.read_text().replace("connect_timeout = 1", "connect_timeout = 60"))
    ignored = ["env", "--ignore-signal=HUP,INT,TERM"] if nohup else []
    with subprocess.Popen(
        [*ignored, *FAB.split(), "status"],
        cwd=place,
        env={**os.environ, "KUBE_NGINX_HOSTS": str(hosts)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            until(begun.exists)
            for name in sent:
                process.send_signal(signal.Signals[f"SIG{name}"])
            _, err = process.communicate(timeout=20)
        finally:
            process.kill()
    assert "not started: worker-1, worker-2: interrupted" in err
    assert process.returncode == status
