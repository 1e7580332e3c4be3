"""How ssh_config is read: files, keywords, blocks, tokens."""

from __future__ import annotations

from tests.ssh.case import Case

NODE = "Host n\n    HostName node.example\n"
OPS = "ops@node good"
SECOND = "root@node second"


def files(*names: str) -> dict[str, str]:
    """Files that each say `User ops` for n."""
    return dict.fromkeys(names, "Host n\n    User ops\n")


def match(criteria: str, logins: str = OPS, **more: object) -> Case:
    """A Match line under which the user is another one."""
    config = f"Match {criteria}\n    User ops\n{NODE}"
    return Case(f"`Match {criteria}`", config, logins, **more)  # type: ignore[arg-type]


FILES = (
    Case(
        "no file at all, a name that resolves", None, target="node.example", fallback="/etc/ssh/ssh_config:1"
    ),
    Case(
        "~/.ssh/config",
        None,
        OPS,
        files={".ssh/config": f"{NODE}    User ops\n"},
        fallback="/etc/ssh/ssh_config:1",
    ),
    Case(
        "~/.ssh/config counts more than /etc/ssh/ssh_config",
        None,
        OPS,
        target="system",
        files={".ssh/config": "Host system\n    User ops\n"},
    ),
    Case("/etc/ssh/ssh_config.d alone", None, "gate@node good", target="system"),
    Case(
        "`Include` with an absolute path",
        f"Include /srv/more\n{NODE}",
        OPS,
        files=files("more"),
        fallback="/srv/config:1",
    ),
    Case("`Include` with a path relative to ~/.ssh", f"Include more\n{NODE}", OPS, files=files(".ssh/more")),
    Case("`Include ~/...`", f"Include ~/more\n{NODE}", OPS, files=files("more")),
    Case(
        "`Include` with a pattern: in lexical order",
        "Include conf.d/*.conf\n",
        SECOND,
        files={
            ".ssh/conf.d/20.conf": "Host n\n    IdentityFile /srv/keys/third\n    HostName nowhere.example\n",
            ".ssh/conf.d/10.conf": f"{NODE}    IdentityFile /srv/keys/second\n",
            ".ssh/conf.d/05.off": "Host n\n    User ops\n",
        },
    ),
    Case(
        "`Include` of several files on a line",
        f'Include /srv/a "/srv/b c"\n{NODE}',
        "ops@node second",
        files={"a": "Host n\n    User ops\n", "b c": "Host n\n    IdentityFile /srv/keys/second\n"},
    ),
    Case(
        "`Include` in a file that is included",
        f"Include /srv/one\n{NODE}",
        OPS,
        files={"one": "Include /srv/two\n", "two": "Host n\n    User ops\n"},
    ),
    Case(
        "`Include` inside a Host that does not match",
        f"Host other\n    Include /srv/more\n{NODE}",
        "root@node good",
        files=files("more"),
    ),
    Case(
        "`Include` inside a Host that matches",
        "Host n\n    Include /srv/more\n    HostName node.example\n",
        OPS,
        files={"more": "User ops\n"},
    ),
    Case("`Include` of a file that is not there", f"Include /srv/nothing*\n{NODE}", fallback="/srv/config:1"),
    Case(
        "`Include` of itself",
        "Include /srv/config\n",
        "",
        ssh="Too many recursive",
        fab="Too many recursive",
    ),
    Case(
        "a folder in which fab stands plays no part",
        "Include more\n" + NODE,
        files={"more": "Host n\n    User ops\n"},
    ),
)

LINES = (
    Case("keywords in any case", "hOsT n\n    HOSTNAME node.example\n    user ops\n", OPS),
    Case("`keyword = value`", "Host=n\nHostName = node.example\nUser =ops\n", OPS, fallback=""),
    Case("tabs and blanks", "Host\tn\n\t HostName\t node.example \t\n\tUser\tops\t\n", OPS),
    Case("quotes", 'Host "n"\n    HostName "node.example"\n    User "ops"\n', OPS),
    Case('`keyword="value"`', 'Host "n"\n    HostName="node.example"\n    User="ops"\n', OPS),
    Case(
        "a blank in a path, quoted",
        f'{NODE}    IdentityFile "/srv/my key"\n',
        SECOND,
        files={"my key": "<<second>>"},
    ),
    Case("a comment at the end of a line", f"{NODE}    User ops # of the lab\n", OPS),
    Case("comments and empty lines", f"# one\n\n  # two\n{NODE}    # three\n    User ops\n#", OPS),
    Case("no blanks before a keyword", "Host n\nHostName node.example\nUser ops", OPS),
    Case("CRLF", f"{NODE}    User ops\n".replace("\n", "\r\n"), OPS),
    Case(
        "the first value counts",
        f"{NODE}    User ops\n    User gate\nHost *\n    User gate\n",
        OPS,
        fallback="",
    ),
    Case("before any Host: for all, and first", f"User ops\n{NODE}    User gate\n", OPS),
    Case(
        "a keyword that is not known",
        f"{NODE}    Frobnicate yes\n",
        "",
        ssh="Bad configuration option: frobnicate",
        fab="/srv/config:3",
    ),
    Case("`IgnoreUnknown`", f"IgnoreUnknown Frob*\n{NODE}    Frobnicate yes\n    User ops\n", OPS),
    Case("macOS: `UseKeychain` and IgnoreUnknown", f"IgnoreUnknown UseKeychain\nUseKeychain yes\n{NODE}"),
    Case(
        "a keyword that is known and has no value",
        f"{NODE}    User\n",
        "",
        ssh="/srv/config line 3",
        fab="/srv/config:3",
    ),
    Case(
        "a value that is none of its keyword's",
        f"{NODE}    Port ssh-alt\n",
        "",
        ssh="/srv/config line 3",
        fab="/srv/config:3",
    ),
    Case(
        "a bad line in a file that is included",
        f"Include /srv/more\n{NODE}",
        "",
        ssh="/srv/more",
        fab="/srv/more:2",
        files={"more": "Host *\n    StrictHostKeyChecking perhaps\n"},
    ),
    Case(
        "a bad line in a Host that does not match",
        f"Host other\n    Port ssh-alt\n{NODE}",
        "",
        ssh="/srv/config line 2",
        fab="/srv/config:2",
    ),
    Case(
        "a quote that is not closed",
        f'{NODE}    User "ops\n',
        "",
        ssh="/srv/config line 3",
        fab="/srv/config:3",
    ),
    Case("a file that others may write to, named by -F", NODE, modes={"config": 0o666}),
    Case(
        "~/.ssh/config that others may write to",
        None,
        "",
        files={".ssh/config": NODE},
        modes={".ssh/config": 0o666},
        ssh="Bad owner or permissions on /srv/.ssh/config",
        fab="/srv/.ssh/config",
    ),
)

HOSTS = (
    Case("several patterns", "Host x y n z\n    HostName node.example\n    User ops\n", OPS, fallback=""),
    Case("`*` and `?`", "Host n?de.*\n    User ops\n", OPS, target="node.example"),
    Case(
        "`!` in patterns",
        "Host n* !node.example\n    User gate\nHost node.example\n    User ops\n",
        OPS,
        target="node.example",
        fallback="",
    ),
    Case(
        "Host is the name that was given, not HostName",
        f"Host node.example\n    User ops\n{NODE}",
        "root@node good",
    ),
    Case("`HostName %h.example`", "Host node\n    HostName %h.example\n", target="node", fallback=""),
    Case("upper case: `HostName NODE.Example`", "Host n\n    HostName NODE.Example\n"),
    Case("upper case in the name that is given", "Host N\n    HostName node.example\n", target="N"),
    Case("user@ in hosts.toml", f"{NODE}    User gate\n", OPS, target="ops@n"),
    Case("`User` in ssh_config, none in hosts.toml", f"{NODE}    User ops\n", OPS),
)

MATCHES = (
    match("host node.example", "root@node good"),
    match("originalhost n"),
    match('originalhost "x,n"'),
    match("originalhost n,!n", "root@node good"),
    match("!originalhost x"),
    match("localuser root"),
    match("localuser !root", "root@node good"),
    match("all"),
    match('exec "true"'),
    match('exec "false"', "root@node good"),
    match('exec "test %n = n && test %h = n"'),
    match('originalhost n exec "test %r = root"', OPS),
    match("nonsense x", "", ssh="Unsupported Match attribute", fab="/srv/config:1"),
    match('!exec "false" originalhost n'),
    Case(
        "`Match host` after HostName sees it",
        f"{NODE}Match host node.example\n    User ops\n",
        OPS,
    ),
    Case(
        "`Match user` sees User",
        f"{NODE}    User ops\nMatch user ops\n    IdentityFile /srv/keys/second\n",
        "ops@node second",
    ),
    Case(
        "`Match` with `=`, quotes and blanks",
        f'Match  originalhost="x,n"  exec "test  -n  \'a b\'"\n    User ops\n{NODE}',
        OPS,
    ),
    Case(
        "`Match host` with a list and `!`",
        f"{NODE}Match host *.example,!bastion.example\n    User ops\n",
        OPS,
    ),
    Case(
        "`Include` under Match",
        f"Match originalhost n\n    Include /srv/more\n{NODE}",
        OPS,
        files={"more": "User ops\n"},
    ),
    Case(
        "a Match in an included file ends with that file",
        f"Include /srv/more\nUser ops\n{NODE}",
        OPS,
        files={"more": "Match originalhost x\n    User gate\n"},
    ),
    Case("`Match final`", f"Match final host node.example\n    User ops\n{NODE}", OPS),
    Case(
        "`Match canonical` without CanonicalizeHostname",
        f"Match canonical all\n    User ops\n{NODE}",
        "root@node good",
    ),
    Case(
        "`Match canonical`",
        "CanonicalizeHostname yes\nCanonicalDomains example\n"
        "Match canonical host node.example\n    User ops\n",
        OPS,
        target="node",
        known="node.example <node>\n",
    ),
    Case(
        "`Match exec` says where it runs: the folder of the user",
        f'Match exec "test -e /srv/marker"\n    User ops\n{NODE}',
        OPS,
        files={"marker": ""},
    ),
)

CANONICAL = (
    Case(
        "`CanonicalizeHostname yes`",
        "CanonicalizeHostname yes\nCanonicalDomains nowhere.test example\nHost node.example\n    User ops\n",
        OPS,
        target="node",
        known="node.example <node>\n",
    ),
    Case(
        "`CanonicalizeHostname` and no domain that has it",
        "CanonicalizeHostname yes\nCanonicalDomains nowhere.test\nCanonicalizeFallbackLocal no\n",
        "",
        target="nodex",
        ssh="Could not resolve host",
        fab="nodex",
    ),
    Case(
        "`CanonicalizeMaxDots 0` leaves names with dots",
        "CanonicalizeHostname yes\nCanonicalizeMaxDots 0\nCanonicalDomains test\n"
        "Host node.example\n    User ops\n",
        OPS,
        target="node.example",
    ),
)

TOKENS = (
    Case("`IdentityFile` with %d", f"{NODE}    IdentityFile %d/keys/second\n", SECOND),
    Case(
        "`IdentityFile` with %h",
        f"{NODE}    IdentityFile /srv/%h\n",
        SECOND,
        files={"node.example": "<<second>>"},
    ),
    Case(
        "`IdentityFile` with %n, %r, %p, %u and %%",
        f"{NODE}    Port 2222\n    User ops\n    IdentityFile /srv/%n-%r-%p-%u-%%\n",
        "ops@node:2222 second",
        files={"n-ops-2222-root-%": "<<second>>"},
    ),
    Case("`IdentityFile` with %i", f"{NODE}    IdentityFile /srv/%i\n", SECOND, files={"0": "<<second>>"}),
    Case(
        "`IdentityFile` with %k",
        f"{NODE}    HostKeyAlias node\n    IdentityFile /srv/%k\n",
        SECOND,
        files={"node": "<<second>>"},
    ),
    Case("`IdentityFile ~/...`", f"{NODE}    IdentityFile ~/keys/second\n", SECOND),
    Case(
        "`IdentityFile ${KEYS}/...`",
        f"{NODE}    IdentityFile ${{KEYS}}/second\n",
        SECOND,
        env={"KEYS": "/srv/keys"},
    ),
    Case(
        "`IdentityFile` with a variable that is not set",
        f"{NODE}    IdentityFile ${{NOT_SET}}/second\n",
        "",
        ssh="NOT_SET",
        fab="NOT_SET",
    ),
    Case(
        "`IdentityFile` with a token that is none",
        f"{NODE}    IdentityFile /srv/%Z\n",
        "",
        ssh="%Z",
        fab="%Z",
    ),
    Case(
        "`UserKnownHostsFile` with %h, %k, %d and ${VAR}",
        f"{NODE}    UserKnownHostsFile %d/${{WHERE}}/%h-%k\n",
        known="",
        env={"WHERE": "hosts"},
        files={"hosts/node.example-n": "node.example <node>\n"},
    ),
)

TOML = (
    Case(
        "`ssh.user` in hosts.toml, which is -l",
        f"{NODE}    User gate\n",
        OPS,
        target="ops@n",
        nodes=("n",),
        toml='user = "ops"\n',
    ),
    Case(
        "`ssh.user` in hosts.toml, which `Match user` sees",
        f"{NODE}Match user ops\n    Port 2222\n",
        "ops@node:2222 good",
        target="ops@n",
        nodes=("n",),
        toml='user = "ops"\n',
    ),
    Case(
        "`ssh.port` in hosts.toml, which is -p",
        f"{NODE}    Port 23\n",
        "root@node:2222 good",
        target="ssh://n:2222",
        nodes=("n",),
        toml="port = 2222\n",
    ),
    Case('`ssh.config = ""` in hosts.toml, which is -F none', "", target="node.example"),
    Case(
        "an IPv6 address in hosts.toml, and its Host",
        "Host 2001:2:0:2::2\n    User ops\n",
        OPS,
        target="2001:2:0:2::2",
        nodes=("[2001:2:0:2::2]",),
    ),
    Case(
        "an IPv6 address with a port in hosts.toml",
        "Host 2001:*\n    User ops\n    Port 2222\n",
        "ops@node:2222 good",
        target="2001:2:0:2::2",
        nodes=("[2001:2:0:2::2]:2222",),
    ),
    Case("an IPv4 address in hosts.toml", "Host 198.18.*\n    User ops\n", OPS, target="198.18.2.2"),
)

CASES = (*FILES, *LINES, *HOSTS, *MATCHES, *CANONICAL, *TOKENS, *TOML)
