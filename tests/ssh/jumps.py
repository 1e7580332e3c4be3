"""Jump hosts: ProxyJump and ProxyCommand, each hop with settings of its own."""

from __future__ import annotations

from tests.ssh.case import Case

BASTION = "Host b\n    HostName bastion.example\n"
INNER = "Host n\n    HostName inner.example\n"
BOTH = "root@bastion good, root@inner good"
RELAY = "/srv/bin/relay"

CASES = (
    Case("`ProxyJump`", f"{BASTION}{INNER}    ProxyJump b\n", BOTH, fallback=""),
    Case(
        "`ProxyJump` with a name that resolves", f"{INNER}    ProxyJump bastion.example\n", BOTH, fallback=""
    ),
    Case(
        "`ProxyJump user@host:port`",
        f"{INNER}    ProxyJump gate@bastion.example:2222\n",
        "gate@bastion:2222 good, root@inner good",
    ),
    Case(
        "`ProxyJump ssh://user@host:port`",
        f"{INNER}    ProxyJump ssh://gate@bastion.example:2222\n",
        "gate@bastion:2222 good, root@inner good",
    ),
    Case(
        "`ProxyJump` with an IPv6 address in brackets",
        f"{INNER}    ProxyJump gate@[2001:2:0:1::2]:2222\n",
        "gate@bastion:2222 good, root@inner good",
    ),
    Case(
        "`ProxyJump ssh://` with an IPv6 address",
        f"{INNER}    ProxyJump ssh://[2001:2:0:1::2]:2222\n",
        "",
        ssh='Invalid ProxyJump "ssh://[2001:2:0:1::2]:2222"',
        fab="/srv/config:3",
    ),
    Case(
        "`ProxyJump` with a bare IPv6 address",
        f"{INNER}    ProxyJump 2001:2:0:1::2\n",
        "",
        ssh='Invalid ProxyJump "2001:2:0:1::2"',
        fab="/srv/config:3",
    ),
    Case(
        "the jump host's own HostName, User, Port and IdentityFile",
        f"{BASTION}    User gate\n    Port 2222\n    IdentityFile /srv/keys/second\n    IdentitiesOnly yes\n"
        f"{INNER}    User ops\n    ProxyJump b\n",
        "gate@bastion:2222 second, ops@inner good",
        fallback="",
    ),
    Case(
        "the jump host's own HostKeyAlias",
        f"{BASTION}    HostKeyAlias gateway\n{INNER}    ProxyJump b\n",
        BOTH,
        known="gateway <bastion>\ninner.example <inner>\n",
        fallback="",
    ),
    Case(
        "the jump host's own UserKnownHostsFile",
        f"{BASTION}    UserKnownHostsFile /srv/gates\n{INNER}    ProxyJump b\n",
        BOTH,
        known="inner.example <inner>\n",
        files={"gates": "bastion.example <bastion>\n"},
    ),
    Case(
        "what the node says is not said of the jump host",
        f"{BASTION}{INNER}    User ops\n    Port 2222\n    IdentityFile /srv/keys/second\n    ProxyJump b\n",
        "root@bastion good, ops@inner:2222 second",
    ),
    Case(
        "`ProxyJump a,b`: two hops",
        f"{BASTION}Host i\n    HostName inner.example\n"
        "Host n\n    HostName deep.example\n    ProxyJump b,i\n",
        "root@bastion good, root@inner good, root@deep good",
        fallback="",
    ),
    Case(
        "`ProxyJump a,b` with users and ports",
        "Host n\n    HostName deep.example\n"
        "    ProxyJump gate@bastion.example:2222,ops@inner.example:2222\n    User ops\n",
        "gate@bastion:2222 good, ops@inner:2222 good, ops@deep good",
    ),
    Case(
        "the jump host's own ProxyJump",
        f"{BASTION}Host i\n    HostName inner.example\n    ProxyJump b\n"
        "Host n\n    HostName deep.example\n    ProxyJump i\n",
        "root@bastion good, root@inner good, root@deep good",
        fallback="",
    ),
    Case(
        "the jump host's own ProxyJump, users and ports everywhere",
        f"{BASTION}    User gate\n    Port 2222\nHost i\n    HostName inner.example\n    User ops\n"
        "    ProxyJump b\n"
        "Host n\n    HostName deep.example\n    ProxyJump i\n    IdentityFile /srv/keys/third\n",
        "gate@bastion:2222 good, ops@inner good, root@deep third",
    ),
    Case(
        "the jump host's own ProxyCommand",
        f"{BASTION}    ProxyCommand {RELAY} %h %p\n{INNER}    ProxyJump b\n",
        BOTH,
        fallback="",
    ),
    Case(
        "four hops: `ProxyJump` of a jump host, and a list",
        f"{BASTION}Host i\n    HostName inner.example\n    ProxyJump b\n"
        "Host d\n    HostName deep.example\n    Port 2222\n"
        "Host n\n    HostName deep.example\n    HostKeyAlias deep\n    ProxyJump i,d\n",
        "root@bastion good, root@inner good, root@deep:2222 good, root@deep good",
    ),
    Case(
        "`ProxyJump none`",
        "Host n\n    HostName node.example\n    ProxyJump none\nHost *\n    ProxyJump b\n",
        fallback="",
    ),
    Case(
        "`Host *` with ProxyJump, of which the jump host is one",
        f"{BASTION}    ProxyJump none\n{INNER}Host *\n    ProxyJump b\n",
        BOTH,
    ),
    Case(
        "`Host *` with a ProxyJump that is its own jump host",
        "Host *\n    ProxyJump bastion.example\n",
        "",
        target="inner.example",
        ssh="jumphost loop via bastion.example",
        instead=BOTH,
    ),
    Case(
        "`ProxyCommand` with a token that is none of its own",
        f"{INNER}    ProxyCommand /srv/bin/relay %Z %p\n",
        "",
        ssh="%Z",
        fab="%Z",
    ),
    Case("`Host * !b` with ProxyJump", f"{BASTION}{INNER}Host * !b\n    ProxyJump b\n", BOTH),
    Case(
        "`Match host` with ProxyJump",
        f'{BASTION}{INNER}Match host *.example !exec "test %h = bastion.example"\n    ProxyJump b\n',
        BOTH,
    ),
    Case(
        "ProxyJump comes first, and ProxyCommand is left",
        f"{BASTION}{INNER}    ProxyJump b\n    ProxyCommand false\n",
        BOTH,
    ),
    Case(
        "ProxyCommand comes first, and ProxyJump is left",
        f"{BASTION}{INNER}    ProxyCommand ssh -F /srv/config b -W %h:%p\n    ProxyJump nowhere\n",
        BOTH,
    ),
    Case(
        "`ProxyCommand ssh -W %h:%p`",
        f"{BASTION}{INNER}    ProxyCommand ssh -F /srv/config -W %h:%p b\n",
        BOTH,
    ),
    Case(
        "`ProxyCommand ssh ... -W [%h]:%p`, and IPv6",
        f"{BASTION}Host n\n    HostName inner6.example\n"
        "    ProxyCommand ssh -q -F /srv/config -W [%h]:%p b\n",
        BOTH,
    ),
    Case(
        "`ProxyCommand` with %h, %p, %r, %n and %%",
        "Host n\n    HostName node.example\n    User ops\n    Port 2222\n"
        f"    ProxyCommand sh -c 'test %n-%r-%% = n-ops-%% && exec {RELAY} %h %p'\n",
        "ops@node:2222 good",
    ),
    Case(
        "`ProxyCommand` with a shell's quotes, variables and redirection",
        "Host n\n    HostName node.example\n"
        f'    ProxyCommand sh -c \'{RELAY} "$0" ${{PORT_OF_SSH:-22}}\' "%h" 2>/dev/null\n',
    ),
    Case(
        "`ProxyCommand none`",
        "Host n\n    HostName node.example\n    ProxyCommand none\nHost *\n    ProxyCommand false\n",
    ),
    Case(
        "`ProxyCommand` that fails",
        "Host n\n    HostName node.example\n    ProxyCommand echo not today >&2; exit 7\n",
        "",
        ssh="Connection closed by",
        fab="not today",
    ),
    Case(
        "`ProxyCommand`, and a name that only it can resolve",
        f"Host n\n    HostName hidden\n    ProxyCommand {RELAY} node.example %p\n",
        known="hidden <node>\n",
        fallback="",
    ),
    Case(
        "`ProxyJump` with %n and %r",
        "Host n\n    HostName inner.example\n    ProxyJump %r@%n-gate\n"
        "Host n-gate\n    HostName bastion.example\n    Port 2222\n",
        "root@bastion:2222 good, root@inner good",
    ),
    Case(
        "`ProxyJump localhost`",
        "Host n\n    HostName node.example\n    ProxyJump localhost\n",
        "root@here good, root@node good",
    ),
    Case(
        "`Host *` with ProxyCommand, the jump host's, too",
        f"{BASTION}{INNER}    ProxyJump b\nHost *\n    ProxyCommand {RELAY} %h %p\n",
        BOTH,
    ),
    Case(
        "`ProxyCommand ssh` with a shell there instead of -W",
        f"{BASTION}{INNER}    ProxyCommand ssh -F /srv/config b "
        '"exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3"\n',
        BOTH,
    ),
    Case(
        "`BindAddress` and `AddressFamily` of the jump host",
        f"{BASTION}    AddressFamily inet\n    BindAddress 198.18.1.1\n{INNER}    ProxyJump b\n",
        BOTH,
    ),
    Case(
        "`BindAddress` of a node behind a jump host, which that does not have",
        f"{BASTION}{INNER}    BindAddress 198.18.1.1\n    ProxyJump b\n",
        BOTH,
    ),
    Case(
        "a jump host that does not listen there",
        f"{BASTION}    Port 2223\n{INNER}    ProxyJump b\n",
        "",
        ssh="Connection refused",
        fab="bastion.example:2223",
    ),
    Case(
        "a jump host by a user of a domain: `ProxyJump ops@corp@b`",
        f"{BASTION}{INNER}    ProxyJump ops@corp@b\n",
        "",
        ssh="ops@corp@bastion.example: Permission denied",
        fab="ops@corp",
    ),
    Case(
        "`ProxyUseFdpass`",
        "Host n\n    HostName node.example\n"
        "    ProxyCommand /srv/bin/pass-socket %h %p\n    ProxyUseFdpass yes\n",
        fab="ProxyUseFdpass",
    ),
    Case(
        "a jump host whose key is unknown",
        f"{BASTION}{INNER}    ProxyJump b\n",
        "",
        known="inner.example <inner>\n",
        ssh="Host key verification failed",
        fab="the host key of bastion.example is unknown",
        fallback="the host key of bastion.example is unknown",
    ),
    Case(
        "a jump host whose key has changed",
        f"{BASTION}{INNER}    ProxyJump b\n",
        "",
        known="inner.example <inner>\nbastion.example <node>\n",
        ssh="Host key verification failed",
        fab="the host key of bastion.example HAS CHANGED",
    ),
    Case(
        "a node behind a jump host whose key is unknown",
        f"{BASTION}{INNER}    ProxyJump b\n",
        "root@bastion good",
        known="bastion.example <bastion>\n",
        ssh="Host key verification failed",
        fab="the host key of inner.example is unknown",
    ),
    Case(
        "a jump host that does not let in",
        f"{BASTION}    IdentityFile /srv/keys/stranger1\n    IdentitiesOnly yes\n{INNER}    ProxyJump b\n",
        "",
        ssh="Permission denied",
        fab="b",
    ),
    Case(
        "a jump host that does not forward",
        f"{BASTION}{INNER}    ProxyJump b\n",
        "root@bastion good",
        sshd={"bastion": "AllowTcpForwarding no"},
        ssh="administratively prohibited",
        fab="inner.example",
    ),
    Case(
        "a jump host that forwards to this port alone",
        f"{BASTION}{INNER}    ProxyJump b\n",
        BOTH,
        sshd={"bastion": "PermitOpen inner.example:22"},
    ),
    Case(
        "a node behind a jump host that is not there",
        f"{BASTION}Host n\n    HostName nowhere.example\n    ProxyJump b\n",
        "root@bastion good",
        ssh="open failed: connect failed",
        fab="nowhere.example",
    ),
    Case(
        "two jump hosts of one name with two ports",
        f"{BASTION}{INNER}    ProxyJump b:2222\n",
        "root@bastion:2222 good, root@inner good",
    ),
    Case(
        "`ssh.gateway` in hosts.toml, with a port",
        None,
        "gate@bastion:2222 good, root@inner good",
        target="n",
        toml='gateway = "gate@b:2222"\n',
        files={".ssh/config": f"{BASTION}{INNER}    ProxyJump gate@b:2222\n"},
    ),
    Case(
        "a jump host with IPv6 alone, a node behind it with IPv6 alone",
        "Host n\n    HostName inner6.example\n    ProxyJump bastion6.example\n",
        BOTH,
    ),
)
